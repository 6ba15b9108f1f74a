//! Features of newer kernels that the driver can do without. Tests hide them, to see on one kernel what the driver
//! does on an older one.

/// A feature that the oldest supported kernel, Linux 4.14, or some configurations lack.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Raw tracepoints (Linux 4.17).
    RawTracepoints,
    /// Probes on kernel functions (`CONFIG_KPROBES`).
    Kprobes,
    /// The perf PMU of kprobes (Linux 4.17).
    KprobePmu,
    /// The tracepoint `sched_prepare_exec` (Linux 6.10).
    SchedPrepareExec,
    /// A tracefs that is mounted already.
    MountedTracefs,
    /// The system calls fsopen(2), fsconfig(2) and fsmount(2) (Linux 5.2).
    Fsmount,
}

/// The features that the driver may use: all of them, except in tests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Features {
    hidden: &'static [Feature],
}

impl Features {
    pub(crate) const ALL: Self = Self { hidden: &[] };

    /// All features but these.
    pub(crate) const fn without(hidden: &'static [Feature]) -> Self {
        Self { hidden }
    }

    pub(crate) fn hides(self, feature: Feature) -> bool {
        self.hidden.contains(&feature)
    }
}
