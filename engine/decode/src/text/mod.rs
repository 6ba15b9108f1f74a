//! An event as one line of text, as strace(1) writes it.
//!
//! Where the event holds less than strace reads, the text says less: gathered iovecs are one string,
//! a `struct msghdr` is its name, data and control, an ioctl's argument is its number.

mod memory;

use std::fmt::Write as _;

use driver_api::event::{Attachment, Event, Flags, Kind as EventKind, Loss, Status};
use driver_api::table::{Returns, Syscall};

use super::symbols::{self, Remark, hex, write_enum, write_flags};
use super::value::{self, Value, cut};
use super::{call, errno, variant};

/// Appends an event, without a newline: a call with its result, or what else happened.
pub fn line(out: &mut String, event: &Event<'_>) {
    let header = event.header();
    match event.kind() {
        EventKind::Syscall | EventKind::Exec => match call(event) {
            Some(call) => {
                parameters(out, event, call);
                result(out, event, call);
            }
            None => unknown(out, event),
        },
        EventKind::Fork => {
            let [tid, pid, ..] = header.args;
            let what = if tid == pid { "process" } else { "thread" };
            let _ = write!(out, "+++ started {what} {tid} +++");
        }
        EventKind::Exit if event.has(Flags::NO_RESULT) => out.push_str("+++ ended +++"),
        EventKind::Exit => exit(out, header.ret),
        EventKind::Signal => {
            out.push_str("--- ");
            signal(out, header.args[0]);
            let _ = write!(out, " {{si_pid={}}} ---", header.args[1]);
        }
        EventKind::Lost => {
            let [count, cause, ..] = header.args;
            let cause = Loss::from_u64(cause).name();
            let _ = write!(out, "+++ lost {count} events: {cause} +++");
        }
    }
}

fn exit(out: &mut String, status: i64) {
    let number = status & 0x7f;
    if number == 0 {
        let _ = write!(out, "+++ exited with {} +++", (status >> 8) & 0xff);
    } else {
        out.push_str("+++ killed by ");
        signal(out, number.unsigned_abs());
        if status & 0x80 != 0 {
            out.push_str(" (core dumped)");
        }
        out.push_str(" +++");
    }
}

fn unknown(out: &mut String, event: &Event<'_>) {
    let header = event.header();
    let _ = write!(out, "syscall_{:#x}(", header.nr);
    for (at, value) in header.args.into_iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        hex(out, value);
    }
    out.push(')');
    if event.has(Flags::NO_RESULT) {
        out.push_str(" = ?");
    } else {
        outcome(out, header.ret);
    }
}

/// Appends a call's name and its parameters in parentheses.
pub fn parameters(out: &mut String, event: &Event<'_>, call: &Syscall) {
    out.push_str(call.name);
    out.push('(');
    if call.name == "clone" {
        clone(out, event, call);
    } else {
        for at in 0..call.params.len() {
            let Some(value) = value::param(event, call, at) else {
                break;
            };
            if matches!(value, Value::Unused) {
                continue;
            }
            if at > 0 {
                out.push_str(", ");
            }
            parameter(out, event, call, at, &value);
        }
    }
    out.push(')');
}

/// strace names the parameters of clone(2), whose order is not the same everywhere, and leaves out
/// those that the flags do not ask for.
fn clone(out: &mut String, event: &Event<'_>, call: &Syscall) {
    let raw = |at| variant::raw(event, call, at);
    out.push_str("child_stack=");
    pointer(out, raw(1));
    out.push_str(", flags=");
    if let Some(flags) = value::param(event, call, 0) {
        write(out, &flags);
    }
    // CLONE_PARENT_SETTID or CLONE_PIDFD; CLONE_SETTLS; CLONE_CHILD_SETTID or CLONE_CHILD_CLEARTID
    for (bits, name, at) in [
        (0x10_1000, "parent_tid", 2),
        (0x8_0000, "tls", 4),
        (0x120_0000, "child_tidptr", 3),
    ] {
        if raw(0) & bits != 0 {
            let _ = write!(out, ", {name}=");
            pointer(out, raw(at));
        }
    }
}

