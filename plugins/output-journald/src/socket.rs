//! The journal's socket: an entry is a datagram, or, if it is too long for one, a sealed file in memory whose descriptor is
//! sent.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// How long a full socket is waited for.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A connection to the journal.
#[derive(Debug)]
pub(crate) struct Journal(UnixDatagram);

/// The journal cannot be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error("cannot connect; is systemd-journald running?")]
    Connect(#[source] io::Error),
    #[error("cannot send")]
    Send(#[source] io::Error),
    #[error("cannot put a long entry into a file in memory")]
    Memory(#[source] io::Error),
}

impl Journal {
    pub(crate) fn connect(path: &Path) -> Result<Self, JournalError> {
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            socket.set_write_timeout(Some(TIMEOUT))?;
            Ok(Self(socket))
        };
        connect().map_err(JournalError::Connect)
    }

    pub(crate) fn send(&self, entry: &[u8]) -> Result<(), JournalError> {
        match self.0.send(entry) {
            Ok(_) => Ok(()),
            // Longer than the socket's buffer.
            Err(error) if error.raw_os_error() == Some(Errno::EMSGSIZE as i32) => {
                let file = sealed(entry).map_err(JournalError::Memory)?;
                self.send_file(&file).map_err(JournalError::Send)
            }
            Err(error) => Err(JournalError::Send(error)),
        }
    }

    fn send_file(&self, file: &File) -> io::Result<()> {
        let descriptors = [file.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&descriptors)];
        sendmsg::<()>(
            self.0.as_raw_fd(),
            &[],
            &rights,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )?;
        Ok(())
    }
}

/// A sealed file in memory, which no process can change. The journal accepts only such files.
fn sealed(entry: &[u8]) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create("lanner-entry", flags)?);
    file.write_all(entry)?;
    let seals = SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}
