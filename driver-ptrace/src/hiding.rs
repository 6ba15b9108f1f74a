//! Calls by which a program can hide from lanner: what it is about to do, or its memory.

use driver_api::event::Abi;
use driver_api::support::Gap;
use driver_api::table::{self, Multiplexed, Syscall};
use libc::pid_t;

use crate::filter;
use crate::memory::Memory;

/// PR_SET_DUMPABLE: whether other processes of the user may read this one (prctl(2)).
const SET_DUMPABLE: u32 = 4;
/// PR_SET_SECCOMP, with the modes of seccomp(2): SECCOMP_MODE_STRICT is 1, SECCOMP_MODE_FILTER is 2.
const SET_SECCOMP: u32 = 22;

/// UFFDIO_REGISTER (ioctl_userfaultfd(2)): pages of the process come from itself, when it wants.
const WITHHOLD_PAGES: u32 = 0xc020_aa00;

/// Calls by which a program hides with one value of an argument alone: its place, and the value.
pub(crate) const NARROWED: [(&str, (u32, u32)); 3] = [
    ("prctl", (0, SET_DUMPABLE)),
    ("prctl", (0, SET_SECCOMP)),
    ("ioctl", (1, WITHHOLD_PAGES)),
];

/// Calls by which a program hides whatever the arguments are. memfd_secret(2) gives it memory that the kernel reads for no
/// other process.
pub(crate) const ALWAYS: [&str; 1] = ["memfd_secret"];

/// A call, as the table has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Called {
    pub(crate) abi: Abi,
    pub(crate) nr: u32,
    pub(crate) call: &'static Syscall,
}

impl Called {
    /// The call with this number. None: the architecture is foreign. `arch` is AUDIT_ARCH_* (linux/audit.h).
    pub(crate) fn of(arch: u32, nr: u32) -> Option<Self> {
        let abi = filter::abi_of(arch, nr)?;
        let call = table::of_number(abi, nr);
        Some(Self { abi, nr, call })
    }

    /// The call that the program means, with its registers: programs make some calls through socketcall(2) and ipc(2).
    /// Unchanged if the thread's memory cannot be read.
    pub(crate) fn meant(self, tid: pid_t, args: [u64; 6]) -> (Self, [u64; 6]) {
        let args = match self.abi {
            // the registers of a 64-bit program that makes a 32-bit call have more
            Abi::I386 | Abi::Arm => args.map(|arg| arg & 0xffff_ffff),
            Abi::X86_64 | Abi::X32 | Abi::Aarch64 | Abi::IoUring => args,
        };
        let Some(meant) = Multiplexed::of(self.abi, self.nr, args[0]) else {
            return (self, args);
        };
        let mut bytes = [0; 24];
        let read = &mut bytes[..4 * usize::from(meant.words)];
        let memory = Memory::new(tid, true);
        let base = args.get(usize::from(meant.base)).copied().unwrap_or(0);
        if memory.read(base, read) < read.len() {
            return (self, args);
        }
        let words: Vec<u32> = read
            .chunks_exact(4)
            .filter_map(|word| Some(u32::from_ne_bytes(word.try_into().ok()?)))
            .collect();
        let called = Self {
            nr: meant.number(),
            call: meant.call(),
            ..self
        };
        (called, meant.arguments(&args, &words))
    }
}

/// What a call returns that lanner answers instead of letting it be made, because it would keep lanner from reading the
/// thread's memory. None: it is made. `reads_everything`: lanner needs no permission of the process.
pub(crate) fn answer(called: &Called, args: &[u64; 6], reads_everything: bool) -> Option<i32> {
    if ALWAYS.contains(&called.call.name) {
        // as on a kernel that has no such call
        return Some(-libc::ENOSYS);
    }
    (!reads_everything && hides(called, args)).then_some(0)
}

/// What is not captured of a program that uses memory of its own.
pub(crate) fn gap() -> Gap {
    Gap::new(
        "memory of memfd_secret(2)",
        "the kernel reads it for no other process, so that memfd_secret fails with ENOSYS; what a process that lanner \
         attaches to had before is a fault",
        "use an eBPF driver",
    )
}

