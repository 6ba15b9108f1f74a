//! Filters, run by an interpreter as the kernel runs them.

use driver_api::predicate::{ArgTest, Clause, Made, Outcome, Predicate};
use driver_api::request::SyscallSet;
use driver_api::table::Returns;

use super::*;

const PASS: u32 = libc::SECCOMP_RET_ALLOW;

/// What the kernel's interpreter would return.
fn answer(filter: &[sock_filter], arch: u32, nr: u32, args: &[u64; 6]) -> u32 {
    let (mut at, mut a) = (0, 0);
    let word = |offset: u32| match offset {
        NR => nr,
        ARCH => arch,
        at => {
            assert!(at >= FIRST_ARG && at.is_multiple_of(4), "load at {at}");
            let half = (at - FIRST_ARG) / 4;
            (args[half as usize / 2] >> (32 * (half % 2))) as u32
        }
    };
    for _ in 0..filter.len() {
        let i = filter[at];
        at += 1;
        match u32::from(i.code) {
            c if c == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => a = word(i.k),
            c if c == libc::BPF_ALU | libc::BPF_AND | libc::BPF_K => a &= i.k,
            c if c == libc::BPF_RET | libc::BPF_K => return i.k,
            c if c == libc::BPF_JMP | libc::BPF_JA => at += i.k as usize,
            c if c == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => {
                at += usize::from(if a == i.k { i.jt } else { i.jf });
            }
            c if c == libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K => {
                at += usize::from(if a >= i.k { i.jt } else { i.jf });
            }
            other => panic!("instruction {other:#x}"),
        }
    }
    panic!("no answer");
}

/// Every call whose index the step divides.
fn every(step: usize) -> Selection {
    let calls = SYSCALLS
        .iter()
        .filter(|call| call.index().is_multiple_of(step));
    calls.collect::<SyscallSet>().into()
}

fn only(name: &str) -> Selection {
    let calls: SyscallSet = table::by_name(name).into_iter().collect();
    calls.into()
}

#[test]
fn exactly_the_wanted_calls_stop() {
    for step in [1, 2, 3, 7, 1000] {
        let wanted = every(step);
        let filter = program(&[], &wanted, Action::Trace);
        let answer = |arch, nr| answer(&filter, arch, nr, &[0; 6]);
        for (arch, abi) in ARCHES {
            let stop = Action::Trace.answer(arch);
            for nr in 0..1100 {
                let stops = wanted.contains(table::of_number(abi, nr));
                assert_eq!(
                    answer(arch, nr),
                    if stops { stop } else { PASS },
                    "{abi:?} {nr} step {step}"
                );
            }
        }
        assert_eq!(answer(0x1234, 59), PASS, "a foreign ABI passes");
        let x32 = if Abi::NATIVE == Abi::X86_64 {
            0..1100
        } else {
            0..0
        };
        for nr in x32.map(|nr| nr | X32_BIT) {
            let known = table::by_number(Abi::X32, nr)
                .filter(|call| call.number(Abi::X32) == Some(nr & !X32_BIT));
            let stops = wanted.contains(known.unwrap_or(table::unknown()));
            let stop = Action::Trace.answer(arch::X86_64);
            assert_eq!(
                answer(arch::X86_64, nr) == stop,
                stops,
                "x32 {nr:#x} step {step}"
            );
        }
    }
}

#[test]
fn the_stops_of_32_bit_calls_say_so() {
    let answers = ARCHES.map(|(arch, abi)| {
        let call = table::by_name("openat").unwrap();
        let filter = program(&[], &only(call.name), Action::Trace);
        answer(&filter, arch, call.number(abi).unwrap(), &[0; 6])
    });
    assert_eq!(
        answers.map(|answer| answer as u16),
        [OURS, OURS_NARROW],
        "{answers:x?}"
    );
    assert!(answers.iter().all(|answer| is_ours(Some(*answer as u16))));
    assert!(!is_ours(Some(1)) && !is_ours(None));
}

#[test]
fn a_prologue_asks_about_one_call_in_every_abi() {
    let call = table::by_name("getpid").unwrap();
    let prologue = if_call(call, None, Action::Notify);
    let filter = program(&prologue, &Selection::default(), Action::Notify);
    for (arch, abi) in ARCHES {
        for nr in 0..1100 {
            let answer = answer(&filter, arch, nr, &[0; 6]);
            let asks = answer == libc::SECCOMP_RET_USER_NOTIF;
            assert_eq!(asks, call.number(abi) == Some(nr), "{abi:?} {nr}");
        }
    }
}

