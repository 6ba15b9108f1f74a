//! What aya does not do as it is needed here: opening a perf buffer (perf_event_open(2)) and giving it to
//! the programs, and reading maps without allocating (bpf(2)).
//!
//! aya opens perf buffers so that they wake at every event, and an interrupt a call costs its program
//! several times what the call itself does.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use zerocopy::FromBytes;

/// `struct perf_event_attr` as the first kernels had it (`PERF_ATTR_SIZE_VER0`): all that is needed.
#[derive(Debug, Default)]
#[repr(C)]
struct Attr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_watermark: u32,
    bp_type: u32,
    config1: u64,
}

/// The part of `union bpf_attr` that is about an element of a map.
#[derive(Debug)]
#[repr(C)]
struct Element {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_COUNT_SW_BPF_OUTPUT: u64 = 10;
const PERF_SAMPLE_RAW: u64 = 1 << 10;
/// In `flags`: `wakeup_watermark` counts bytes.
const WATERMARK: u64 = 1 << 14;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;

/// Opens the output of one CPU, which wakes its reader when so many bytes have been written.
pub(super) fn open(cpu: u32, watermark: u32) -> io::Result<OwnedFd> {
    let attr = Attr {
        kind: PERF_TYPE_SOFTWARE,
        size: u32::try_from(size_of::<Attr>()).unwrap_or(0),
        config: PERF_COUNT_SW_BPF_OUTPUT,
        sample_period: 1,
        sample_type: PERF_SAMPLE_RAW,
        flags: WATERMARK,
        wakeup_watermark: watermark,
        ..Attr::default()
    };
    let everybody: libc::pid_t = -1;
    let no_group: libc::c_int = -1;
    // SAFETY: the kernel reads `size` bytes of the attributes, which live until it returns.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attr,
            everybody,
            cpu,
            no_group,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that the kernel has just made, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes it the place of the programs' output on a CPU.
pub(super) fn connect(map: BorrowedFd<'_>, cpu: u32, event: &OwnedFd) -> io::Result<()> {
    let mut fd = event.as_raw_fd();
    // SAFETY: the value is 4 bytes, which the kernel reads.
    unsafe { element(BPF_MAP_UPDATE_ELEM, map, cpu, (&raw mut fd).cast()) }
}

/// Reads an element of an array into `value`.
///
/// # Safety
///
/// `value` must have the size of an element; of an array per CPU, of as many as there are possible CPUs.
pub(super) unsafe fn read<T: FromBytes>(
    map: BorrowedFd<'_>,
    key: u32,
    value: &mut [T],
) -> io::Result<()> {
    // SAFETY: the caller's, and every pattern of bits is a T.
    unsafe { element(BPF_MAP_LOOKUP_ELEM, map, key, value.as_mut_ptr().cast()) }
}

/// # Safety
///
/// `value` must be as large as the map's value, and for a look-up writable with any bits.
unsafe fn element(
    command: libc::c_long,
    map: BorrowedFd<'_>,
    key: u32,
    value: *mut libc::c_void,
) -> io::Result<()> {
    let element = Element {
        map: u32::try_from(map.as_raw_fd()).unwrap_or(u32::MAX),
        pad: 0,
        key: (&raw const key) as u64,
        value: value as u64,
        flags: 0,
    };
    // SAFETY: the kernel reads these attributes and the key before it returns; the value is the caller's.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            &raw const element,
            size_of::<Element>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
