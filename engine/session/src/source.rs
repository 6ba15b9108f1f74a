//! Where the events of a session come from: a driver of this host, or a recording.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use driver_api::driver::Capture;
use driver_api::event::Loss;
use driver_api::request::{Command, LimitError, Limits, Omit, Request, Target};
use driver_api::selection::Selection;
use driver_api::stats::Stats;
use driver_api::support::Gap;
use inspect::{Clock, ContainerSource, Inspector};
use lanner_plugin::files::{self, FileError};
use recording::{Replay, ReplayError};
use scap::{ScapError, ScapReplay};

use crate::telemetry::DriverFacts;

/// A limit of the bytes of a path that is smaller than this is reported: many paths are longer.
const SHORT_PATH: u32 = 256;

/// The gap of a limit of the bytes of a path. None: the limit is large enough.
pub(crate) fn short_paths(limit: u32) -> Option<Gap> {
    let gap = Gap::new(
        format!("paths of more than {limit} bytes"),
        "the limit `path` is so small that rules about paths cannot match",
        "raise the limit: --limit path=4096, or `limits: {path: 4096}` in the configuration",
    );
    (limit < SHORT_PATH).then_some(gap)
}

/// Where the events of a session come from, as the user asks for it.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// A driver by name, or [`drivers::AUTO`].
    pub driver: String,
    /// How the driver captures, for drivers that have several modes, or [`drivers::AUTO`].
    pub mode: String,
    /// The drivers that `auto` tries, in this order. Empty: all, the preferred one first.
    pub driver_order: Vec<String>,
    /// Running processes to watch.
    pub pids: Vec<u32>,
    /// Ends the session after this time.
    pub duration: Option<Duration>,
    /// Bytes of buffer for each CPU, a power of two. None: what fits into the memory that lanner may use.
    pub buffer: Option<usize>,
    /// Bytes captured of a buffer that is read, written, sent or received.
    pub snaplen: u32,
    /// Other limits of what is captured, by name.
    pub limits: Vec<(String, u32)>,
    /// A file with the kernel's types (BTF).
    pub btf: Option<PathBuf>,
    /// Takes events from this recording instead of a driver.
    pub replay: Option<PathBuf>,
    /// A command to start and to watch: program and arguments. Empty: none.
    pub command: Vec<OsString>,
}

impl Default for SourceConfig {
    /// The whole host, by the first driver that works.
    fn default() -> Self {
        Self {
            driver: drivers::AUTO.to_owned(),
            mode: drivers::AUTO.to_owned(),
            driver_order: Vec::new(),
            pids: Vec::new(),
            duration: None,
            buffer: None,
            snaplen: 80,
            limits: Vec::new(),
            btf: None,
            replay: None,
            command: Vec::new(),
        }
    }
}

/// What can capture the events that a session selects. [`SourceConfig`] is the one for users; tests have their own.
pub trait EventSource {
    /// Begins to capture.
    ///
    /// # Errors
    ///
    /// The source cannot capture.
    fn open(&self, selection: &Selection, omit: Omit) -> Result<OpenedSource, SourceError>;
}

/// A capture that has begun.
#[derive(Debug)]
pub struct OpenedSource {
    /// The capture. The thread that opened the source polls it.
    pub capture: Box<dyn Capture>,
    /// Which driver it is, and why.
    pub driver: DriverFacts,
    /// What the driver cannot do here.
    pub gaps: Vec<Gap>,
    /// Whether events say how long their calls took, where it is known.
    pub times: bool,
    /// Whether every process of this host is captured.
    pub whole_host: bool,
    /// Which processes that were alive when the capture began the state has to look for.
    pub scan: Scan,
    /// What a recording that is replayed says beside its events. None: events are of this host, and of now.
    pub recorded: Option<RecordedHost>,
    /// Ends the session after this time.
    pub duration: Option<Duration>,
    /// Events that were captured, but that the session ended before; 0 until then.
    pub unseen: u64,
}

