//! Arguments and return values of the helpers that the programs use, as of Linux 4.14 (kernel/trace/bpf_trace.c,
//! kernel/bpf/helpers.c).

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    Anything,
    Context,
    Map,
    Key,
    Value,
    /// Memory that the helper reads.
    Memory,
    /// Memory that the helper writes.
    Filled,
    /// The size of the memory in the argument before. It must not be 0.
    Size,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Result {
    Number,
    Nothing,
    /// A map's value or NULL.
    Value,
}

#[derive(Debug)]
pub(crate) struct Helper {
    pub(crate) arguments: &'static [Argument],
    pub(crate) returns: Result,
}

pub(crate) fn helper(number: i32) -> Option<Helper> {
    use Argument::{Anything, Context, Filled, Key, Map, Memory, Size, Value};
    let (arguments, returns): (&'static [Argument], Result) = match number {
        1 => (&[Map, Key], Result::Value),
        2 => (&[Map, Key, Value, Anything], Result::Number),
        3 => (&[Map, Key], Result::Number),
        4 | 45 => (&[Filled, Size, Anything], Result::Number),
        5 | 8 | 14 | 15 | 35 => (&[], Result::Number),
        12 => (&[Context, Map, Anything], Result::Nothing),
        16 => (&[Filled, Size], Result::Number),
        25 => (&[Context, Map, Anything, Memory, Size], Result::Number),
        _ => return None,
    };
    Some(Helper { arguments, returns })
}
