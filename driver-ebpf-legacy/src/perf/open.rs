//! Opening a perf buffer (perf_event_open(2)) and giving it to the programs.
//!
//! aya would do both, but it asks for a wake-up at every event, and an interrupt a call costs its program
//! several times what the call itself does.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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

/// The part of `union bpf_attr` that updates an element of a map.
#[derive(Debug)]
#[repr(C)]
struct Update {
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
    let fd = event.as_raw_fd();
    let update = Update {
        map: u32::try_from(map.as_raw_fd()).unwrap_or(u32::MAX),
        pad: 0,
        key: (&raw const cpu) as u64,
        value: (&raw const fd) as u64,
        flags: 0,
    };
    // SAFETY: the kernel reads these attributes, and 4 bytes each of key and value, before it returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_UPDATE_ELEM,
            &raw const update,
            size_of::<Update>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
