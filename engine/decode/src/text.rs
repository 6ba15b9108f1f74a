//! An event as one line of text, as strace(1) writes it.
//!
//! Where the event has less than strace reads, the text is shorter: gathered iovecs are one string, and a
//! `struct msghdr` is its name, data and control. Values write themselves (`forms`); this is
//! the line around them, and the parameters that strace prints in its own way.

use std::fmt::Write as _;

use driver_api::event::{Attachment, Event, EventKind, Flags, Loss, Status};
use driver_api::table::{Category, Kind, Number, Returns, Syscall};

use super::buffer::{Bytes, Strings, is_cut};
use super::forms::{Forms, and_more, list};
use super::number::{mode, pointer, signal};
use super::symbols::{self, Enum, Remark, hex, write_enum, write_flags};
use super::value::{self, Value};
use super::{call, errno, netlink, variant};

/// Appends what is known of a descriptor of the event's thread, or of `AT_FDCWD`, after its number.
pub type Behind<'a> = dyn FnMut(&mut String, i32) + 'a;

/// What the caller knows of descriptors, beyond the event.
pub struct Around<'a> {
    /// Appends what is behind a descriptor.
    pub behind: &'a mut Behind<'a>,
    /// The protocol of the netlink socket that the call's own descriptor is (`NETLINK_*`).
    pub netlink: Option<u16>,
}

impl std::fmt::Debug for Around<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Around")
            .field("netlink", &self.netlink)
            .finish_non_exhaustive()
    }
}

/// Appends an event, without a newline: a call with its result, or another event.
pub fn line(out: &mut String, event: &Event<'_>) {
    let behind = &mut |_: &mut String, _| {};
    let netlink = None;
    line_with(out, event, &mut Around { behind, netlink });
}

/// Appends an event as [`line()`] does, and what is behind the descriptors that are parameters, elements of an array, or
/// the result. The data of a netlink socket are shown as messages.
pub fn line_with(out: &mut String, event: &Event<'_>, around: &mut Around<'_>) {
    let header = event.header();
    match event.kind() {
        EventKind::Syscall | EventKind::Exec => match call(event) {
            Some(call) => {
                parameters_with(out, event, call, around);
                result(out, event, call, around.behind);
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
    let behind = &mut |_: &mut String, _| {};
    let netlink = None;
    parameters_with(out, event, call, &mut Around { behind, netlink });
}

fn parameters_with(out: &mut String, event: &Event<'_>, call: &Syscall, around: &mut Around<'_>) {
    let netlink = around.netlink.filter(|protocol| {
        matches!(call.category, Category::IoRead | Category::IoWrite)
            && netlink::has_headers(*protocol)
    });
    let behind = &mut *around.behind;
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
            let kind = variant::meaning(event, call, &call.params[at]).kind;
            if let (Value::Array(array), Kind::Array(of, _)) = (value, kind)
                && is_descriptor(of)
            {
                list(out, array.iter(), |out, value| {
                    value.text(out);
                    if let Value::Number(number) = value {
                        say_behind(out, number.signed(), behind);
                    }
                });
                if array.cut {
                    and_more(out);
                }
                continue;
            }
            match netlink {
                Some(protocol) => {
                    of_netlink(out, event, call, at, &value, protocol);
                }
                None => parameter(out, event, call, at, &value),
            }
            if let Value::Number(number) = value
                && is_descriptor(&kind)
            {
                say_behind(out, number.signed(), behind);
            }
        }
    }
    out.push(')');
}

/// strace names the parameters of clone(2), because their order differs between architectures, and leaves
/// out those that the flags do not ask for.
fn clone(out: &mut String, event: &Event<'_>, call: &Syscall) {
    let raw = |at| variant::raw(event, call, at);
    let shown = |out: &mut String, at| {
        if event.lacks(call.register(event.abi(), at)) {
            out.push('?');
        } else {
            pointer(out, raw(at));
        }
    };
    out.push_str("child_stack=");
    shown(out, 1);
    out.push_str(", flags=");
    if let Some(flags) = value::param(event, call, 0) {
        flags.text(out);
    }
    // CLONE_PARENT_SETTID or CLONE_PIDFD; CLONE_SETTLS; CLONE_CHILD_SETTID or CLONE_CHILD_CLEARTID
    for (bits, name, at) in [
        (0x10_1000, "parent_tid", 2),
        (0x8_0000, "tls", 4),
        (0x120_0000, "child_tidptr", 3),
    ] {
        if raw(0) & bits != 0 {
            let _ = write!(out, ", {name}=");
            shown(out, at);
        }
    }
}

/// Appends a parameter of a call on a netlink socket.
fn of_netlink(
    out: &mut String,
    event: &Event<'_>,
    call: &Syscall,
    at: usize,
    value: &Value<'_>,
    protocol: u16,
) {
    match *value {
        Value::Bytes(Bytes(data)) => {
            let layout = variant::layout(event);
            netlink::text(out, protocol, layout, data.bytes, is_cut(&data));
        }
        Value::Message(message) => message.of_netlink(protocol).text(out),
        Value::Messages(messages) => messages.of_netlink(protocol).text(out),
        _ => parameter(out, event, call, at, value),
    }
}

fn parameter(out: &mut String, event: &Event<'_>, call: &Syscall, at: usize, value: &Value<'_>) {
    match (call.name, value) {
        ("execve" | "execveat", Value::Strings(Strings(all))) if call.params[at].name == "envp" => {
            pointer(out, variant::raw(event, call, at));
            environment(out, all);
        }
        (_, Value::Enum(Enum(_, set))) if set.name == "eth_proto" => {
            out.push_str("htons(");
            value.text(out);
            out.push(')');
        }
        _ => value.text(out),
    }
}

/// Whether it is a number of a descriptor.
fn is_descriptor(kind: &Kind) -> bool {
    matches!(kind, Kind::Number(Number::Fd | Number::DirFd, _))
}

fn say_behind(out: &mut String, fd: i64, behind: &mut Behind<'_>) {
    if let Ok(fd) = i32::try_from(fd) {
        behind(out, fd);
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

fn result(out: &mut String, event: &Event<'_>, call: &Syscall, behind: &mut Behind<'_>) {
    let ret = call.result(event.header().ret);
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
        Returns::Fd => {
            outcome(out, ret);
            say_behind(out, ret, behind);
        }
        Returns::Fcntl
        | Returns::Errno
        | Returns::Size
        | Returns::Pid
        | Returns::Child
        | Returns::Off
        | Returns::Uid
        | Returns::Gid
        | Returns::I64
        | Returns::Int
        | Returns::None => outcome(out, ret),
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

/// Appends ` = ` and the number, or the name and message of the error that it means.
fn outcome(out: &mut String, ret: i64) {
    let Some(errno) = errno::of(ret) else {
        let _ = write!(out, " = {ret}");
        return;
    };
    // Errors from 512 on are internal to the kernel: the call was interrupted and returned nothing.
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
