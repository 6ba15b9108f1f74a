//! What a driver can do on a host, and what it lacks.

use crate::request::Target;

/// The answer of [`Driver::probe`](crate::driver::Driver::probe).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Support {
    /// The driver can run; what it cannot give is named.
    Usable(Vec<Gap>),
    /// The driver cannot run here.
    Unusable(Vec<Gap>),
}

impl Support {
    /// Whether the driver can run.
    pub fn usable(&self) -> bool {
        matches!(self, Self::Usable(_))
    }

    /// What is missing.
    pub fn gaps(&self) -> &[Gap] {
        match self {
            Self::Usable(gaps) | Self::Unusable(gaps) => gaps,
        }
    }
}

/// Something a driver cannot give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// What is missing, a few words.
    pub what: String,
    /// Why.
    pub why: String,
    /// What the user could change; empty: nothing.
    pub remedy: String,
}

impl Gap {
    /// What only a driver that looks into handlers' frames delivers: calls that a signal handler ends.
    pub fn interrupted_calls() -> Self {
        Self::new(
            "calls that a signal handler ends with EINTR",
            "a call that a signal interrupts first returns a request to be made again (ERESTARTSYS and its \
             kin), which the kernel turns into EINTR when it runs the handler; only calls that return EINTR \
             themselves are delivered",
            "",
        )
    }

    /// The name of [`Gap::program`].
    pub const PROGRAM: &str = "a program's file and capabilities, as they were at its exec";

    /// What only a driver with the kernel's own structures at hand tells of an exec.
    pub fn program() -> Self {
        Self::new(
            Self::PROGRAM,
            "they are looked up in /proc when a rule asks: of a process that is over by then they are unknown, and \
             whether its file is in the upper layer of an overlay is looked for among the mounts",
            "use ebpf-core",
        )
    }

    /// A gap from its three sentences.
    pub fn new(what: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            why: why.into(),
            remedy: remedy.into(),
        }
    }
}

/// What a driver can be pointed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serves {
    /// [`Target::Host`].
    pub host: bool,
    /// [`Target::Command`].
    pub command: bool,
    /// [`Target::Pids`].
    pub pids: bool,
}

impl Serves {
    /// Whether this target is served.
    pub fn target(&self, target: &Target) -> bool {
        match target {
            Target::Host => self.host,
            Target::Command(_) => self.command,
            Target::Pids(_) => self.pids,
        }
    }
}
