//! What this kernel takes, found out with programs of a few instructions. Trying a whole object costs tens of milliseconds
//! even if it is refused, because the kernel's types are read for it first.

use bpf_syscall::{Attach, Instruction, ProgramKind, load_program};

/// What this kernel takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Features {
    /// Loops with may_goto, which the verifier follows once (`bpf/steps.h`), since Linux 6.9.
    pub(crate) may_goto: bool,
    /// Programs at functions, as far as this can be known without naming a function.
    pub(crate) functions: bool,
}

impl Features {
    /// Asks the kernel.
    pub(crate) fn of_kernel() -> Self {
        let with_may_goto = [
            Instruction::set(0),
            Instruction::may_goto(1),
            Instruction::set(0),
            Instruction::EXIT,
        ];
        Self {
            may_goto: load_program(ProgramKind::SocketFilter, Attach::OfKind, &with_may_goto)
                .is_ok(),
            functions: !refused(Attach::FunctionEntry) || refused(Attach::Tracepoint),
        }
    }
}

/// Whether the kernel refuses all programs that are attached in this way, with `EPERM`. The program tried names nothing to
/// attach to, which is an error of another kind (`EINVAL`).
fn refused(attach: Attach) -> bool {
    let program = [Instruction::set(0), Instruction::EXIT];
    load_program(ProgramKind::Tracing, attach, &program)
        .is_err_and(|error| error.raw_os_error() == Some(libc::EPERM))
}

#[cfg(test)]
mod tests {
    use libbpf_rs::libbpf_sys as sys;
    use test_support::{is_root, skipped};

    use super::*;

    #[test]
    fn a_program_is_taken_or_the_reason_is_reported() {
        if !is_root() {
            return skipped("loading BPF programs needs root");
        }
        let load = |program: &[Instruction]| {
            load_program(ProgramKind::SocketFilter, Attach::OfKind, program)
        };
        assert!(load(&[Instruction::set(0), Instruction::EXIT]).is_ok());
        let endless = [
            Instruction::set(0),
            Instruction::jump(-1),
            Instruction::EXIT,
        ];
        let error = load(&endless).expect_err("it never ends");
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        assert!(!refused(Attach::Tracepoint));
    }

    #[test]
    fn the_numbers_are_those_of_the_kernel_s_header() {
        assert_eq!(
            ProgramKind::SocketFilter as u32,
            sys::BPF_PROG_TYPE_SOCKET_FILTER
        );
        assert_eq!(
            ProgramKind::RawTracepoint as u32,
            sys::BPF_PROG_TYPE_RAW_TRACEPOINT
        );
        assert_eq!(ProgramKind::Tracing as u32, sys::BPF_PROG_TYPE_TRACING);
        assert_eq!(Attach::Tracepoint as u32, sys::BPF_TRACE_RAW_TP);
        assert_eq!(Attach::FunctionEntry as u32, sys::BPF_TRACE_FENTRY);
    }
}
