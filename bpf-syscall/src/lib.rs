//! The few commands of bpf(2) that lanner calls without a BPF library: making a map, reading and writing elements of an
//! array, loading and running a program of a few instructions. libbpf and aya do the rest.
//!
//! Numbers and structs follow include/uapi/linux/bpf.h. A struct here has the fields of `union bpf_attr` up to the last
//! one that its command uses; the kernel takes those behind it as 0.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use zerocopy::{FromBytes, Immutable, IntoBytes};

const BPF_MAP_CREATE: i32 = 0;
const BPF_MAP_LOOKUP_ELEM: i32 = 1;
const BPF_MAP_UPDATE_ELEM: i32 = 2;
const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_TEST_RUN: i32 = 10;

/// A kind of map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum MapKind {
    /// An array, whose keys are numbers of 4 bytes.
    Array = 2,
    /// A ring buffer (Linux 5.8), which has neither keys nor values.
    RingBuffer = 27,
}

/// A kind of program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ProgramKind {
    /// A filter of a socket, which needs no type information and no privilege but CAP_BPF.
    SocketFilter = 1,
    /// A program at a perf event of a tracepoint (`CONFIG_BPF_EVENTS`).
    Tracepoint = 5,
    /// A program at a raw tracepoint (Linux 4.17).
    RawTracepoint = 17,
    /// A program that is attached by the kernel's types (Linux 5.5).
    Tracing = 26,
}

/// What a program is loaded to be attached to (`expected_attach_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Attach {
    /// Whatever its kind attaches to.
    OfKind = 0,
    /// A tracepoint, by its type.
    Tracepoint = 23,
    /// The entry of a function.
    FunctionEntry = 24,
}

/// `struct bpf_insn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    /// `exit`: returns r0.
    pub const EXIT: Self = Self::new(0x95, 0, 0);

    /// `r0 = immediate`.
    pub const fn set(immediate: i32) -> Self {
        Self::new(0xb7, 0, immediate)
    }

    /// `r0 >>= immediate`.
    pub const fn shift_right(immediate: i32) -> Self {
        Self::new(0x77, 0, immediate)
    }

    /// Calls the helper with this number (`enum bpf_func_id`).
    pub const fn call(helper: i32) -> Self {
        Self::new(0x85, 0, helper)
    }

    /// Jumps over `offset` instructions.
    pub const fn jump(offset: i16) -> Self {
        Self::new(0x05, offset, 0)
    }

    /// `may_goto` (Linux 6.9): jumps over `offset` instructions when a loop has run for too long.
    pub const fn may_goto(offset: i16) -> Self {
        Self::new(0xe5, offset, 0)
    }

    const fn new(code: u8, offset: i16, immediate: i32) -> Self {
        Self {
            code,
            registers: 0,
            offset,
            immediate,
        }
    }
}

/// For [`create_map`].
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// For [`load_program`].
#[derive(Debug)]
#[repr(C)]
struct ProgramLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach: u32,
}

/// For [`run_program`].
#[derive(Debug, Default)]
#[repr(C)]
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

