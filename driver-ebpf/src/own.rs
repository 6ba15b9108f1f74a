//! Our own process id as programs in the kernel see it: inside a PID namespace it is another one than getpid(2)
//! gives, and what is not captured is told by it.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use driver_api::support::Gap;

use crate::start::in_initial_namespace;

/// `struct bpf_insn` of include/uapi/linux/bpf.h.
#[repr(C)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// `return bpf_get_current_pid_tgid() >> 32`
const PROGRAM: [Instruction; 3] = [
    // BPF_JMP | BPF_CALL of the helper 14
    instruction(0x85, 14),
    // BPF_ALU64 | BPF_RSH of r0
    instruction(0x77, 32),
    // BPF_JMP | BPF_EXIT
    instruction(0x95, 0),
];

const fn instruction(code: u8, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: 0,
        offset: 0,
        immediate,
    }
}

/// The first fields of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
}

/// Those for `BPF_PROG_TEST_RUN`.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    result: u32,
    sizes: [u32; 2],
    data: [u64; 2],
    repeat: u32,
    duration: u32,
    context_sizes: [u32; 2],
    contexts: [u64; 2],
    flags: u32,
    cpu: u32,
}

const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_TEST_RUN: i32 = 10;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;

/// bpf(2). Gives what it returns.
fn bpf<T>(command: i32, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the kernel reads and writes as many bytes of the attributes as it is told, and what they point to
    // outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::try_from(result).unwrap_or(-1))
}

/// Asks a program that the kernel runs for us, as it does from Linux 5.10 on.
fn ask() -> io::Result<u32> {
    let mut load = Load {
        kind: BPF_PROG_TYPE_RAW_TRACEPOINT,
        count: PROGRAM.len() as u32,
        instructions: PROGRAM.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
    };
    let fd = bpf(BPF_PROG_LOAD, &mut load)?;
    // SAFETY: the kernel has just given it to us.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut run = TestRun {
        program: program.as_raw_fd().unsigned_abs(),
        ..TestRun::default()
    };
    bpf(BPF_PROG_TEST_RUN, &mut run)?;
    Ok(run.result)
}

/// Our process id in the initial PID namespace; an error where nobody tells it.
pub fn tgid() -> io::Result<u32> {
    if in_initial_namespace() {
        return Ok(std::process::id());
    }
    ask()
}

/// What is not left out where nobody tells it.
pub fn gap() -> Option<Gap> {
    let error = tgid().err()?;
    Some(Gap::new(
        "leaving lanner itself out",
        format!(
            "inside a PID namespace lanner's own id is another one than the kernel's, which no program tells here \
             (it does from Linux 5.10 on): {error}"
        ),
        "run lanner in the host's PID namespace",
    ))
}

#[test]
fn the_kernel_s_program_sees_us() {
    match ask() {
        Ok(id) if in_initial_namespace() => assert_eq!(id, std::process::id()),
        Ok(id) => assert!(id > 0),
        Err(error) => {
            println!("skipped: loading BPF programs needs root: {error}");
            let root = nix::unistd::geteuid().is_root();
            assert!(!root || std::env::var_os("LANNER_NO_SKIP").is_none());
        }
    }
}
