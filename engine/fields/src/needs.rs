//! What tests of fields say about a call's result and arguments, for drivers, which then leave events out.
//!
//! A row of the list of fields names the function here that knows what a test of the field implies. Each function may say
//! less than it could; then more events are captured than needed. It never says more.

use std::collections::HashMap;

use driver_api::predicate::{ArgTest, Clause, Outcome, Predicate};
use driver_api::table::{Kind, Param, Returns, Syscall};

use inspect::OpenFlags;
use lanner_plugin::{EventNeed, FieldTest, TestRelation};

use super::event::{O_ACCMODE, O_CREAT, O_TMPFILE};
use super::list::FIELDS;
use super::registry::{calls_of_type, split_param};

/// What follows for a call if a test of a field holds. The second argument is the field's own. None: nothing. Empty: it
/// never holds.
pub(super) type Implies = fn(&'static Syscall, Option<&str>, &FieldTest) -> Option<Vec<Clause>>;

const ANY_EXEC: u64 = 0o111;

/// What rules need of events, by event type.
#[derive(Debug)]
pub struct Needs<'a> {
    /// By the index of the call that has given the type its name.
    of_types: HashMap<usize, Vec<&'a EventNeed>>,
}

impl<'a> Needs<'a> {
    /// The needs that a rule plugin has reported.
    #[must_use]
    pub fn new(needs: &'a [EventNeed]) -> Self {
        let mut of_types: HashMap<usize, Vec<&EventNeed>> = HashMap::new();
        for need in needs {
            if let Some(call) = calls_of_type(&need.event_type).next() {
                let of_type = of_types.entry(call.event_type().index()).or_default();
                of_type.push(need);
            }
        }
        Self { of_types }
    }

    /// When an event of a call can matter to the rules.
    #[must_use]
    pub fn predicate(&self, call: &'static Syscall) -> Predicate {
        let Some(needs) = self.of_types.get(&call.event_type().index()) else {
            return Predicate::ALWAYS;
        };
        let clauses: Vec<Clause> = needs.iter().flat_map(|need| clauses(call, need)).collect();
        // no need can hold: that is odd, so nothing is left out
        Predicate::of(call, &clauses).unwrap_or_default()
    }
}

/// What follows for a call if all tests of a need hold.
fn clauses(call: &'static Syscall, need: &EventNeed) -> Vec<Clause> {
    let mut all = vec![Clause::default()];
    for test in &need.tests {
        let (name, arg) = match test.field.strip_suffix(']').and_then(|f| f.split_once('[')) {
            Some((name, arg)) => (name, Some(arg)),
            None => split_param(&test.field, None),
        };
        let field = FIELDS.iter().find(|field| field.name == name);
        let implied = field.and_then(|field| field.implies?(call, arg, test));
        if let Some(implied) = implied {
            let pairs = all
                .iter()
                .flat_map(|left| implied.iter().filter_map(|right| left.and(right)));
            all = pairs.collect();
        }
    }
    all
}

/// A value that a test is tried with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried<'a> {
    Bool(bool),
    Number(i128),
    Text(&'a str),
}

/// Whether a test holds for a value.
fn holds(test: &FieldTest, value: Tried<'_>) -> bool {
    let compare = |constant: &String| match value {
        Tried::Bool(value) => Some(value.cmp(&constant.parse().ok()?)),
        Tried::Number(value) => Some(value.cmp(&constant.parse().ok()?)),
        Tried::Text(value) => Some(value.cmp(constant)),
    };
    let mut orders = test.constants.iter().map(compare);
    let held = match test.relation {
        TestRelation::Equal => orders.any(|order| order.is_some_and(|order| order.is_eq())),
        TestRelation::Unequal => !orders.any(|order| order.is_none_or(|order| order.is_eq())),
        TestRelation::Less => orders.all(|order| order.is_some_and(|order| order.is_lt())),
        TestRelation::LessOrEqual => orders.all(|order| order.is_some_and(|order| order.is_le())),
        TestRelation::Greater => orders.all(|order| order.is_some_and(|order| order.is_gt())),
        TestRelation::GreaterOrEqual => {
            orders.all(|order| order.is_some_and(|order| order.is_ge()))
        }
        TestRelation::Exists => true,
    };
    held != test.negated
}

/// Whether all constants are whole numbers. Others, such as `1.5`, are left to the rules.
fn has_numbers(test: &FieldTest) -> bool {
    let mut constants = test.constants.iter();
    constants.all(|constant| constant.parse::<i128>().is_ok())
}

/// What follows if a test can hold for these ways of ending.
fn ends(outcome: Outcome) -> Option<Vec<Clause>> {
    match outcome {
        Outcome::ANY => None,
        Outcome::NONE => Some(Vec::new()),
        some => Some(vec![Clause::of(some)]),
    }
}

