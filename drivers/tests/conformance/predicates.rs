//! Clause 23: the events of a call that its predicate leaves out.
//!
//! The actor makes a few calls of one sort, with and without success, with and without a flag, natively and, where the
//! kernel runs such calls, as a 32-bit program would.

use std::fs::File;
use std::os::fd::AsRawFd;

use driver_api::event::{Abi, Kind};
use driver_api::predicate::{ArgTest, Clause, Outcome as Ended, Predicate};
use driver_api::request::Target;
use driver_api::selection::Selection;
use driver_api::table::by_name;

use crate::Case;
use crate::stage::{Kept, Outcome, Stage, actor, check, named, request, same, to_the_end, until};

pub(crate) const CASES: &[Case] = &[
    (
        &[23],
        "an event is delivered if and only if the predicate holds",
        delivered,
    ),
    (&[17, 23], "a predicate can be replaced", replaced),
];

const CALL: &str = "dup3";
/// The first of the descriptors that the actor asks for. Each call has one of its own.
const FIRST: u64 = 200;
const CLOEXEC: u64 = libc::O_CLOEXEC as u64;

/// The scene: dup3(2) of a good and of a bad descriptor, without and with a flag.
pub(crate) fn act(rounds: &str) {
    let file = File::open("/dev/null").expect("/dev/null can be opened");
    let good = file.as_raw_fd().cast_unsigned();
    for _ in 0..rounds.parse().unwrap_or(1) {
        for at in 0..4 {
            let old = if at & 1 == 0 { good } else { 999 };
            let flags = if at & 2 == 0 { 0 } else { CLOEXEC as u32 };
            // SAFETY: the call makes a descriptor that nothing else uses, or none.
            unsafe { libc::syscall(libc::SYS_dup3, old, FIRST as u32 + at, flags) };
            narrow(old, FIRST as u32 + 8 + at, flags);
        }
    }
}

/// The same call as a 32-bit program makes it. A kernel without such calls kills the child.
#[cfg(target_arch = "x86_64")]
fn narrow(old: u32, new: u32, flags: u32) {
    let nr = by_name(CALL).and_then(|call| call.number(Abi::I386));
    let nr = u64::from(nr.expect("the call has a number"));
    // SAFETY: the child makes two calls and ends; the registers that the compiler reserves are restored.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            std::arch::asm!(
                "push rbx", "mov ebx, r15d", "int 0x80", "pop rbx",
                inout("rax") nr => _, in("r15") u64::from(old), inout("rcx") u64::from(new) => _,
                inout("rdx") u64::from(flags) => _,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
            libc::_exit(0);
        }
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn narrow(_: u32, _: u32, _: u32) {}

/// What the actor's calls are known by: the descriptor they ask for, whether they have failed, and the flag.
type Seen = (u64, bool, bool);

fn seen(events: &[Kept]) -> Vec<Seen> {
    let calls = named(events, CALL).map(|event| {
        let header = event.header();
        let [_, new, flags, ..] = header.args;
        (new, (-4095..0).contains(&header.ret), flags & CLOEXEC != 0)
    });
    let ours = |call: &Seen| (FIRST..FIRST + 16).contains(&call.0);
    let mut calls: Vec<Seen> = calls.filter(ours).collect();
    calls.sort_unstable();
    calls
}

fn argument(param: u8, mask: u64, value: u64, equal: bool) -> ArgTest {
    ArgTest {
        param,
        mask,
        value,
        equal,
    }
}

fn clause(outcome: Ended, tests: [Option<ArgTest>; 2]) -> Clause {
    Clause { outcome, tests }
}

fn selection(clauses: &[Clause]) -> Result<Selection, String> {
    let call = by_name(CALL).ok_or("the table has no such call")?;
    let predicate = Predicate::of(call, clauses).map_err(crate::stage::said)?;
    let mut selection = Selection::default();
    selection.add(call, &predicate);
    Ok(selection)
}

fn watch(stage: &Stage, selection: Selection) -> Result<Vec<Seen>, String> {
    let mut request = request(Target::Command(actor("predicates", &["1"])), &[]);
    request.selection = selection;
    let mut capture = stage.must_open(&request)?;
    let (events, status) = to_the_end(capture.as_mut())?;
    same("status", &status, &Some(0))?;
    let lost = events.iter().filter(|event| event.kind() == Kind::Lost);
    same("losses", &lost.count(), &0)?;
    same(
        "counted losses",
        &capture.stats().lost.iter().sum::<u64>(),
        &0,
    )?;
    Ok(seen(&events))
}

