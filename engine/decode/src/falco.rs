//! A parameter as Falco's `evt.arg.NAME` and `evt.args` render it.
//!
//! Names of parameters are the table's, or their alias. Beyond the parameters there is `res`, the
//! return value, and for calls that return a descriptor and do not take one, `fd`, which is the same.
//! What Falco adds from its tables of processes and descriptors (`fd=3(<f>/etc/hosts)`) is not here.

use std::fmt::Write as _;

use driver_api::event::{Event, Flags};
use driver_api::table::{Returns, SymbolSet, Syscall};

use super::sockaddr::SockAddr;
use super::symbols::{Remark, write_enum, write_flags};
use super::value::{self, Value};
use super::{errno, text};

/// Appends `evt.arg.NAME` and returns true; false, and nothing appended: there is no such parameter,
/// or its memory is not in the event.
pub fn arg(out: &mut String, event: &Event<'_>, call: &Syscall, name: &str) -> bool {
    if is_result(call, name) {
        return result(out, event, call, Form::Short);
    }
    let Some((at, _)) = call.param(name) else {
        return false;
    };
    value::param(event, call, at).is_some_and(|value| write(out, &value, Form::Short))
}

/// Appends `evt.args`: `name=value` of the result and of every parameter, separated by spaces.
pub fn args(out: &mut String, event: &Event<'_>, call: &Syscall) {
    let start = out.len();
    let mut member = |name: &str, write: &mut dyn FnMut(&mut String) -> bool| {
        if out.len() > start {
            out.push(' ');
        }
        let _ = write!(out, "{name}=");
        if !write(out) {
            out.push_str("<NA>");
        }
    };
    if call.returns != Returns::None {
        let name = if is_result(call, "fd") { "fd" } else { "res" };
        member(name, &mut |out| result(out, event, call, Form::Long));
    }
    for (at, param) in call.params.iter().enumerate() {
        let Some(value) = value::param(event, call, at) else {
            break;
        };
        member(param.name, &mut |out| write(out, &value, Form::Long));
    }
}

/// Appends `evt.res`: `SUCCESS` or the errno's name. False: the call does not return.
pub fn res(out: &mut String, event: &Event<'_>) -> bool {
    if event.has(Flags::NO_RESULT) {
        return false;
    }
    let ret = event.header().ret;
    match errno::of(ret).map(errno::name) {
        None => out.push_str("SUCCESS"),
        Some(Some(name)) => out.push_str(name),
        Some(None) => {
            let _ = write!(out, "{ret}");
        }
    }
    true
}

/// Appends a member of a structure, or an element of an array. False: nothing was appended.
pub fn member(out: &mut String, value: &Value<'_>) -> bool {
    match value {
        Value::Capabilities(bits) => {
            let names = (0..64)
                .filter(|bit| bits >> bit & 1 == 1)
                .filter_map(super::capability);
            for (at, name) in names.enumerate() {
                if at > 0 {
                    out.push('|');
                }
                out.push_str(name);
            }
            true
        }
        value => write(out, value, Form::Short),
    }
}

/// `evt.args` says number and meaning, `evt.arg` the meaning where there is one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Short,
    Long,
}

fn is_result(call: &Syscall, name: &str) -> bool {
    name == "res" || (name == "fd" && call.returns == Returns::Fd && call.param("fd").is_none())
}

fn result(out: &mut String, event: &Event<'_>, call: &Syscall, form: Form) -> bool {
    if call.returns == Returns::None || event.has(Flags::NO_RESULT) {
        return false;
    }
    let ret = event.header().ret;
    let name = errno::of(ret).and_then(errno::name);
    let _ = match (name, form) {
        (Some(name), Form::Short) => write!(out, "{name}"),
        (Some(name), Form::Long) => write!(out, "{ret}({name})"),
        (None, _) => write!(out, "{ret}"),
    };
    true
}

