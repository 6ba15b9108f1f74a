//! Predicates for the interpreters in the kernel.

use super::{Alternative, Condition, PREDICATES, Plan, RegisterTest};
use crate::event::Abi;
use crate::predicate::{Clause, Outcome, Predicate};
use crate::table::Syscall;

/// The conditions of the plans of a selection. The programs' map has room for two selections: a program that has read a
/// plan of the one before still finds its condition there.
#[derive(Debug)]
pub struct PredicateTable {
    /// The index of the first one. Index 0 is that of no condition.
    first: u32,
    conditions: Vec<Condition>,
}

/// How many conditions a selection can have.
const HALF: usize = PREDICATES / 2;

impl PredicateTable {
    /// For the first, second, ... selection of a capture.
    #[must_use]
    pub fn new(selection: u64) -> Self {
        Self {
            first: if selection.is_multiple_of(2) {
                1
            } else {
                HALF as u32
            },
            conditions: Vec::new(),
        }
    }

    /// The conditions by their indices. They are to be written before the plans.
    pub fn entries(&self) -> impl Iterator<Item = (u32, Condition)> + '_ {
        (self.first..).zip(self.conditions.iter().copied())
    }

    /// Puts a predicate into the plan of a call.
    pub(super) fn put_into(
        &mut self,
        plan: &mut Plan,
        predicate: &Predicate,
        call: &Syscall,
        (abi, nr): (Abi, u32),
    ) {
        if predicate.is_always() {
            return;
        }
        let taken = |clause: &Clause| in_the_kernel(clause.outcome).bits();
        let all = predicate.clauses().fold(0, |all, one| all | taken(one));
        plan.rejected = Outcome::FINISHED.bits() & !all;
        let mut condition = Condition::default();
        let places = condition.alternative.iter_mut();
        for (place, clause) in places.zip(predicate.clauses()) {
            *place = alternative(clause, call, abi, nr);
        }
        let tests = |one: &Alternative| one.test.iter().any(|test| test.mask != [0; 6]);
        let without_test = condition
            .alternative
            .iter()
            .any(|one| one.outcome == u64::from(all) && !tests(one));
        if !without_test && condition.alternative.iter().any(tests) {
            plan.predicate = self.index(condition);
        }
    }

    /// The index of a condition; 0 if there is no room for another one.
    fn index(&mut self, condition: Condition) -> u16 {
        let known = self.conditions.iter().position(|known| *known == condition);
        let at = known.unwrap_or_else(|| {
            // the first half lacks index 0
            if self.conditions.len() < HALF - 1 {
                self.conditions.push(condition);
                self.conditions.len() - 1
            } else {
                HALF
            }
        });
        if at == HALF {
            0
        } else {
            (self.first as usize + at) as u16
        }
    }
}

/// For which ways of ending the kernel delivers the events of a clause. If it wants calls that a signal interrupts, these
/// are all: the programs deliver a call that may be made again as interrupted, and what ends it must follow. The reader of
/// the events leaves out the others ([`Selection::is_for_the_reader`](crate::selection::Selection::is_for_the_reader)).
pub(crate) fn in_the_kernel(outcome: Outcome) -> Outcome {
    if outcome.covers(Outcome::OTHER_ERROR) {
        Outcome::FINISHED
    } else {
        outcome
    }
}

fn alternative(clause: &Clause, call: &Syscall, abi: Abi, nr: u32) -> Alternative {
    let unused = RegisterTest {
        equal: 1,
        ..RegisterTest::default()
    };
    let mut alternative = Alternative {
        outcome: in_the_kernel(clause.outcome).bits().into(),
        test: [unused; super::TESTS],
    };
    for (place, test) in alternative
        .test
        .iter_mut()
        .zip(clause.tests.iter().flatten())
    {
        if let Some(register) = test.register(call, abi, nr) {
            place.mask[register] = test.mask;
            place.value = test.value;
            place.equal = test.equal.into();
        }
    }
    alternative
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predicate::ArgTest;
    use crate::table::by_name;

    fn plan(table: &mut PredicateTable, name: &str, clauses: &[Clause], abi: Abi) -> Plan {
        let call = by_name(name).unwrap();
        let predicate = Predicate::of(call, clauses).unwrap();
        let mut plan = Plan::default();
        let nr = call.number(abi).unwrap_or(0);
        table.put_into(&mut plan, &predicate, call, (abi, nr));
        plan
    }

    fn writes(outcome: Outcome, value: u64) -> Clause {
        let test = ArgTest {
            param: 2,
            mask: 3,
            value,
            equal: false,
        };
        Clause {
            outcome,
            ..Clause::test(test)
        }
    }

    #[test]
    fn a_result_needs_no_condition_and_equal_conditions_share_one() {
        let mut table = PredicateTable::new(1);
        let ok = plan(
            &mut table,
            "openat",
            &[Clause::of(Outcome::OK)],
            Abi::NATIVE,
        );
        let errors = Outcome::FAILED.bits();
        assert_eq!((ok.rejected, ok.predicate), (errors, 0));
        let refused = [Clause::of(Outcome::OK.or(Outcome::REFUSED))];
        let refused = plan(&mut table, "openat", &refused, Abi::NATIVE);
        assert_eq!(refused.rejected, errors & !Outcome::REFUSED.bits());
        // no call that has ended
        let none = plan(
            &mut table,
            "openat",
            &[Clause::of(Outcome::NONE)],
            Abi::NATIVE,
        );
        assert_eq!(none.rejected, Outcome::FINISHED.bits());
        // an interrupted call may be made again: the reader decides
        let failed = plan(
            &mut table,
            "openat",
            &[Clause::of(Outcome::FAILED)],
            Abi::NATIVE,
        );
        assert_eq!((failed.rejected, failed.predicate), (0, 0));
        let one = plan(&mut table, "openat", &[writes(Outcome::OK, 0)], Abi::NATIVE);
        let same = plan(&mut table, "openat", &[writes(Outcome::OK, 0)], Abi::I386);
        assert_eq!((one.rejected, one.predicate), (errors, HALF as u16));
        assert_eq!(one, same);
        let other = plan(
            &mut table,
            "openat",
            &[writes(Outcome::FAILED, 0)],
            Abi::NATIVE,
        );
        assert_eq!((other.rejected, other.predicate), (0, one.predicate + 1));
        assert_eq!(table.entries().count(), 2);
    }

    #[test]
    fn a_full_table_leaves_conditions_out() {
        for selection in 0..2 {
            let mut table = PredicateTable::new(selection);
            for value in 0..1000 {
                let mut clause = writes(Outcome::OK, 0);
                clause.tests[0] = clause.tests[0].map(|test| ArgTest {
                    mask: 0xffff,
                    value,
                    ..test
                });
                let plan = plan(&mut table, "openat", &[clause], Abi::NATIVE);
                assert_eq!(plan.rejected, Outcome::FAILED.bits());
                assert_eq!(plan.predicate == 0, value as usize >= HALF - 1, "{value}");
            }
            assert!(
                table
                    .entries()
                    .all(|(at, _)| (1..PREDICATES as u32).contains(&at))
            );
        }
    }
}
