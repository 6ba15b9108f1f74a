//! A file of events, in lanner's format or in Falco's (.scap).

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use driver_api::event::{Event, Fact, Flags};
use inspect::containers::ContainerReporter;
use inspect::{CgroupReader, Inspector};
use recording::Writer;
use scap::{Machine, ScapWriter};

use crate::source::OpenedSource;
use crate::stoppable::StoppableWriter;

/// A file of events has arguments, environments and data of programs.
const FOR_OWNER: u32 = 0o600;

/// The format of a file of events.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    serde::Deserialize,
    serde::Serialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum RecordingFormat {
    /// That of Falco, sysdig and Stratoshark.
    #[default]
    Scap,
    /// lanner's own: the events as the driver gave them.
    Lanner,
}

impl RecordingFormat {
    /// The format that the name of a file asks for: Falco's for `.scap`, else lanner's.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        match path.extension() {
            Some(extension) if extension == "scap" => Self::Scap,
            _ => Self::Lanner,
        }
    }

    /// The usual end of a file's name, without its dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Scap => "scap",
            Self::Lanner => "rec",
        }
    }
}

impl Format {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        match self {
            Self::Lanner(writer) => writer.event(event),
            Self::Scap(writer) => writer.event(event),
        }
    }
}

/// A file of events that is being written.
#[derive(Debug)]
pub struct RecordingFile {
    format: Format,
    /// Says which cgroups the ids in events mean.
    cgroups: Option<CgroupReader>,
    /// Says what runtimes know about containers. `None`: the format does that itself.
    containers: Option<ContainerReporter>,
    /// The state said the users of the host.
    has_users: bool,
    /// The time of the last event.
    last_ns: u64,
}

#[derive(Debug)]
enum Format {
    Lanner(Writer<StoppableWriter>),
    Scap(Box<ScapWriter<StoppableWriter>>),
}

impl RecordingFile {
    /// Writes a state, and then events, into an empty file. `times`: events say how long their calls took; a capture of
    /// Falco's does not keep that.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn new(
        to: StoppableWriter,
        format: RecordingFormat,
        state: Inspector,
        machine: Machine,
        times: bool,
    ) -> io::Result<Self> {
        let file = to.file();
        if file.metadata()?.is_file() {
            // the file may have been there before
            file.set_permissions(Permissions::from_mode(FOR_OWNER))?;
        }
        match format {
            RecordingFormat::Scap => {
                let writer = ScapWriter::new(to, state, machine);
                Ok(Self::of(Format::Scap(Box::new(writer))))
            }
            RecordingFormat::Lanner => {
                let mut writer = Writer::to(to, state.clock());
                if times {
                    writer = writer.with_times();
                }
                let (mut failed, mut last_ns) = (None, 0);
                let mut write = |event: &Event<'_>| {
                    if let Err(error) = writer.event(event) {
                        failed.get_or_insert(error);
                    }
                    last_ns = event.header().time_ns;
                };
                state.report_users(&mut write);
                state.synthesize(&mut write);
                // the state is in the file before the first event comes
                if let Some(error) = failed {
                    return Err(error);
                }
                let mut file = Self::of(Format::Lanner(writer));
                file.has_users = state.recorded_users().is_some();
                file.last_ns = last_ns;
                file.containers = Some(ContainerReporter::new(state.into_containers()));
                file.flush()?;
                Ok(file)
            }
        }
    }

    /// Writes the events of a source into an empty file.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn of_source(
        to: StoppableWriter,
        format: RecordingFormat,
        source: &OpenedSource,
    ) -> io::Result<Self> {
        let options = source.inspect_options();
        let machine = if source.is_live() {
            Machine::host(options.clock)
        } else {
            Machine::default()
        };
        let mut inspector = Inspector::new(&options);
        source.scan(&mut inspector);
        let mut file = Self::new(to, format, inspector, machine, source.times)?;
        // For .scap, the state that follows the events reads cgroups itself. A replay has events about them.
        if format == RecordingFormat::Lanner && source.is_live() {
            file.read_cgroups();
        }
        Ok(file)
    }

    fn of(format: Format) -> Self {
        Self {
            format,
            cgroups: None,
            containers: None,
            has_users: false,
            last_ns: 0,
        }
    }

    /// Reads the cgroups of the processes of this host that later events are about.
    fn read_cgroups(&mut self) {
        self.cgroups = Some(CgroupReader::new(Path::new("/proc")));
    }

    /// Appends an event.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        // the file says itself what the source of containers knows, and who the users of its state are
        if event.has(Flags::UNSELECTED) {
            let says = |fact| event.fact(fact).is_some();
            let users = || says(Fact::Users) || says(Fact::Groups);
            if says(Fact::Container) || self.has_users && users() {
                return Ok(());
            }
        }
        let report = self
            .cgroups
            .as_mut()
            .and_then(|cgroups| cgroups.before(event));
        self.last_ns = event.header().time_ns;
        for event in report.as_ref().into_iter().chain([event]) {
            self.format.event(event)?;
            if let Some(containers) = &mut self.containers {
                containers.note(event);
            }
        }
        self.report_containers()
    }

    /// Writes what runtimes have answered since the last time.
    fn report_containers(&mut self) -> io::Result<()> {
        let Some(containers) = self.containers.as_mut().filter(|all| all.has_waiting()) else {
            return Ok(());
        };
        while let Some(event) = containers.next(self.last_ns) {
            self.format.event(&event)?;
        }
        Ok(())
    }

    /// The number of events so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        match &self.format {
            Format::Lanner(writer) => writer.events(),
            Format::Scap(writer) => writer.events(),
        }
    }

    /// Bytes of the file so far, those that are buffered included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &self.format {
            Format::Lanner(writer) => writer.bytes(),
            Format::Scap(writer) => writer.bytes(),
        }
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.report_containers()?;
        match &mut self.format {
            Format::Lanner(writer) => writer.flush(),
            Format::Scap(writer) => writer.flush(),
        }
    }

    /// Writes all that is left.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn finish(&mut self) -> io::Result<()> {
        self.report_containers()?;
        match &mut self.format {
            Format::Lanner(writer) => writer.finish(),
            Format::Scap(writer) => writer.finish(),
        }
    }
}
