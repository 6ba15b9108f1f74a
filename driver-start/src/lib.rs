//! Starting a command so that it can be captured from its first call on, and finding the threads of
//! running processes. What all drivers do before anything is captured.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use driver_api::request::Command;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal};
use nix::sys::wait::WaitPidFlag;
use nix::unistd::{ForkResult, Pid, execv, fork, pipe2};

/// A command between fork and exec. Dropped before it is released, it ends without having run.
#[derive(Debug)]
pub struct Held {
    pid: Pid,
    program: String,
    gate: Option<File>,
    outcome: Option<File>,
    status: Option<i32>,
}

/// Why a command cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An argument that no program could be given.
    #[error("{0:?} contains a NUL byte, which no program can be given as an argument")]
    Nul(String),
    /// A system call failed.
    #[error("cannot {step}: {error}")]
    System {
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// The kernel refused to execute the program.
    #[error("cannot execute {program}: {error}")]
    Exec {
        /// The program.
        program: String,
        /// What the kernel said.
        error: io::Error,
    },
}

fn system(step: &'static str) -> impl FnOnce(nix::Error) -> StartError {
    move |error| StartError::System {
        step,
        error: error.into(),
    }
}

fn c_string(text: &OsStr) -> Result<CString, StartError> {
    CString::new(text.to_owned().into_vec())
        .map_err(|_| StartError::Nul(text.to_string_lossy().into_owned()))
}

impl Held {
    /// Forks a child that waits for [`Held::release`], then calls `prepare` and executes the program.
    /// `prepare` runs between fork and exec: it may call nothing but async-signal-safe functions, and
    /// must not allocate. An errno from it is told as if exec had failed with it.
    pub fn new(
        command: &Command,
        prepare: impl FnOnce() -> Result<(), i32>,
    ) -> Result<Self, StartError> {
        let program = c_string(&command.program)?;
        let args = command
            .args
            .iter()
            .map(|arg| c_string(arg))
            .collect::<Result<Vec<_>, _>>()?;
        let cloexec = nix::fcntl::OFlag::O_CLOEXEC;
        let (gate_out, gate_in) = pipe2(cloexec).map_err(system("make a pipe"))?;
        let (outcome_out, outcome_in) = pipe2(cloexec).map_err(system("make a pipe"))?;
        // no handler of ours may take a signal that is the child's
        let mask = SigSet::all()
            .thread_swap_mask(SigmaskHow::SIG_SETMASK)
            .map_err(system("block signals"))?;
        // SAFETY: the child calls nothing but async-signal-safe functions: read, write, sigaction,
        // sigprocmask, execv, _exit. All memory it uses was allocated before.
        let forked = unsafe { fork() };
        if !matches!(forked, Ok(ForkResult::Child)) {
            let _ = mask.thread_set_mask();
        }
        match forked.map_err(system("fork"))? {
            ForkResult::Parent { child } => Ok(Self {
                pid: child,
                program: command.program.to_string_lossy().into_owned(),
                gate: Some(File::from(gate_in)),
                outcome: Some(File::from(outcome_out)),
                status: None,
            }),
            ForkResult::Child => {
                forget_handlers();
                let _ = mask.thread_set_mask();
                drop(gate_in);
                child(&gate_out, &outcome_in, &program, &args, prepare)
            }
        }
    }

    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Whether the child still waits.
    pub fn held(&self) -> bool {
        self.gate.is_some()
    }

    /// Lets the child execute its program, and returns when it has, or could not.
    pub fn release(&mut self) -> Result<(), StartError> {
        self.open_gate()?;
        self.outcome()
    }

    /// Lets the child execute its program.
    pub fn open_gate(&mut self) -> Result<(), StartError> {
        let Some(mut gate) = self.gate.take() else {
            return Ok(());
        };
        match gate.write_all(b"!") {
            // a signal has ended it already: its status will say so
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(StartError::System {
                step: "release the command",
                error,
            }),
            _ => Ok(()),
        }
    }

    /// Whether the program was executed. Waits until that is known.
    pub fn outcome(&mut self) -> Result<(), StartError> {
        let mut errno = [0; 4];
        let Some(mut outcome) = self.outcome.take() else {
            return Ok(());
        };
        match outcome.read_exact(&mut errno) {
            // the pipe was closed by a successful exec
            Err(_) => Ok(()),
            Ok(()) => Err(StartError::Exec {
                program: self.program.clone(),
                error: io::Error::from_raw_os_error(i32::from_ne_bytes(errno)),
            }),
        }
    }

