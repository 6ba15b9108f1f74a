//! Clause 23: the events of a call that its predicate leaves out.
//!
//! The actor makes a few calls of one sort, with and without success, with and without a flag, natively and, where the
//! kernel runs such calls, as a 32-bit program would.

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::AsRawFd;

use driver_api::event::{Abi, EventKind};
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
    (
        &[23],
        "an event is delivered if and only if its call ended as the predicate says",
        ended,
    ),
    (
        &[23],
        "an argument of 64 bits is tested in both halves",
        wide,
    ),
    (&[17, 23], "a predicate can be replaced", replaced),
];

const CALL: &str = "dup3";
const SCENE: &str = "predicates";
/// The first of the descriptors that the actor asks for. Each call has one of its own.
const FIRST: u64 = 200;
const CLOEXEC: u64 = libc::O_CLOEXEC as u64;

/// A call that can end in every way that predicates tell apart.
const ENDING: &str = "connect";

/// The scene: connect(2) that succeeds and that fails in each way. Each call has a descriptor of its own.
pub(crate) fn end() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    // a struct sockaddr_in
    let inet = |address: [u8; 4], port: u16| {
        let mut bytes = (libc::AF_INET as u16).to_ne_bytes().to_vec();
        bytes.extend(port.to_be_bytes());
        bytes.extend(address);
        bytes.resize(16, 0);
        bytes
    };
    let mut missing = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
    missing.extend(b"/nobody/is/here\0");
    let udp = (libc::AF_INET, libc::SOCK_DGRAM);
    let calls = [
        (udp, inet([127, 0, 0, 1], 9)),
        ((libc::AF_UNIX, libc::SOCK_STREAM), missing),
        // a broadcast, which has to be allowed first
        (udp, inet([127, 255, 255, 255], 9)),
        (
            (libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK),
            inet([127, 0, 0, 1], port),
        ),
        // an address of another family
        (udp, vec![0xff; 16]),
    ];
    for (at, ((family, kind), address)) in (FIRST as i32..).zip(calls) {
        // SAFETY: the address is as long as it says, and nothing else uses the descriptors.
        unsafe {
            let made = libc::socket(family, kind, 0);
            libc::dup2(made, at);
            libc::connect(at, address.as_ptr().cast(), address.len() as u32);
        }
    }
}

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

/// A call with an argument of 64 bits.
const WIDE: &str = "ftruncate";
/// What the argument is. /dev/null has no length, so that each call fails.
const LENGTHS: [u64; 6] = [1, 2, 1 << 32, 1 << 32 | 1, 1 << 32 | 2, 5 << 40];