/// The same for a test of a field that has a value if and only if the event says how the call ended.
fn result_ends(
    call: &'static Syscall,
    test: &FieldTest,
    can_hold: impl Fn(Outcome, &[u16]) -> bool,
) -> Option<Vec<Clause>> {
    // there is never a value
    if call.returns == Returns::None {
        return None;
    }
    // without a value, no comparison holds
    let without = if test.negated {
        Outcome::UNFINISHED
    } else {
        Outcome::NONE
    };
    let ways = Outcome::WAYS.iter();
    let held = ways.filter(|(way, errors)| can_hold(*way, errors));
    ends(held.fold(without, |all, (way, _)| all.or(*way)))
}

/// `evt.failed`
pub(super) fn failed(
    call: &'static Syscall,
    _: Option<&str>,
    test: &FieldTest,
) -> Option<Vec<Clause>> {
    result_ends(call, test, |way, _| {
        holds(test, Tried::Bool(way != Outcome::OK))
    })
}

/// `evt.res`: `SUCCESS`, or the name of an error.
pub(super) fn result(
    call: &'static Syscall,
    _: Option<&str>,
    test: &FieldTest,
) -> Option<Vec<Clause>> {
    if !matches!(
        test.relation,
        TestRelation::Equal | TestRelation::Unequal | TestRelation::Exists
    ) {
        return None;
    }
    let is = |text: &str| holds(test, Tried::Text(text));
    let named = |errno: &u16| decode::errno::name(u32::from(*errno));
    let known: Vec<&str> = Outcome::WAYS
        .iter()
        .flat_map(|(_, errors)| errors.iter().filter_map(named))
        .collect();
    result_ends(call, test, |way, errors| match way {
        Outcome::OK => is("SUCCESS"),
        // an error that no constant names, and those that constants name
        Outcome::OTHER_ERROR => {
            let mut others = test.constants.iter().map(String::as_str);
            is("") || others.any(|text| text != "SUCCESS" && !known.contains(&text) && is(text))
        }
        _ => errors.iter().any(|errno| named(errno).is_none_or(is)),
    })
}

/// Whether a test can hold for a number in one of these ranges. What a test says changes at its constants alone.
fn can_hold(test: &FieldTest, ranges: &[(i128, i128)]) -> bool {
    let constants = test
        .constants
        .iter()
        .filter_map(|text| text.parse::<i128>().ok());
    let mut tried: Vec<i128> = ranges
        .iter()
        .flat_map(|(first, last)| [*first, *last])
        .collect();
    for constant in constants {
        tried.extend((-1..=1).filter_map(|more| constant.checked_add(more)));
    }
    let within = |number: i128| ranges.iter().any(|(a, b)| (*a..=*b).contains(&number));
    tried
        .iter()
        .any(|number| within(*number) && holds(test, Tried::Number(*number)))
}

/// The results of a call that has ended in this way.
fn results(way: Outcome, errors: &[u16]) -> Vec<(i128, i128)> {
    match way {
        Outcome::OK => vec![(i64::MIN.into(), -4096), (0, i64::MAX.into())],
        Outcome::OTHER_ERROR => {
            let ways = Outcome::WAYS.iter();
            let mut known: Vec<i128> = ways
                .flat_map(|(_, errors)| errors.iter().map(|errno| -i128::from(*errno)))
                .collect();
            known.extend([-4096, 0]);
            known.sort_unstable();
            let gaps = known.windows(2).map(|pair| (pair[0] + 1, pair[1] - 1));
            gaps.filter(|(first, last)| first <= last).collect()
        }
        _ => {
            let single = errors.iter().map(|errno| -i128::from(*errno));
            single.map(|result| (result, result)).collect()
        }
    }
}

/// `evt.rawres`
pub(super) fn raw_result(
    call: &'static Syscall,
    _: Option<&str>,
    test: &FieldTest,
) -> Option<Vec<Clause>> {
    has_numbers(test).then_some(())?;
    result_ends(call, test, |way, errors| {
        can_hold(test, &results(way, errors))
    })
}

/// `fd.num` of a call that makes a descriptor: -1 if the call failed.
pub(super) fn descriptor(
    call: &'static Syscall,
    _: Option<&str>,
    test: &FieldTest,
) -> Option<Vec<Clause>> {
    let says = test.relation != TestRelation::Exists && has_numbers(test);
    (call.returns == Returns::Fd && says).then_some(())?;
    // before the call ends, the field may have any value or none
    let outcomes = [
        (Outcome::OK, can_hold(test, &[(-1, i32::MAX.into())])),
        (Outcome::FAILED, can_hold(test, &[(-1, -1)])),
        (Outcome::UNFINISHED, true),
    ];
    let held = outcomes.iter().filter(|(_, held)| *held);
    ends(held.fold(Outcome::NONE, |all, (way, _)| all.or(*way)))
}