fn delivered(stage: &Stage) -> Outcome {
    let flag = |equal| argument(2, CLOEXEC, CLOEXEC, equal);
    let new = |value| argument(1, 0xffff_ffff, FIRST + value, true);
    let none = [None, None];
    type Expected = fn(&Seen) -> bool;
    let cases: [(&str, Vec<Clause>, Expected); 7] = [
        (
            "no error",
            vec![clause(Ended::Ok, none)],
            |(_, failed, _)| !failed,
        ),
        (
            "an error",
            vec![clause(Ended::Failed, none)],
            |(_, failed, _)| *failed,
        ),
        (
            "bits",
            vec![clause(Ended::Any, [Some(flag(true)), None])],
            |(_, _, flag)| *flag,
        ),
        (
            "no bits, and no error",
            vec![clause(Ended::Ok, [Some(flag(false)), None])],
            |(_, failed, flag)| !failed && !flag,
        ),
        (
            "two clauses",
            vec![
                clause(Ended::Ok, [Some(flag(true)), None]),
                clause(Ended::Failed, [Some(flag(false)), None]),
            ],
            |(_, failed, flag)| failed != flag,
        ),
        (
            "four clauses",
            [0, 3, 9, 10]
                .map(|at| clause(Ended::Any, [Some(new(at)), None]))
                .to_vec(),
            |(new, ..)| [0, 3, 9, 10].contains(&(new - FIRST)),
        ),
        (
            "two tests",
            vec![clause(
                Ended::Any,
                [
                    Some(argument(1, 1, 1, true)),
                    Some(argument(1, 2, 2, false)),
                ],
            )],
            |(new, ..)| new & 1 == 1 && new & 2 == 0,
        ),
    ];
    let all = watch(stage, Selection::from(crate::stage::calls(&[CALL])))?;
    check(all.len() >= 4, || format!("{} calls", all.len()))?;
    for (name, clauses, expected) in cases {
        let found = watch(stage, selection(&clauses)?)?;
        let expected: Vec<Seen> = if stage.entry_only() {
            // an outcome that is not known holds
            let tests = clauses.iter().map(|clause| Clause {
                outcome: Ended::Any,
                ..*clause
            });
            let tests: Vec<Clause> = tests.collect();
            all.iter()
                .filter(|call| holds(&tests, call))
                .copied()
                .collect()
        } else {
            all.iter().filter(|call| expected(call)).copied().collect()
        };
        same(name, &found, &expected)?;
    }
    Ok((all.len() == 4).then(|| "no 32-bit calls".to_owned()))
}

/// Whether the tests of a clause hold, for events without a result.
fn holds(clauses: &[Clause], (new, _, flag): &Seen) -> bool {
    let value = |param| match param {
        1 => *new,
        _ => u64::from(*flag) * CLOEXEC,
    };
    let test = |test: &ArgTest| (value(test.param) & test.mask == test.value) == test.equal;
    clauses
        .iter()
        .any(|clause| clause.tests.iter().flatten().all(test))
}

fn replaced(stage: &Stage) -> Outcome {
    let test = |equal| {
        clause(
            Ended::Any,
            [Some(argument(2, CLOEXEC, CLOEXEC, equal)), None],
        )
    };
    let mut request = request(Target::Command(actor("predicates", &["50"])), &[]);
    request.selection = selection(&[test(true)])?;
    let mut capture = stage.must_open(&request)?;
    let mut events = Vec::new();
    let ended = until(capture.as_mut(), &mut events, |events| {
        !seen(events).is_empty()
    })?;
    check(ended.is_none(), || "the actor ended too early".to_owned())?;
    check(seen(&events).iter().all(|(_, _, flag)| *flag), || {
        format!("{:?}", seen(&events))
    })?;
    // wider, and narrow again: what both selections have is never left out
    let before = seen(&events).len();
    capture
        .select(&Selection::from(crate::stage::calls(&[CALL])))
        .map_err(crate::stage::said)?;
    capture
        .select(&selection(&[test(true)])?)
        .map_err(crate::stage::said)?;
    let (rest, _) = to_the_end(capture.as_mut())?;
    let all = seen(&rest);
    let with = all.iter().filter(|(_, _, flag)| *flag).count() + before;
    // per round two calls with the flag, and as many of 32-bit programs, if there are any
    check(with == 100 || with == 200, || {
        format!("{with} calls with the flag")
    })?;
    Ok(None)
}
