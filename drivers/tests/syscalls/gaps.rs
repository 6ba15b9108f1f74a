//! The known differences between drivers and reality, with their reasons. A difference that no longer occurs is a
//! failure, so that this list stays true.

use driver_api::event::Abi;
use driver_api::table;

use crate::script::Case;

/// A known difference.
#[derive(Debug)]
pub(crate) struct Gap {
    /// The drivers.
    pub(crate) drivers: &'static [&'static str],
    /// The ABIs. Empty: all.
    pub(crate) abis: &'static [Abi],
    /// The calls. Empty: all.
    pub(crate) calls: &'static [&'static str],
    /// The parameter, the fact or the part of the header.
    pub(crate) what: &'static str,
    /// Why.
    pub(crate) reason: &'static str,
}

const EBPF: &[&str] = &["ebpf-core", "ebpf-legacy"];

/// The driver that sees only the entries of calls.
pub(crate) const ENTRY_ONLY: &str = "ptrace-notify";

/// For [`Gap::calls`]: the calls that must not fail (`!unfailing` in `syscalls.tbl`).
const UNFAILING: &[&str] = &["!unfailing"];

/// All known differences.
pub(crate) const GAPS: &[Gap] = &[
    Gap {
        drivers: &["ptrace", ENTRY_ONLY],
        abis: &[Abi::X86_64],
        calls: &["uretprobe", "uprobe"],
        what: "event",
        reason: "the kernel exempts these calls of its own probes from seccomp filters, and thus from stops",
    },
    Gap {
        drivers: EBPF,
        abis: &[Abi::X86_64, Abi::Aarch64],
        calls: &["rt_sigreturn"],
        what: "event",
        reason: "when it returns, the registers of the interrupted code are back, which was in no call: its number is gone",
    },
    Gap {
        drivers: &[ENTRY_ONLY],
        abis: &[],
        calls: UNFAILING,
        what: "event",
        reason: "a signal can make a call fail before it is seen, and these must not fail: they are left alone",
    },
    Gap {
        drivers: EBPF,
        abis: &[],
        calls: &["getsockname"],
        what: "addr",
        reason: "the kernel replaces the size of the buffer by the size of the address before the program in the kernel \
                 looks",
    },
    Gap {
        drivers: &[ENTRY_ONLY],
        abis: &[],
        calls: &[],
        what: "return value",
        reason: "calls are seen at their entry alone",
    },
    Gap {
        drivers: &[ENTRY_ONLY],
        abis: &[],
        calls: &[
            "_newselect",
            "accept",
            "accept4",
            "adjtimex",
            "capget",
            "capset",
            "clock_adjtime",
            "clock_adjtime64",
            "fcntl64",
            "getpeername",
            "getsockname",
            "io_setup",
            "io_uring_setup",
            "lsm_list_modules",
            "name_to_handle_at",
            "poll",
            "ppoll",
            "ppoll_time64",
            "recvfrom",
            "select",
            "sendfile",
            "sendfile64",
            "socketcall",
        ],
        what: "what the kernel changes",
        reason: "calls are seen at their entry alone: memory that the kernel reads and then writes is reported as the program \
                 had filled it",
    },
    Gap {
        drivers: &[ENTRY_ONLY],
        abis: &[],
        calls: &[],
        what: "what the kernel does",
        reason: "calls are seen at their entry alone: what the kernel writes into memory, and facts of descriptors, are \
                 not there yet",
    },
];

impl Gap {
    /// Whether it explains this difference of a case.
    pub(crate) fn covers(&self, driver: &str, case: &Case, what: &str) -> bool {
        self.drivers.contains(&driver)
            && (self.abis.is_empty() || self.abis.contains(&case.abi))
            && (self.calls.is_empty() || self.names(case.call.name))
            && self.what == what
    }

    /// Whether it is about this call by name.
    pub(crate) fn names(&self, call: &str) -> bool {
        if self.calls == UNFAILING {
            table::by_name(call).is_some_and(|call| call.unfailing)
        } else {
            self.calls.contains(&call)
        }
    }
}
