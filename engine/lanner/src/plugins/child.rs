//! What another process of lanner prints and answers until it ends. A plugin may leave a process behind, which keeps the
//! output open: its end is not waited for.
//!
//! The process has its standard input for the answer: a plugin prints to standard output, and must not answer by accident.

use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// How often lanner looks whether the process has ended.
const LOOK: Duration = Duration::from_millis(20);
/// The most bytes that are read once it has ended: more than a pipe holds by default, and not all that a process which it
/// left behind may print.
const REST: usize = 1 << 20;

/// Hands over what a process prints. Returns its status. None: it has not ended after `patience`, and was killed.
///
/// # Errors
///
/// The process cannot be waited for.
pub(super) fn until_end(
    mut child: Child,
    output: PipeReader,
    patience: Option<Duration>,
    mut sink: impl FnMut(&[u8]),
) -> io::Result<Option<ExitStatus>> {
    let begin = Instant::now();
    let mut output = Some(output);
    let mut chunk = [0; 8192];
    let mut rest = REST;
    loop {
        // what it has printed before its end can be read after it
        let status = child.try_wait()?;
        if status.is_none() && patience.is_some_and(|patience| begin.elapsed() > patience) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        let pause = if status.is_some() {
            Duration::ZERO
        } else {
            LOOK
        };
        let Some(open) = &mut output else {
            if status.is_some() {
                return Ok(status);
            }
            std::thread::sleep(pause);
            continue;
        };
        if !is_readable(open, pause) {
            if status.is_some() {
                return Ok(status);
            }
            continue;
        }
        match open.read(&mut chunk) {
            Ok(len) if len > 0 && rest > 0 => {
                sink(&chunk[..len]);
                if status.is_some() {
                    rest = rest.saturating_sub(len);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => output = None,
        }
    }
}

/// What can be read now, up to the longest answer.
pub(super) fn what_is_there(answer: &mut PipeReader) -> Vec<u8> {
    const LONGEST: usize = 64;
    let mut bytes = vec![0; LONGEST];
    let len = if is_readable(answer, Duration::ZERO) {
        answer.read(&mut bytes).unwrap_or(0)
    } else {
        0
    };
    bytes.truncate(len);
    bytes
}

/// Where this process writes its answer. From now on, its standard input is empty.
pub(super) fn answer() -> io::Result<File> {
    let answer = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let empty = File::open("/dev/null")?;
    // SAFETY: both descriptors are open.
    match unsafe { libc::dup2(empty.as_raw_fd(), libc::STDIN_FILENO) } {
        0 => Ok(answer),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Waits until there is something to read, or the end.
fn is_readable(output: &PipeReader, pause: Duration) -> bool {
    let mut descriptor = libc::pollfd {
        fd: output.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let pause = i32::try_from(pause.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one descriptor, which outlives the call.
    unsafe { libc::poll(&raw mut descriptor, 1, pause) > 0 }
}