fn parameter(out: &mut String, event: &Event<'_>, call: &Syscall, at: usize, value: &Value<'_>) {
    match (call.name, value) {
        ("execve" | "execveat", Value::Strings(all)) if call.params[at].name == "envp" => {
            pointer(out, variant::raw(event, call, at));
            environment(out, all);
        }
        (_, Value::Enum(_, set)) if set.name == "eth_proto" => {
            out.push_str("htons(");
            write(out, value);
            out.push(')');
        }
        _ => write(out, value),
    }
}

fn environment(out: &mut String, all: &Attachment<'_>) {
    let count = all.strings().count();
    let least = if all.status == Status::Whole {
        ""
    } else {
        "at least "
    };
    let s = if count == 1 { "" } else { "s" };
    let _ = write!(out, " /* {least}{count} var{s} */");
}

fn option(out: &mut String, bytes: &Attachment<'_>) {
    match bytes.bytes.first_chunk() {
        Some(number) if bytes.bytes.len() == 4 => {
            let _ = write!(out, "[{}]", i32::from_ne_bytes(*number));
        }
        _ => attachment(out, bytes),
    }
}

fn result(out: &mut String, event: &Event<'_>, call: &Syscall) {
    let ret = event.header().ret;
    if call.returns == Returns::None || event.has(Flags::NO_RESULT) {
        out.push_str(" = ?");
        return;
    }
    if errno::of(ret).is_some() {
        outcome(out, ret);
        return;
    }
    match call.returns {
        Returns::Ptr | Returns::Hex => {
            out.push_str(" = ");
            hex(out, ret.cast_unsigned());
        }
        Returns::Mode => {
            out.push_str(" = ");
            mode(out, ret.cast_unsigned());
        }
        Returns::Fcntl if ret != 0 => fcntl(out, variant::raw(event, call, 1), ret),
        _ => outcome(out, ret),
    }
}

fn fcntl(out: &mut String, command: u64, ret: i64) {
    let set = match command & 0xffff_ffff {
        1 => "fd_flags",
        3 => "open",
        1025 => "lease",
        1034 => "seals",
        _ => return outcome(out, ret),
    };
    let Some(set) = symbols::set(set) else { return };
    let bits = ret.cast_unsigned();
    let _ = write!(out, " = {bits:#x} (");
    if set.name == "lease" {
        write_enum(out, set, bits, Remark::With);
    } else {
        let word = if set.name == "seals" {
            "seals"
        } else {
            "flags"
        };
        let _ = write!(out, "{word} ");
        write_flags(out, set, bits, Remark::With);
    }
    out.push(')');
}

/// Appends ` = ` and a number, or the error that it is.
fn outcome(out: &mut String, ret: i64) {
    let Some(errno) = errno::of(ret) else {
        let _ = write!(out, " = {ret}");
        return;
    };
    // Above 511 are the kernel's own: the call was interrupted and returned nothing.
    out.push_str(if (512..=516).contains(&errno) {
        " = ?"
    } else {
        " = -1"
    });
    match errno::name(errno) {
        Some(name) => {
            let _ = write!(out, " {name}");
            if let Some(message) = errno::message(errno) {
                let _ = write!(out, " ({message})");
            }
        }
        None => {
            let _ = write!(out, " (errno {errno})");
        }
    }
}

