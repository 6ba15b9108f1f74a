//! Runs of a program that the kernel skipped.
//!
//! A program that is interrupted in the middle does not run a second time on the same CPU (`prog->active` in
//! kernel/trace/bpf_trace.c, `__bpf_prog_enter` in kernel/bpf/trampoline.c): on a preemptible kernel another
//! thread's call can pass by unseen. The kernel counts that (since Linux 5.12) and tells it in fdinfo.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// The programs that are asked.
#[derive(Debug, Default)]
pub struct Missed {
    programs: Vec<RawFd>,
}

impl Missed {
    /// For a program that stays open as long as this is used.
    pub fn watch(&mut self, program: BorrowedFd<'_>) {
        self.programs.push(program.as_raw_fd());
    }

    /// Runs skipped so far, an upper bound for the events lost by it: not every run makes an event.
    pub fn runs(&self) -> u64 {
        self.programs
            .iter()
            .filter_map(|fd| fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok())
            .filter_map(|info| skipped(&info))
            .sum()
    }
}

/// The number in a program's fdinfo.
fn skipped(info: &str) -> Option<u64> {
    info.lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"))?
        .trim()
        .parse()
        .ok()
}

#[test]
fn the_number_is_found() {
    let info = "pos:\t0\nprog_type:\t26\nrun_cnt:\t0\nrecursion_misses:\t12\nverified_insns:\t3\n";
    assert_eq!(skipped(info), Some(12));
    assert_eq!(skipped("pos:\t0\n"), None);
}
