//! Alerts on disk: those that an output has not accepted yet, oldest first.
//!
//! The store is a redb database with one table, from the number of an alert to its bytes. Each commit is complete or absent,
//! whenever the process dies; with `fsync` (the default) also if the power fails. The alternatives: fjall preallocates
//! files of 64 MiB, has threads of its own and sixty dependencies; LMDB is a C library.

mod file;
#[cfg(test)]
mod full;
mod made;
#[cfg(test)]
mod power;
mod record;

use std::collections::VecDeque;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redb::{
    Database, ReadableDatabase, ReadableTable, StorageError, TableDefinition, WriteTransaction,
};

use plugin_host::{Alert, files};

use super::settings::SpoolSettings;
use file::SpoolFile;
pub use made::check_spool;

const ALERTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("alerts");
/// Bytes that the store may keep of its pages in memory.
const CACHE: usize = 4 << 20;
/// Alerts that are kept in memory as well, so that those that are delivered soon are not read from the disk.
const RECENT: usize = 2048;

/// How long after a full disk lanner tries whether there is more room.
const CRAMPED: Duration = Duration::from_secs(60);

/// A spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Its folder cannot be created.
    #[error("the spool's folder {path} cannot be created: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be opened.
    #[error("the spool {path} cannot be opened: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is there, and holds something else.
    #[error(
        "the spool {path} is a file that lanner has not made, and it would be replaced; name another path, or move the file"
    )]
    NotASpool {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("the spool {path} cannot be used: {source}")]
    Use {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
}

impl SpoolError {
    /// Whether there is no room on the disk.
    pub(super) fn is_full(&self) -> bool {
        self.io().is_some_and(|error| {
            matches!(
                error.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
            )
        })
    }

    /// Whether the disk is at fault, and not the settings: it is full, read-only, or broken. That can pass.
    pub(super) fn is_of_disk(&self) -> bool {
        let broken = |error: &std::io::Error| {
            error.kind() == ErrorKind::ReadOnlyFilesystem || error.raw_os_error() == Some(libc::EIO)
        };
        self.is_full() || self.io().is_some_and(broken)
    }

    fn io(&self) -> Option<&std::io::Error> {
        match self {
            Self::Folder { source, .. } | Self::Open { source, .. } => Some(source),
            Self::Use { source, .. } => match &**source {
                redb::Error::Io(error) => Some(error),
                _ => None,
            },
            Self::NotASpool { .. } => None,
        }
    }
}

/// The oldest alerts that a commit dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    /// The spool had its full size.
    pub(super) evicted: usize,
    /// They waited longer than `age` allows.
    pub(super) expired: usize,
}

/// Alerts on disk.
#[derive(Debug)]
pub struct Spool {
    settings: SpoolSettings,
    store: Option<Database>,
    /// The number of the next alert.
    next: u64,
    /// How many there are, and how many bytes.
    count: usize,
    bytes: u64,
    /// The newest alerts, without gaps.
    recent: VecDeque<(u64, Arc<Alert>)>,
    /// Numbers of the alerts that the output has now. They are not dropped.
    taken: Vec<u64>,
    /// Numbers of alerts that are done, but still on disk.
    done: Vec<u64>,
    /// The disk was full: a limit of bytes, and until when it holds.
    cramped: Option<(u64, Instant)>,
}

impl Spool {
    /// Opens a spool, or creates it. Renames a damaged file, and returns its new name.
    ///
    /// # Errors
    ///
    /// It cannot be created, or another process uses it.
    pub fn open(settings: SpoolSettings) -> Result<(Self, Option<PathBuf>), SpoolError> {
        let mut spool = Self::unopened(settings);
        let Err(error) = spool.reopen() else {
            return Ok((spool, None));
        };
        if !spool.is_damage(&error) {
            return Err(error);
        }
        spool.store = None;
        check_spool(&spool.settings.path)?;
        let aside = spool
            .settings
            .path
            .with_extension(format!("damaged-{}", now_ns()));
        tracing::error!("{error}; the file is renamed to {}", aside.display());
        fs::rename(&spool.settings.path, &aside).map_err(|_| error)?;
        spool.reopen()?;
        Ok((spool, Some(aside)))
    }

