//! Where lines go: standard output, or a file of `-o`.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

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
    Stdout,
    /// A file, and its path.
    File(File, PathBuf),
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::File(_, path) => write!(f, "{}", path.display()),
        }
    }
}

impl Lines {
    /// Creates or empties this file; none: standard output. Events show data of programs, so a new file is its owner's
    /// alone.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        const FOR_OWNER: u32 = 0o600;
        let Some(path) = path else {
            need_stdout()?;
            return Ok(Self::Stdout);
        };
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FOR_OWNER)
            .open(path);
        match file {
            Ok(file) => Ok(Self::File(file, path.to_owned())),
            Err(error) => Err(Failure::usage(format!(
                "-o: cannot write {}: {error}",
                path.display()
            ))),
        }
    }

    /// Writes lines.
    ///
    /// The watched command may write into the same pipe. So each write has whole lines, as many as a pipe takes in one piece
    /// (`PIPE_BUF`, pipe(7)). A longer line can be interleaved with other output.
    pub(crate) fn write(&mut self, text: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                whole_lines(&mut out, text)?;
                out.flush()
            }
            Self::File(file, _) => whole_lines(file, text),
        }
    }
}

fn whole_lines(out: &mut impl Write, text: &[u8]) -> io::Result<()> {
    let mut rest = text;
    while !rest.is_empty() {
        let fits = rest.len().min(libc::PIPE_BUF);
        let lines = rest[..fits].iter().rposition(|byte| *byte == b'\n');
        let (now, later) = rest.split_at(lines.map_or(fits, |at| at + 1));
        out.write_all(now)?;
        rest = later;
    }
    Ok(())
}
