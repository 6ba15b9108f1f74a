//! How long calls took: `evt.latency` and its relatives.

use lanner_plugin::Value;

use super::event;
use super::view::View;

/// Nanoseconds. Falco has 0 where nothing is known, so that is the value where events have no times at all.
fn known(view: &View<'_>) -> Option<u64> {
    let unasked = || (!view.fields.times).then_some(0);
    view.event.took_ns().or_else(unasked)
}

/// A number that is made of the nanoseconds.
pub(super) fn number<'a>(view: &View<'a>, of: fn(u64) -> u64) -> Value<'a> {
    known(view).map_or(Value::None, |ns| Value::U64(of(ns)))
}

/// The time of a call that waits.
pub(super) fn of_wait<'a>(view: &View<'a>) -> Value<'a> {
    let waits = matches!(event::is_wait(view), Value::Bool(true));
    if waits || !view.fields.times {
        number(view, |ns| ns)
    } else {
        Value::None
    }
}

/// For people, such as `1.23ms`.
pub(super) fn human<'a>(view: &View<'a>) -> Value<'a> {
    known(view).map_or(Value::None, |ns| {
        Value::String(view.scratch.text(|out| super::time::span(out, ns)))
    })
}

/// The power of ten below a time: 3 from a microsecond on, 6 from a millisecond on.
pub(super) fn power_of_ten(ns: u64) -> u64 {
    ns.checked_ilog10().unwrap_or(0).into()
}
