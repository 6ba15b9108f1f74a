//! What must hold of a call's result and arguments for its event to be wanted.
//!
//! Rules want few of the events of a call: half of the opens of a build fail, and no rule may ask for those. A predicate
//! says so to the driver, which then leaves the other events out before it reads a path (clause 23 of the contract in
//! [`driver`](crate::driver)).
//!
//! A predicate is a few [`Clause`]s, and holds if one of them holds. It may always be weaker than the rules, so that it
//! holds for more events than they need: that costs only time. [`Predicate::of`] makes it weaker where it has no room for
//! all clauses, and for calls whose events do not say enough.

use std::fmt;

use crate::event::{Abi, Event, Flags, Kind};
pub use crate::outcome::Outcome;
pub use crate::plan::{CLAUSES, TESTS};
use crate::plan::{Plan, flag};
use crate::request::Limits;
use crate::table::{self, Multiplexed, Param, Returns, Syscall};

/// A test of an argument: some of its bits have a value, or do not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArgTest {
    /// The index of the parameter, which must be a number with a register of its own.
    pub param: u8,
    /// The bits that are compared, within the width of the parameter.
    pub mask: u64,
    /// What they are compared with, within the mask.
    pub value: u64,
    /// Whether the bits must have the value; otherwise they must not have it.
    pub equal: bool,
}

/// An outcome and tests that must hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Clause {
    /// How the call must have ended.
    pub outcome: Outcome,
    /// Tests of its arguments.
    pub tests: [Option<ArgTest>; TESTS],
}

/// When the event of a call is wanted. The default is: always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Predicate {
    /// One of them must hold. There are none if the predicate always holds.
    clauses: [Option<Clause>; CLAUSES],
}

/// Why a predicate cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PredicateError {
    /// The call has no such parameter.
    #[error("{call} has no parameter {param}")]
    NoParameter {
        /// The call.
        call: &'static str,
        /// The index of the parameter.
        param: u8,
    },
    /// The parameter is no number, or takes two registers.
    #[error("parameter {param} of {call} cannot be tested: it is no number in one register")]
    NoNumber {
        /// The call.
        call: &'static str,
        /// The name of the parameter.
        param: &'static str,
    },
    /// The mask has bits that the parameter does not have, or the value has bits that the mask does not have.
    #[error(
        "a test of parameter {param} of {call} has bits that are not there: {mask:#x}, {value:#x}"
    )]
    Bits {
        /// The call.
        call: &'static str,
        /// The name of the parameter.
        param: &'static str,
        /// The mask.
        mask: u64,
        /// The value.
        value: u64,
    },
}

/// What a predicate looks at.
#[derive(Debug, Clone, Copy)]
pub struct Made<'a> {
    /// The ABI of the call.
    pub abi: Abi,
    /// Its number.
    pub nr: u32,
    /// Its six registers.
    pub args: &'a [u64; 6],
    /// What it returned. None: that is not known, so it may be anything.
    pub result: Option<i64>,
}

impl ArgTest {
    fn check(&self, call: &'static Syscall) -> Result<(), PredicateError> {
        let Some(param) = call.params.get(usize::from(self.param)) else {
            return Err(PredicateError::NoParameter {
                call: call.name,
                param: self.param,
            });
        };
        let Some(bits) = bits(param) else {
            return Err(PredicateError::NoNumber {
                call: call.name,
                param: param.name,
            });
        };
        if self.mask & !bits != 0 || self.value & !self.mask != 0 {
            return Err(PredicateError::Bits {
                call: call.name,
                param: param.name,
                mask: self.mask,
                value: self.value,
            });
        }
        Ok(())
    }

