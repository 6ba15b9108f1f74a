//! A program with a pipe to its standard input, and a deadline for everything that is done with it.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{self, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// A running program. It is in a process group of its own, so that what it started ends with it, and the
/// terminal's Ctrl-C, which is for lanner, lets it finish.
#[derive(Debug)]
pub(crate) struct Child {
    process: process::Child,
    input: Option<ChildStdin>,
}

impl Child {
    /// Starts a program through /bin/sh.
    pub(crate) fn start(program: &str) -> Result<Self, String> {
        let mut process = Command::new("/bin/sh")
            .args(["-c", program])
            .stdin(Stdio::piped())
            // lanner's standard output is for alerts and events alone
            .stdout(io::stderr())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cannot start /bin/sh: {error}"))?;
        let input = process.stdin.take();
        let child = Self { process, input };
        if let Some(input) = &child.input {
            // SAFETY: fcntl(2) on a descriptor that is ours; writes are not to wait, as they have a deadline.
            unsafe {
                let flags = libc::fcntl(input.as_raw_fd(), libc::F_GETFL);
                libc::fcntl(input.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK);
            }
        }
        Ok(child)
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Writes into its standard input: how much, and why not all.
    pub(crate) fn write(
        &mut self,
        mut bytes: &[u8],
        patience: Duration,
    ) -> (usize, Option<String>) {
        let all = bytes.len();
        let deadline = Instant::now() + patience;
        let Some(input) = &mut self.input else {
            return (0, Some("its standard input is closed".to_owned()));
        };
        while !bytes.is_empty() {
            let failed = match input.write(bytes) {
                Ok(0) => "the program takes nothing any more".to_owned(),
                Ok(written) => {
                    bytes = &bytes[written..];
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if ready(input, deadline) {
                        continue;
                    }
                    format!("the program did not read for {patience:?}")
                }
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    "the program has closed its standard input".to_owned()
                }
                Err(error) => format!("writing to the program: {error}"),
            };
            return (all - bytes.len(), Some(failed));
        }
        (all, None)
    }

    /// Closes its standard input and waits for its end; kills it when that takes too long. A bad end is an error.
    pub(crate) fn end(mut self, patience: Duration) -> Result<(), String> {
        self.input = None;
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_millis(1);
        loop {
            match self.process.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("the program ended with {status}")),
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(50));
                }
                Ok(None) => {
                    return Err(format!(
                        "the program took longer than {patience:?}, and was killed"
                    ));
                }
                Err(error) => return Err(format!("waiting for the program: {error}")),
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            if let Ok(group) = i32::try_from(self.process.id()) {
                // SAFETY: kill(2) to the group of a child that has not been waited for, so that its number is its own.
                unsafe { libc::kill(-group, libc::SIGKILL) };
            }
            let _ = self.process.wait();
        }
    }
}

/// Waits until the pipe takes something, or is broken.
fn ready(input: &ChildStdin, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let mut poll = libc::pollfd {
            fd: input.as_raw_fd(),
            events: libc::POLLOUT,
            revents: 0,
        };
        let milliseconds = i32::try_from(left.as_millis()).unwrap_or(i32::MAX).max(1);
        // SAFETY: one pollfd, which lives through the call.
        if unsafe { libc::poll(&raw mut poll, 1, milliseconds) } > 0 {
            return true;
        }
    }
}