    /// The wait status, once the command has ended. Never waits. The first process of a PID namespace gets
    /// all orphans for children: it waits for those that have ended as well.
    pub fn status(&mut self) -> Option<i32> {
        if std::process::id() == 1 {
            self.reap();
        }
        if self.status.is_none() && !self.held() {
            let mut status = 0;
            // SAFETY: `status` outlives the call; waitpid(2) writes nothing else.
            let got = unsafe {
                libc::waitpid(
                    self.pid.as_raw(),
                    &raw mut status,
                    WaitPidFlag::WNOHANG.bits(),
                )
            };
            if got == self.pid.as_raw() {
                self.status = Some(status);
            }
        }
        self.status
    }
}

impl Held {
    /// Waits for all children of this thread that have ended: of the process's first, all orphans.
    fn reap(&mut self) {
        loop {
            let mut status = 0;
            let flags = libc::WNOHANG | libc::__WALL | libc::__WNOTHREAD;
            // SAFETY: `status` outlives the call; waitpid(2) writes nothing else.
            match unsafe { libc::waitpid(-1, &raw mut status, flags) } {
                got if got <= 0 => return,
                got if got == self.pid.as_raw() => self.status = Some(status),
                _ => {}
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.gate.take().is_some() {
            // Closing the gate is not enough: a child that another thread forks meanwhile holds it, too.
            let _ = nix::sys::signal::kill(self.pid, Signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(self.pid, None);
        }
    }
}

/// Handlers are the parent's code; exec would forget them, too, but a signal may come before.
fn forget_handlers() {
    // SAFETY: sigaction(2) reads and writes plain structs; actions are only set back to the default.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
                && action.sa_sigaction != libc::SIG_DFL
                && action.sa_sigaction != libc::SIG_IGN
            {
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const action, std::ptr::null_mut());
            }
        }
    }
}

fn child(
    gate: &OwnedFd,
    outcome: &OwnedFd,
    program: &CString,
    args: &[CString],
    prepare: impl FnOnce() -> Result<(), i32>,
) -> ! {
    let mut byte = [0];
    if !matches!(nix::unistd::read(gate, &mut byte), Ok(1)) {
        // SAFETY: _exit(2) ends the process without running anything of the parent's.
        unsafe { libc::_exit(127) }
    }
    // The Rust runtime ignores SIGPIPE: the command begins as from whoever started lanner.
    // SAFETY: the handler is SIG_DFL, no function of ours.
    let _ = unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    let errno = match prepare() {
        Err(errno) => errno,
        Ok(()) => match execv(program, args) {
            Err(errno) => errno as i32,
            Ok(never) => match never {},
        },
    };
    let bytes = errno.to_ne_bytes();
    // SAFETY: the bytes outlive the call; _exit(2) as above.
    unsafe {
        libc::write(outcome.as_raw_fd(), bytes.as_ptr().cast(), bytes.len());
        libc::_exit(127)
    }
}

/// The threads of these processes, as /proc has them now.
pub fn threads(pids: &[u32]) -> Result<BTreeSet<u32>, String> {
    let mut threads = BTreeSet::new();
    for pid in pids {
        let entries =
            fs::read_dir(format!("/proc/{pid}/task")).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => format!("there is no process {pid}"),
                _ => format!("cannot list the threads of process {pid}: {error}"),
            })?;
        threads.extend(
            entries
                .flatten()
                .filter_map(|e| str_of(&e.file_name()).and_then(|n| n.parse::<u32>().ok())),
        );
    }
    Ok(threads)
}

fn str_of(name: &OsStr) -> Option<String> {
    std::str::from_utf8(name.as_bytes()).ok().map(str::to_owned)
}

/// Calls `follow` with every thread of these processes, until a look at /proc shows none that is new.
/// To be called when births are already followed, so that none is missed.
pub fn follow_threads(
    pids: &[u32],
    mut follow: impl FnMut(u32) -> Result<(), String>,
) -> Result<(), String> {
    let mut known = BTreeSet::new();
    loop {
        let now = threads(pids)?;
        let new: Vec<u32> = now.difference(&known).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        for tid in new {
            follow(tid)?;
            known.insert(tid);
        }
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds, the clock of events.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: clock_gettime(2) writes one timespec, which outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
