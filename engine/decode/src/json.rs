//! An event as one JSON object, as `lanner trace --json` prints it.
//!
//! Keys have a fixed order. Flags, enumerations and signals are names as strace prints them, joined
//! by `|`, with unnamed bits in base 16; descriptors, ids, sizes, modes and offsets are numbers;
//! addresses are `"0x..."`, a null pointer is `null`. A parameter that could not be read is `null`
//! and listed in `incomplete`; one that was cut at a limit is listed in `truncated`. Both lists have
//! facts as `facts.NAME`.
//!
//! Linux strings are bytes, JSON's are not. A string that is UTF-8 and does not contain `\x` is written
//! as it is. In any other string, each byte that is not UTF-8 becomes `\xHH` and each backslash is
//! doubled. A reader that finds `\x` in the (JSON-unescaped) text undoes both; a reader that does not
//! find it has the bytes already. Nothing is lost, nothing is ambiguous.

use std::fmt::Write as _;

use driver_api::event::{Attachment, Event, EventKind, Flags, Loss};
use driver_api::table::{Returns, Syscall};

use super::forms::Forms;
use super::shortfall::{Short, names};
use super::symbols::{self, Remark, hex, write_enum, write_flags};
use super::{call, errno, facts, number, value};

/// What the caller knows about an event that the event itself does not have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// Nanoseconds to add to the event's monotonic time to get the time since the epoch.
    pub epoch_ns: i64,
    /// Parent's thread-group id.
    pub ppid: Option<u32>,
    /// The task's name.
    pub comm: &'a [u8],
}

/// Writes the members of one object or array, with commas between them.
pub(super) struct Members<'o> {
    out: &'o mut String,
    first: bool,
    close: char,
}

impl<'o> Members<'o> {
    pub(super) fn object(out: &'o mut String) -> Self {
        out.push('{');
        Self {
            out,
            first: true,
            close: '}',
        }
    }

    pub(super) fn array(out: &'o mut String) -> Self {
        out.push('[');
        Self {
            out,
            first: true,
            close: ']',
        }
    }

    /// Begins a member of an object. The caller appends its value to the buffer.
    pub(super) fn key(&mut self, key: &str) -> &mut String {
        let out = self.item();
        let _ = write!(out, "\"{key}\":");
        out
    }

    /// Begins an element of an array. The caller appends it to the buffer.
    pub(super) fn item(&mut self) -> &mut String {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        self.out
    }

    pub(super) fn number(&mut self, key: &str, number: impl std::fmt::Display) {
        let _ = write!(self.key(key), "{number}");
    }

    pub(super) fn word(&mut self, key: &str, word: &str) {
        let _ = write!(self.key(key), "\"{word}\"");
    }

    pub(super) fn end(self) {
        self.out.push(self.close);
    }
}

/// Appends an event as one object, without a newline.
pub fn event(out: &mut String, event: &Event<'_>, context: &Context<'_>) {
    let header = event.header();
    let mut members = Members::object(out);
    let time = i128::from(header.time_ns) + i128::from(context.epoch_ns);
    members.number("time", time);
    if event.kind() == EventKind::Lost {
        members.word("type", "lost");
        members.number("count", header.args[0]);
        members.word("cause", Loss::from_u64(header.args[1]).name());
        return members.end();
    }
    members.number("pid", header.tgid);
    members.number("tid", header.tid);
    match context.ppid {
        Some(ppid) => members.number("ppid", ppid),
        None => members.key("ppid").push_str("null"),
    }
    string(members.key("comm"), context.comm);
    members.number("cpu", header.cpu);
    members.word("abi", event.abi().name());
    match event.kind() {
        EventKind::Syscall | EventKind::Exec => syscall(&mut members, event),
        EventKind::Fork => {
            members.word("type", "procstart");
            fork(members.key("params"), event);
        }
        EventKind::Exit => {
            members.word("type", "procexit");
            let status = (!event.has(Flags::NO_RESULT)).then_some(header.ret);
            exit(members.key("params"), status);
        }
        EventKind::Signal => {
            members.word("type", "signaldeliver");
            let mut inside = Members::object(members.key("params"));
            inside.number("spid", header.args[1]);
            signal(inside.key("sig"), header.args[0]);
            inside.end();
        }
        EventKind::Lost => {}
    }
    shortfalls(&mut members, event, "incomplete", Short::Incomplete);
    shortfalls(&mut members, event, "truncated", Short::Truncated);
    facts::object(members.key("facts"), event);
    members.end();
}

