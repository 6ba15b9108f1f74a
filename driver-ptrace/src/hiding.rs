//! Calls by which a program can hide from lanner: what it is about to do, or its memory.

use driver_api::event::Abi;
use driver_api::table::{self, Syscall};

use crate::filter;

/// PR_SET_DUMPABLE: whether other processes of the user may read this one (prctl(2)).
pub(crate) const SET_DUMPABLE: u32 = 4;
/// PR_SET_SECCOMP, with the modes of seccomp(2): SECCOMP_MODE_STRICT is 1, SECCOMP_MODE_FILTER is 2.
const SET_SECCOMP: u32 = 22;

/// A call, as the table has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Called {
    pub(crate) abi: Abi,
    pub(crate) nr: u32,
    pub(crate) call: &'static Syscall,
}

impl Called {
    /// The call with this number. None: the table does not have it. `arch` is AUDIT_ARCH_* (linux/audit.h).
    pub(crate) fn of(arch: u32, nr: u32) -> Option<Self> {
        let abi = filter::abi_of(arch, nr)?;
        let call = table::by_number(abi, nr)?;
        Some(Self { abi, nr, call })
    }
}

/// Whether the call forbids other processes of the user to read the memory and the descriptors of its process.
pub(crate) fn hides(called: &Called, args: &[u64; 6]) -> bool {
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
