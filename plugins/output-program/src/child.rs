//! A program with a pipe to its standard input, and a deadline for everything that is done with it.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{self, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// What the guard runs: it reads from a pipe that only lanner writes to. When lanner has died, however that happened, the
/// read ends, and the guard kills its whole process group, itself included.
const GUARD: &str = "read -r end || kill -s KILL 0";

/// A running program, and its guard. Both are in a process group of their own, which the guard leads. So
///
/// - a program that hangs is killed with all processes that it started;
/// - the terminal's Ctrl-C, which is for lanner, does not interrupt it;
/// - nothing of it outlives lanner, even if lanner is killed by SIGKILL: the kernel then closes the guard's pipe. A program
///   that is being started holds that pipe, too, until it is in the group.
#[derive(Debug)]
pub(crate) struct Child {
    process: process::Child,
    guard: process::Child,
    /// lanner's end of the guard's pipe.
    _held: Option<ChildStdin>,
    input: Option<ChildStdin>,
}

/// The program did not do its part.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChildError {
    #[error("cannot start /bin/sh")]
    Start(#[source] io::Error),
    #[error("the program has closed its standard input")]
    InputClosed,
    #[error("the program did not read for {0:?}")]
    NotReading(Duration),
    #[error("cannot write to the program")]
    Write(#[source] io::Error),
    #[error("the program ended with {0}")]
    BadEnd(ExitStatus),
    #[error("the program took longer than {0:?}, and was killed")]
    TimedOut(Duration),
    #[error("cannot wait for the program")]
    Wait(#[source] io::Error),
}

impl Child {
    /// Starts a program through /bin/sh.
    pub(crate) fn start(program: &str) -> Result<Self, ChildError> {
        let mut guard = Command::new("/bin/sh")
            .args(["-c", GUARD])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(ChildError::Start)?;
        let held = guard.stdin.take();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", program])
            .stdin(Stdio::piped())
            // Lanner's standard output has nothing but alerts and events.
            .stdout(io::stderr())
            .process_group(guard.id().cast_signed());
        let mut process = match command.spawn() {
            Ok(process) => process,
            Err(error) => {
                end_guard(&mut guard);
                return Err(ChildError::Start(error));
            }
        };
        let input = process.stdin.take();
        let child = Self {
            process,
            guard,
            _held: held,
            input,
        };
        if let Some(input) = &child.input {
            // Writes have a deadline, so they must not block. No other process has this end of the pipe, and it has no
            // other flags.
            fcntl(input.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                .map_err(|errno| ChildError::Start(errno.into()))?;
        }
        Ok(child)
    }

    /// Whether the program has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Writes to the program's standard input. Returns how many bytes the pipe took and, if not all, why.
    pub(crate) fn write(
        &mut self,
        mut bytes: &[u8],
        patience: Duration,
    ) -> (usize, Option<ChildError>) {
        let all = bytes.len();
        let deadline = Instant::now() + patience;
        let Some(input) = &mut self.input else {
            return (0, Some(ChildError::InputClosed));
        };
        while !bytes.is_empty() {
            let failed = match input.write(bytes) {
                Ok(0) => ChildError::Write(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    continue;
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => continue,
                    ErrorKind::WouldBlock if wait_writable(input, deadline) => continue,
                    ErrorKind::WouldBlock => ChildError::NotReading(patience),
                    ErrorKind::BrokenPipe => ChildError::InputClosed,
                    _ => ChildError::Write(error),
                },
            };
            return (all - bytes.len(), Some(failed));
        }
        (all, None)
    }

    /// Closes the program's standard input and waits until it ends. Kills it if that takes longer than `patience`. An
    /// exit status other than 0 is an error.
    pub(crate) fn end(mut self, patience: Duration) -> Result<(), ChildError> {
        self.input = None;
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_millis(1);
        loop {
            match self.process.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(ChildError::BadEnd(status)),
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(50));
                }
                // Drop kills it.
                Ok(None) => return Err(ChildError::TimedOut(patience)),
                Err(error) => return Err(ChildError::Wait(error)),
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            // The guard has not been waited for, so its number still is that of the group.
            let group = Pid::from_raw(self.guard.id().cast_signed());
            let _ = killpg(group, Signal::SIGKILL);
            let _ = self.process.wait();
        }
        end_guard(&mut self.guard);
    }
}

/// Ends the guard of a program that has ended. What the program left behind in its group goes on.
fn end_guard(guard: &mut process::Child) {
    let _ = guard.kill();
    let _ = guard.wait();
}

/// Waits until the pipe takes bytes or is broken. Returns false if neither happens before the deadline.
fn wait_writable(input: &ChildStdin, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        // poll(2) counts in milliseconds. At least one, so that the loop does not spin.
        let left = left.max(Duration::from_millis(1));
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut descriptors = [PollFd::new(input.as_fd(), PollFlags::POLLOUT)];
        // An error is EINTR, after which the loop goes on.
        if poll(&mut descriptors, timeout).is_ok_and(|ready| ready > 0) {
            return true;
        }
    }
}
