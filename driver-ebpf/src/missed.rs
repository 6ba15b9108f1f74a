//! Runs of a program that the kernel has skipped.
//!
//! While a program is interrupted in the middle of a run, the kernel does not start it again on the same CPU
//! (`prog->active` in kernel/trace/bpf_trace.c, `__bpf_prog_enter` in kernel/bpf/trampoline.c). So on a preemptible kernel
//! another thread's call can be missed. Since Linux 5.12 the kernel counts these runs and reports them in fdinfo.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// How the names of programs at births, execs and ends begin.
const LIVES: &str = "process_";

/// The programs whose skipped runs are counted.
#[derive(Debug, Default)]
pub struct Missed {
    programs: Vec<Program>,
    /// Skipped runs for births, execs and ends, at the last look.
    lives: Cell<u64>,
}

#[derive(Debug)]
struct Program {
    name: String,
    fd: OwnedFd,
    /// The skipped runs that the log knows of.
    logged: Cell<u64>,
}

impl Missed {
    /// Counts the skipped runs of a program, through a descriptor of its own. If the process can have no more
    /// descriptors, the program's skipped runs are not counted, and the log says so.
    pub fn watch(&mut self, name: &str, program: BorrowedFd<'_>) {
        match program.try_clone_to_owned() {
            Ok(fd) => self.programs.push(Program {
                name: name.to_owned(),
                fd,
                logged: Cell::new(0),
            }),
            Err(error) => {
                tracing::warn!("skipped runs of the program {name} will not be counted: {error}");
            }
        }
    }

    /// Runs skipped so far. That is an upper bound of the events lost by it, because not every run makes an event. Of a
    /// program and its copies (`NAME_copy1`), those of the one that was skipped least: what is lost was skipped by
    /// all of them. The log names the programs.
    pub fn runs(&self) -> u64 {
        let runs: Vec<(&str, u64)> = self
            .programs
            .iter()
            .filter_map(|program| Some((original(&program.name), program.runs()?)))
            .collect();
        let of_lives = |(name, _): &(&str, u64)| name.starts_with(LIVES);
        self.lives
            .set(least_of_each(runs.iter().copied().filter(of_lives)));
        least_of_each(runs.into_iter())
    }

    /// Those of the last [`runs`](Self::runs) that were for births, execs and ends of processes.
    pub fn lives(&self) -> u64 {
        self.lives.get()
    }
}

/// The name of a program without the number of its copy.
fn original(name: &str) -> &str {
    name.split("_copy").next().unwrap_or(name)
}

/// Takes the least number of each name, and adds these up.
fn least_of_each<'a>(runs: impl Iterator<Item = (&'a str, u64)>) -> u64 {
    let mut least = BTreeMap::new();
    for (name, runs) in runs {
        let known = least.entry(name).or_insert(runs);
        *known = runs.min(*known);
    }
    least.values().sum()
}

impl Program {
    fn runs(&self) -> Option<u64> {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.fd.as_raw_fd())).ok()?;
        let runs = skipped(&info)?;
        if self.logged.replace(runs) != runs {
            tracing::debug!(
                "the kernel has skipped {runs} runs of the program {}",
                self.name
            );
        }
        Some(runs)
    }
}

/// The skipped runs in a program's fdinfo.
fn skipped(info: &str) -> Option<u64> {
    info.lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"))?
        .trim()
        .parse()
        .ok()
}

#[test]
fn what_one_copy_has_run_is_not_lost() {
    assert_eq!(original("process_exec_copy1"), "process_exec");
    assert_eq!(original("process_exec"), "process_exec");
    let runs = [
        ("process_exec", 7),
        (original("process_exec_copy1"), 2),
        (original("process_exec_copy2"), 3),
        ("sys_exit", 5),
    ];
    assert_eq!(least_of_each(runs.into_iter()), 7);
}

#[test]
fn the_number_is_found() {
    let info = "pos:\t0\nprog_type:\t26\nrun_cnt:\t0\nrecursion_misses:\t12\nverified_insns:\t3\n";
    assert_eq!(skipped(info), Some(12));
    assert_eq!(skipped("pos:\t0\n"), None);
}
