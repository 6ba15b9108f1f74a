//! The value of a parameter's register, and what the parameter is in this call.

use driver_api::event::{Abi, Event};
use driver_api::table::{self, Kind, Meaning, Number, Param, Syscall};

/// The value in a parameter's register, or in its two registers.
pub(super) fn raw(event: &Event<'_>, call: &Syscall, at: usize) -> u64 {
    let abi = event.abi();
    let register = call.register(abi, at);
    let args = &event.header().args;
    let value = |at: usize| args.get(at).copied().unwrap_or_default();
    let narrow = matches!(abi, Abi::I386 | Abi::Arm);
    let param = call.params.get(at);
    if narrow && param.is_some_and(|p| p.is_pair(true)) {
        let (first, second) = (value(register), value(register + 1));
        let high_first = matches!(
            param.map(|p| p.kind),
            Some(Kind::Number(Number::HighLow, _))
        );
        let (low, high) = if high_first {
            (second, first)
        } else {
            (first, second)
        };
        low & 0xffff_ffff | high << 32
    } else {
        value(register)
    }
}

/// What a parameter is in this event.
pub(super) fn meaning(event: &Event<'_>, call: &Syscall, param: &Param) -> Meaning {
    let mut meaning = Meaning {
        kind: param.kind,
        written: param.written,
    };
    // a variant can choose another variant; the table has short chains
    for _ in 0..4 {
        let Kind::By(variant, selectors) = meaning.kind else {
            break;
        };
        let value = |at: usize| match selectors.get(at) {
            Some(of) => selector(event, call, usize::from(*of)),
            None => Some(0),
        };
        meaning = match (value(0), value(1)) {
            (Some(first), Some(second)) => variant.meaning(first, second),
            _ => variant.other,
        };
    }
    meaning
}

/// The value of a selector. None: it is so large that no variant lists it.
fn selector(event: &Event<'_>, call: &Syscall, at: usize) -> Option<u32> {
    let value = raw(event, call, at);
    let width = call.params.get(at).and_then(|param| param.kind.width());
    match width.map(|width| width.bytes(is_narrow(event))) {
        Some(8) => u32::try_from(value).ok(),
        _ => u32::try_from(value & 0xffff_ffff).ok(),
    }
}

/// Whether the memory of this call has 32-bit pointers.
pub(super) fn is_narrow(event: &Event<'_>) -> bool {
    table::is_narrow(event.abi(), event.header().nr)
}

/// The index of its structures' layouts.
pub(super) fn layout(event: &Event<'_>) -> usize {
    table::layout(event.abi(), event.header().nr)
}
