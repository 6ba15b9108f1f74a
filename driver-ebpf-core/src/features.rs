//! What this kernel takes, found out with programs of a few instructions. A whole object that is refused costs tens of
//! milliseconds, as the kernel's types are read for it first.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;

use libbpf_rs::libbpf_sys as sys;

/// What this kernel takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Features {
    /// Loops that the verifier follows once (`bpf/steps.h`), Linux 6.9.
    pub(crate) may_goto: bool,
    /// Programs at functions, as far as can be told without naming one.
    pub(crate) functions: bool,
}

impl Features {
    /// Asks the kernel.
    pub(crate) fn of_kernel() -> Self {
        let over_one = [(ZERO, 0), (MAY_GOTO, 1), (ZERO, 0), (EXIT, 0)];
        Self {
            may_goto: load(sys::BPF_PROG_TYPE_SOCKET_FILTER, 0, &over_one).is_ok(),
            functions: !refused(sys::BPF_TRACE_FENTRY) || refused(sys::BPF_TRACE_RAW_TP),
        }
    }
}

/// Codes of instructions (include/uapi/linux/bpf.h).
const ZERO: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K: r0 = 0
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT
const MAY_GOTO: u8 = 0xe5; // BPF_JMP | BPF_JCOND

/// Whether the kernel wants no programs of this kind, whatever they are attached to: one that is attached to nothing is
/// wrong, and else it says so (`EINVAL`).
fn refused(attach: sys::bpf_attach_type) -> bool {
    load(sys::BPF_PROG_TYPE_TRACING, attach, &[(ZERO, 0), (EXIT, 0)])
        .is_err_and(|error| error.raw_os_error() == Some(libc::EPERM))
}

/// Loads a program: codes, and how far each jumps.
fn load(
    kind: sys::bpf_prog_type,
    attach: sys::bpf_attach_type,
    program: &[(u8, i16)],
) -> io::Result<OwnedFd> {
    let instruction = |&(code, off): &(u8, i16)| sys::bpf_insn {
        code,
        off,
        ..sys::bpf_insn::default()
    };
    let program: Vec<sys::bpf_insn> = program.iter().map(instruction).collect();
    let mut options = sys::bpf_prog_load_opts {
        sz: size_of::<sys::bpf_prog_load_opts>() as sys::size_t,
        expected_attach_type: attach,
        ..sys::bpf_prog_load_opts::default()
    };
    // SAFETY: the instructions and options are there until it returns; it has no name; the license ends with NUL.
    let fd = unsafe {
        sys::bpf_prog_load(
            kind,
            ptr::null(),
            c"GPL".as_ptr(),
            program.as_ptr(),
            program.len() as sys::size_t,
            &raw mut options,
        )
    };
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(-fd));
    }
    // SAFETY: it is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUMP: u8 = 0x05; // BPF_JMP | BPF_JA

    /// Needs root.
    #[test]
    fn a_program_is_taken_or_the_reason_is_told() {
        assert!(load(sys::BPF_PROG_TYPE_SOCKET_FILTER, 0, &[(ZERO, 0), (EXIT, 0)]).is_ok());
        let endless = [(ZERO, 0), (JUMP, -1), (EXIT, 0)];
        let error = load(sys::BPF_PROG_TYPE_SOCKET_FILTER, 0, &endless).expect_err("it never ends");
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        assert!(!refused(sys::BPF_TRACE_RAW_TP));
    }
}