    /// The register to test in an ABI. None: the test does not apply there, and holds. That is so where the parameter
    /// has fewer bits than the test, or two registers.
    pub(crate) fn register(&self, call: &Syscall, abi: Abi, nr: u32) -> Option<usize> {
        let at = usize::from(self.param);
        let param = call.params.get(at)?;
        let narrow = table::is_narrow(abi, nr);
        let width = param.kind.width()?;
        let bytes = width.bytes(false);
        if param.is_pair(narrow) || (narrow && (bytes > 4 || bytes > width.bytes(true))) {
            return None;
        }
        Some(call.register(abi, at)).filter(|register| *register < 6)
    }

    fn holds(&self, call: &Syscall, made: &Made<'_>) -> bool {
        self.register(call, made.abi, made.nr)
            .is_none_or(|at| (made.args[at] & self.mask == self.value) == self.equal)
    }
}

/// The bits of a parameter that is a number in one register.
fn bits(param: &Param) -> Option<u64> {
    let width = param.kind.width().filter(|_| !param.is_pair(false))?;
    Some(u64::MAX >> (64 - 8 * width.bytes(false)))
}

impl Clause {
    /// A clause that this outcome fulfils.
    #[must_use]
    pub fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            ..Self::default()
        }
    }

    /// A clause with one test of an argument.
    #[must_use]
    pub fn test(test: ArgTest) -> Self {
        let mut clause = Self::default();
        clause.tests[0] = Some(test);
        clause
    }

    /// What holds if both hold; tests beyond [`TESTS`] are left out. None: both cannot hold.
    #[must_use]
    pub fn and(&self, other: &Self) -> Option<Self> {
        let mut both = Self {
            outcome: self.outcome.and(other.outcome)?,
            tests: self.tests,
        };
        for test in other.tests.iter().flatten() {
            if !both.tests.contains(&Some(*test))
                && let Some(free) = both.tests.iter_mut().find(|test| test.is_none())
            {
                *free = Some(*test);
            }
        }
        both.tests
            .sort_unstable_by_key(|test| (test.is_none(), *test));
        Some(both)
    }

    /// Whether it holds for every event for which the other clause holds.
    fn covers(&self, other: &Self) -> bool {
        let mut tests = self.tests.iter().flatten();
        self.outcome.covers(other.outcome) && tests.all(|test| other.tests.contains(&Some(*test)))
    }

    fn holds(&self, call: &Syscall, made: &Made<'_>) -> bool {
        let mut tests = self.tests.iter().flatten();
        self.outcome.holds(made.result) && tests.all(|test| test.holds(call, made))
    }
}

impl Predicate {
    /// Every event is wanted.
    pub const ALWAYS: Self = Self {
        clauses: [None; CLAUSES],
    };

    /// Holds if one of the clauses holds. It is weaker where there are too many clauses, or where the call does not
    /// allow the test: see [`is_testable`]. Without clauses, it always holds.
    ///
    /// # Errors
    ///
    /// A test is about something that the call does not have.
    pub fn of(call: &'static Syscall, clauses: &[Clause]) -> Result<Self, PredicateError> {
        for test in clauses.iter().flat_map(|clause| clause.tests).flatten() {
            test.check(call)?;
        }
        if !is_testable(call) {
            return Ok(Self::ALWAYS);
        }
        let clauses: Vec<Clause> = clauses
            .iter()
            .map(|clause| Clause {
                outcome: told_apart(clause.outcome, call.returns),
                ..*clause
            })
            .collect();
        let mut kept = united(&clauses);
        if kept.len() > CLAUSES {
            let outcomes: Vec<Clause> = kept.iter().map(|one| Clause::of(one.outcome)).collect();
            kept = united(&outcomes);
        }
        if kept.contains(&Clause::default()) {
            return Ok(Self::ALWAYS);
        }
        let mut predicate = Self::ALWAYS;
        for (place, clause) in predicate.clauses.iter_mut().zip(kept) {
            *place = Some(clause);
        }
        Ok(predicate)
    }

    /// Whether it holds for every event.
    #[must_use]
    pub fn is_always(&self) -> bool {
        self.clauses[0].is_none()
    }