fn write(out: &mut String, value: &Value<'_>, form: Form) -> bool {
    let meaning = |out: &mut String, number: &dyn std::fmt::Display, say: &dyn Fn(&mut String)| {
        if form == Form::Long {
            let _ = write!(out, "{number}(");
        }
        say(out);
        if form == Form::Long {
            out.push(')');
        }
    };
    match value {
        Value::Null | Value::Unread(_) => return false,
        Value::Unused => out.push('0'),
        Value::Flags(0, _) if !is_open(value) => out.push('0'),
        Value::Flags(bits, set) => {
            let number = if is_open(value) {
                open_bits(*bits, set)
            } else {
                *bits
            };
            meaning(out, &number, &|out| {
                write_flags(out, set, *bits, Remark::Without);
            });
        }
        Value::Enum(number, set) => {
            meaning(out, number, &|out| {
                write_enum(out, set, *number, Remark::Without);
            });
        }
        Value::Mode(bits) => meaning(out, &format_args!("0{bits:o}"), &|out| mode(out, *bits)),
        Value::Signal(number) => meaning(out, number, &|out| text::write(out, value)),
        Value::DirFd(-100) => meaning(out, &-100, &|out| out.push_str("AT_FDCWD")),
        Value::DirFd(number) => {
            let _ = write!(out, "{number}");
        }
        Value::Hex(number) => {
            let _ = write!(out, "{number}");
        }
        Value::Ptr(address) => {
            let _ = write!(out, "{address:x}");
        }
        Value::Str(bytes) => out.push_str(&String::from_utf8_lossy(&bytes.text())),
        Value::Bytes(bytes) => printable(out, bytes.bytes),
        Value::Strings(all) => {
            // Falco joins arguments with a dot in evt.args and with a space elsewhere.
            let separator = if form == Form::Long { '.' } else { ' ' };
            for (at, one) in all.strings().enumerate() {
                if at > 0 {
                    out.push(separator);
                }
                out.push_str(&String::from_utf8_lossy(one));
            }
        }
        Value::SockAddr(addr) => sockaddr(out, addr),
        Value::Message(parts) => match &parts.data {
            Some(data) => printable(out, data.bytes),
            None => return false,
        },
        Value::Messages(messages) => match messages.data() {
            Some(data) => printable(out, data.bytes),
            None => return false,
        },
        Value::Array(array) => {
            for (at, value) in array.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(out, &value, form);
            }
        }
        Value::Option(bytes) => match bytes.bytes.first_chunk() {
            Some(number) if bytes.full == 4 => {
                let _ = write!(out, "{}", i32::from_ne_bytes(*number));
            }
            _ => printable(out, bytes.bytes),
        },
        Value::Text(bytes) | Value::Raw(bytes) => printable(out, bytes),
        Value::FileType(bits) => meaning(out, &format_args!("0{bits:o}"), &|out| mode(out, *bits)),
        Value::Dev(number) => {
            let _ = write!(out, "{number}");
        }
        Value::Limit(number, _) => {
            let _ = write!(out, "{}", number.cast_signed());
        }
        Value::Int(_)
        | Value::Uint(_)
        | Value::Id(_)
        | Value::Struct(_)
        | Value::IpcKey(_)
        | Value::Ioprio(_)
        | Value::Wstatus(_)
        | Value::Ip(_)
        | Value::Signals(_)
        | Value::Bits(_)
        | Value::Dirents(_)
        | Value::Capabilities(_) => text::write(out, value),
    }
    true
}

/// Falco's buffers keep printable characters and show a dot for the others.
fn printable(out: &mut String, bytes: &[u8]) {
    out.extend(bytes.iter().map(|&byte| match byte {
        b' '..=b'~' | b'\n' | b'\t' => char::from(byte),
        _ => '.',
    }));
}

fn sockaddr(out: &mut String, addr: &SockAddr<'_>) {
    let _ = match addr {
        SockAddr::Inet { ip, port } => write!(out, "{ip}:{port}"),
        SockAddr::Inet6 { ip, port, .. } => write!(out, "{ip}:{port}"),
        SockAddr::Unix(path) => write!(out, "{}", String::from_utf8_lossy(path)),
        SockAddr::Abstract(name) => write!(out, "@{}", String::from_utf8_lossy(name)),
        SockAddr::Unnamed => Ok(()),
        other => write!(out, "family {}", other.family()),
    };
}

fn is_open(value: &Value<'_>) -> bool {
    matches!(value, Value::Flags(_, set) if set.name == "open")
}

/// The kernel's open flags in Falco's own numbers (`PPM_O_*` in driver/ppm_events_public.h).
fn open_bits(bits: u64, set: &SymbolSet) -> u64 {
    const BITS: &[(&str, u64)] = &[
        ("O_CREAT", 1 << 2),
        ("O_APPEND", 1 << 3),
        ("O_DSYNC", 1 << 4),
        ("O_EXCL", 1 << 5),
        ("O_NONBLOCK", 1 << 6),
        ("O_SYNC", 1 << 7),
        ("O_TRUNC", 1 << 8),
        ("O_DIRECT", 1 << 9),
        ("O_DIRECTORY", 1 << 10),
        ("O_LARGEFILE", 1 << 11),
        ("O_CLOEXEC", 1 << 12),
        ("O_TMPFILE", 1 << 14),
    ];
    let access = match bits & 3 {
        0 => 1,
        1 => 2,
        _ => 3,
    };
    let holds = |name: &str| {
        let found = set.values.iter().find(|(_, of)| *of == name);
        found.is_some_and(|(kernel, _)| bits & kernel == *kernel)
    };
    BITS.iter()
        .filter(|(name, _)| holds(name))
        .fold(access, |sum, (_, falco)| sum | falco)
}

/// Permission bits as Falco names them.
fn mode(out: &mut String, bits: u32) {
    const NAMES: &[&str] = &[
        "S_IXOTH", "S_IWOTH", "S_IROTH", "S_IXGRP", "S_IWGRP", "S_IRGRP", "S_IXUSR", "S_IWUSR",
        "S_IRUSR", "S_ISVTX", "S_ISGID", "S_ISUID",
    ];
    let start = out.len();
    for (_, name) in (0..).zip(NAMES).filter(|(at, _)| bits & (1 << at) != 0) {
        if out.len() > start {
            out.push('|');
        }
        out.push_str(name);
    }
    if out.len() == start {
        out.push('0');
    }
}
