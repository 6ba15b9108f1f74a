//! What a driver can do on a host, and what it cannot.

use std::fmt;

use crate::fix::Fix;
use crate::request::Target;

/// The answer of [`Driver::probe`](crate::driver::Driver::probe).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Support {
    /// The driver can run, with these gaps.
    Usable(Vec<Gap>),
    /// The driver cannot run here. The gaps say why.
    Unusable(Vec<Gap>),
}

impl Support {
    /// Whether the driver can run.
    pub fn usable(&self) -> bool {
        matches!(self, Self::Usable(_))
    }

    /// The gaps of either answer.
    pub fn gaps(&self) -> &[Gap] {
        match self {
            Self::Usable(gaps) | Self::Unusable(gaps) => gaps,
        }
    }
}

/// Something that a driver cannot do or does not deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// What is missing, a few words.
    pub what: String,
    /// Why.
    pub why: String,
    /// What the user can change. Empty: nothing helps.
    pub remedy: String,
    /// What commands can change: each of these closes the gap. Empty: no command helps.
    pub fixes: Vec<Fix>,
}

impl Gap {
    /// Calls that a signal handler ends: the gap of a driver that does not watch signals being delivered.
    pub fn interrupted_calls() -> Self {
        Self::new(
            "calls that a signal handler ends with EINTR",
            "a call that a signal interrupts first returns a request to be made again (ERESTARTSYS and its \
             kin), which the kernel turns into EINTR when it runs the handler; only calls that return EINTR \
             themselves are delivered",
            "",
        )
    }

    /// The `what` of [`Gap::operations`].
    pub const OPERATIONS: &str = "operations of io_uring";

    /// What helps against operations of io_uring that are not seen, or not seen in full.
    pub const DISABLE_IO_URING: &str = "sysctl kernel.io_uring_disabled=2 (Linux 6.6), or a seccomp filter that refuses io_uring_setup";

    /// The same as a command.
    pub const NO_IO_URING: Fix = Fix::Sysctl {
        name: "kernel.io_uring_disabled",
        value: "2",
    };

    /// Operations that are submitted to rings of io_uring(7): the gap of a driver that does not see them.
    pub fn operations(why: impl Into<String>) -> Self {
        Self::new(Self::OPERATIONS, why, Self::DISABLE_IO_URING).fixed_by(Self::NO_IO_URING)
    }

    /// Calls that name a file without opening it: the gap of a driver that does not see what the kernel found there.
    pub fn named_files() -> Self {
        Self::new(
            "the file that a path names, in calls that do not open it",
            "of rename, unlink, link, mkdir, chmod, mount and others, the path is what the program passed, and a fact says \
             where a relative path begins: symbolic links in the path are not resolved, and another thread can change the \
             path while the kernel reads it",
            "fs.realpath.* is where the path leads when a rule asks; where files are opened, the path is the kernel's",
        )
    }

    /// The `what` of [`Gap::program`].
    pub const PROGRAM: &str = "a program's file and capabilities, as they were at its exec";

    /// The file and capabilities of a new program: the gap of a driver that cannot read the kernel's structures.
    pub fn program() -> Self {
        Self::new(
            Self::PROGRAM,
            "they are looked up in /proc when a rule asks for them: if the process has ended by then, they are \
             unknown; the layer of an overlay that the file is in is searched for among the mounts",
            "use ebpf-core",
        )
    }

    /// The `what` of [`Gap::times`].
    pub const TIMES: &str = "how long calls take";

    /// How long calls take: the gap of a driver that does not see both their entry and their return.
    pub fn times(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Self::TIMES, why, remedy)
    }

    /// Calls whose memory another thread changes between the moment when the kernel reads it and that when lanner does.
    pub fn changed_memory(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(
            "calls whose memory another thread changes meanwhile",
            why,
            remedy,
        )
    }

    /// Paths that begin at a mount or a root that other processes do not have.
    pub fn own_roots() -> Self {
        Self::new(
            "paths below a root or a mount of a process's own",
            "after pivot_root(2), and in a mount that is not attached (open_tree, fsmount), a path begins there",
            "watch the calls that make them, as the default rules \"Mount made through descriptors\" and \"Namespace \
             changed\" do",
        )
    }

    /// Files that the kernel writes without a call of the program.
    pub fn kernel_files() -> Self {
        Self::new(
            "files that the kernel writes itself",
            "a core dump is written where the process is, with what it had in its memory; no call makes the file",
            "let kernel.core_pattern name a program or a folder that only root can write to",
        )
    }

    /// Signals when they arrive: Falco's `signaldeliver`.
    pub fn arriving_signals() -> Self {
        Self::new(
            "signals when they arrive",
            "the kernel delivers a signal outside of a call: calls that send one are captured, and Falco's event \
             signaldeliver does not come",
            "let rules name the calls that send signals: kill, tkill, tgkill, rt_sigqueueinfo, pidfd_send_signal",
        )
    }

    /// Unix sockets whose path says not where it begins.
    pub fn relative_sockets() -> Self {
        Self::new(
            "Unix sockets with a relative path",
            "the kernel names a socket by the path that was passed to bind(2): if it is relative, so is fd.name at both ends",
            "let rules compare names of sockets by their end, or look at proc.cwd at bind(2) and connect(2)",
        )
    }

    /// A name that a process gets through a file: the gap of a driver that does not look at the name at each call.
    pub fn name_by_file() -> Self {
        Self::new(
            "names of processes that are written to /proc/PID/comm",
            "only exec and prctl(2) change a name that lanner knows; what is written to that file is not captured for it",
            "watch who opens the file, as the default rule \"Process renamed through /proc\" does",
        )
    }

    /// A gap with its three texts.
    pub fn new(what: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            why: why.into(),
            remedy: remedy.into(),
            fixes: Vec::new(),
        }
    }

    /// The gap, with something that commands can change. Each of several fixes closes it.
    #[must_use]
    pub fn fixed_by(mut self, fix: Fix) -> Self {
        self.fixes.push(fix);
        self
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

/// Where a driver tests what a [`Predicate`](crate::predicate::Predicate) says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tested {
    /// Of the arguments of a call.
    pub arguments: FilterStage,
    /// Of its result.
    pub result: FilterStage,
}

/// A place where a call can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterStage {
    /// In the driver's programs in the kernel: the call makes no event.
    Kernel,
    /// In the command's seccomp filter: the call does not stop.
    Filter,
    /// In lanner, before it reads memory and looks up facts.
    Lanner,
    /// Nowhere: events do not have it.
    Nowhere,
}

impl FilterStage {
    /// A word for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Filter => "seccomp-filter",
            Self::Lanner => "lanner",
            Self::Nowhere => "nowhere",
        }
    }
}

/// As a person reads it: `in the kernel`.
impl fmt::Display for FilterStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "in the kernel",
            Self::Filter => "in the seccomp filter",
            Self::Lanner => "in lanner",
            Self::Nowhere => "nowhere",
        })
    }
}
