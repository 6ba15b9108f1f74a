//! Perf events for buffers, tracepoints and functions (perf_event_open(2)), which aya does not open in the way that is
//! needed here.
//!
//! aya opens perf buffers that wake their reader at every event. One interrupt for each call costs a program several
//! times the call itself. Its tracepoints need a mounted tracefs, and its probes on functions stay behind when the
//! process is killed.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `struct perf_event_attr` as of Linux 2.6.33 (`PERF_ATTR_SIZE_VER1`), which has all that is needed.
#[derive(Debug, Clone, Copy, Default)]
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
    config2: u64,
}

const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_TYPE_TRACEPOINT: u32 = 2;
/// `_IO('$', 0)` and `_IOW('$', 8, __u32)` (include/uapi/linux/perf_event.h).
const PERF_EVENT_IOC_ENABLE: libc::Ioctl = 0x2400;
const PERF_EVENT_IOC_SET_BPF: libc::Ioctl = 0x4004_2408;
const PERF_COUNT_SW_BPF_OUTPUT: u64 = 10;
const PERF_SAMPLE_RAW: u64 = 1 << 10;
/// In `Attr::flags`: `wakeup_watermark` counts bytes.
const WATERMARK: u64 = 1 << 14;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;

/// Opens the output of one CPU. It wakes its reader when `watermark` bytes have been written.
pub(crate) fn open_output(cpu: u32, watermark: u32) -> io::Result<OwnedFd> {
    open(
        cpu,
        Attr {
            kind: PERF_TYPE_SOFTWARE,
            config: PERF_COUNT_SW_BPF_OUTPUT,
            sample_type: PERF_SAMPLE_RAW,
            flags: WATERMARK,
            wakeup_watermark: watermark,
            ..Attr::default()
        },
    )
}

/// Opens a tracepoint by its number in tracefs. `cpu` is one that is online; a program that is attached runs on every
/// CPU.
pub(crate) fn open_tracepoint(cpu: u32, id: u64) -> io::Result<OwnedFd> {
    open(
        cpu,
        Attr {
            kind: PERF_TYPE_TRACEPOINT,
            config: id,
            sample_type: PERF_SAMPLE_RAW,
            wakeup_watermark: 1,
            ..Attr::default()
        },
    )
}

/// Opens the entry of a kernel function through the perf PMU of kprobes. `pmu` is the number of that PMU.
pub(crate) fn open_function(cpu: u32, pmu: u32, name: &CStr) -> io::Result<OwnedFd> {
    open(
        cpu,
        Attr {
            kind: pmu,
            // kprobe_func
            config1: name.as_ptr() as u64,
            wakeup_watermark: 1,
            ..Attr::default()
        },
    )
}

/// Attaches a program to a tracepoint or function.
pub(crate) fn attach(event: &OwnedFd, program: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both requests take a number, and touch no memory of this process.
    let error = unsafe {
        libc::ioctl(
            event.as_raw_fd(),
            PERF_EVENT_IOC_SET_BPF,
            program.as_raw_fd(),
        ) < 0
            || libc::ioctl(event.as_raw_fd(), PERF_EVENT_IOC_ENABLE, 0) < 0
    };
    if error {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn open(cpu: u32, attr: Attr) -> io::Result<OwnedFd> {
    let attr = Attr {
        size: u32::try_from(size_of::<Attr>()).unwrap_or(0),
        sample_period: 1,
        ..attr
    };
    let every_process: libc::pid_t = -1;
    let no_group: libc::c_int = -1;
    // SAFETY: the kernel reads `size` bytes of the attributes, and the name that they may point to. Both outlive the
    // call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attr,
            every_process,
            cpu,
            no_group,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a perf event the programs' output on a CPU. `map` is an array of perf events.
pub(crate) fn connect(map: BorrowedFd<'_>, cpu: u32, event: &OwnedFd) -> io::Result<()> {
    // SAFETY: a value of an array of perf events is a descriptor, 4 bytes.
    unsafe { bpf_syscall::update(map, cpu, &event.as_raw_fd()) }
}
