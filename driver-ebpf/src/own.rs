//! lanner's own process id as the programs in the kernel see it, by which they leave lanner's calls out. Inside a PID
//! namespace it is another one than getpid(2) returns.

use std::io;
use std::os::fd::AsFd;

use bpf_syscall::{Attach, Instruction, ProgramKind, load_program, run_program};
use driver_api::support::Gap;

use crate::start::in_initial_namespace;

/// The number of the helper `bpf_get_current_pid_tgid`.
const GET_CURRENT_PID_TGID: i32 = 14;

/// `return bpf_get_current_pid_tgid() >> 32`
const PROGRAM: [Instruction; 3] = [
    Instruction::call(GET_CURRENT_PID_TGID),
    Instruction::shift_right(32),
    Instruction::EXIT,
];

/// Asks a program that the kernel runs in this process, which it can do since Linux 5.10.
fn ask() -> io::Result<u32> {
    let program = load_program(ProgramKind::RawTracepoint, Attach::OfKind, &PROGRAM)?;
    run_program(program.as_fd())
}

/// Our process id in the initial PID namespace.
///
/// # Errors
///
/// We are inside another PID namespace, and the kernel does not run our program (before Linux 5.10).
pub fn tgid() -> io::Result<u32> {
    if in_initial_namespace() {
        return Ok(std::process::id());
    }
    ask()
}

/// The gap where [`tgid`] cannot be found out: lanner captures its own calls, too.
pub fn gap() -> Option<Gap> {
    let error = tgid().err()?;
    Some(Gap::new(
        "leaving lanner itself out",
        format!(
            "inside a PID namespace the kernel knows lanner by another process id, which can be found out only since \
             Linux 5.10: {error}"
        ),
        "run lanner in the host's PID namespace",
    ))
}

#[test]
fn a_program_in_the_kernel_sees_our_process_id() {
    match ask() {
        Ok(id) if in_initial_namespace() => assert_eq!(id, std::process::id()),
        Ok(id) => assert!(id > 0),
        Err(error) => test_support::skipped(&format!("loading BPF programs needs root: {error}")),
    }
}