/// The scene: ftruncate(2) to these lengths.
pub(crate) fn cut() {
    let file = File::open("/dev/null").expect("/dev/null can be opened");
    // SAFETY: the calls take numbers, and nothing else uses the descriptor.
    unsafe {
        libc::dup2(file.as_raw_fd(), FIRST as i32);
        for length in LENGTHS {
            libc::syscall(libc::SYS_ftruncate, FIRST, length);
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

fn selection(name: &str, clauses: &[Clause]) -> Result<Selection, String> {
    let call = by_name(name).ok_or("the table has no such call")?;
    let predicate = Predicate::of(call, clauses).map_err(crate::stage::said)?;
    let mut selection = Selection::default();
    selection.add(call, &predicate);
    Ok(selection)
}

/// The events of a scene.
fn watch(stage: &Stage, scene: &str, selection: Selection) -> Result<Vec<Kept>, String> {
    let mut request = request(Target::Command(actor(scene, &["1"])), &[]);
    request.selection = selection;
    let mut capture = stage.must_open(&request)?;
    let (events, status) = to_the_end(capture.as_mut())?;
    same("status", &status, &Some(0))?;
    let lost = events
        .iter()
        .filter(|event| event.kind() == EventKind::Lost);
    same("losses", &lost.count(), &0)?;
    same(
        "counted losses",
        &capture.stats().lost.iter().sum::<u64>(),
        &0,
    )?;
    Ok(events)
}

fn delivered(stage: &Stage) -> Outcome {
    let flag = |equal| argument(2, CLOEXEC, CLOEXEC, equal);
    let new = |value| argument(1, 0xffff_ffff, FIRST + value, true);
    let none = [None, None];
    type Expected = fn(&Seen) -> bool;
    let cases: [(&str, Vec<Clause>, Expected); 7] = [
        (
            "no error",
            vec![clause(Ended::OK, none)],
            |(_, failed, _)| !failed,
        ),
        (
            "an error",
            vec![clause(Ended::FAILED, none)],
            |(_, failed, _)| *failed,
        ),
        (
            "bits",
            vec![clause(Ended::ANY, [Some(flag(true)), None])],
            |(_, _, flag)| *flag,
        ),
        (
            "no bits, and no error",
            vec![clause(Ended::OK, [Some(flag(false)), None])],
            |(_, failed, flag)| !failed && !flag,
        ),
        (
            "two clauses",
            vec![
                clause(Ended::OK, [Some(flag(true)), None]),
                clause(Ended::FAILED, [Some(flag(false)), None]),
            ],
            |(_, failed, flag)| failed != flag,
        ),
        (
            "four clauses",
            [0, 3, 9, 10]
                .map(|at| clause(Ended::ANY, [Some(new(at)), None]))
                .to_vec(),
            |(new, ..)| [0, 3, 9, 10].contains(&(new - FIRST)),
        ),
        (
            "two tests",
            vec![clause(
                Ended::ANY,
                [
                    Some(argument(1, 1, 1, true)),
                    Some(argument(1, 2, 2, false)),
                ],
            )],
            |(new, ..)| new & 1 == 1 && new & 2 == 0,
        ),
    ];
    let all = seen(&watch(
        stage,
        SCENE,
        Selection::from(crate::stage::calls(&[CALL])),
    )?);
    check(all.len() >= 4, || format!("{} calls", all.len()))?;
    for (name, clauses, expected) in cases {
        let found = seen(&watch(stage, SCENE, selection(CALL, &clauses)?)?);
        let expected: Vec<Seen> = if stage.entry_only() {
            // an outcome that is not known holds
            let tests = clauses.iter().map(|clause| Clause {
                outcome: Ended::ANY,
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

fn wide(stage: &Stage) -> Outcome {
    let scene = "predicates-wide";
    let lengths = |selection| {
        let events = watch(stage, scene, selection)?;
        let ours = named(&events, WIDE).filter(|event| event.header().args[0] == FIRST);
        Ok::<Vec<u64>, String>(ours.map(|event| event.header().args[1]).collect())
    };
    let everything = lengths(Selection::from(crate::stage::calls(&[WIDE])))?;
    same("calls", &everything, &LENGTHS.to_vec())?;
    let whole = 1 << 32 | 1;
    for (name, mask, value) in [
        ("both halves", u64::MAX, whole),
        ("the lower half", 0xffff_ffff, 1),
        ("the upper half", 0xffff_ffff << 32, 1 << 32),
        ("bits of both", 1 << 32 | 2, 1 << 32 | 2),
        ("bits of both that are not set", 1 << 42 | 1, 0),
    ] {
        for equal in [true, false] {
            let test = argument(1, mask, value, equal);
            let clauses = [clause(Ended::ANY, [Some(test), None])];
            let found = lengths(selection(WIDE, &clauses)?)?;
            let holds = |length: &&u64| (**length & mask == value) == equal;
            let expected: Vec<u64> = LENGTHS.iter().filter(holds).copied().collect();
            same(&format!("{name}, {equal}"), &found, &expected)?;
        }
    }
    Ok(None)
}

/// The descriptors of the calls, and how they ended.
fn endings(events: &[Kept]) -> Vec<(u64, i64)> {
    let calls = named(events, ENDING).map(|event| (event.header().args[0], event.header().ret));
    let ours = |call: &(u64, i64)| (FIRST..FIRST + 16).contains(&call.0);
    let mut calls: Vec<(u64, i64)> = calls.filter(ours).collect();
    calls.sort_unstable();
    calls
}

fn ended(stage: &Stage) -> Outcome {
    let scene = "predicates-ends";
    let everything = Selection::from(crate::stage::calls(&[ENDING]));
    let all = endings(&watch(stage, scene, everything)?);
    same("calls", &all.len(), &5)?;
    let mut ways: Vec<Ended> = all.iter().map(|(_, result)| Ended::of(*result)).collect();
    ways.sort_unstable();
    ways.dedup();
    let even = argument(0, 1, 0, true);
    for (name, outcome, test) in [
        ("no error", Ended::OK, None),
        ("an error", Ended::FAILED, None),
        ("no such file", Ended::NOT_FOUND, None),
        ("no error, or refused", Ended::OK.or(Ended::REFUSED), None),
        (
            "the same, of some descriptors",
            Ended::OK.or(Ended::REFUSED),
            Some(even),
        ),
        ("begun", Ended::OK.or(Ended::BEGUN), None),
        ("another error", Ended::OTHER_ERROR, None),
        (
            "another error, or none",
            Ended::OK.or(Ended::OTHER_ERROR),
            Some(even),
        ),
        ("never ended", Ended::UNFINISHED, None),
    ] {
        let clauses = [clause(outcome, [test, None])];
        let found = endings(&watch(stage, scene, selection(ENDING, &clauses)?)?);
        let expected: Vec<(u64, i64)> = all
            .iter()
            .filter(|(fd, result)| {
                // an outcome that is not known holds
                let ends = stage.entry_only() || outcome.holds(Some(*result));
                ends && test.is_none_or(|test| fd & test.mask == test.value)
            })
            .copied()
            .collect();
        same(name, &found, &expected)?;
    }
    Ok((ways.len() < 5 && !stage.entry_only()).then(|| format!("calls ended as {ways:?} only")))
}

fn replaced(stage: &Stage) -> Outcome {
    let test = |equal| {
        clause(
            Ended::ANY,
            [Some(argument(2, CLOEXEC, CLOEXEC, equal)), None],
        )
    };
    let mut request = request(Target::Command(actor(SCENE, &["50"])), &[]);
    request.selection = selection(CALL, &[test(true)])?;
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
        .select(&selection(CALL, &[test(true)])?)
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