/// Pseudo-random numbers, the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 20) % limit
    }

    /// A number with bits in both halves, or in one of them.
    fn word(&mut self) -> u64 {
        let bits = [0, 1, 2, 3, 0x8000_0000, 1 << 32, 5 << 40, 1 << 63];
        let one = |noise: &mut Self| bits[noise.below(bits.len() as u64) as usize];
        one(self) | one(self)
    }

    /// A test that a parameter allows.
    fn test(&mut self, call: &'static Syscall) -> Option<ArgTest> {
        let at = self.below(call.params.len() as u64);
        let mask = match self.below(3) {
            0 => self.word(),
            1 => u64::MAX,
            _ => 0xffff_ffff,
        };
        let test = ArgTest {
            param: at as u8,
            mask,
            value: self.word() & mask,
            equal: self.below(2) == 0,
        };
        Predicate::of(call, &[Clause::test(test)]).ok()?;
        Some(test)
    }

    fn predicate(&mut self, call: &'static Syscall) -> Predicate {
        let clauses: Vec<Clause> = (0..=self.below(4))
            .map(|_| Clause {
                outcome: [Outcome::ANY, Outcome::OK, Outcome::FAILED][self.below(3) as usize],
                tests: [self.test(call), self.test(call)],
            })
            .map(|mut clause| {
                clause.tests.sort_by_key(Option::is_none);
                clause
            })
            .collect();
        Predicate::of(call, &clauses).unwrap()
    }
}

/// All ABIs of a filter, each with its architecture and with the bit of its numbers.
fn abis() -> Vec<(u32, Abi, u32)> {
    let mut all: Vec<(u32, Abi, u32)> = ARCHES.iter().map(|(arch, abi)| (*arch, *abi, 0)).collect();
    if Abi::NATIVE == Abi::X86_64 {
        all.push((arch::X86_64, Abi::X32, X32_BIT));
    }
    all
}

#[test]
fn a_call_passes_if_and_only_if_no_result_can_make_it_wanted() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let (mut passed, mut stopped) = (0, 0);
    let calls = [
        "dup3", "fcntl", "ioctl", "prctl", "mmap", "pread64", "ptrace",
    ];
    for _ in 0..200 {
        let mut wanted = every(50);
        for name in calls {
            let call = table::by_name(name).unwrap();
            let predicate = noise.predicate(call);
            wanted = wanted.without(&[call].into_iter().collect());
            wanted.add(call, &predicate);
        }
        let filter = program(&[], &wanted.at_entry(), Action::Trace);
        for (name, (arch, abi, bit)) in calls
            .iter()
            .flat_map(|name| abis().into_iter().map(move |abi| (name, abi)))
        {
            let call = table::by_name(name).unwrap();
            let Some(nr) = call.number(abi).map(|nr| nr | bit) else {
                continue;
            };
            for _ in 0..8 {
                let args = [(); 6].map(|()| noise.word());
                let made = Made {
                    abi,
                    nr,
                    args: &args,
                    result: None,
                };
                let stops = answer(&filter, arch, nr, &args) != PASS;
                let predicate = wanted.predicate(call);
                assert_eq!(
                    stops,
                    predicate.holds(call, &made),
                    "{name} {abi:?} {args:x?} {predicate:?}"
                );
                passed += usize::from(!stops);
                stopped += usize::from(stops);
            }
        }
    }
    assert!(
        passed > 1000 && stopped > 1000,
        "{passed} passed, {stopped} stopped"
    );
}

#[test]
fn a_filter_that_would_be_too_long_tests_fewer_arguments() {
    let mut noise = Noise(7);
    let mut wanted = Selection::default();
    let mut lengths = Vec::new();
    let returns = SYSCALLS
        .iter()
        .filter(|call| call.returns != Returns::None && !call.params.is_empty());
    for (count, call) in (1..).zip(returns) {
        let predicate = noise.predicate(call);
        wanted.add(call, &predicate);
        if count % 20 != 0 {
            continue;
        }
        let filter = program(&[], &wanted.at_entry(), Action::Trace);
        assert!(filter.len() <= MOST, "{count} calls: {}", filter.len());
        lengths.push(filter.len());
        for (arch, abi, bit) in abis() {
            for call in wanted.calls().iter() {
                let Some(nr) = call.number(abi).map(|nr| nr | bit) else {
                    continue;
                };
                let args = [(); 6].map(|()| noise.word());
                let made = Made {
                    abi,
                    nr,
                    args: &args,
                    result: None,
                };
                let passes = answer(&filter, arch, nr, &args) == PASS;
                assert!(
                    !passes || !wanted.wants(call, &made),
                    "{} {abi:?} of {count} calls is lost",
                    call.name
                );
            }
        }
    }
    let shrank = lengths.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(shrank >= 2, "tests are left out twice: {lengths:?}");
}
