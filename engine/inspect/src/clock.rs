//! Converts event times, which are `CLOCK_MONOTONIC`, to wall clock times.

/// Converts event times to time since the epoch.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Epoch minus monotonic, in nanoseconds.
    offset: i64,
    fixed: bool,
}

impl Clock {
    /// The current clock of this host.
    #[must_use]
    pub fn host() -> Self {
        Self {
            offset: read(libc::CLOCK_REALTIME).saturating_sub(read(libc::CLOCK_MONOTONIC)),
            fixed: false,
        }
    }

    /// A clock that never changes, for recorded events: event time plus `offset` nanoseconds.
    #[must_use]
    pub fn fixed(offset: i64) -> Self {
        Self {
            offset,
            fixed: true,
        }
    }

    /// Wall clock minus `CLOCK_MONOTONIC`, in nanoseconds.
    #[must_use]
    pub fn offset_ns(self) -> i64 {
        self.offset
    }

    /// Reads the host's clock again, since the wall clock may have been set. Does nothing to a fixed clock.
    pub fn synchronise(&mut self) {
        if !self.fixed {
            *self = Self::host();
        }
    }

    /// The time of an event, in nanoseconds since the epoch.
    #[must_use]
    pub fn epoch_ns(self, monotonic_ns: u64) -> u64 {
        monotonic_ns.saturating_add_signed(self.offset)
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds.
pub(super) fn monotonic_ns() -> u64 {
    u64::try_from(read(libc::CLOCK_MONOTONIC)).unwrap_or(0)
}

/// How long this host has slept since boot, in nanoseconds: `CLOCK_MONOTONIC` does not count that, and /proc does.
pub(super) fn slept_ns() -> u64 {
    let slept = read(libc::CLOCK_BOOTTIME).saturating_sub(read(libc::CLOCK_MONOTONIC));
    u64::try_from(slept).unwrap_or(0)
}

fn read(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the kernel to write.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec)
}
