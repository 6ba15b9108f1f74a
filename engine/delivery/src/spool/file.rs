//! The file below the store: every byte that it is long has its place on the disk, so that a full disk is
//! noticed when the file should grow, and never when something in it changes.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use plugin_host::files::{self, FileError};
use redb::StorageBackend;

#[cfg(test)]
use super::power;

/// See the module.
#[derive(Debug)]
pub(super) struct SpoolFile {
    file: File,
    fsync: bool,
}

impl SpoolFile {
    /// Opens or makes the file, for lanner alone: alerts may hold what is secret, and no other user may add alerts.
    pub(super) fn open(path: &Path, fsync: bool) -> io::Result<Self> {
        let file = files::open_store(path).map_err(|error| match error {
            FileError::Unreadable { source, .. } => source,
            other => io::Error::new(io::ErrorKind::PermissionDenied, other),
        })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file, fsync }),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another lanner, or another output, has it open",
            )),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl StorageBackend for SpoolFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        power::note(|| power::Step::Write(offset, data.to_vec()));
        self.file.write_all_at(data, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        #[cfg(test)]
        power::note(|| power::Step::Length(len));
        let old = self.len()?;
        if len > old {
            let too_long = || io::Error::from(io::ErrorKind::FileTooLarge);
            let (from, more) = (
                i64::try_from(old).map_err(|_| too_long())?,
                i64::try_from(len - old).map_err(|_| too_long())?,
            );
            // SAFETY: fallocate(2) takes a descriptor that is open, and numbers.
            if unsafe { libc::fallocate(self.file.as_raw_fd(), 0, from, more) } == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::EOPNOTSUPP) {
                // what was there of it is given back
                self.file.set_len(old)?;
                return Err(error);
            }
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.fsync {
            self.file.sync_data()?;
            #[cfg(test)]
            power::note(|| power::Step::Sync);
        }
        Ok(())
    }
}
