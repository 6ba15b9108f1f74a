//! How far a capture has got: its command is held, runs its own program, has ended; all tracees are gone.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use driver_api::driver::CommandState;
use driver_start::{Held, StartError};

/// How long to look for a tracee that was not reported yet, when all known ones are gone but children remain.
pub(super) const LAST_LOOK: Duration = Duration::from_millis(100);

/// The life of a capture, and of its command if it has one.
#[derive(Debug)]
pub(super) struct Lifecycle {
    command: Option<Held>,
    /// The command has executed its program. Events before that are of lanner's own code.
    launched: bool,
    /// The command's wait status.
    status: Option<c_int>,
    ended: bool,
    /// Since when no tracee is known.
    deserted: Option<Instant>,
}

impl Lifecycle {
    pub(super) fn new(command: Option<Held>) -> Self {
        Self {
            launched: command.is_none(),
            command,
            status: None,
            ended: false,
            deserted: None,
        }
    }

    pub(super) fn has_command(&self) -> bool {
        self.command.is_some()
    }

    /// The command's process id.
    pub(super) fn command_pid(&self) -> Option<u32> {
        self.command.as_ref().map(Held::pid)
    }

    /// Whether the command still waits before its exec.
    pub(super) fn holds_command(&self) -> bool {
        self.command.as_ref().is_some_and(Held::held)
    }

    /// Lets the command go, the first time.
    pub(super) fn release_command(&mut self) -> Result<(), StartError> {
        match self.command.as_mut().filter(|command| command.held()) {
            Some(command) => command.open_gate(),
            None => Ok(()),
        }
    }

    /// What the consumer may know of the command: nothing as long as it is held.
    pub(super) fn command_state(&self) -> Option<CommandState> {
        let command = self.command.as_ref().filter(|command| !command.held())?;
        Some(CommandState {
            pid: command.pid(),
            status: self.status,
        })
    }

    pub(super) fn is_launched(&self) -> bool {
        self.launched
    }

    pub(super) fn set_launched(&mut self) {
        self.launched = true;
    }

    /// Notes a process's end: its status is kept if it is the command.
    pub(super) fn note_end(&mut self, pid: u32, status: c_int) {
        if self.command_pid() == Some(pid) {
            self.status = Some(status);
        }
    }

    pub(super) fn status(&self) -> Option<c_int> {
        self.status
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// All tracees are gone. An error the first time: the command could not execute its program.
    pub(super) fn end(&mut self) -> Result<(), StartError> {
        if std::mem::replace(&mut self.ended, true) || self.launched {
            return Ok(());
        }
        self.command.as_mut().map_or(Ok(()), Held::outcome)
    }

    /// Notes whether no tracee is known.
    pub(super) fn set_deserted(&mut self, deserted: bool) {
        self.deserted = deserted.then(|| self.deserted.unwrap_or_else(Instant::now));
    }

    /// Whether no tracee has been known for [`LAST_LOOK`].
    pub(super) fn is_abandoned(&self) -> bool {
        self.deserted
            .is_some_and(|since| since.elapsed() >= LAST_LOOK)
    }
}