/// A test that one of these bits of an argument is set.
fn has_one_of(param: u8, mask: u64) -> ArgTest {
    ArgTest {
        param,
        mask,
        value: 0,
        equal: false,
    }
}

/// What follows if a yes/no field about the flags of an open is true; nothing if it is false.
fn of_open(
    call: &'static Syscall,
    test: &FieldTest,
    when_true: impl FnOnce(u8) -> Option<Clause>,
) -> Option<Vec<Clause>> {
    if test.relation == TestRelation::Exists || holds(test, Tried::Bool(false)) {
        return None;
    }
    match inspect::open_flags(call) {
        Some(OpenFlags::Arg(flags)) => when_true(flags).map(|clause| vec![clause]),
        Some(OpenFlags::At(_) | OpenFlags::Creat) => None,
        None => Some(Vec::new()),
    }
}

/// `evt.is_open_read`: for reading alone, or for reading and writing.
pub(super) fn opens_to_read(
    call: &'static Syscall,
    _: Option<&str>,
    test: &FieldTest,
) -> Option<Vec<Clause>> {
    let reads = |param| ArgTest {
        param,
        mask: 1,
        value: 0,
        equal: true,
    };
    of_open(call, test, |flags| Some(Clause::test(reads(flags))))
}

/// `evt.is_open_write`
pub(super) fn opens_to_write(
    call: &'static Syscall,
    _: Option<&str>,
    test: &FieldTest,
) -> Option<Vec<Clause>> {
    of_open(call, test, |flags| {
        Some(Clause::test(has_one_of(flags, O_ACCMODE)))
    })
}

/// `evt.is_open_create`: the call succeeded.
pub(super) fn opens_to_create(
    call: &'static Syscall,
    _: Option<&str>,
    test: &FieldTest,
) -> Option<Vec<Clause>> {
    of_open(call, test, |flags| {
        let creates = Clause::test(has_one_of(flags, O_CREAT | O_TMPFILE));
        // before the call ends, it says whether the call may create a file
        creates.and(&Clause::of(Outcome::OK.or(Outcome::UNFINISHED)))
    })
}

/// `evt.is_open_exec`
pub(super) fn opens_to_execute(
    call: &'static Syscall,
    _: Option<&str>,
    test: &FieldTest,
) -> Option<Vec<Clause>> {
    of_open(call, test, |flags| {
        let creates = Clause::test(has_one_of(flags, O_CREAT | O_TMPFILE));
        let mode = call.param("mode").and_then(|(at, _)| u8::try_from(at).ok());
        mode.and_then(|mode| creates.and(&Clause::test(has_one_of(mode, ANY_EXEC))))
            .or(Some(creates))
    })
}

/// `evt.rawarg`: flags and values with names.
pub(super) fn argument(
    call: &'static Syscall,
    name: Option<&str>,
    test: &FieldTest,
) -> Option<Vec<Clause>> {
    let (at, param) = call.param(name?)?;
    let at = u8::try_from(at).ok()?;
    // a value that has a meaning only with another one may be missing, and then no comparison holds
    let always = param.only_if.is_none();
    let tests = |equal| {
        let constants = test.constants.iter();
        constants
            .map(move |constant| equals(at, param, constant, equal))
            .collect()
    };
    match (test.relation, test.negated) {
        (TestRelation::Equal, false) => {
            let tests: Option<Vec<ArgTest>> = tests(true);
            Some(tests?.into_iter().map(Clause::test).collect())
        }
        (TestRelation::Unequal, false) => all_of(tests(false)?),
        (TestRelation::Equal, true) if always => all_of(tests(false)?),
        _ => None,
    }
}

fn all_of(tests: Vec<ArgTest>) -> Option<Vec<Clause>> {
    let clauses = tests.into_iter().map(Clause::test);
    let all = clauses.reduce(|all, one| all.and(&one).unwrap_or(all))?;
    Some(vec![all])
}

/// A test for a number. None: the parameter cannot have it, or cannot be tested.
fn equals(at: u8, param: &Param, constant: &str, equal: bool) -> Option<ArgTest> {
    let (Kind::Flags(_, width) | Kind::Enum(_, width)) = param.kind else {
        return None;
    };
    let bytes = width.bytes(false);
    if bytes > 4 || width.bytes(true) != bytes || param.is_pair(true) {
        return None;
    }
    let mask = u64::MAX >> (64 - 8 * bytes);
    let value: u64 = constant.parse().ok()?;
    // without the sign, if there is one
    (value <= mask >> 1).then_some(ArgTest {
        param: at,
        mask,
        value,
        equal,
    })
}

#[cfg(test)]
#[path = "needs_tests.rs"]
mod tests;
