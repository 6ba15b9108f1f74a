//! Giving up capabilities once a driver is open, so that an attacker who takes over lanner does not have them.

use std::io;

use driver_api::driver::Driver;
use driver_api::host::{Host, capability};

/// Capabilities that no driver, and nothing behind it, needs while it captures (capabilities(7)).
const NEVER_NEEDED: [u32; 19] = [
    9,  // LINUX_IMMUTABLE
    11, // NET_BROADCAST
    12, // NET_ADMIN
    13, // NET_RAW
    14, // IPC_LOCK
    16, // SYS_MODULE
    17, // SYS_RAWIO
    18, // SYS_CHROOT
    20, // SYS_PACCT
    22, // SYS_BOOT
    capability::SYS_RESOURCE,
    25, // SYS_TIME
    26, // SYS_TTY_CONFIG
    27, // MKNOD
    31, // SETFCAP
    32, // MAC_OVERRIDE
    33, // MAC_ADMIN
    35, // WAKE_ALARM
    36, // BLOCK_SUSPEND
];

/// The capabilities to give up while this driver captures: [`NEVER_NEEDED`], and those that it needed to open alone
/// ([`Driver::capabilities_to_open`]).
///
/// Without CAP_SYS_PTRACE all are kept: a process can inspect only processes that have no capability that it
/// lacks (ptrace(2), "Ptrace access mode checking"), and a command keeps the capabilities it was started with.
fn unneeded(driver: &dyn Driver, host: &Host) -> u64 {
    if !host.has(capability::SYS_PTRACE) {
        return 0;
    }
    let never = NEVER_NEEDED.iter().fold(0, |set, cap| set | 1 << cap);
    (never | driver.capabilities_to_open(host)) & host.capabilities
}

/// Gives up the capabilities that are not needed while this driver captures, for this thread and for threads and
/// processes that it starts later.
///
/// # Errors
///
/// The kernel refused. All capabilities are kept then, and it is safe to go on.
pub fn drop_unneeded(driver: &dyn Driver, host: &Host) -> io::Result<()> {
    let drop = unneeded(driver, host);
    if drop == 0 {
        return Ok(());
    }
    let mut sets = sets()?;
    for (at, set) in sets.iter_mut().enumerate() {
        let keep = !((drop >> (32 * at)) as u32);
        set.effective &= keep;
        set.permitted &= keep;
        set.inheritable &= keep;
    }
    let mut head = THIS_THREAD;
    // SAFETY: both point to what capset(2) wants, of the version that is named.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut head, sets.as_ptr()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// `struct __user_cap_header_struct` of include/uapi/linux/capability.h.
#[repr(C)]
struct Head {
    version: u32,
    pid: i32,
}

/// _LINUX_CAPABILITY_VERSION_3, with two sets of 32 bits.
const THIS_THREAD: Head = Head {
    version: 0x2008_0522,
    pid: 0,
};

/// `struct __user_cap_data_struct`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn sets() -> io::Result<[Sets; 2]> {
    let mut sets = [Sets::default(); 2];
    let mut head = THIS_THREAD;
    // SAFETY: as in drop_unneeded; the kernel writes both sets.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut head, sets.as_mut_ptr()) };
    if result == 0 {
        Ok(sets)
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use driver_api::driver::registered;

    use super::*;
    use crate::made::{Made, WHOLE};

    fn with(capabilities: &[u32]) -> Host {
        Host {
            capabilities: capabilities.iter().fold(0, |set, cap| set | 1 << cap),
            ..Host::default()
        }
    }

    #[test]
    fn what_opens_maps_and_other_processes_is_kept() {
        use capability::{BPF, PERFMON, SYS_ADMIN, SYS_PTRACE};
        const TO_OPEN: u64 = 1 << PERFMON | 1 << SYS_ADMIN;
        const EBPF: Made = Made {
            capabilities_to_open: TO_OPEN,
            ..WHOLE
        };
        let all = with(&[BPF, PERFMON, SYS_ADMIN, SYS_PTRACE, 16]);
        assert_eq!(unneeded(&EBPF, &all), TO_OPEN | 1 << 16);
        assert_eq!(unneeded(&WHOLE, &all), 1 << 16);
        // without CAP_BPF, CAP_SYS_ADMIN does its work
        assert_eq!(unneeded(&EBPF, &with(&[SYS_ADMIN, SYS_PTRACE])), 0);
        assert_eq!(unneeded(&EBPF, &with(&[BPF, PERFMON, 16])), 0);
    }

    #[test]
    fn what_is_given_up_is_gone_from_every_set() {
        let host = crate::host::detect();
        let driver = registered()[0];
        let ours = std::thread::spawn(move || {
            drop_unneeded(driver, &host)?;
            sets().map(|sets| (unneeded(driver, &host), sets))
        });
        let (drop, sets) = ours.join().unwrap().unwrap();
        for (at, set) in sets.iter().enumerate() {
            let gone = (drop >> (32 * at)) as u32;
            assert_eq!((set.effective | set.permitted | set.inheritable) & gone, 0);
        }
    }
}
