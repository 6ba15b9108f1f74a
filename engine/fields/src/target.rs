//! Functions of `target.*`: the other process that a call acts on.

use driver_api::event::Fact;
use driver_api::table::{Category, Kind, Number, Param, Syscall};

use inspect::Process;
use lanner_plugin::Value;

use super::event::text_of;
use super::path;
use super::view::View;

/// The id of the process that a call acts on, as its host has it.
pub(super) fn pid(view: &View<'_>) -> Option<u32> {
    of_number(view)
        .or_else(|| of_variant(view))
        .or_else(|| of_pidfd(view))
        .or_else(|| of_path(view))
        .filter(|pid| view.process().is_none_or(|process| process.pid != *pid))
}

/// What is asked about that process, if it is known.
pub(super) fn process<'a>(
    view: &View<'a>,
    ask: impl Fn(&View<'a>, &'a Process) -> Value<'a>,
) -> Value<'a> {
    pid(view)
        .and_then(|id| view.inspector.process_of_thread(id))
        // another thread of the caller is no other process
        .filter(|process| view.process().is_none_or(|own| own.pid != process.pid))
        .map_or(Value::None, |process| ask(view, process))
}

/// The first parameter that is a process id.
fn of_number(view: &View<'_>) -> Option<u32> {
    let call = view.seen.call?;
    let is_pid = |kind: Kind| matches!(kind, Kind::Number(Number::Pid, _));
    let at = call.params.iter().position(|param| is_pid(param.kind))?;
    meant(view, call, register(view, call, at)?)
}

/// A parameter that is a process id, or points to one, because of another parameter: who gets a descriptor's signals, or
/// whose priority is changed.
fn of_variant(view: &View<'_>) -> Option<u32> {
    let call = view.seen.call?;
    let varies = |param: &Param| matches!(param.kind, Kind::By(..));
    let at = call.params.iter().position(varies)?;
    let in_memory = |pid| match pid {
        decode::Value::Number(pid) => match pid.scalar()? {
            decode::Scalar::Signed(pid) => i32::try_from(pid).ok(),
            decode::Scalar::Unsigned(_) => None,
        },
        _ => None,
    };
    let pid = match decode::kind(view.event, call, at)? {
        Kind::Number(Number::Pid, _) => register(view, call, at)?,
        Kind::Array(Kind::Number(Number::Pid, _), _) => {
            let decode::Value::Array(pids) = decode::param(view.event, call, at)? else {
                return None;
            };
            in_memory(pids.iter().next()?)?
        }
        Kind::Struct(of, _) if of.name == "f_owner_ex" => {
            let decode::Value::Struct(owner) = decode::param(view.event, call, at)? else {
                return None;
            };
            in_memory(owner.field("pid")?)?
        }
        _ => return None,
    };
    meant(view, call, pid)
}

fn register(view: &View<'_>, call: &Syscall, at: usize) -> Option<i32> {
    let register = call.register(view.event.abi(), at);
    Some(*view.event.header().args.get(register)? as i32)
}

/// The process that an id means: one that is negative, or the 0 of a signal, means the leader of a group. It is of the
/// caller's PID namespace, and known only in that of the host.
fn meant(view: &View<'_>, call: &Syscall, pid: i32) -> Option<u32> {
    let own = view.process();
    let is_in_host_namespace =
        own.is_none_or(|process| process.vpid.is_none_or(|vpid| vpid == process.pid));
    match pid {
        _ if !is_in_host_namespace => None,
        1.. => u32::try_from(pid).ok(),
        0 if call.category == Category::Signal => own.map(|process| process.pgid),
        0 | -1 => None,
        _ => Some(pid.unsigned_abs()),
    }
}

/// The process of the pidfd that the call is given first.
fn of_pidfd(view: &View<'_>) -> Option<u32> {
    let call = view.seen.call?;
    let is_fd = |kind: Kind| matches!(kind, Kind::Number(Number::Fd, _));
    let at = call.params.iter().position(|param| is_fd(param.kind))?;
    let register = call.register(view.event.abi(), at);
    let fd = inspect::fd_in(*view.event.header().args.get(register)?);
    let descriptor = view
        .inspector
        .current_descriptor(view.seen.process?, view.seen.tid, fd)?;
    inspect::pidfd_target(&descriptor)
}

/// The process below whose folder in /proc the call's file is.
fn of_path(view: &View<'_>) -> Option<u32> {
    let opened = view.event.fact(Fact::Path).map(|fact| text_of(view, &fact));
    let named = || path::of_open(view).and_then(|param| path::resolved(view, param));
    let below = opened.or_else(named)?.strip_prefix(b"/proc/")?;
    let end = below.iter().position(|byte| *byte == b'/')?;
    std::str::from_utf8(&below[..end]).ok()?.parse().ok()
}
