//! Functions of `target.*`: the other process that a call acts on.

use driver_api::event::Fact;
use driver_api::table::{Kind, Number};

use inspect::Process;
use lanner_plugin::Value;

use super::event::text_of;
use super::path;
use super::view::View;

/// The id of the process that a call acts on, as its host has it.
pub(super) fn pid(view: &View<'_>) -> Option<u32> {
    of_number(view)
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

/// The first parameter that is a process id. It is of the caller's PID namespace, and known only in that of the host.
fn of_number(view: &View<'_>) -> Option<u32> {
    let call = view.seen.call?;
    let is_pid = |kind: Kind| matches!(kind, Kind::Number(Number::Pid, _));
    let at = call.params.iter().position(|param| is_pid(param.kind))?;
    let register = call.register(view.event.abi(), at);
    let pid = *view.event.header().args.get(register)? as i32;
    let in_host_namespace = view
        .process()
        .is_none_or(|process| process.vpid.is_none_or(|vpid| vpid == process.pid));
    u32::try_from(pid)
        .ok()
        .filter(|pid| *pid > 0 && in_host_namespace)
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
