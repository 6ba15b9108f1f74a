//! Predicates: what holds, what is united, and how they read.

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
fn of_too_many_values_those_that_are_most_alike_become_one() {
    let ioctl = call("ioctl");
    let value = |value| {
        Clause::test(ArgTest {
            param: 1,
            mask: 0xffff_ffff,
            value,
            equal: true,
        })
    };
    let five = [0x8901, 0x8902, 0x540e, 0x5422, 0x4018_2103].map(value);
    let predicate = Predicate::of(ioctl, &five).unwrap();
    let wants = |request| {
        let made = Made {
            abi: Abi::NATIVE,
            nr: ioctl.number(Abi::NATIVE).unwrap(),
            args: &[0, request, 0, 0, 0, 0],
            result: Some(0),
        };
        predicate.holds(ioctl, &made)
    };
    for request in [0x8901, 0x8902, 0x540e, 0x5422, 0x4018_2103] {
        assert!(wants(request), "{request:#x}");
    }
    // the first two are alike, and two bits of them may now have any value
    assert!(wants(0x8900) && wants(0x8903));
    assert!(!wants(0x8904) && !wants(0x5401) && !wants(0x540f));
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
