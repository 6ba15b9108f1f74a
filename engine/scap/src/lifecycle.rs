//! The parameters of events that are no calls: the end of a thread, and the delivery of a signal.

use driver_api::event::{Event, EventKind, Flags};
use inspect::{Inspector, Seen};

use super::table::{EventType, Table, What};

/// Falco's type of such an event.
pub(crate) fn event_type(kind: EventKind) -> Option<&'static EventType> {
    let of = |what: What| match kind {
        EventKind::Exit => matches!(what, What::Exit),
        EventKind::Signal => matches!(what, What::Signal),
        EventKind::Syscall | EventKind::Exec | EventKind::Fork | EventKind::Lost => false,
    };
    Table::get().all(of).max_by_key(|kind| kind.params.len())
}

/// A parameter of such an event. None: it is not known.
pub(crate) fn value(
    event: &Event<'_>,
    seen: &Seen,
    inspector: &Inspector,
    name: &str,
) -> Option<i64> {
    let header = event.header();
    // wait(2): the signal is in the low bits, the exit code above
    let status = || (!event.has(Flags::ENTRY)).then_some(header.ret);
    match (event.kind(), name) {
        (EventKind::Exit, "status") => status(),
        (EventKind::Exit, "ret") => Some(status()? >> 8 & 0xff),
        (EventKind::Exit, "sig") => Some(status()? & 0x7f),
        (EventKind::Exit, "core") => Some(status()? >> 7 & 1),
        (EventKind::Exit, "reaper_tid") => Some(inspector.reaper(seen.process?, header.tid).into()),
        (EventKind::Signal, "spid") => i64::try_from(header.args[1]).ok(),
        (EventKind::Signal, "dpid") => Some(header.tid.into()),
        (EventKind::Signal, "sig") => Some((header.args[0] & 0xff).cast_signed()),
        _ => None,
    }
}