    /// A spool that is not open yet: [`Spool::reopen`] tries it.
    pub(super) fn unopened(settings: SpoolSettings) -> Self {
        Self {
            settings,
            store: None,
            next: 0,
            count: 0,
            bytes: 0,
            recent: VecDeque::new(),
            taken: Vec::new(),
            done: Vec::new(),
            cramped: None,
        }
    }

    /// Whether it was opened.
    pub(super) fn is_open(&self) -> bool {
        self.store.is_some()
    }

    fn is_damage(&self, error: &SpoolError) -> bool {
        match error {
            SpoolError::Use { source, .. } => match &**source {
                redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) => true,
                redb::Error::Io(error) => {
                    matches!(
                        error.kind(),
                        ErrorKind::InvalidData | ErrorKind::UnexpectedEof
                    )
                }
                redb::Error::TableTypeMismatch { .. } => true,
                _ => false,
            },
            _ => false,
        }
    }

    fn failed(&self, error: impl Into<redb::Error>) -> SpoolError {
        SpoolError::Use {
            path: self.settings.path.clone(),
            source: Box::new(error.into()),
        }
    }

    /// Opens the store again. After an error, it accepts no more writes.
    pub(super) fn reopen(&mut self) -> Result<(), SpoolError> {
        self.store = None;
        let path = &self.settings.path;
        let mut opened = SpoolFile::open(path, self.settings.fsync);
        if opened
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::NotFound)
            && let Some(folder) = path.parent()
        {
            files::make_folder(folder, 0o700).map_err(|source| SpoolError::Folder {
                path: folder.to_owned(),
                source,
            })?;
            opened = SpoolFile::open(path, self.settings.fsync);
        }
        let file = opened.map_err(|source| SpoolError::Open {
            path: path.clone(),
            source,
        })?;
        let unmade = file.if_new().map_err(|source| SpoolError::Open {
            path: path.clone(),
            source,
        })?;
        let make = || -> Result<Database, redb::Error> {
            let store = Database::builder()
                .set_cache_size(CACHE)
                .create_with_backend(file)?;
            let write = store.begin_write()?;
            write.open_table(ALERTS)?;
            write.commit()?;
            Ok(store)
        };
        let store = make().map_err(|error| {
            // half a new file, on a full disk, would look damaged the next time
            if let Some(new) = unmade {
                drop(new.set_len(0));
            }
            self.failed(error)
        })?;
        self.store = Some(store);
        let (mut count, mut bytes, mut next) = (0, 0, self.next);
        self.read(|alerts| {
            for entry in alerts.iter()? {
                let (number, value) = entry?;
                count += 1;
                bytes += value.value().len() as u64;
                next = next.max(number.value() + 1);
            }
            Ok(())
        })?;
        (self.count, self.bytes, self.next) = (count, bytes, next);
        Ok(())
    }

    fn read<R>(
        &self,
        look: impl FnOnce(&redb::ReadOnlyTable<u64, &'static [u8]>) -> Result<R, StorageError>,
    ) -> Result<R, SpoolError> {
        let Some(store) = &self.store else {
            return Err(self.failed(StorageError::PreviousIo));
        };
        let read = store.begin_read().map_err(|error| self.failed(error))?;
        let alerts = read
            .open_table(ALERTS)
            .map_err(|error| self.failed(error))?;
        look(&alerts).map_err(|error| self.failed(error))
    }

    /// The same spool with other limits.
    ///
    /// # Errors
    ///
    /// `fsync` changes, and the spool could not be opened again.
    pub(super) fn with(mut self, settings: SpoolSettings) -> Result<Self, SpoolError> {
        let anew = settings.fsync != self.settings.fsync;
        self.settings = settings;
        self.taken.clear();
        if anew {
            self.commit(&[])?;
            self.reopen()?;
        }
        Ok(self)
    }

    /// Takes all alerts out of the spool and puts them before these, for an output that has no spool any more. Unreadable
    /// alerts stay in the file.
    pub(super) fn empty_into(&mut self, mut behind: VecDeque<Arc<Alert>>) -> VecDeque<Arc<Alert>> {
        let mut all = VecDeque::new();
        loop {
            match self.take(RECENT) {
                Ok((alerts, _)) if alerts.is_empty() => break,
                Ok((alerts, _)) => {
                    self.delivered(alerts.len());
                    all.extend(alerts);
                }
                Err(error) => {
                    tracing::error!("{error}");
                    break;
                }
            }
        }
        if let Err(error) = self.commit(&[]) {
            tracing::error!("{error}");
        }
        all.append(&mut behind);
        all
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &SpoolSettings {
        &self.settings
    }

    /// The number of waiting alerts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.saturating_sub(self.done.len())
    }

    /// Whether no alert waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the alerts on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Stores alerts, removes those that are done, and drops the oldest ones if they are too many or too old, all in one
    /// commit. When it returns, the disk has the result.
    ///
    /// # Errors
    ///
    /// Nothing was stored.
    pub(super) fn commit(&mut self, new: &[Arc<Alert>]) -> Result<(Dropped, usize), SpoolError> {
        if self
            .cramped
            .is_some_and(|(_, until)| Instant::now() >= until)
        {
            self.cramped = None;
        }
        self.commit_with(new)
    }

    /// As [`Spool::commit`], after the disk was full. If it still is, a quarter of the spool's space stays free for a while:
    /// the store never changes a page in place, so removing alerts needs space as well. Returns how many of the oldest alerts
    /// were dropped for that, even if the commit failed. If no alert is on disk, none is dropped, as that would make no room.
    pub(super) fn commit_on_full_disk(
        &mut self,
        new: &[Arc<Alert>],
    ) -> (usize, Result<Dropped, SpoolError>) {
        let wanted: u64 = (new.iter())
            .map(|alert| record::encode(alert, 0).len() as u64)
            .sum();
        let until = Instant::now() + CRAMPED;
        let mut for_room = 0;
        let mut attempt = || {
            self.reopen()?;
            let limit = self.bytes / 4 * 3;
            // there may be room again
            match self.commit_with(new) {
                Err(error) if error.is_full() && limit > 0 => self.reopen()?,
                other => return other.map(|(dropped, _)| dropped),
            }
            self.cramped = Some((limit.saturating_sub(wanted), until));
            for_room = self.commit_with(&[])?.1;
            // The space that a commit frees can be used by the next but one.
            self.commit_with(&[])?;
            self.cramped = Some((limit, until));
            let (dropped, more) = self.commit_with(new)?;
            for_room += more;
            Ok(dropped)
        };
        let result = attempt();
        (for_room, result)
    }

    /// How many alerts the output has now.
    pub(super) fn taken(&self) -> usize {
        self.taken.len()
    }

    /// Whether there is nothing to write.
    pub(super) fn is_clean(&self) -> bool {
        self.done.is_empty()
    }

    fn commit_with(&mut self, new: &[Arc<Alert>]) -> Result<(Dropped, usize), SpoolError> {
        let now = now_ns();
        let Some(store) = &self.store else {
            return Err(self.failed(StorageError::PreviousIo));
        };
        let failed = |error: redb::Error| self.failed(error);
        let write = store.begin_write().map_err(|error| failed(error.into()))?;
        let mut change = Change {
            count: self.count,
            bytes: self.bytes,
            next: self.next,
            limit: self.settings.size,
            room: self.cramped.map_or(u64::MAX, |(limit, _)| limit),
            oldest_ns: self
                .settings
                .age
                .map(|age| now.saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX))),
            keep: &self.taken,
            dropped: Dropped::default(),
            for_room: 0,
            last_dropped: None,
        };
        change.apply(&write, &self.done, new, now).map_err(failed)?;
        write.commit().map_err(|error| failed(error.into()))?;
        let (dropped, for_room, last) = (change.dropped, change.for_room, change.last_dropped);
        (self.count, self.bytes) = (change.count, change.bytes);
        let first = self.next;
        self.next = change.next;
        self.done.clear();
        self.remember(first, new);
        if let Some(last) = last {
            let taken = &self.taken;
            self.recent
                .retain(|(number, _)| *number > last || taken.contains(number));
        }
        Ok((dropped, for_room))
    }

    fn remember(&mut self, first: u64, new: &[Arc<Alert>]) {
        self.recent
            .extend((first..).zip(new.iter().map(Arc::clone)));
        while self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// The oldest alerts, for the output: [`Spool::delivered`] or [`Spool::put_back`] ends that. Those that
    /// cannot be read are counted and forgotten.
    pub(super) fn take(&mut self, most: usize) -> Result<(Vec<Arc<Alert>>, usize), SpoolError> {
        let done_to = self.done.last().map_or(0, |last| last + 1);
        let mut found: Vec<(u64, Option<Arc<Alert>>)> = Vec::new();
        let in_memory = self.recent.iter().filter(|(number, _)| *number >= done_to);
        if in_memory.clone().count() == self.len() {
            found.extend(
                in_memory
                    .take(most)
                    .map(|(number, alert)| (*number, Some(Arc::clone(alert)))),
            );
        } else {
            self.read(|alerts| {
                for entry in alerts.range(done_to..)?.take(most) {
                    let (number, value) = entry?;
                    found.push((number.value(), record::decode(value.value()).map(Arc::new)));
                }
                Ok(())
            })?;
        }
        let mut alerts = Vec::with_capacity(found.len());
        let mut unreadable = 0;
        self.taken.clear();
        for (number, alert) in found {
            match alert {
                Some(alert) => {
                    self.taken.push(number);
                    alerts.push(alert);
                }
                None if alerts.is_empty() => {
                    self.done.push(number);
                    unreadable += 1;
                }
                // what comes behind it comes next time
                None => break,
            }
        }
        Ok((alerts, unreadable))
    }

    /// Forgets the first `count` of the alerts that were taken.
    pub(super) fn delivered(&mut self, count: usize) {
        let count = count.min(self.taken.len());
        self.done.extend(self.taken.drain(..count));
        self.taken.clear();
        let done_to = self.done.last().map_or(0, |last| last + 1);
        while self
            .recent
            .front()
            .is_some_and(|(number, _)| *number < done_to)
        {
            self.recent.pop_front();
        }
    }
}

