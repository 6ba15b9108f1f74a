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

use crate::event::{Abi, Event, EventKind, Flags};
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
        while kept.len() > CLAUSES
            && let Some(fewer) = merged(&kept)
        {
            kept = united(&fewer);
        }
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

    /// What of it can be tested before the call is made: its arguments. It holds whenever the predicate does.
    #[must_use]
    pub fn at_entry(&self, call: &'static Syscall) -> Self {
        let clauses: Vec<Clause> = self
            .clauses()
            .map(|clause| Clause {
                outcome: Outcome::ANY,
                ..*clause
            })
            .collect();
        // they were checked when the predicate was made
        Self::of(call, &clauses).unwrap_or_default()
    }

    /// The tests of registers for a call that is made by this ABI and number, each with the index of its register: of one
    /// of the lists, all tests must hold. None: the predicate may hold whatever the registers have.
    #[must_use]
    pub fn register_tests(
        &self,
        call: &Syscall,
        abi: Abi,
        nr: u32,
    ) -> Option<Vec<Vec<(usize, ArgTest)>>> {
        if self.is_always() || Syscall::made_through(abi, nr).is_some() {
            return None;
        }
        let of_clause = |clause: &Clause| {
            let tests = clause.tests.iter().flatten();
            let tests = tests.filter_map(|test| Some((test.register(call, abi, nr)?, *test)));
            let tests: Vec<(usize, ArgTest)> = tests.collect();
            (!tests.is_empty()).then_some(tests)
        };
        self.clauses().map(of_clause).collect()
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
        if self.is_always() || event.kind() != EventKind::Syscall || event.has(Flags::NORETURN) {
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

/// The most bits by which the values of two clauses may differ that become one.
const MERGED_BITS: u32 = 4;

/// One clause less: the two whose values differ by the fewest bits become one, in which these bits may have any value. None:
/// there are no two that are alike.
fn merged(clauses: &[Clause]) -> Option<Vec<Clause>> {
    let mut best: Option<(u32, usize, usize, ArgTest)> = None;
    for (at, one) in clauses.iter().enumerate() {
        for (behind, other) in clauses.iter().enumerate().skip(at + 1) {
            let ([Some(a), None], [Some(b), None]) = (one.tests, other.tests) else {
                continue;
            };
            let alike = one.outcome == other.outcome && (a.param, a.mask) == (b.param, b.mask);
            if !(alike && a.equal && b.equal) {
                continue;
            }
            let mask = a.mask & !(a.value ^ b.value);
            let bits = (a.mask & !mask).count_ones();
            // of a few bits, too little would be left
            let merges = bits <= MERGED_BITS && a.mask.count_ones() > 2 * MERGED_BITS;
            if merges && best.is_none_or(|(fewest, ..)| bits < fewest) {
                let value = a.value & mask;
                best = Some((bits, at, behind, ArgTest { mask, value, ..a }));
            }
        }
    }
    let (_, at, behind, test) = best?;
    let mut fewer = clauses.to_vec();
    fewer.remove(behind);
    fewer[at].tests[0] = Some(test);
    Some(fewer)
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
#[path = "predicate_tests.rs"]
mod tests;