/// The host that a recording was made on.
#[derive(Debug, Clone)]
pub struct RecordedHost {
    /// Its clock.
    pub clock: Clock,
    /// Its users and cgroups. None: the recording does not have them, or has events that say them.
    pub names: Option<Arc<inspect::Recorded>>,
    /// What its runtimes said about containers. None: the recording does not have it.
    pub containers: Option<Arc<dyn ContainerSource>>,
}

/// Which processes were alive before the capture began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// All of the host.
    Host,
    /// The children of this process: the watched command is one of them.
    Children,
}

/// Why a source cannot capture.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Both a command and running processes were named.
    #[error("either a command or processes (-p) can be watched, not both")]
    CommandAndPids,
    /// Drivers and the state need it.
    #[error("/proc is not there, and lanner needs it; mount it: mount -t proc proc /proc")]
    NoProc,
    /// The command's program is neither a path nor in `PATH`.
    #[error("there is no program {}", .0.to_string_lossy())]
    NoProgram(OsString),
    /// A limit is unknown or too large.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// No driver can capture it.
    #[error(transparent)]
    Driver(#[from] drivers::Refused),
    /// The file of types cannot be read, or another user can change it.
    #[error("--btf (`btf` of the configuration)")]
    Btf(#[from] FileError),
    /// The file has no types of a kernel.
    #[error("--btf (`btf` of the configuration)")]
    BtfFile(#[source] drivers::Refused),
    /// The recording cannot be read.
    #[error("--replay")]
    Recording(#[from] ReplayError),
    /// The capture cannot be read.
    #[error("--replay")]
    Scap(#[from] ScapError),
}

/// Checks that a file (`--btf`) has a kernel's types. Returns its path without links.
///
/// # Errors
///
/// The file cannot be read, another user can change it, or it has something else.
pub fn check_btf(file: &Path) -> Result<PathBuf, SourceError> {
    let file = files::resolve(file)?;
    for driver in drivers::registered() {
        let checked = driver.check_btf(&file);
        checked.map_err(|error| SourceError::BtfFile(error.into()))?;
    }
    Ok(file)
}

impl OpenedSource {
    /// Whether events happen now; otherwise they were recorded.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.recorded.is_none()
    }

    /// Whether the driver holds the thread of an event while it is looked at.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.capture.holds()
    }

    /// The options for the state of this source.
    #[must_use]
    pub fn inspect_options(&self) -> inspect::Options {
        match &self.recorded {
            Some(host) => inspect::Options {
                proc_root: None,
                containers: host.containers.clone(),
                recorded: host.names.clone(),
                elsewhere: true,
                clock: host.clock,
                ..inspect::Options::default()
            },
            None => inspect::Options {
                containers: Some(Arc::new(containers::Fetcher::new(
                    containers::Runtimes::host(),
                ))),
                ..inspect::Options::default()
            },
        }
    }

    /// Adds the processes that exist already to the state.
    pub fn scan(&self, inspector: &mut Inspector) {
        match self.scan {
            Scan::Host => inspector.scan_proc(),
            Scan::Children => inspector.scan_children(),
        }
    }

    /// Counters of the capture.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.capture.stats();
        stats.lost[Loss::BufferFull as usize] += self.unseen;
        stats
    }
}

impl SourceConfig {
    /// What the driver has to watch.
    fn target(&self) -> Result<Target, SourceError> {
        match (self.command.split_first(), self.pids.as_slice()) {
            (None, []) => Ok(Target::Host),
            (None, pids) => Ok(Target::Pids(pids.to_vec())),
            (Some(_), [_, ..]) => Err(SourceError::CommandAndPids),
            (Some((program, _)), []) => Ok(Target::Command(Command {
                program: look_up(program)?.into_os_string(),
                args: self.command.clone(),
            })),
        }
    }

    fn open_driver(&self, selection: &Selection, omit: Omit) -> Result<OpenedSource, SourceError> {
        if !Path::new("/proc/self").exists() {
            return Err(SourceError::NoProc);
        }
        let mut limits = Limits {
            bytes: self.snaplen,
            omit,
            ..Limits::default()
        };
        for (name, value) in &self.limits {
            limits.set(name, *value)?;
        }
        let mut host = drivers::host::detect();
        host.btf_file = (self.btf.as_deref()).map(check_btf).transpose()?;
        let request = Request {
            target: self.target()?,
            selection: selection.clone(),
            limits,
            buffer: (self.buffer).unwrap_or_else(|| drivers::host::fitting_buffer(&host)),
        };
        let order = drivers::Order::named(&self.driver_order)?;
        let chosen = drivers::open_as(&self.driver, &self.mode, &order, &host, &request)?;
        if let Err(error) = drivers::privilege::drop_unneeded(chosen.driver, &host) {
            tracing::warn!("cannot give up capabilities that are not needed any more: {error}");
        }
        let reason = chosen.reason();
        let gap = |gap: &Gap| format!("{}: {}", gap.what, gap.why);
        let mut opened = chosen.opened;
        if self.buffer.is_none()
            && opened.capture.stats().capacity > 0
            && let Some(shrunk) = drivers::host::shrunk_buffer(&host)
        {
            tracing::warn!("{shrunk}");
        }
        opened.gaps.extend(short_paths(request.limits.path));
        Ok(OpenedSource {
            driver: DriverFacts {
                name: chosen.driver.name().to_owned(),
                reason,
                gaps: opened.gaps.iter().map(gap).collect(),
            },
            times: selection.times() && opened.gaps.iter().all(|gap| gap.what != Gap::TIMES),
            capture: opened.capture,
            gaps: opened.gaps,
            whole_host: matches!(request.target, Target::Host),
            scan: if self.command.is_empty() {
                Scan::Host
            } else {
                Scan::Children
            },
            recorded: None,
            duration: self.duration,
            unseen: 0,
        })
    }
}

impl EventSource for SourceConfig {
    fn open(&self, selection: &Selection, omit: Omit) -> Result<OpenedSource, SourceError> {
        match &self.replay {
            Some(path) => open_recording(path, selection),
            None => self.open_driver(selection, omit),
        }
    }
}

fn open_recording(path: &Path, selection: &Selection) -> Result<OpenedSource, SourceError> {
    let mut times = false;
    let (capture, recorded): (Box<dyn Capture>, _) = if scap::is_capture(path) {
        let capture = ScapReplay::open(path, selection.clone())?;
        let recorded = RecordedHost {
            clock: capture.clock(),
            names: Some(capture.recorded()),
            containers: Some(capture.containers()),
        };
        (Box::new(capture), recorded)
    } else {
        let capture = Replay::open(path, selection.clone())?;
        times = capture.has_times();
        let recorded = RecordedHost {
            clock: capture.clock(),
            names: None,
            containers: capture.containers(),
        };
        (Box::new(capture), recorded)
    };
    Ok(OpenedSource {
        driver: DriverFacts {
            name: "replay".to_owned(),
            reason: format!("replay of {}", path.display()),
            gaps: Vec::new(),
        },
        gaps: Vec::new(),
        times,
        whole_host: false,
        scan: Scan::Host,
        recorded: Some(recorded),
        duration: None,
        unseen: 0,
        capture,
    })
}

/// Finds a program as a shell would.
fn look_up(program: &OsStr) -> Result<PathBuf, SourceError> {
    let not_found = || SourceError::NoProgram(program.to_owned());
    if program.as_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return if path.exists() {
            Ok(path)
        } else {
            Err(not_found())
        };
    }
    let folders =
        env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/local/bin:/usr/bin:/bin"));
    env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| is_executable(path))
        .ok_or_else(not_found)
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
