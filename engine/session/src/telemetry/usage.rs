//! The resources that lanner uses, from /proc/self (proc_pid_stat(5), proc_pid_fd(5)).

use std::fs;

use proc_pid::{Field, Stat, TICKS_PER_SECOND};

/// CPU and memory of this process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Seconds in user space and in the kernel.
    pub(crate) cpu_seconds: f64,
    /// Resident memory in bytes.
    pub(crate) resident: u64,
    /// Bytes of address space.
    pub(crate) address_space: u64,
    /// Threads.
    pub(crate) threads: u64,
    /// Open descriptors.
    pub(crate) descriptors: u64,
}

/// The release of the running kernel. Empty if /proc cannot be read.
pub(crate) fn kernel_release() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}

/// What this process uses. `None` if /proc cannot be read.
pub(crate) fn read() -> Option<Usage> {
    let stat = Stat::of_self().ok()?;
    let number = |field| stat.get::<u64>(field);
    #[expect(clippy::cast_precision_loss, reason = "ticks of years fit")]
    let cpu_seconds =
        (number(Field::UserTime)? + number(Field::SystemTime)?) as f64 / TICKS_PER_SECOND as f64;
    // SAFETY: sysconf(3) takes a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(Usage {
        cpu_seconds,
        resident: number(Field::Resident)? * u64::try_from(page).ok()?,
        address_space: number(Field::AddressSpace)?,
        threads: number(Field::Threads)?,
        descriptors: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
    })
}
