//! lanner as a library: from a configuration to an opened driver, events, matches and delivered alerts.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use session::{Control, LoadConfig, Observer, Session, SourceConfig};
//! # fn run(observer: Box<dyn Observer>) -> Result<(), session::SessionError> {
//! let control = Arc::new(Control::new(observer));
//! let session = Session::new(LoadConfig::default())?;
//! let source = session.source(SourceConfig::default());
//! let summary = session.open(&source)?.run(&control)?;
//! println!("{} events", summary.stats.captured);
//! # Ok(())
//! # }
//! ```
//!
//! | file | does |
//! |---|---|
//! | `session` | [`Session`]: everything together |
//! | `config` | the configuration file |
//! | `source` | opens a driver or a recording |
//! | `recording_file` | writes events to a file, in lanner's format or in Falco's |
//! | `watch` | the loop: polls the capture, feeds a [`Consumer`] |
//! | `event_path` | the consumer that matches rules and hands alerts to the outputs |
//! | `event_recorder` | the consumer that keeps events in a file |
//! | `stoppable`, `whole_lines` | writers: one whose reader may stand still, one for lines that others write, too |
//! | `flight` | keeps the latest events, and writes those around an alert into a file |
//! | `rule_files`, `rule_loader` | finds and loads rules, and everything that belongs to them |
//! | `claims` | what only one output may have |
//! | `rule_workers`, `worker_loader` | rule plugins beside the event path |
//! | `reload` | notices changes, loads rules again, and hands them to the event path |
//! | `heartbeat` | a call that must come back as an event |
//! | `monitor` | looks once a second for losses and at the heartbeat; keeps the service manager's watchdog content |
//! | `counters`, `telemetry` | counts what happens, and shows it |
//! | `page` | the web page: alerts, rates, drivers, outputs and rules |
//! | `control` | requests to a running session, and what it reports |
//! | `reference` | lists of system calls, fields and drivers |
//! | `rule_tests` | runs rules over events that a test file describes |
//! | `output_test` | sends one alert through the outputs of the configuration |
//! | `host_name` | the name of this host, for alerts |
//! | `error` | why a session cannot begin, and why a reload fails |

mod claims;
pub mod config;
mod control;
mod counters;
mod error;
mod event_path;
mod event_recorder;
mod flight;
mod heartbeat;
mod host_name;
mod monitor;
mod output_test;
mod page;
mod recording_file;
pub mod reference;
mod reload;
mod rule_files;
mod rule_loader;
pub mod rule_tests;
mod rule_workers;
mod session;
mod source;
mod stoppable;
mod telemetry;
mod watch;
mod whole_lines;
mod worker_loader;

pub use control::{Control, Notice, Observer};
pub use counters::WorkerStatus;
pub use error::{LoadError, RuleFilesError, RuleOutputError, SessionError, WebError};
pub use event_recorder::{EventRecorder, RecordError};
pub use host_name::host_name;
pub use output_test::{OutputTest, test_outputs};
pub use recording_file::{RecordingFile, RecordingFormat};
pub use rule_files::{executable, plugin_directories, rule_files, trusted_rules, untrusted_rules};
pub use rule_loader::{LoadConfig, alert_rules, calls_of, events_for, with_state};
pub use session::{OpenedSession, Session, Summary, check};
pub use source::{
    EventSource, OpenedSource, RecordedHost, Scan, SourceConfig, SourceError, check_btf,
};
pub use stoppable::StoppableWriter;
pub use telemetry::DriverFacts;
pub use watch::{Consumer, watch};
pub use whole_lines::WholeLines;
