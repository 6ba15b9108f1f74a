//! Where lines go: standard output, or a file of `-o`.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use plugin_host::files;
use session::WholeLines;

use super::Failure;

/// lanner was started without standard output. The Rust runtime then opens `/dev/null` in its place, before `main`.
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

extern "C" fn look_at_stdout() {
    // SAFETY: fcntl(2) with F_GETFD takes a number.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
    IS_CLOSED.store(flags < 0, Ordering::Relaxed);
}

/// Run by the C library before the Rust runtime begins.
// SAFETY: the section holds pointers to functions that take no arguments they need. This one makes a system call and
// stores a flag, which needs nothing of the runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = look_at_stdout;

/// Fails if lanner was started without standard output.
pub(crate) fn need_stdout() -> Result<(), Failure> {
    if IS_CLOSED.load(Ordering::Relaxed) {
        return Err(Failure::broken(
            "standard output is closed; open it, for example with > /dev/null",
        ));
    }
    Ok(())
}

/// Standard output or a file, which takes whole lines.
#[derive(Debug)]
pub(crate) enum Lines {
    /// Standard output.
    Stdout(WholeLines<io::Stdout>),
    /// A file.
    File(WholeLines<File>),
}

impl Lines {
    /// Creates or empties this file; none: standard output. Events show data of programs, so a new file is its owner's
    /// alone.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        const FOR_OWNER: u32 = 0o600;
        let Some(path) = path else {
            need_stdout()?;
            return Ok(Self::Stdout(WholeLines(io::stdout())));
        };
        match files::replace(path, FOR_OWNER) {
            Ok(file) => Ok(Self::File(WholeLines(file))),
            Err(error) => Err(Failure::usage(format!("-o: {error}"))),
        }
    }
}

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(to) => to.write(text),
            Self::File(to) => to.write(text),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(to) => to.flush(),
            Self::File(to) => to.flush(),
        }
    }
}