/// Whether the call forbids other processes of the user to read the memory and the descriptors of its process.
fn hides(called: &Called, args: &[u64; 6]) -> bool {
    // the kernel takes all bits of the second argument, as wide as a register
    called.call.name == "prctl" && args[0] as u32 == SET_DUMPABLE && args[1] == 0
}

/// Whether the call gives its process a filter, which can answer calls before lanner's filter stops them: ERRNO and
/// USER_NOTIF go before TRACE (seccomp(2)).
pub(crate) fn adds_filter(call: &Syscall, args: &[u64; 6]) -> bool {
    match call.name {
        "seccomp" => (args[0] as u32) < 2,
        "prctl" => args[0] as u32 == SET_SECCOMP,
        _ => false,
    }
}

/// Whether the call lets its process decide when its own pages come. The request means that only if the process has a
/// userfaultfd(2): any, as another thread can give it the number in this call.
pub(crate) fn withholds_pages(tid: pid_t, call: &Syscall, args: &[u64; 6]) -> bool {
    asks_for_own_pages(call, args) && may_have_userfaultfd(tid)
}

fn asks_for_own_pages(call: &Syscall, args: &[u64; 6]) -> bool {
    call.name == "ioctl" && args[1] as u32 == WITHHOLD_PAGES
}

/// False only if every descriptor of the thread was seen, and is something else.
fn may_have_userfaultfd(tid: pid_t) -> bool {
    let Ok(mut entries) = std::fs::read_dir(format!("/proc/{tid}/fd")) else {
        return true;
    };
    entries.any(|entry| {
        let target = entry.and_then(|entry| std::fs::read_link(entry.path()));
        !target.is_ok_and(|target| target.as_os_str() != "anon_inode:[userfaultfd]")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(name: &str) -> Called {
        let call = table::by_name(name).unwrap();
        Called {
            abi: Abi::NATIVE,
            nr: call.number(Abi::NATIVE).unwrap(),
            call,
        }
    }

    #[test]
    fn only_a_zero_hides_memory() {
        let prctl = called("prctl");
        assert!(hides(&prctl, &[4, 0, 9, 9, 9, 9]));
        assert!(hides(&prctl, &[0xffff_ffff_0000_0004, 0, 0, 0, 0, 0]));
        assert!(!hides(&prctl, &[4, 1, 0, 0, 0, 0]) && !hides(&prctl, &[3, 0, 0, 0, 0, 0]));
        assert!(!hides(&called("kill"), &[4, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn memory_that_only_its_process_can_read_is_refused() {
        let refused = Some(-libc::ENOSYS);
        for reads_everything in [true, false] {
            let answer = |name| answer(&called(name), &[4, 0, 0, 0, 0, 0], reads_everything);
            assert_eq!(answer("memfd_secret"), refused);
            assert_eq!(answer("memfd_create"), None);
            assert_eq!(answer("prctl"), (!reads_everything).then_some(0));
        }
    }

    #[test]
    fn a_process_withholds_pages_by_a_request() {
        let ioctl = called("ioctl").call;
        assert!(asks_for_own_pages(ioctl, &[3, 0xc020_aa00, 0, 0, 0, 0]));
        assert!(!asks_for_own_pages(ioctl, &[3, 0xc018_aa3f, 0, 0, 0, 0]));
    }

    #[test]
    fn filters_come_by_two_calls() {
        let seccomp = called("seccomp").call;
        for (operation, adds) in [(0, true), (1, true), (2, false), (3, false)] {
            assert_eq!(adds_filter(seccomp, &[operation, 0, 0, 0, 0, 0]), adds);
        }
        let prctl = called("prctl").call;
        assert!(adds_filter(prctl, &[22, 2, 0, 0, 0, 0]));
        assert!(!adds_filter(prctl, &[21, 2, 0, 0, 0, 0]));
    }
}