    /// The clauses: one of them must hold. There are none if it always holds.
    pub fn clauses(&self) -> impl Iterator<Item = &Clause> {
        self.clauses.iter().flatten()
    }

    /// Whether it depends on arguments.
    #[must_use]
    pub fn tests_arguments(&self) -> bool {
        self.clauses().any(|clause| clause.tests[0].is_some())
    }

    /// Holds if either predicate holds for this call.
    #[must_use]
    pub fn or(&self, other: &Self, call: &'static Syscall) -> Self {
        if self.is_always() || other.is_always() {
            return Self::ALWAYS;
        }
        let clauses: Vec<Clause> = self.clauses().chain(other.clauses()).copied().collect();
        // both were checked when they were made
        Self::of(call, &clauses).unwrap_or_default()
    }

    /// Whether it holds for a call that was made, as far as that is known.
    #[must_use]
    pub fn holds(&self, call: &Syscall, made: &Made<'_>) -> bool {
        self.is_always()
            || made.abi == Abi::IoUring
            || Syscall::made_through(made.abi, made.nr).is_some()
            || self.clauses().any(|clause| clause.holds(call, made))
    }

    /// Whether it holds for an event of the call. It does where the event does not say enough.
    #[must_use]
    pub fn holds_for(&self, call: &Syscall, event: &Event<'_>) -> bool {
        if self.is_always() || event.kind() != Kind::Syscall || event.has(Flags::NORETURN) {
            return true;
        }
        let header = event.header();
        let made = Made {
            abi: event.abi(),
            nr: header.nr,
            args: &header.args,
            result: (!event.has(Flags::ENTRY)).then_some(header.ret),
        };
        if (0..6).any(|register| event.lacks(register)) {
            let known = |clause: &Clause| clause.outcome.holds(made.result);
            return self.clauses().any(known);
        }
        self.holds(call, &made)
    }
}

/// The ways of ending among these that the events of a call tell apart. Whether there is a result does not count: without
/// one, every outcome holds.
fn told_apart(outcome: Outcome, returns: Returns) -> Outcome {
    match outcome.and(Outcome::FINISHED) {
        None => Outcome::NONE,
        // an error in 32 bits, whose sign the kernel may not have extended
        Some(_) if returns == Returns::Int => Outcome::ANY,
        Some(Outcome::FINISHED) => Outcome::ANY,
        Some(finished) => finished,
    }
}

/// The clauses, those with the same tests as one and without those that another one covers, in a fixed order.
fn united(clauses: &[Clause]) -> Vec<Clause> {
    let mut all: Vec<Clause> = Vec::new();
    for clause in clauses {
        match all.iter_mut().find(|one| one.tests == clause.tests) {
            Some(one) => one.outcome = one.outcome.or(clause.outcome),
            None => all.push(*clause),
        }
    }
    for one in &mut all {
        if one.outcome.covers(Outcome::FINISHED) {
            one.outcome = Outcome::ANY;
        }
    }
    all.sort_unstable();
    let covered = |clause: &Clause| all.iter().any(|one| one != clause && one.covers(clause));
    all.iter()
        .filter(|clause| !covered(clause))
        .copied()
        .collect()
}

/// Whether a predicate can leave out events of a call. It cannot for
///
/// - calls that do not return;
/// - exec and the clone family, which have events of their own;
/// - calls through which programs make other calls;
/// - operations of io_uring, whose results come later.
#[must_use]
pub fn is_testable(call: &Syscall) -> bool {
    let special = flag::NORETURN | flag::CHILD | flag::EXEC;
    let plan = Plan::of(call, Abi::NATIVE, 0, &Limits::default());
    let mut made = Multiplexed::all().iter();
    plan.flags & special == 0
        && !call.is_unknown()
        && !call.is_operation()
        && !made.any(|one| std::ptr::eq(one.through(), call))
}

