//! The life of a capture: its command is released by the first poll, its losses become events, and it
//! ends with the last process that was followed.

use driver_api::driver::{CaptureError, CommandState, Flow, Polled};
use driver_api::event::{Event, EventBuilder, Header, Kind, Loss};
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
    /// For this request, whose command is already forked.
    pub fn new(driver: &'static str, request: &Request, command: Option<Held>) -> Self {
        Self {
            driver,
            follows: !matches!(request.target, Target::Host),
            command,
            ended: None,
        }
    }

    /// Whether threads are followed, not the whole host.
    pub fn follows(&self) -> bool {
        self.follows
    }

    /// Lets the command run, the first time it is called.
    pub fn begin(&mut self) -> Result<(), CaptureError> {
        let Some(command) = self.command.as_mut().filter(|command| command.held()) else {
            return Ok(());
        };
        command.release().map_err(|error: StartError| {
            self.ended = Some(Polled::Ended(Some(127 << 8)));
            CaptureError::failed(self.driver, "start the command")(error)
        })
    }

    /// The command, once it runs.
    pub fn command(&mut self) -> Option<CommandState> {
        let command = self.command.as_mut().filter(|command| !command.held())?;
        Some(CommandState {
            pid: command.pid(),
            status: command.status(),
        })
    }

    /// Whether the target is gone. `alive` looks whether any thread is still followed; every event of a
    /// thread that is not is already in the buffer, which the caller has to drain once more.
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

/// Whether a thread has ended. The programs at its end have run by then, or never will: the kernel skips the run
/// of a program that is interrupted by one of its own kind ([`missed`](crate::missed)), a thread's last one as any
/// other.
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

/// Turns counters of lost events into events.
#[derive(Debug)]
pub struct Losses {
    counted: [u64; Loss::ALL.len()],
    reported: [u64; Loss::ALL.len()],
    builder: EventBuilder,
}

impl Default for Losses {
    fn default() -> Self {
        Self {
            counted: [0; 4],
            reported: [0; 4],
            builder: EventBuilder::new(),
        }
    }
}

impl Losses {
    /// Counted so far, by cause.
    pub fn counted(&self) -> [u64; Loss::ALL.len()] {
        self.counted
    }

    /// Takes the counters as they are now, and delivers an event for each that has grown.
    pub fn report(
        &mut self,
        counted: [u64; Loss::ALL.len()],
        sink: &mut dyn FnMut(Event<'_>) -> Flow,
    ) -> usize {
        self.counted = counted;
        let mut delivered = 0;
        for (at, cause) in Loss::ALL.into_iter().enumerate() {
            let new = counted[at].saturating_sub(self.reported[at]);
            if new == 0 {
                continue;
            }
            self.reported[at] = counted[at];
            let mut args = [0; 6];
            args[0] = new;
            args[1] = cause as u64;
            self.builder.begin(&Header {
                kind: Kind::Lost as u8,
                time_ns: monotonic_ns(),
                args,
                ..Header::default()
            });
            if let Ok(event) = self.builder.finish() {
                delivered += 1;
                if sink(event) == Flow::Stop {
                    break;
                }
            }
        }
        delivered
    }
}
