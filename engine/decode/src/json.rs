//! An event as one JSON object, as `lanner trace --json` prints it.
//!
//! Keys have a fixed order. Flags, enumerations and signals are names as strace prints them, joined
//! by `|`, with unnamed bits in base 16; descriptors, ids, sizes, modes and offsets are numbers;
//! addresses are `"0x..."`, a null pointer is `null`. A parameter that could not be read is `null`
//! and listed in `incomplete`; one that was cut at a limit is listed in `truncated`. Facts that fell
//! short stand there as `facts.NAME`.
//!
//! Linux strings are bytes, JSON's are not. A string that is UTF-8 and does not contain `\x` stands
//! as it is. In any other, each byte that is not UTF-8 becomes `\xHH` and each backslash is doubled.
//! So a reader that finds `\x` in the (JSON-unescaped) text undoes both, and one that does not has
//! the bytes already: nothing is lost, nothing is ambiguous.

use std::fmt::Write as _;

use driver_api::event::{Attachment, Event, Fact, Flags, Kind as EventKind, Loss};
use driver_api::table::{Returns, Syscall};

use super::control;
use super::sockaddr::SockAddr;
use super::structs::{Array, Struct};
use super::symbols::{self, Remark, hex, write_enum, write_flags};
use super::value::{self, Message, Short, Value, shortfall};
use super::{call, errno, facts};

/// What the caller knows about an event and the event does not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// Nanoseconds to add to the event's monotonic time to have the time since the epoch.
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

    /// Begins a member of an object and gives the buffer for its value.
    pub(super) fn key(&mut self, key: &str) -> &mut String {
        let out = self.item();
        let _ = write!(out, "\"{key}\":");
        out
    }

    /// Begins an element of an array.
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
            members.word("type", call.name);
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
        members.number("ret", header.ret);
        error(members.key("error"), header.ret);
    }
}

fn error(out: &mut String, ret: i64) {
    let _ = match errno::of(ret).map(|errno| (errno, errno::name(errno))) {
        None => write!(out, "null"),
        Some((_, Some(name))) => write!(out, "\"{name}\""),
        Some((errno, None)) => write!(out, "\"{errno}\""),
    };
}

/// Lists the parameters, and as `facts.NAME` the facts, that fell short in this way, if any.
fn shortfalls(members: &mut Members<'_>, event: &Event<'_>, key: &str, which: Short) {
    let is_call = matches!(event.kind(), EventKind::Syscall | EventKind::Exec);
    let call = call(event).filter(|_| is_call);
    let params = call.into_iter().flat_map(|call| {
        (0..call.params.len())
            .filter(move |at| {
                value::param(event, call, *at)
                    .is_some_and(|value| shortfall(event, call, *at, &value) == Some(which))
            })
            .map(|at| ("", call.params[at].name))
    });
    let facts = event
        .attachments()
        .filter(|attached| Short::of(attached.status) == Some(which))
        .filter_map(|attached| Some(("facts.", Fact::from_u8(attached.what)?.name())));
    let mut names = params.chain(facts).peekable();
    if names.peek().is_none() {
        return;
    }
    let mut inside = Members::array(members.key(key));
    for (of, name) in names {
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

/// How a thread ended; none: nobody knows.
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
        // what follows one without a meaning has none either
        let Some(value) = value::param(event, call, at) else {
            break;
        };
        write(members.key(param.name), &value);
    }
    members.end();
}

/// Appends a value.
pub fn write(out: &mut String, value: &Value<'_>) {
    let _ = match value {
        Value::Null | Value::Unread(_) | Value::Ptr(0) => write!(out, "null"),
        Value::Ptr(address) => write!(out, "\"{address:#x}\""),
        Value::Unused => write!(out, "0"),
        Value::Int(number) => write!(out, "{number}"),
        Value::Uint(number) | Value::Hex(number) => write!(out, "{number}"),
        Value::DirFd(number) => write!(out, "{number}"),
        Value::Id(u32::MAX) => write!(out, "-1"),
        Value::Id(number) | Value::Mode(number) | Value::FileType(number) => {
            write!(out, "{number}")
        }
        Value::IpcKey(number) | Value::Ioprio(number) | Value::Wstatus(number) => {
            write!(out, "{number}")
        }
        Value::Limit(number, _) => write!(out, "{number}"),
        Value::Dev(number) => {
            let (major, minor) = symbols::device(*number);
            write!(out, "\"{major}:{minor}\"")
        }
        Value::Ip(ip) => write!(out, "\"{ip}\""),
        Value::Signal(number) => return signal(out, u64::from(number.cast_unsigned())),
        Value::Signals(bits) => return signals(out, *bits),
        Value::Capabilities(bits) => return capabilities(out, *bits),
        Value::Flags(bits, set) => {
            return quoted(out, |out| write_flags(out, set, *bits, Remark::Without));
        }
        Value::Enum(number, set) => {
            return quoted(out, |out| write_enum(out, set, *number, Remark::Without));
        }
        Value::Str(bytes) => return string(out, &bytes.text()),
        Value::Bytes(bytes) => return string(out, bytes.bytes),
        Value::Option(bytes) => match bytes.bytes.first_chunk() {
            Some(number) if bytes.full == 4 => write!(out, "{}", i32::from_ne_bytes(*number)),
            _ => return string(out, bytes.bytes),
        },
        Value::Text(bytes) | Value::Raw(bytes) => return string(out, bytes),
        Value::Strings(all) => return strings(out, all),
        Value::SockAddr(addr) => return sockaddr(out, addr),
        Value::Message(parts) => return message(out, parts),
        Value::Messages(messages) => {
            let mut inside = Members::array(out);
            messages.iter().for_each(|one| message(inside.item(), &one));
            return inside.end();
        }
        Value::Dirents(entries) => {
            let mut inside = Members::array(out);
            for entry in entries.iter() {
                let mut one = Members::object(inside.item());
                one.number("ino", entry.ino);
                named(one.key("type"), "dirent_type", u64::from(entry.kind));
                string(one.key("name"), entry.name);
                one.end();
            }
            return inside.end();
        }
        Value::Struct(structure) => return write_struct(out, structure),
        Value::Array(array) => return write_array(out, array),
        Value::Bits(bits) => {
            let mut inside = Members::array(out);
            for place in bits.iter() {
                let _ = write!(inside.item(), "{place}");
            }
            return inside.end();
        }
    };
}

