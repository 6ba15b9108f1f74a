//! Where lines go: standard output, standard error, or a file of `-o`.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use plugin_host::files;
use session::{StoppableWriter, WholeLines};

use super::{Failure, signals};

/// Which of the first three descriptors were closed when lanner was started, one bit each. The Rust runtime then opens
/// `/dev/null` in their place, before `main`.
static CLOSED: AtomicU8 = AtomicU8::new(0);

extern "C" fn look_at_descriptors() {
    let is_closed = |fd: i32| {
        // SAFETY: fcntl(2) with F_GETFD takes a number.
        unsafe { libc::fcntl(fd, libc::F_GETFD) < 0 }
    };
    let closed = (0..3).filter(|fd| is_closed(*fd));
    let bits = closed.fold(0, |bits, fd| bits | 1_u8 << fd);
    CLOSED.store(bits, Ordering::Relaxed);
}

/// Run by the C library before the Rust runtime begins.
// SAFETY: the section holds pointers to functions that take no arguments they need. This one makes system calls and
// stores a number, which needs nothing of the runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = look_at_descriptors;

/// Fails if lanner was started without standard output.
pub(crate) fn need_stdout() -> Result<(), Failure> {
    need(libc::STDOUT_FILENO)
}

/// Fails if a path leads to a descriptor, such as `/dev/stdout`, that lanner was started without.
pub(crate) fn need_descriptor(path: &Path) -> Result<(), Failure> {
    descriptor(path).map_or(Ok(()), need)
}

fn need(fd: i32) -> Result<(), Failure> {
    let name = match fd {
        libc::STDIN_FILENO => "standard input",
        libc::STDOUT_FILENO => "standard output",
        libc::STDERR_FILENO => "standard error",
        _ => return Ok(()),
    };
    if CLOSED.load(Ordering::Relaxed) >> fd & 1 == 0 {
        return Ok(());
    }
    Err(Failure::broken(format!(
        "{name} is closed; open it, for example with {fd}> /dev/null"
    )))
}

/// The descriptor that a path leads to, over links.
fn descriptor(path: &Path) -> Option<i32> {
    // path_resolution(7): the kernel follows as many links
    const MAX_LINKS: usize = 40;
    let own = format!("/proc/{}/fd", std::process::id());
    let folders = ["/proc/self/fd", "/proc/thread-self/fd", "/dev/fd", &own];
    let mut path = std::path::absolute(path).ok()?;
    for _ in 0..MAX_LINKS {
        let (folder, name) = (path.parent()?, path.file_name()?);
        let folder = if folders.iter().any(|known| folder == Path::new(known)) {
            Path::new(&own).to_owned()
        } else {
            folder.canonicalize().ok()?
        };
        if folder == Path::new(&own) {
            return name.to_str()?.parse().ok();
        }
        path = folder.join(std::fs::read_link(folder.join(name)).ok()?);
    }
    None
}

/// Where lines go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Destination<'a> {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// This file, which is created or emptied. Events show data of programs, so a new file is its owner's alone.
    File(&'a Path),
}

impl fmt::Display for Destination<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::Stderr => f.write_str("standard error"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// A [`Destination`], which takes whole lines.
#[derive(Debug)]
pub(crate) struct Lines(WholeLines<StoppableWriter>);

impl Lines {
    /// Opens the destination.
    pub(crate) fn open(destination: Destination<'_>) -> Result<Self, Failure> {
        const FOR_OWNER: u32 = 0o600;
        let copied = |fd: BorrowedFd<'_>| -> Result<File, Failure> {
            need(fd.as_raw_fd())?;
            let copy = fd.try_clone_to_owned();
            let failed = |error| Failure::broken(format!("cannot use {destination}: {error}"));
            Ok(File::from(copy.map_err(failed)?))
        };
        let file = match destination {
            Destination::File(path) => {
                need_descriptor(path)?;
                let file = files::replace(path, FOR_OWNER);
                file.map_err(|error| Failure::usage(format!("-o: {error}")))?
            }
            // a descriptor of our own, because `io::stdout` buffers and tries again after each signal
            Destination::Stdout => copied(io::stdout().as_fd())?,
            Destination::Stderr => copied(io::stderr().as_fd())?,
        };
        let to = StoppableWriter::new(file, signals::ask_to_end);
        Ok(Self(WholeLines(to)))
    }
}

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
