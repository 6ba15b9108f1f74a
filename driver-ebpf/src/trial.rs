//! What only a try can tell about bpf(2): what a container's profile forbids, what a user namespace does not give, what
//! the kernel lacks. Maps and programs are closed at once, and nothing remains of them.

use std::io;

use bpf_syscall::{Attach, Instruction, MapKind, ProgramKind, create_map, load_program};
use driver_api::host::{Host, Trial};
use libc::{E2BIG, EINVAL, EPERM};

use crate::memory;

/// A limit of locked memory that is large enough.
const LARGE: u64 = 64 << 20;

/// Fills in what both eBPF drivers need to know. What was tried before is not tried again.
pub fn try_out(host: &mut Host) {
    if host.bpf != Trial::Untried {
        return;
    }
    memory::while_raised(|| {
        host.lacks_ring_buffer |= lacks_ring_buffer();
        host.locks_bpf_memory |= host.locked_memory.is_some_and(locks_bpf_memory);
        if host.may_trace_with_bpf() {
            host.bpf = bpf();
        }
    });
}

/// The result of trying something, as the host keeps it.
pub fn trial<T>(tried: &io::Result<T>) -> Trial {
    match tried {
        Ok(_) => Trial::Works,
        Err(error) => Trial::Refused(error.raw_os_error().unwrap_or(EPERM)),
    }
}

/// Makes a map, and loads a program for tracepoints.
fn bpf() -> Trial {
    let nothing = [Instruction::set(0), Instruction::EXIT];
    trial(&array(1).and_then(|_| load_program(ProgramKind::Tracepoint, Attach::OfKind, &nothing)))
}

/// Makes an array of KiB.
fn array(entries: u64) -> io::Result<impl Sized> {
    let entries = u32::try_from(entries).unwrap_or(u32::MAX);
    create_map(MapKind::Array, 4, 1024, entries)
}

/// Whether the kernel counts maps against the limit. Without the privilege to make maps nothing can be found out, and the
/// answer is no.
fn locks_bpf_memory(limit: u64) -> bool {
    counts(
        &array(1),
        // one and a half times the limit
        || limit < LARGE && says(&array((limit + limit / 2) / 1024 + 64), EPERM),
        permitted,
    )
}

/// Whether these answers mean that maps count against a limit: a small map is made and a larger one than the limit
/// refused, or even the small one is refused, though bpf(2) is permitted, as other maps of this user take up the limit. A
/// cgroup without memory answers ENOMEM.
fn counts<T>(
    small: &io::Result<T>,
    refuses_large: impl FnOnce() -> bool,
    permitted: impl FnOnce() -> bool,
) -> bool {
    match small {
        Ok(_) => refuses_large(),
        Err(_) => says(small, EPERM) && permitted(),
    }
}

/// Whether lanner may use bpf(2), whatever memory is left. For a program without instructions, the kernel looks at the
/// privilege first and at their number then, before it takes memory.
fn permitted() -> bool {
    let empty = load_program(ProgramKind::SocketFilter, Attach::OfKind, &[]);
    says(&empty, E2BIG) || says(&empty, EINVAL)
}

/// Whether the kernel lacks BPF ring buffers. Without the privilege to make maps nothing can be found out, and the
/// answer is no.
fn lacks_ring_buffer() -> bool {
    // a multiple of every page size
    let ring = create_map(MapKind::RingBuffer, 0, 0, 1 << 16);
    is_unknown_kind(&ring, || array(1))
}

/// Whether this answer means that the kernel has no such maps. It does if an array, which every kernel has, is answered
/// otherwise: by a map or, if maps of this user already take the locked memory that the limit allows, by EPERM.
fn is_unknown_kind<T, U>(answer: &io::Result<T>, array: impl FnOnce() -> io::Result<U>) -> bool {
    says(answer, EINVAL) && {
        let array = array();
        array.is_ok() || says(&array, EPERM)
    }
}

fn says<T>(answer: &io::Result<T>, number: i32) -> bool {
    answer
        .as_ref()
        .is_err_and(|error| error.raw_os_error() == Some(number))
}

#[cfg(test)]
mod tests {
    use driver_api::host::capability;
    use test_support::{is_root, skipped};

    use super::*;

    fn answer(number: i32) -> io::Result<()> {
        match number {
            0 => Ok(()),
            number => Err(io::Error::from_raw_os_error(number)),
        }
    }

    #[test]
    fn a_kind_of_map_is_unknown_though_the_locked_memory_is_used_up() {
        for (ring, array, unknown) in [
            (0, 0, false),
            (EINVAL, 0, true),
            (EINVAL, EPERM, true),
            // whatever answers so, it is not the kernel
            (EINVAL, EINVAL, false),
            (EPERM, EPERM, false),
            (libc::ENOSYS, libc::ENOSYS, false),
        ] {
            let found = is_unknown_kind(&answer(ring), || answer(array));
            assert_eq!(found, unknown, "{ring} {array}");
        }
    }

    #[test]
    fn maps_count_against_a_limit_that_is_used_up() {
        for (small, large, permitted, expected) in [
            (0, true, true, true),
            (0, false, true, false),
            // used up
            (EPERM, false, true, true),
            // without the privilege, or where a profile forbids it
            (EPERM, false, false, false),
            (libc::ENOMEM, true, true, false),
            (libc::ENOSYS, true, false, false),
        ] {
            let found = counts(&answer(small), || large, || permitted);
            assert_eq!(found, expected, "{small} {large} {permitted}");
        }
    }

    #[test]
    fn the_privilege_is_found_without_memory() {
        if !is_root() {
            return skipped("bpf(2) needs root");
        }
        assert!(permitted());
        let mut host = Host {
            capabilities: 1 << capability::SYS_ADMIN,
            ..Host::default()
        };
        try_out(&mut host);
        assert_eq!(host.bpf, Trial::Works);
        let disabled = std::fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled");
        if disabled.is_ok_and(|level| level.trim() == "0") {
            return skipped("here every user may use bpf(2)");
        }
        let found = std::thread::spawn(|| {
            // SAFETY: the system call, unlike libc's function, changes this thread alone, which ends below.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
            assert_eq!(changed, 0);
            let mut host = Host {
                capabilities: 1 << capability::SYS_ADMIN,
                locked_memory: Some(1 << 16),
                ..Host::default()
            };
            try_out(&mut host);
            (permitted(), host.bpf, host.locks_bpf_memory)
        });
        let found = found.join().expect("a thread");
        assert_eq!(found, (false, Trial::Refused(EPERM), false));
    }

    #[test]
    fn what_was_tried_is_not_tried_again() {
        let tried = Host {
            capabilities: u64::MAX,
            bpf: Trial::Refused(libc::ENOSYS),
            lacks_ring_buffer: true,
            ..Host::default()
        };
        let mut host = tried.clone();
        try_out(&mut host);
        assert_eq!(host, tried);
    }
}
