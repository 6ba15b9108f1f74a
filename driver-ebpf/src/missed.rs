//! Runs of a program that the kernel skipped.
//!
//! A program that is interrupted in the middle does not run a second time on the same CPU (`prog->active` in
//! kernel/trace/bpf_trace.c, `__bpf_prog_enter` in kernel/bpf/trampoline.c): on a preemptible kernel another
//! thread's call can pass by unseen. The kernel counts that (since Linux 5.12) and tells it in fdinfo.

use std::cell::Cell;
use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// The programs that are asked.
#[derive(Debug, Default)]
pub struct Missed {
    programs: Vec<Program>,
}

#[derive(Debug)]
struct Program {
    name: String,
    fd: RawFd,
    /// Runs skipped, as was said last.
    said: Cell<u64>,
}

impl Missed {
    /// For a program that stays open as long as this is used.
    pub fn watch(&mut self, name: &str, program: BorrowedFd<'_>) {
        self.programs.push(Program {
            name: name.to_owned(),
            fd: program.as_raw_fd(),
            said: Cell::new(0),
        });
    }

    /// Runs skipped so far, an upper bound for the events lost by it: not every run makes an event. The log says of
    /// which programs.
    pub fn runs(&self) -> u64 {
        self.programs.iter().filter_map(Program::runs).sum()
    }
}

impl Program {
    fn runs(&self) -> Option<u64> {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.fd)).ok()?;
        let runs = skipped(&info)?;
        if self.said.replace(runs) != runs {
            tracing::debug!(
                "the kernel has skipped {runs} runs of the program {}",
                self.name
            );
        }
        Some(runs)
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
