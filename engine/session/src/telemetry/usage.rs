//! The resources that lanner uses, from /proc/self (proc_pid_stat(5), proc_pid_statm(5)).

use std::fs;

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
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // the name, in parentheses, may hold anything
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // the first here is the third of the manual page
    let number = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
    // SAFETY: sysconf(3) takes a number.
    let (ticks, page) = unsafe {
        (
            libc::sysconf(libc::_SC_CLK_TCK),
            libc::sysconf(libc::_SC_PAGESIZE),
        )
    };
    #[expect(clippy::cast_precision_loss, reason = "ticks of years fit")]
    let cpu_seconds = (number(14)? + number(15)?) as f64 / ticks as f64;
    Some(Usage {
        cpu_seconds,
        resident: number(24)? * u64::try_from(page).ok()?,
        address_space: number(23)?,
        threads: number(20)?,
        descriptors: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
    })
}