/// Appends a value.
pub fn write(out: &mut String, value: &Value<'_>) {
    match value {
        Value::Null => out.push_str("NULL"),
        Value::Unread(address) | Value::Ptr(address) => pointer(out, *address),
        Value::Unused => out.push('0'),
        Value::Int(number) => {
            let _ = write!(out, "{number}");
        }
        Value::Uint(number) => {
            let _ = write!(out, "{number}");
        }
        Value::DirFd(-100) => out.push_str("AT_FDCWD"),
        Value::DirFd(number) => {
            let _ = write!(out, "{number}");
        }
        Value::Id(u32::MAX) => out.push_str("-1"),
        Value::Id(number) => {
            let _ = write!(out, "{number}");
        }
        Value::Hex(number) => hex(out, *number),
        Value::Mode(bits) => mode(out, u64::from(*bits)),
        Value::Signal(number) => signal(out, u64::from(number.cast_unsigned())),
        Value::Flags(bits, set) => write_flags(out, set, *bits, Remark::With),
        Value::Enum(number, set) => write_enum(out, set, *number, Remark::With),
        Value::Str(bytes) => {
            let text = bytes.text();
            quote(out, &text);
            if bytes.status != Status::Whole {
                out.push_str("...");
            }
        }
        Value::Bytes(bytes) => attachment(out, bytes),
        Value::Strings(all) => strings(out, all),
        Value::SockAddr(addr) => memory::sockaddr(out, addr),
        Value::Message(parts) => memory::message(out, parts),
        Value::Messages(all) => memory::messages(out, all),
        Value::Dirents(entries) => memory::dirents(out, entries),
        Value::Struct(structure) => memory::write_struct(out, structure),
        Value::Array(array) => memory::array(out, array),
        Value::Option(bytes) => option(out, bytes),
        Value::Text(bytes) | Value::Raw(bytes) => quote(out, bytes),
        Value::Signals(bits) => memory::signals(out, *bits),
        Value::Bits(bits) => memory::bits(out, bits),
        Value::Capabilities(bits) => memory::capabilities(out, *bits),
        Value::FileType(bits) => memory::filetype(out, *bits),
        Value::Wstatus(status) => memory::wait_status(out, *status),
        Value::Limit(number, none) => memory::limit(out, *number, none),
        Value::Ioprio(number) => memory::ioprio(out, *number),
        Value::Dev(number) => {
            let (major, minor) = symbols::device(*number);
            out.push_str("makedev(");
            hex(out, major);
            out.push_str(", ");
            hex(out, minor);
            out.push(')');
        }
        Value::IpcKey(0) => out.push_str("IPC_PRIVATE"),
        Value::IpcKey(key) => hex(out, u64::from(*key)),
        Value::Ip(ip) => {
            let _ = write!(out, "inet_addr(\"{ip}\")");
        }
    }
}

fn pointer(out: &mut String, address: u64) {
    if address == 0 {
        out.push_str("NULL");
    } else {
        hex(out, address);
    }
}

fn mode(out: &mut String, bits: u64) {
    let _ = write!(out, "0{bits:02o}");
}

fn signal(out: &mut String, number: u64) {
    match symbols::signal(number) {
        Some(name) => out.push_str(name),
        None => {
            let _ = write!(out, "{}", number.cast_signed());
        }
    }
}

fn attachment(out: &mut String, bytes: &Attachment<'_>) {
    quote(out, bytes.bytes);
    if cut(bytes) {
        out.push_str("...");
    }
}

fn strings(out: &mut String, all: &Attachment<'_>) {
    out.push('[');
    for (at, string) in all.strings().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        quote(out, string);
    }
    if all.status != Status::Whole {
        out.push_str(if all.bytes.is_empty() { "..." } else { ", ..." });
    }
    out.push(']');
}

/// Appends bytes as a C string.
pub fn quote(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            0x0b => out.push_str("\\v"),
            0x0c => out.push_str("\\f"),
            b'\r' => out.push_str("\\r"),
            b' '..=b'~' => out.push(char::from(byte)),
            // Three digits where a shorter number would swallow a digit that follows.
            _ if bytes
                .get(at + 1)
                .is_some_and(|next| (b'0'..=b'7').contains(next)) =>
            {
                let _ = write!(out, "\\{byte:03o}");
            }
            _ => {
                let _ = write!(out, "\\{byte:o}");
            }
        }
    }
    out.push('"');
}