/// What one commit does.
struct Change<'a> {
    count: usize,
    bytes: u64,
    next: u64,
    /// Bytes that there may be, and that the disk has room for.
    limit: u64,
    room: u64,
    oldest_ns: Option<u64>,
    keep: &'a [u64],
    dropped: Dropped,
    for_room: usize,
    last_dropped: Option<u64>,
}

impl Change<'_> {
    fn apply(
        &mut self,
        write: &WriteTransaction,
        done: &[u64],
        new: &[Arc<Alert>],
        now: u64,
    ) -> Result<(), redb::Error> {
        let mut alerts = write.open_table(ALERTS)?;
        for number in done {
            if let Some(value) = alerts.remove(number)? {
                self.count -= 1;
                self.bytes = self.bytes.saturating_sub(value.value().len() as u64);
            }
        }
        for alert in new {
            let bytes = record::encode(alert, now);
            alerts.insert(self.next, bytes.as_slice())?;
            self.next += 1;
            self.count += 1;
            self.bytes += bytes.len() as u64;
        }
        let first_free = self.keep.last().map_or(0, |last| last + 1);
        loop {
            let Some((number, size, stored)) =
                alerts
                    .range(first_free..)?
                    .next()
                    .transpose()?
                    .map(|(number, value)| {
                        let value = value.value();
                        (number.value(), value.len() as u64, record::stored_ns(value))
                    })
            else {
                break;
            };
            let old = self
                .oldest_ns
                .is_some_and(|oldest| stored.is_some_and(|stored| stored < oldest));
            if old {
                self.dropped.expired += 1;
            } else if self.bytes > self.limit {
                self.dropped.evicted += 1;
            } else if self.bytes > self.room {
                self.for_room += 1;
            } else {
                break;
            }
            alerts.remove(number)?;
            self.last_dropped = Some(number);
            self.count -= 1;
            self.bytes = self.bytes.saturating_sub(size);
        }
        drop(alerts);
        Ok(())
    }
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}