/// For [`lookup`] and [`update`].
#[derive(Debug)]
#[repr(C)]
struct Element {
    map: u32,
    unused: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Calls bpf(2), and returns what it returns.
///
/// # Safety
///
/// Every address in the attributes is that of memory that the command may read or write until it returns, as far as it
/// reads or writes it.
unsafe fn bpf<T>(command: i32, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the kernel reads and writes the attributes within the size that it is given, and what they point to is the
    // caller's promise.
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

/// Makes a map. Sizes are bytes.
///
/// # Errors
///
/// What bpf(2) says: `EINVAL` where the kernel does not have this kind, `EPERM` without the privilege, or where the limit
/// of locked memory does not suffice.
pub fn create_map(
    kind: MapKind,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
) -> io::Result<OwnedFd> {
    let mut attributes = MapCreate {
        kind: kind as u32,
        key_size,
        value_size,
        max_entries,
    };
    // SAFETY: these attributes hold no address.
    let fd = unsafe { bpf(BPF_MAP_CREATE, &mut attributes) }?;
    // SAFETY: the kernel has just made the descriptor, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Loads a program under the licence GPL.
///
/// # Errors
///
/// What bpf(2) says: `EINVAL` or `EACCES` where the verifier refuses the program or the kernel does not know an
/// instruction, `EPERM` without the privilege.
pub fn load_program(
    kind: ProgramKind,
    attach: Attach,
    program: &[Instruction],
) -> io::Result<OwnedFd> {
    /// As many as libbpf makes.
    const ATTEMPTS: usize = 5;
    let mut attempt = 1;
    loop {
        let mut attributes = ProgramLoad {
            kind: kind as u32,
            count: u32::try_from(program.len()).unwrap_or(u32::MAX),
            instructions: program.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log_buffer: 0,
            kernel_version: 0,
            flags: 0,
            name: [0; 16],
            interface: 0,
            attach: attach as u32,
        };
        // SAFETY: the kernel reads `count` instructions and the licence, which outlive the call, and writes nothing.
        match unsafe { bpf(BPF_PROG_LOAD, &mut attributes) } {
            // SAFETY: the kernel has just made the descriptor, and nothing else has it.
            Ok(fd) => return Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            // the verifier gives up when a signal is pending
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && attempt < ATTEMPTS => {
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Runs a program once, without data, and returns its result.
///
/// # Errors
///
/// What bpf(2) says: `EINVAL` or `EOPNOTSUPP` where the kernel cannot run a program of this kind (raw tracepoints: since
/// Linux 5.10).
pub fn run_program(program: BorrowedFd<'_>) -> io::Result<u32> {
    let mut run = TestRun {
        program: program.as_raw_fd().unsigned_abs(),
        ..TestRun::default()
    };
    // SAFETY: no address in the attributes is other than 0, with which the kernel neither reads nor writes.
    unsafe { bpf(BPF_PROG_TEST_RUN, &mut run) }?;
    Ok(run.result)
}

/// Reads the element of an array at `key`.
///
/// # Errors
///
/// What bpf(2) says: `ENOENT` where there is no such key.
///
/// # Safety
///
/// The map is an array, and `value` is as large as its values; for an array per CPU, as large as the values of all
/// possible CPUs, each rounded up to 8 bytes.
pub unsafe fn lookup<T: FromBytes>(
    map: BorrowedFd<'_>,
    key: u32,
    value: &mut [T],
) -> io::Result<()> {
    // SAFETY: the caller's promise; whatever the kernel writes is a T.
    unsafe { element(BPF_MAP_LOOKUP_ELEM, map, key, value.as_mut_ptr().cast()) }
}

/// Replaces the element of an array at `key`.
///
/// # Errors
///
/// What bpf(2) says: `E2BIG` where there is no such key.
///
/// # Safety
///
/// The map is an array, and its values have the size of `T`.
pub unsafe fn update<T: IntoBytes + Immutable>(
    map: BorrowedFd<'_>,
    key: u32,
    value: &T,
) -> io::Result<()> {
    let value = std::ptr::from_ref(value).cast_mut().cast();
    // SAFETY: the caller's promise; the kernel only reads the value.
    unsafe { element(BPF_MAP_UPDATE_ELEM, map, key, value) }
}

/// # Safety
///
/// The map's keys have 4 bytes, and `value` is as large as its values. To look up, the bytes are writable and any bits
/// are a value.
unsafe fn element(
    command: i32,
    map: BorrowedFd<'_>,
    key: u32,
    value: *mut c_void,
) -> io::Result<()> {
    let mut element = Element {
        map: map.as_raw_fd().unsigned_abs(),
        unused: 0,
        key: (&raw const key) as u64,
        value: value as u64,
        flags: 0,
    };
    // SAFETY: the kernel reads the key, which outlives the call; the value is the caller's promise.
    unsafe { bpf(command, &mut element) }.map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use test_support::{is_root, skipped};

    use super::*;

    /// Whether this process may use bpf(2). If not, the test is skipped, and says so.
    fn may_load() -> bool {
        if !is_root() {
            skipped("bpf(2) needs root");
        }
        is_root()
    }

    #[test]
    fn an_element_that_was_written_is_read() {
        if !may_load() {
            return;
        }
        let map = create_map(MapKind::Array, 4, 8, 2).unwrap();
        let mut value = [0u64];
        // SAFETY: an array with values of 8 bytes.
        unsafe {
            update(map.as_fd(), 1, &7u64).unwrap();
            lookup(map.as_fd(), 1, &mut value).unwrap();
        }
        assert_eq!(value, [7]);
        // SAFETY: as above.
        let error = unsafe { lookup(map.as_fd(), 2, &mut value) }.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }

    #[test]
    fn a_program_is_loaded_and_run_or_refused_with_a_reason() {
        if !may_load() {
            return;
        }
        let program = [Instruction::set(7), Instruction::EXIT];
        let load = |program: &[Instruction]| {
            load_program(ProgramKind::RawTracepoint, Attach::OfKind, program)
        };
        let loaded = load(&program).unwrap();
        assert_eq!(run_program(loaded.as_fd()).unwrap(), 7);
        let endless = [
            Instruction::set(0),
            Instruction::jump(-1),
            Instruction::EXIT,
        ];
        let error = load(&endless).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
