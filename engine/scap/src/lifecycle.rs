//! The parameters of events that are no calls: the end of a thread, and the delivery of a signal.

use driver_api::event::{Event, Flags, Kind};
use inspect::{Inspector, Seen};

use super::table::{EventType, Table, What};

/// Falco's type of such an event.
pub(crate) fn event_type(kind: Kind) -> Option<&'static EventType> {
    let of = |what: What| match kind {
        Kind::Exit => matches!(what, What::Exit),
        Kind::Signal => matches!(what, What::Signal),
        Kind::Syscall | Kind::Exec | Kind::Fork | Kind::Lost => false,
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
        (Kind::Exit, "status") => status(),
        (Kind::Exit, "ret") => Some(status()? >> 8 & 0xff),
        (Kind::Exit, "sig") => Some(status()? & 0x7f),
        (Kind::Exit, "core") => Some(status()? >> 7 & 1),
        (Kind::Exit, "reaper_tid") => Some(inspector.reaper(seen.process?, header.tid).into()),
        (Kind::Signal, "spid") => i64::try_from(header.args[1]).ok(),
        (Kind::Signal, "dpid") => Some(header.tid.into()),
        (Kind::Signal, "sig") => Some((header.args[0] & 0xff).cast_signed()),
        _ => None,
    }
}