fn write_array(out: &mut String, array: &Array<'_>) {
    if array.single {
        match array.iter().next() {
            Some(value) => write(out, &value),
            None => out.push_str("null"),
        }
        return;
    }
    let mut inside = Members::array(out);
    array.iter().for_each(|value| write(inside.item(), &value));
    inside.end();
}

fn signals(out: &mut String, bits: u64) {
    let mut inside = Members::array(out);
    for at in (0..64).filter(|at| bits & 1 << at != 0) {
        signal(inside.item(), at + 1);
    }
    inside.end();
}

fn quoted(out: &mut String, write: impl FnOnce(&mut String)) {
    out.push('"');
    write(out);
    out.push('"');
}

fn signal(out: &mut String, number: u64) {
    let _ = match symbols::signal(number) {
        Some(name) => write!(out, "\"{name}\""),
        None => write!(out, "\"{}\"", number.cast_signed()),
    };
}

/// Appends bytes as a JSON string, in the scheme of the head of this file.
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

fn named(out: &mut String, set: &str, number: u64) {
    quoted(out, |out| match symbols::set(set) {
        Some(set) => write_enum(out, set, number, Remark::Without),
        None => hex(out, number),
    });
}

/// Appends the name of an `AF_*`.
pub(super) fn family(out: &mut String, number: u16) {
    named(out, "sock_domain", u64::from(number));
}

fn sockaddr(out: &mut String, addr: &SockAddr<'_>) {
    let mut inside = Members::object(out);
    family(inside.key("family"), addr.family());
    match addr {
        SockAddr::Inet { ip, port } => {
            inside.word("ip", &ip.to_string());
            inside.number("port", port);
        }
        SockAddr::Inet6 {
            ip,
            port,
            flow,
            scope,
        } => {
            inside.word("ip", &ip.to_string());
            inside.number("port", port);
            if *flow != 0 {
                inside.number("flowinfo", flow);
            }
            if let Some(scope) = scope.filter(|scope| *scope != 0) {
                inside.number("scope_id", scope);
            }
        }
        SockAddr::Unix(path) => string(inside.key("path"), path),
        SockAddr::Abstract(name) => string(inside.key("abstract"), name),
        SockAddr::Unnamed => {}
        SockAddr::Netlink { pid, groups } => {
            inside.number("pid", pid);
            inside.number("groups", groups);
        }
        SockAddr::Packet {
            protocol,
            index,
            hatype,
            kind,
            addr,
            ..
        } => {
            named(inside.key("protocol"), "eth_proto", u64::from(*protocol));
            inside.number("ifindex", index);
            named(inside.key("hatype"), "arphrd", u64::from(*hatype));
            named(inside.key("pkttype"), "packet_type", u64::from(*kind));
            let bytes: Vec<String> = addr.iter().map(|byte| format!("{byte:02x}")).collect();
            inside.word("addr", &bytes.join(":"));
        }
        SockAddr::Other { data, .. } => string(inside.key("data"), data),
    }
    inside.end();
}

fn message(out: &mut String, parts: &Message<'_>) {
    let mut inside = Members::object(out);
    match &parts.name {
        Some(name) => sockaddr(inside.key("name"), name),
        None => inside.key("name").push_str("null"),
    }
    match &parts.data {
        Some(data) => string(inside.key("data"), data.bytes),
        None => inside.key("data").push_str("null"),
    }
    match &parts.control {
        Some(control) => controls(inside.key("control"), control.bytes, parts.narrow),
        None => inside.key("control").push_str("null"),
    }
    inside.end();
}

fn controls(out: &mut String, bytes: &[u8], narrow: bool) {
    let mut all = Members::array(out);
    for one in control::messages(bytes, narrow) {
        let mut inside = Members::object(all.item());
        named(inside.key("level"), "sockopt_level", u64::from(one.level));
        named(
            inside.key("type"),
            symbols::control_types(one.level),
            u64::from(one.kind),
        );
        if let Some(descriptors) = one.descriptors() {
            let mut fds = Members::array(inside.key("fds"));
            for fd in descriptors {
                let _ = write!(fds.item(), "{fd}");
            }
            fds.end();
        } else if let Some([pid, uid, gid]) = one.credentials() {
            inside.number("pid", pid);
            inside.number("uid", uid);
            inside.number("gid", gid);
        } else {
            string(inside.key("data"), one.data);
        }
        inside.end();
    }
    all.end();
}

fn write_struct(out: &mut String, structure: &Struct<'_>) {
    let mut inside = Members::object(out);
    structure.fields(&mut |field| write(inside.key(field.name), &field.value));
    inside.end();
}

fn capabilities(out: &mut String, bits: u64) {
    let mut inside = Members::array(out);
    for at in (0..64).filter(|at| bits & 1 << at != 0) {
        named(inside.item(), "cap", at);
    }
    inside.end();
}
