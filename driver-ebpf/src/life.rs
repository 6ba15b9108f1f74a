//! The life of a capture: the first poll releases its command, and it ends with the last thread that was followed.

use driver_api::driver::{CommandState, Polled};
use driver_api::error::CaptureError;
use driver_api::request::{Request, Target};

pub use driver_start::monotonic_ns;

use crate::start::{Held, StartError};

/// When a capture begins and ends.
#[derive(Debug)]
pub struct Life {
    driver: &'static str,
    follows: bool,
    command: Option<Held>,
    ended: Option<Polled>,
}

impl Life {
    /// For a request, and its command, which is forked and held.
    pub fn new(driver: &'static str, request: &Request, command: Option<Held>) -> Self {
        Self {
            driver,
            follows: !matches!(request.target, Target::Host),
            command,
            ended: None,
        }
    }

    /// Whether threads are followed, as opposed to the whole host.
    pub fn follows(&self) -> bool {
        self.follows
    }

    /// Lets the command run when it is called for the first time.
    ///
    /// # Errors
    ///
    /// The command cannot be executed.
    pub fn begin(&mut self) -> Result<(), CaptureError> {
        let Some(command) = self.command.as_mut().filter(|command| command.held()) else {
            return Ok(());
        };
        command.release().map_err(|error: StartError| {
            self.ended = Some(Polled::Ended(Some(127 << 8)));
            CaptureError::failed(self.driver, "start the command")(error)
        })
    }

    /// The command, once it has been released.
    pub fn command(&mut self) -> Option<CommandState> {
        let command = self.command.as_mut().filter(|command| !command.held())?;
        Some(CommandState {
            pid: command.pid(),
            status: command.status(),
        })
    }

    /// How the capture has ended. `None`: it goes on. `alive` says whether any thread is still followed. Every event of a
    /// thread that has ended is already in the buffer, which the caller has to drain once more.
    pub fn over(&mut self, alive: impl FnOnce() -> bool) -> Option<Polled> {
        if self.ended.is_some() {
            return self.ended;
        }
        if !self.follows {
            return None;
        }
        let status = match &mut self.command {
            Some(command) => Some(command.status()?),
            None => None,
        };
        if alive() {
            return None;
        }
        self.ended = Some(Polled::Ended(status));
        self.ended
    }
}

/// Whether a thread has ended. The programs at its end have run by then, or never will, if the kernel has skipped that
/// run ([`missed`](crate::missed)).
pub fn gone(tid: u32) -> bool {
    match proc_pid::Stat::of(tid) {
        Ok(stat) => stat.state().has_ended(),
        Err(error) => error.is_gone(),
    }
}

#[test]
fn threads_that_have_ended_are_gone() {
    assert!(!gone(std::process::id()));
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let pid = child.id();
    // a zombie until it is waited for
    let begin = std::time::Instant::now();
    while !gone(pid) {
        assert!(begin.elapsed().as_secs() < 60, "{pid} is not gone");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.wait().unwrap();
    assert!(gone(pid));
}
