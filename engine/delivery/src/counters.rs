//! Counters of the alerts of one output: delivered, waiting, and lost by cause.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of one output, which any thread may read.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub(super) $name: AtomicU64,)*
        }

        /// The counters at one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Their values now.
            #[must_use]
            pub fn read(&self) -> Counts {
                Counts {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                }
            }
        }
    };
}

counters! {
    /// Alerts that were meant for this output.
    offered,
    /// Written to disk, where they survive a crash of lanner.
    stored,
    /// Delivered.
    delivered,
    /// Lost: the queue was full.
    overflowed,
    /// Lost: the receiver refused them, or the output is switched off.
    refused,
    /// Dropped: more than the output's rate allows.
    limited,
    /// Lost: the oldest on disk, because the spool had its full size.
    evicted,
    /// Lost: the oldest on disk, because the disk was full.
    disk_full,
    /// Lost: they waited on disk longer than `age` allows.
    expired,
    /// Lost: they could not be read from the disk.
    unreadable,
    /// Lost: they waited in memory when lanner ended.
    abandoned,
    /// Times that the output asked to be tried again.
    retries,
    /// Calls that took longer than the deadline.
    deadlines,
    /// 1 while a call takes longer than the deadline.
    hanging,
    /// Times that the spool could not be written.
    spool_errors,
    /// Alerts that wait, in memory and on disk.
    waiting,
    /// Alerts that wait on disk.
    spooled,
    /// Bytes of alerts on disk.
    spool_bytes,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
}

impl Counts {
    /// The losses, with their causes.
    #[must_use]
    pub fn losses(&self) -> [(&'static str, u64); 7] {
        [
            ("queue-full", self.overflowed),
            ("given-up", self.refused),
            ("spool-full", self.evicted),
            ("disk-full", self.disk_full),
            ("expired", self.expired),
            ("unreadable", self.unreadable),
            ("abandoned", self.abandoned),
        ]
    }

    /// Alerts that were not delivered and never will be, whatever the cause.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.losses().iter().map(|(_, count)| count).sum()
    }
}
