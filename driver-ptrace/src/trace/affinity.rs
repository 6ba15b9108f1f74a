//! CPU affinities (sched_setaffinity(2)), and the calls that show a program its own.

use std::mem::zeroed;

use driver_api::event::Fact;
use driver_api::table::{Kind, SYSCALLS, Syscall};
use libc::{cpu_set_t, pid_t};
use proc_pid::Field;

use crate::proc_dir::ProcDir;

/// The calls that ask for and set an affinity.
pub(super) const CALLS: [&str; 2] = ["sched_getaffinity", "sched_setaffinity"];

/// Whether a call is one of [`CALLS`].
pub(super) fn is_affinity_call(call: &Syscall) -> bool {
    CALLS.contains(&call.name)
}

/// The calls that open a file by its path.
pub(super) fn opens() -> impl Iterator<Item = &'static Syscall> {
    SYSCALLS.iter().filter(|call| opened_path(call).is_some())
}

/// The parameter with the path of the file that a call opens. None: it opens none.
pub(super) fn opened_path(call: &Syscall) -> Option<usize> {
    call.facts
        .iter()
        .find(|fact| fact.fact == Fact::Path && fact.of.is_none())?;
    let path = |kind: &Kind| matches!(kind, Kind::Path(_));
    call.params.iter().position(|param| path(&param.kind))
}

/// Whether a path may be that of a file in /proc that shows an affinity.
pub(super) fn shows_affinity(path: &[u8]) -> bool {
    path.ends_with(b"/status") || path == b"status"
}

/// A set of CPUs.
#[derive(Clone, Copy)]
pub(super) struct CpuSet(cpu_set_t);

impl std::fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} CPUs", self.len())
    }
}

impl PartialEq for CpuSet {
    fn eq(&self, other: &Self) -> bool {
        // SAFETY: both sets are initialised.
        unsafe { libc::CPU_EQUAL(&self.0, &other.0) }
    }
}

impl CpuSet {
    /// CPUs that a set can hold; libc's functions panic beyond them.
    const CAPACITY: usize = libc::CPU_SETSIZE as usize;

    fn of(cpus: impl Iterator<Item = usize>) -> Self {
        // SAFETY: a set is plain data, for which zeros are valid.
        let mut set: cpu_set_t = unsafe { zeroed() };
        for cpu in cpus.filter(|cpu| *cpu < Self::CAPACITY) {
            // SAFETY: the set is initialised, and has this CPU.
            unsafe { libc::CPU_SET(cpu, &mut set) };
        }
        Self(set)
    }

    /// One CPU. A set cannot hold a CPU beyond 1023, and is empty then.
    pub(super) fn one(cpu: usize) -> Self {
        Self::of(std::iter::once(cpu))
    }

    /// Every CPU that a set can hold.
    pub(super) fn every() -> Self {
        Self::of(0..Self::CAPACITY)
    }

    pub(super) fn contains(&self, cpu: usize) -> bool {
        // SAFETY: the set is initialised, and has this CPU.
        cpu < Self::CAPACITY && unsafe { libc::CPU_ISSET(cpu, &self.0) }
    }

    pub(super) fn len(&self) -> i32 {
        // SAFETY: the set is initialised.
        unsafe { libc::CPU_COUNT(&self.0) }
    }

    /// The affinity of a thread; 0: the calling one.
    pub(super) fn of_thread(tid: pid_t) -> Option<Self> {
        let mut set = Self::of(std::iter::empty());
        // SAFETY: the kernel writes at most one set.
        let error = unsafe { libc::sched_getaffinity(tid, size_of::<cpu_set_t>(), &raw mut set.0) };
        (error == 0).then_some(set)
    }

    /// Makes this the affinity of a thread; 0: the calling one. False: the kernel refused.
    pub(super) fn apply(&self, tid: pid_t) -> bool {
        // SAFETY: the kernel reads one set.
        unsafe { libc::sched_setaffinity(tid, size_of::<cpu_set_t>(), &raw const self.0) == 0 }
    }
}

/// The CPU on which a thread ran last.
pub(super) fn last_cpu(tid: pid_t) -> Option<usize> {
    let mut room = [0; 1024];
    let dir = ProcDir::open(tid.unsigned_abs())?;
    dir.stat(&mut room)?.get(Field::Cpu)
}

#[cfg(test)]
mod tests {
    use super::CpuSet;

    #[test]
    fn a_cpu_that_no_set_can_hold_is_in_none() {
        assert!(CpuSet::one(3).contains(3) && !CpuSet::one(3).contains(4));
        for cpu in [CpuSet::CAPACITY, usize::MAX] {
            assert_eq!(CpuSet::one(cpu).len(), 0);
            assert!(!CpuSet::every().contains(cpu));
        }
    }
}