/// As a person reads it, with the names of the call's parameters.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a>(pub &'a Predicate, pub &'a Syscall);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(predicate, call) = self;
        if predicate.is_always() {
            return f.write_str("always");
        }
        for (at, clause) in predicate.clauses().enumerate() {
            if at > 0 {
                f.write_str(", or ")?;
            }
            let outcome = clause.outcome.to_string();
            let with_tests = outcome.contains(" or ") && clause.tests[0].is_some();
            let mut said = match (outcome.is_empty(), with_tests) {
                (true, _) => Vec::new(),
                (false, true) => vec![format!("({outcome})")],
                (false, false) => vec![outcome],
            };
            for test in clause.tests.iter().flatten() {
                let param = call.params.get(usize::from(test.param));
                let name = param.map_or("?", |param| param.name);
                let equal = if test.equal { "==" } else { "!=" };
                let ArgTest { mask, value, .. } = test;
                said.push(format!("{name} & {mask:#x} {equal} {value:#x}"));
            }
            f.write_str(&said.join(" and "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::by_name;

    fn call(name: &str) -> &'static Syscall {
        by_name(name).unwrap()
    }

    fn flags(mask: u64, value: u64, equal: bool) -> ArgTest {
        ArgTest {
            param: 2,
            mask,
            value,
            equal,
        }
    }

    fn holds(predicate: &Predicate, args: [u64; 6], result: Option<i64>) -> bool {
        let made = Made {
            abi: Abi::NATIVE,
            nr: 0,
            args: &args,
            result,
        };
        predicate.holds(call("openat"), &made)
    }

    #[test]
    fn one_clause_must_hold_with_all_of_its_tests() {
        let writes = Clause {
            outcome: Outcome::OK,
            tests: [Some(flags(3, 0, false)), Some(flags(0o100, 0o100, true))],
        };
        let clauses = [writes, Clause::test(flags(0o2000, 0o2000, true))];
        let predicate = Predicate::of(call("openat"), &clauses).unwrap();
        for (value, result, expected) in [
            (0o101, Some(3), true),
            (0o101, Some(-2), false),
            (0o101, None, true),
            (0o100, Some(3), false),
            (0o1, Some(3), false),
            (0o2000, Some(-2), true),
            (0, Some(3), false),
        ] {
            // what is above the width of the parameter does not count
            for upper in [0, 0xffff_ffff << 32] {
                let args = [0, 0, value | upper, 0, 0, 0];
                let held = holds(&predicate, args, result);
                assert_eq!(held, expected, "{value:o} {result:?}");
            }
        }
    }

    #[test]
    fn more_than_fits_becomes_weaker() {
        let of = |clauses: &[Clause]| Predicate::of(call("openat"), clauses).unwrap();
        let many: Vec<Clause> = (0..5)
            .map(|bit| Clause {
                outcome: Outcome::OK,
                tests: [Some(flags(1 << bit, 0, true)), None],
            })
            .collect();
        assert_eq!(of(&many[..4]).clauses().count(), 4);
        assert_eq!(of(&many), of(&[Clause::of(Outcome::OK)]));
        let mut any = many.clone();
        any[0].outcome = Outcome::FAILED;
        assert!(of(&any).is_always());
        assert!(of(&[Clause::of(Outcome::OK), Clause::of(Outcome::FAILED)]).is_always());
        assert!(of(&[Clause::of(Outcome::OK), Clause::default()]).is_always());
        assert_eq!(of(&[many[0], Clause::of(Outcome::OK)]).clauses().count(), 1);
        assert!(of(&[]).is_always());
    }

    #[test]
    fn clauses_with_the_same_tests_become_one() {
        let of = |clauses: &[Clause]| Predicate::of(call("openat"), clauses).unwrap();
        let outcomes = [Outcome::OK, Outcome::REFUSED, Outcome::UNFINISHED].map(Clause::of);
        let predicate = of(&outcomes);
        assert_eq!(
            predicate,
            of(&[Clause::of(Outcome::OK.or(Outcome::REFUSED))])
        );
        for (result, expected) in [
            (Some(3), true),
            (Some(-13), true),
            (Some(-2), false),
            (Some(-4), false),
            (None, true),
        ] {
            assert_eq!(holds(&predicate, [0; 6], result), expected, "{result:?}");
        }
        // events without a result are wanted with a flag alone
        let unfinished = Clause {
            outcome: Outcome::UNFINISHED,
            ..Clause::test(flags(1, 1, true))
        };
        let written = Clause {
            outcome: Outcome::OK,
            ..Clause::test(flags(2, 2, true))
        };
        let predicate = of(&[unfinished, written]);
        for (flags, result, expected) in [
            (1, None, true),
            (1, Some(3), false),
            (1, Some(-2), false),
            (2, Some(3), true),
            (2, Some(-2), false),
            (4, None, false),
        ] {
            let held = holds(&predicate, [0, 0, flags, 0, 0, 0], result);
            assert_eq!(held, expected, "{flags} {result:?}");
        }
    }

    #[test]
    fn calls_whose_events_do_not_say_enough_are_always_wanted() {
        for name in ["exit", "execve", "clone", "fork", "socketcall", "unknown"] {
            let predicate = Predicate::of(call(name), &[Clause::of(Outcome::OK)]).unwrap();
            assert!(predicate.is_always(), "{name}");
        }
        let int = Predicate::of(call("modify_ldt"), &[Clause::of(Outcome::OK)]).unwrap();
        assert!(int.is_always());
        let openat = Predicate::of(call("openat"), &[Clause::of(Outcome::OK)]).unwrap();
        assert!(!openat.is_always() && !holds(&openat, [0; 6], Some(-2)));
        let submitted = Made {
            abi: Abi::IoUring,
            nr: 18,
            args: &[0; 6],
            result: Some(-2),
        };
        assert!(openat.holds(call("openat"), &submitted));
    }

    #[test]
    fn a_test_must_fit_the_call() {
        let of = |test| Predicate::of(call("openat"), &[Clause::test(test)]);
        assert!(of(flags(u64::from(u32::MAX), 7, true)).is_ok());
        assert!(matches!(
            of(flags(1 << 32, 0, true)),
            Err(PredicateError::Bits { .. })
        ));
        assert!(matches!(
            of(flags(1, 2, true)),
            Err(PredicateError::Bits { .. })
        ));
        let path = ArgTest {
            param: 1,
            ..flags(1, 1, true)
        };
        assert!(matches!(of(path), Err(PredicateError::NoNumber { .. })));
        let none = ArgTest {
            param: 5,
            ..flags(1, 1, true)
        };
        assert!(matches!(of(none), Err(PredicateError::NoParameter { .. })));
    }

    #[test]
    fn a_number_of_64_bits_is_not_tested_where_registers_have_32() {
        let length = ArgTest {
            param: 2,
            mask: u64::MAX,
            value: u64::MAX,
            equal: true,
        };
        assert_eq!(length.register(call("read"), Abi::NATIVE, 0), Some(2));
        assert_eq!(length.register(call("read"), Abi::I386, 3), None);
        let flags = flags(3, 0, true);
        assert_eq!(flags.register(call("openat"), Abi::I386, 295), Some(2));
    }

    #[test]
    fn it_can_be_read() {
        let clauses = [
            Clause {
                outcome: Outcome::OK,
                tests: [Some(flags(3, 0, false)), None],
            },
            Clause::of(Outcome::FAILED),
        ];
        let predicate = Predicate::of(call("openat"), &clauses).unwrap();
        let shown = Shown(&predicate, call("openat")).to_string();
        assert_eq!(shown, "no error and flags & 0x3 != 0x0, or an error");
    }
}
