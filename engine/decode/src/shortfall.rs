//! Which parameters' memory was not captured in full.

use driver_api::event::{Event, EventKind, Fact, Flags, Status};
use driver_api::table::{Syscall, Written};

use super::value::{self, Value};
use super::{call, variant};

/// How the memory of a parameter or a fact fell short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// It is cut at a limit.
    Truncated,
    /// It could not be read.
    Incomplete,
}

impl Short {
    /// How memory of this status fell short.
    fn of(status: Status) -> Option<Self> {
        match status {
            Status::Whole => None,
            Status::Truncated => Some(Self::Truncated),
            Status::Fault => Some(Self::Incomplete),
        }
    }

    fn worse(so_far: Option<Self>, status: Status) -> Option<Self> {
        match (so_far, Self::of(status)) {
            (Some(Self::Incomplete), _) | (_, None) => so_far,
            (_, here) => here,
        }
    }
}

/// The parameters and facts whose memory fell short in this way, each with what precedes its name: nothing or `facts.`.
pub fn names<'a>(
    event: &'a Event<'_>,
    which: Short,
) -> impl Iterator<Item = (&'static str, &'static str)> + 'a {
    let is_call = matches!(event.kind(), EventKind::Syscall | EventKind::Exec);
    let params = call(event)
        .filter(|_| is_call)
        .into_iter()
        .flat_map(move |call| {
            let short = move |at: &usize| {
                value::param(event, call, *at)
                    .is_some_and(|value| shortfall(event, call, *at, &value) == Some(which))
            };
            (0..call.params.len())
                .filter(short)
                .map(|at| ("", call.params[at].name))
        });
    let facts = event
        .attachments()
        .filter(move |attached| Short::of(attached.status) == Some(which))
        .filter_map(|attached| Some(("facts.", Fact::from_u8(attached.what)?.name())));
    params.chain(facts)
}

/// Whether and how a parameter's memory fell short.
fn shortfall(event: &Event<'_>, call: &Syscall, at: usize, value: &Value<'_>) -> Option<Short> {
    let written = call.params.get(at).map_or(Written::Always, |param| {
        variant::meaning(event, call, param).written
    });
    let register = call.register(event.abi(), at);
    let here = || {
        event
            .attachments()
            .any(|a| usize::from(a.what) == register && a.status == Status::Whole)
    };
    let mut worst = match value {
        // It was fetched, but is too short for its kind: an address of no bytes.
        Value::Unread(_) if here() => None,
        // The program wrote it, so it could have been read.
        Value::Unread(_) if written == Written::Always => Some(Short::Incomplete),
        // What the kernel has not written, because the call has not returned or has failed, is not missing.
        Value::Unread(_) if event.has(Flags::NO_RESULT) => None,
        Value::Unread(_) if written == Written::Success && event.header().ret >= 0 => {
            Some(Short::Incomplete)
        }
        _ => None,
    };
    let has_memory = !matches!(
        value,
        Value::Unread(_) | Value::Null | Value::Number(_) | Value::Flags(_) | Value::Enum(_)
    );
    if has_memory {
        for attached in event.attachments() {
            if usize::from(attached.what) != register {
                continue;
            }
            worst = Short::worse(worst, attached.status);
        }
    }
    if let Value::Messages(messages) = value
        && (messages.iter().count() as u64) < messages.count
    {
        worst = Short::worse(worst, Status::Truncated);
    }
    // these strings can be a fact's
    if let Value::Strings(strings) = value {
        worst = Short::worse(worst, strings.0.status);
    }
    worst
}
