//! Tests of a call's arguments in the filter: a call for which no predicate can hold passes without a stop.
//!
//! A filter sees each argument as two halves of 32 bits (`struct seccomp_data`, linux/seccomp.h).

use driver_api::event::Abi;
use driver_api::predicate::{ArgTest, Predicate};
use driver_api::table::Syscall;
use libc::sock_filter;

use super::{FIRST_ARG, give, load, op, skip};

/// Where a comparison goes on.
const NEXT: u8 = 0;

/// A test of one register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Test {
    register: u32,
    test: ArgTest,
}

/// What must hold of the registers of a call: all tests of one of the lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition(Vec<Vec<Test>>);

impl Condition {
    /// For a call that is made by this ABI and number. None: every call is wanted.
    pub(super) fn of(predicate: &Predicate, call: &Syscall, abi: Abi, nr: u32) -> Option<Self> {
        let lists = predicate.register_tests(call, abi, nr)?;
        let of_list = |list: Vec<(usize, ArgTest)>| {
            let tests = list.into_iter().map(|(register, test)| {
                let register = u32::try_from(register).ok()?;
                Some(Test { register, test })
            });
            tests.collect()
        };
        lists
            .into_iter()
            .map(of_list)
            .collect::<Option<_>>()
            .map(Self)
    }

    /// Returns `wanted` for a call that fulfils it, else `other`.
    pub(super) fn program(&self, wanted: u32, other: u32) -> Vec<sock_filter> {
        let mut all = Vec::new();
        for list in &self.0 {
            let mut tests = vec![give(wanted)];
            for test in list.iter().rev() {
                let mut whole = test.program(tests.len());
                whole.append(&mut tests);
                tests = whole;
            }
            all.append(&mut tests);
        }
        all.push(give(other));
        all
    }
}

impl Test {
    /// Goes on with the next instruction if the test holds, else behind `behind` further ones.
    fn program(&self, behind: usize) -> Vec<sock_filter> {
        let ArgTest {
            mask, value, equal, ..
        } = self.test;
        // the lower half comes first on these machines
        let halves = [(0, mask, value), (4, mask >> 32, value >> 32)]
            .map(|(at, mask, value)| (at, mask as u32, value as u32));
        let tested = halves.iter().filter(|(_, mask, _)| *mask != 0);
        let mut all: Vec<sock_filter> = Vec::new();
        for &(at, mask, value) in tested.rev() {
            let after = all.len();
            let unequal = match equal {
                true => behind + after,
                false => after,
            };
            let same = match (equal, after) {
                // the other half may differ
                (true, _) | (false, 1..) => NEXT.into(),
                (false, 0) => behind,
            };
            let mut half = vec![load(FIRST_ARG + 8 * self.register + at)];
            if mask != u32::MAX {
                half.push(op(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, mask));
            }
            half.push(op(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                short(same),
                short(unequal),
                value,
            ));
            half.append(&mut all);
            all = half;
        }
        if all.is_empty() && !equal {
            // no bits are always equal
            all.push(skip(behind));
        }
        all
    }
}

/// The length of a jump in a list of tests, which is always short.
fn short(over: usize) -> u8 {
    const {
        // for each test two halves of three instructions, and the answer
        assert!(driver_api::predicate::TESTS * 6 < u8::MAX as usize);
    }
    u8::try_from(over).unwrap_or(u8::MAX)
}
