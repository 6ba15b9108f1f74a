//! Replays a recording: a capture whose events come from a file.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use driver_api::driver::{Capture, CaptureError, Flow, Polled};
use driver_api::error::Cause;
use driver_api::event::layout::{self, MAX};
use driver_api::event::{Event, Fact, Flags, Header};
use driver_api::replay::{EventFile, Player};
use driver_api::selection::Selection;
use driver_api::stats::Stats;
use lanner_plugin::files::{self, FileError};
use zerocopy::FromBytes;

use super::{CONTAINERS, END, Head, MAGIC, TIMES, VERSION};
use inspect::containers::RecordedAnswers;
use inspect::{Clock, ContainerSource};

/// Why a file cannot be replayed. Print it with [`driver_api::error::Chain`].
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be opened, or is not a regular file.
    #[error(transparent)]
    File(#[from] FileError),
    /// It cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: String,
        /// The reason.
        source: io::Error,
    },
    /// It is not a recording.
    #[error("{0} is no recording of lanner's; `lanner record -o FILE` makes one")]
    Foreign(String),
    /// Another lanner's: the file has another layout.
    #[error(
        "{path} is a recording of version {version}, and this lanner reads version {}",
        VERSION
    )]
    FileVersion {
        /// The file.
        path: String,
        /// The version that it has.
        version: u8,
    },
    /// Its events have another layout.
    #[error(
        "{path} has events of layout version {version}, and this lanner reads version {}",
        layout::VERSION
    )]
    Version {
        /// The file.
        path: String,
        /// The version that it has.
        version: u32,
    },
}

/// An event's length is impossible.
#[derive(Debug, thiserror::Error)]
#[error("an event of {0} bytes: the file is damaged")]
struct Damaged(usize);

/// A recording that is being replayed.
#[derive(Debug)]
pub struct Replay {
    clock: Clock,
    player: Player,
    reader: Reader,
    has_times: bool,
}

/// The file of a recording.
#[derive(Debug)]
struct Reader {
    path: String,
    file: BufReader<File>,
    /// The end was reached.
    ended: bool,
    /// The current event.
    bytes: Vec<u8>,
    /// Whether the current event has not been delivered.
    waiting: bool,
    /// What the file says about containers. None: an earlier lanner wrote it, and it says nothing.
    answers: Option<Arc<RecordedAnswers>>,
}

impl Replay {
    /// Opens a recording. Like a driver, it delivers the calls of the selection, and all events that are not calls.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not a recording, or has events of another layout version.
    pub fn open(path: &Path, selection: impl Into<Selection>) -> Result<Self, ReplayError> {
        let name = path.display().to_string();
        let unreadable = |source| ReplayError::Unreadable {
            path: name.clone(),
            source,
        };
        let file = files::open_untrusted(path)?;
        let mut file = BufReader::with_capacity(1 << 20, file);
        let mut bytes = [0; size_of::<Head>()];
        match file.read_exact(&mut bytes) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(unreadable(error));
            }
            _ => {}
        }
        let head = Head::read_from_bytes(&bytes).map_err(|_| ReplayError::Foreign(name.clone()))?;
        let [start @ .., version] = head.magic;
        if start != MAGIC || version == 0 {
            return Err(ReplayError::Foreign(name));
        }
        if version != VERSION {
            return Err(ReplayError::FileVersion {
                path: name,
                version,
            });
        }
        if head.layout != u32::from(layout::VERSION) {
            return Err(ReplayError::Version {
                path: name,
                version: head.layout,
            });
        }
        Ok(Self {
            clock: Clock::fixed(head.clock_offset),
            player: Player::new(selection),
            has_times: head.has & TIMES != 0,
            reader: Reader {
                path: name,
                file,
                ended: false,
                bytes: Vec::with_capacity(MAX),
                waiting: false,
                answers: (head.has & CONTAINERS != 0).then(Arc::default),
            },
        })
    }

    /// The clock of the host that recorded.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Whether events say how long their calls took, where it was known.
    #[must_use]
    pub fn has_times(&self) -> bool {
        self.has_times
    }

    /// What the recording says about containers. `None`: it says nothing.
    #[must_use]
    pub fn containers(&self) -> Option<Arc<dyn ContainerSource>> {
        let answers = self.reader.answers.as_ref()?;
        Some(Arc::clone(answers) as Arc<dyn ContainerSource>)
    }
}

impl Reader {
    /// Reads the next event's bytes. Returns false at the end of the file.
    fn read(&mut self) -> Result<bool, CaptureError> {
        const LENGTH: usize = size_of::<u32>();
        if self.ended {
            return Ok(false);
        }
        let failed = |source: Cause| CaptureError {
            driver: "replay",
            step: format!("read {}", self.path),
            source,
        };
        let mut length = [0; LENGTH];
        match self.file.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(self.note_cut());
            }
            Err(error) => return Err(failed(error.into())),
            Ok(()) if length == END.to_ne_bytes() => {
                self.ended = true;
                return Ok(false);
            }
            Ok(()) => {}
        }
        let whole = u32::from_ne_bytes(length) as usize;
        if !(size_of::<Header>()..=MAX).contains(&whole) {
            return Err(failed(Damaged(whole).into()));
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(&length);
        self.bytes.resize(whole, 0);
        match self.file.read_exact(&mut self.bytes[LENGTH..]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(self.note_cut()),
            Err(error) => Err(failed(error.into())),
            Ok(()) => Ok(true),
        }
    }

    /// Takes what the current event says about a container, if it is there for that.
    fn take_answer(&self) {
        let Some(answers) = &self.answers else { return };
        let head = Header::read_from_prefix(&self.bytes);
        let is_said =
            head.is_ok_and(|(head, _)| head.flags & Flags::UNSELECTED != 0 && head.tgid == 0);
        if is_said
            && let Ok(event) = Event::parse(&self.bytes)
            && let Some(said) = event.fact(Fact::Container)
        {
            answers.take(said.bytes);
        }
    }

    /// The file ends without a mark. Returns false: there is no further event.
    fn note_cut(&mut self) -> bool {
        if !std::mem::replace(&mut self.ended, true) {
            tracing::warn!(
                "{} was cut off: its recorder was killed or had no room left; every whole event is replayed",
                self.path
            );
        }
        false
    }
}

impl EventFile for Reader {
    fn current(&mut self) -> Result<Option<&mut [u8]>, CaptureError> {
        if !self.waiting {
            let read = self.read();
            self.waiting = matches!(read, Ok(true));
            match &self.answers {
                _ if self.waiting => self.take_answer(),
                Some(answers) => answers.end(),
                None => {}
            }
            read?;
        }
        Ok(self.waiting.then_some(&mut self.bytes[..]))
    }

    fn advance(&mut self, _: Option<usize>) {
        self.waiting = false;
    }
}

impl Capture for Replay {
    fn poll(
        &mut self,
        _: Duration,
        sink: &mut dyn FnMut(Event<'_>) -> Flow,
    ) -> Result<Polled, CaptureError> {
        self.player.poll(&mut self.reader, sink)
    }

    fn select(&mut self, selection: &Selection) -> Result<(), CaptureError> {
        self.player.select(selection);
        Ok(())
    }

    fn stats(&self) -> Stats {
        self.player.stats()
    }
}
