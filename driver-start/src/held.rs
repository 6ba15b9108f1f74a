//! A command between fork and exec.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use driver_api::request::Command;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal};
use nix::sys::wait::WaitPidFlag;
use nix::unistd::{ForkResult, Pid, execv, fork, pipe2};

use crate::error::StartError;

/// A command that was forked and waits before its exec. If it is dropped before it is released, it ends without
/// having run.
#[derive(Debug)]
pub struct Held {
    pid: Pid,
    program: String,
    gate: Option<File>,
    outcome: Option<File>,
    status: Option<i32>,
}

fn c_string(text: &OsStr) -> Result<CString, StartError> {
    CString::new(text.as_bytes()).map_err(|_| StartError::Nul(text.to_string_lossy().into_owned()))
}

impl Held {
    /// Forks a child that waits for [`Held::release`] and then executes the program.
    ///
    /// # Errors
    ///
    /// An argument contains a NUL byte, or the kernel refused to make the child.
    pub fn new(command: &Command) -> Result<Self, StartError> {
        // SAFETY: the closure does nothing.
        unsafe { Self::with_pre_exec(command, || Ok(())) }
    }

    /// As [`Held::new`], but the child calls `pre_exec` before it executes the program. An errno that
    /// `pre_exec` returns is reported as if exec had failed with it.
    ///
    /// # Errors
    ///
    /// Those of [`Held::new`].
    ///
    /// # Safety
    ///
    /// `pre_exec` runs between fork and exec, in the copy of a process that may have had other threads
    /// ([`std::os::unix::process::CommandExt::pre_exec`] has the same contract). It must call only
    /// async-signal-safe functions (signal-safety(7)): it must not allocate, take a lock or panic.
    pub unsafe fn with_pre_exec(
        command: &Command,
        pre_exec: impl FnOnce() -> Result<(), i32>,
    ) -> Result<Self, StartError> {
        let program = c_string(&command.program)?;
        let args = command
            .args
            .iter()
            .map(|arg| c_string(arg))
            .collect::<Result<Vec<_>, _>>()?;
        let cloexec = nix::fcntl::OFlag::O_CLOEXEC;
        let (gate_out, gate_in) = pipe2(cloexec).map_err(StartError::system("make a pipe"))?;
        let (outcome_out, outcome_in) =
            pipe2(cloexec).map_err(StartError::system("make a pipe"))?;
        // the child must not run a handler of ours: signals are blocked until it has reset them
        let mask = SigSet::all()
            .thread_swap_mask(SigmaskHow::SIG_SETMASK)
            .map_err(StartError::system("block signals"))?;
        // lanner is about to trace the child or to read its memory, so that the child must not be hidden
        let is_hidden = is_hidden();
        if is_hidden {
            hide(false);
        }
        // SAFETY: the child calls only async-signal-safe functions (read, write, sigaction, sigprocmask, execv,
        // _exit, and by this function's contract `pre_exec`). All memory that it uses was allocated before.
        let forked = unsafe { fork() };
        if !matches!(forked, Ok(ForkResult::Child)) {
            if is_hidden {
                hide(true);
            }
            let _ = mask.thread_set_mask();
        }
        match forked.map_err(StartError::system("fork"))? {
            ForkResult::Parent { child } => Ok(Self {
                pid: child,
                program: command.program.to_string_lossy().into_owned(),
                gate: Some(File::from(gate_in)),
                outcome: Some(File::from(outcome_out)),
                status: None,
            }),
            ForkResult::Child => {
                reset_handlers();
                let _ = mask.thread_set_mask();
                drop(gate_in);
                child(&gate_out, &outcome_in, &program, &args, pre_exec)
            }
        }
    }

    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Whether the child still waits to be released.
    pub fn held(&self) -> bool {
        self.gate.is_some()
    }

    /// Lets the child execute its program, and waits until it has, or could not.
    ///
    /// # Errors
    ///
    /// Those of [`Held::open_gate`] and [`Held::outcome`].
    pub fn release(&mut self) -> Result<(), StartError> {
        self.open_gate()?;
        self.outcome()
    }

    /// Lets the child execute its program. Does nothing the second time.
    ///
    /// # Errors
    ///
    /// The kernel refused to write to the child's pipe.
    pub fn open_gate(&mut self) -> Result<(), StartError> {
        let Some(mut gate) = self.gate.take() else {
            return Ok(());
        };
        match gate.write_all(b"!") {
            // a signal has ended the child already: its wait status will say so
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(StartError::system("release the command")),
        }
    }

    /// Waits until the program is executed, or cannot be. Reports a failure once.
    ///
    /// # Errors
    ///
    /// The kernel refused to execute the program, or `pre_exec` failed.
    pub fn outcome(&mut self) -> Result<(), StartError> {
        let mut errno = [0; 4];
        let Some(mut outcome) = self.outcome.take() else {
            return Ok(());
        };
        match outcome.read_exact(&mut errno) {
            // a successful exec has closed the pipe
            Err(_) => Ok(()),
            Ok(()) => Err(StartError::Exec {
                program: self.program.clone(),
                source: io::Error::from_raw_os_error(i32::from_ne_bytes(errno)),
            }),
        }
    }

    /// The wait status (wait(2)), once the command has ended. Does not block.
    ///
    /// The first process of a PID namespace becomes the parent of all orphans (pid_namespaces(7)). If this process
    /// is the first, it also waits for the orphans that have ended.
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
    /// Waits for all children of this thread that have ended. Orphans are children of the main thread.
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
            // Closing the gate is not enough: a child that another thread has forked meanwhile has it open, too.
            let _ = nix::sys::signal::kill(self.pid, Signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(self.pid, None);
        }
    }
}

/// Whether lanner has made itself unreachable for other processes of its user (PR_SET_DUMPABLE of prctl(2)).
fn is_hidden() -> bool {
    // SAFETY: this operation takes numbers.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) != 1 }
}

fn hide(hides: bool) {
    // SAFETY: this operation takes numbers.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(!hides), 0, 0, 0) };
}

/// Resets every handler to the default. Handlers are the parent's code; exec resets them, too, but a signal may
/// come before exec.
fn reset_handlers() {
    // SAFETY: sigaction(2) reads and writes plain structs; actions are only reset to the default.
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
    pre_exec: impl FnOnce() -> Result<(), i32>,
) -> ! {
    let mut byte = [0];
    if !matches!(nix::unistd::read(gate, &mut byte), Ok(1)) {
        // SAFETY: _exit(2) ends the process without running any of the parent's exit handlers.
        unsafe { libc::_exit(127) }
    }
    // The Rust runtime ignores SIGPIPE, and exec keeps that. The command is to begin with the default.
    // SAFETY: the handler is SIG_DFL, not a function of ours.
    let _ = unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    let errno = match pre_exec() {
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
