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
    /// Only kernels without this system call have it. None: all kernels.
    pub(crate) lacking: Option<libc::c_long>,
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
        drivers: &["ptrace"],
        abis: &[],
        calls: &["bind"],
        what: "fact tuple",
        lacking: Some(libc::SYS_pidfd_getfd),
        reason: "a TCP socket that is bound, and neither connected nor listening, is in no table of the kernel, and its \
                 descriptor cannot be duplicated there (pidfd_getfd)",
    },
    Gap {
        drivers: &["ptrace", ENTRY_ONLY],
        abis: &[Abi::X86_64],
        calls: &["uretprobe", "uprobe"],
        what: "event",
        lacking: None,
        reason: "the kernel exempts these calls of its own probes from seccomp filters, and thus from stops",
    },
    Gap {
        drivers: EBPF,
        abis: &[Abi::X86_64, Abi::Aarch64],
        calls: &["rt_sigreturn"],
        what: "event",
        lacking: None,
        reason: "when it returns, the registers of the interrupted code are back, which was in no call: its number is gone",
    },
    Gap {
        drivers: &[ENTRY_ONLY],
        abis: &[],
        calls: UNFAILING,
        what: "event",
        lacking: None,
        reason: "a signal can make a call fail before it is seen, and these must not fail: they are left alone",
    },
    Gap {
        drivers: &[ENTRY_ONLY],
        abis: &[],
        calls: &[],
        what: "return value",
        lacking: None,
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
            "sendmmsg",
            "socketcall",
        ],
        what: "what the kernel changes",
        lacking: None,
        reason: "calls are seen at their entry alone: memory that the kernel reads and then writes is reported as the program \
                 had filled it",
    },
    Gap {
        drivers: &[ENTRY_ONLY],
        abis: &[],
        calls: &[],
        what: "what the kernel does",
        lacking: None,
        reason: "calls are seen at their entry alone: what the kernel writes into memory, and facts of descriptors, are \
                 not there yet",
    },
];

impl Gap {
    /// Whether this kernel has it.
    pub(crate) fn is_here(&self) -> bool {
        self.lacking.is_none_or(|call| {
            // SAFETY: arguments that no system call accepts: it fails, or does not exist.
            let result = unsafe { libc::syscall(call, -1, -1, -1) };
            result == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS)
        })
    }

    /// Whether it explains this difference of a case.
    pub(crate) fn covers(&self, driver: &str, case: &Case, what: &str) -> bool {
        self.drivers.contains(&driver)
            && (self.abis.is_empty() || self.abis.contains(&case.abi))
            && (self.calls.is_empty() || self.names(case.call.name))
            && self.what == what
            && self.is_here()
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