fn syscall(members: &mut Members<'_>, event: &Event<'_>) {
    let header = event.header();
    let call = call(event);
    match call {
        Some(call) => {
            members.word("type", call.event_type().name);
            let made_through = Syscall::made_through(event.abi(), header.nr);
            let made = made_through.unwrap_or(call).name;
            if made != call.event_type().name {
                members.word("call", made);
            }
            params(members.key("params"), event, call);
        }
        None => {
            let _ = write!(members.key("type"), "\"syscall_{:#x}\"", header.nr);
            let mut inside = Members::object(members.key("params"));
            for (at, value) in header.args.into_iter().enumerate() {
                inside.number(&format!("arg{at}"), value);
            }
            inside.end();
        }
    }
    let silent = event.has(Flags::NO_RESULT) || call.is_some_and(|c| c.returns == Returns::None);
    if silent {
        members.key("ret").push_str("null");
        members.key("error").push_str("null");
    } else {
        let ret = call.map_or(header.ret, |call| call.result(header.ret));
        members.number("ret", ret);
        error(members.key("error"), ret);
    }
}

fn error(out: &mut String, ret: i64) {
    let _ = match errno::of(ret).map(|errno| (errno, errno::name(errno))) {
        None => write!(out, "null"),
        Some((_, Some(name))) => write!(out, "\"{name}\""),
        Some((errno, None)) => write!(out, "\"{errno}\""),
    };
}

/// Lists the parameters, and as `facts.NAME` the facts, whose memory fell short in this way, if any.
fn shortfalls(members: &mut Members<'_>, event: &Event<'_>, key: &str, which: Short) {
    let mut fell_short = names(event, which).peekable();
    if fell_short.peek().is_none() {
        return;
    }
    let mut inside = Members::array(members.key(key));
    for (of, name) in fell_short {
        let _ = write!(inside.item(), "\"{of}{name}\"");
    }
    inside.end();
}

fn fork(out: &mut String, event: &Event<'_>) {
    let [tid, pid, flags, ..] = event.header().args;
    let mut inside = Members::object(out);
    inside.number("tid", tid);
    inside.number("pid", pid);
    match symbols::set("clone") {
        Some(set) => quoted(inside.key("flags"), |out| {
            write_flags(out, set, flags, Remark::Without);
        }),
        None => inside.number("flags", flags),
    }
    inside.end();
}

/// How a thread ended; none: not known.
fn exit(out: &mut String, status: Option<i64>) {
    let mut inside = Members::object(out);
    let Some(status) = status else {
        for key in ["status", "exit_code", "signal"] {
            inside.key(key).push_str("null");
        }
        return inside.end();
    };
    inside.number("status", status);
    let number = (status & 0x7f).unsigned_abs();
    if number == 0 {
        inside.number("exit_code", (status >> 8) & 0xff);
        inside.key("signal").push_str("null");
    } else {
        inside.key("exit_code").push_str("null");
        signal(inside.key("signal"), number);
    }
    inside.end();
}

/// Appends a call's parameters as one object.
pub fn params(out: &mut String, event: &Event<'_>, call: &Syscall) {
    let mut members = Members::object(out);
    for (at, param) in call.params.iter().enumerate() {
        // the parameters after one without a meaning have none either
        let Some(value) = value::param(event, call, at) else {
            break;
        };
        value.json(members.key(param.name));
    }
    members.end();
}

/// Appends a string that needs no escapes.
pub(super) fn quoted(out: &mut String, write: impl FnOnce(&mut String)) {
    out.push('"');
    write(out);
    out.push('"');
}

/// Appends the name of a signal, or its number, as a string.
pub(super) fn signal(out: &mut String, number: u64) {
    quoted(out, |out| number::signal(out, number));
}

/// Appends bytes as a JSON string, escaped as described at the head of this file.
pub fn string(out: &mut String, bytes: &[u8]) {
    out.push('"');
    let escaped = std::str::from_utf8(bytes).is_err() || bytes.windows(2).any(|w| w == b"\\x");
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\\' if escaped => out.push_str("\\\\\\\\"),
                '"' | '\\' => {
                    out.push('\\');
                    out.push(letter);
                }
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                // C1 controls and line separators confuse terminals and line-wise readers.
                '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                    let _ = write!(out, "\\u{:04x}", u32::from(letter));
                }
                _ => out.push(letter),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\\\x{byte:02x}");
        }
    }
    out.push('"');
}

/// Appends strings as an array.
pub(super) fn strings(out: &mut String, all: &Attachment<'_>) {
    let mut inside = Members::array(out);
    for one in all.strings() {
        string(inside.item(), one);
    }
    inside.end();
}

/// Appends the name of a value in the set with this name.
pub(super) fn named(out: &mut String, set: &str, number: u64) {
    quoted(out, |out| match symbols::set(set) {
        Some(set) => write_enum(out, set, number, Remark::Without),
        None => hex(out, number),
    });
}

/// Appends the name of an `AF_*`.
pub(super) fn family(out: &mut String, number: u16) {
    named(out, "sock_domain", u64::from(number));
}
