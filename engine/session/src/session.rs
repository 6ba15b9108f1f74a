//! [`Session`]: rules over the events of a source, and alerts to the outputs.

use std::sync::Arc;

use delivery::{Account, Outputs, Planned};
use driver_api::driver::CaptureError;
use driver_api::request::Omit;
use driver_api::stats::Stats;
use driver_api::support::Gap;
use inspect::Inspector;

use crate::config::{Config, Loaded, LogLevel};
use crate::control::Control;
use crate::counters::WorkerStatus;
use crate::error::SessionError;
use crate::event_path::EventPath;
use crate::flight::{Failures, FlightRecorder, Folder, Origin};
use crate::heartbeat::{self, Heartbeat};
use crate::monitor;
use crate::page;
use crate::reference::{self, Form};
use crate::reload::Reloader;
use crate::rule_loader::{LoadConfig, RuleLoader, RuleSet};
use crate::source::{EventSource, OpenedSource, SourceConfig, SourceError, check_btf, short_paths};
use crate::telemetry::{Telemetry, service, web};
use crate::watch::watch;

/// Configuration and rules that are loaded, and outputs that are open. Nothing captures yet.
#[derive(Debug)]
pub struct Session {
    loader: Arc<RuleLoader>,
    loaded: Loaded,
    rules: RuleSet,
    outputs: Vec<Planned>,
}

/// A session that captures.
#[derive(Debug)]
pub struct OpenedSession {
    loader: Arc<RuleLoader>,
    loaded: Loaded,
    rules: RuleSet,
    inspector: Inspector,
    source: OpenedSource,
    /// The driver holds processes and omits some calls.
    omits: bool,
    heartbeat: Option<Heartbeat>,
    telemetry: Arc<Telemetry>,
    outputs: Arc<Outputs>,
    page: Option<String>,
}

/// What the threads of a session share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) outputs: Arc<Outputs>,
    pub(crate) control: Arc<Control>,
}

/// How a session went.
#[derive(Debug)]
pub struct Summary {
    /// The wait status of the watched command, if there was one and it ended; or why the capture could not go on.
    pub ended: Result<Option<i32>, CaptureError>,
    /// What the driver captured and lost.
    pub stats: Stats,
    /// Rule plugins beside the event path, and what they did not see.
    pub workers: Vec<Arc<WorkerStatus>>,
    /// The outputs, and what became of their alerts.
    pub outputs: Vec<Account>,
}

impl Session {
    /// Loads configuration and rules, and opens the outputs' plugins.
    ///
    /// # Errors
    ///
    /// The configuration, a rule file or a plugin cannot be used.
    pub fn new(config: LoadConfig) -> Result<Self, SessionError> {
        let loader = Arc::new(RuleLoader::new(config));
        let loaded = loader.configuration()?;
        let wanted = loaded.clone();
        let opened = loader.within(&loaded.config, move |loader| {
            let rules = loader.load(&wanted, None)?;
            Ok((rules, loader.outputs(&wanted.config, &[])?))
        });
        let (rules, outputs) = opened?;
        Ok(Self {
            loader,
            loaded,
            rules,
            outputs,
        })
    }

    /// The level of the log that the configuration asks for.
    #[must_use]
    pub fn log_level(&self) -> Option<LogLevel> {
        self.loaded.config.log_level
    }

    /// Completes the source by the configuration. What the caller set has priority.
    #[must_use]
    pub fn source(&self, asked: SourceConfig) -> SourceConfig {
        RuleLoader::source(&self.loaded.config, asked)
    }

    /// Begins to capture the calls that the rules need, and starts the outputs. The thread that calls this must also call
    /// [`OpenedSession::run`].
    ///
    /// # Errors
    ///
    /// The source cannot capture, or an output or the web server cannot start.
    pub fn open(self, source: &dyn EventSource) -> Result<OpenedSession, SessionError> {
        let omit = self.rules.omit;
        let webserver = &self.loaded.config.webserver;
        // before the capture begins, which would see the tries
        let drivers = if webserver.enabled && webserver.page.enabled {
            drivers(&self.loaded.config)?
        } else {
            String::new()
        };
        let mut source = source.open(&self.rules.selection, omit)?;
        let telemetry = Arc::new(Telemetry::default());
        let heartbeat = self.heartbeat(&mut source, &telemetry);
        let omits = source.holds() && omit != Omit::NOTHING;
        let mut inspector = Inspector::new(&inspect::Options {
            held: omits,
            ..source.inspect_options()
        });
        source.scan(&mut inspector);
        telemetry.set_driver(source.driver.clone());
        let outputs = Arc::new(Outputs::start(self.outputs)?);
        let mut page = None;
        if webserver.enabled {
            let sources = page::Sources {
                telemetry: Arc::clone(&telemetry),
                outputs: Arc::clone(&outputs),
                loader: Arc::clone(&self.loader),
                drivers,
            };
            page = web::start(webserver, sources)?;
        }
        Ok(OpenedSession {
            loader: self.loader,
            loaded: self.loaded,
            rules: self.rules,
            inspector,
            source,
            omits,
            heartbeat,
            telemetry,
            outputs,
            page,
        })
    }

    /// Starts the heartbeat, if one makes sense.
    fn heartbeat(
        &self,
        source: &mut OpenedSource,
        telemetry: &Arc<Telemetry>,
    ) -> Option<Heartbeat> {
        let config = &self.loaded.config.heartbeat;
        if !config.enabled || !source.whole_host || source.holds() {
            return None;
        }
        let selection = heartbeat::with_call(&self.rules.selection);
        if let Err(error) = source.capture.select(&selection) {
            tracing::warn!("there is no heartbeat: {error}");
            return None;
        }
        Heartbeat::start(config, Arc::clone(telemetry))
            .inspect_err(|error| {
                tracing::warn!("there is no heartbeat: its process cannot be started: {error}");
            })
            .ok()
    }
}

impl OpenedSession {
    /// Which driver captures, and why.
    #[must_use]
    pub fn driver_reason(&self) -> &str {
        &self.source.driver.reason
    }

    /// Where the web page is and how to get in, as a line for the user; it may have a token. None: there is no page.
    #[must_use]
    pub fn page(&self) -> Option<&str> {
        self.page.as_deref()
    }

    /// What the driver cannot do here.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.source.gaps
    }

    /// Runs until the target or the time ends, or `control` asks for the end.
    ///
    /// # Errors
    ///
    /// A thread cannot be started.
    pub fn run(self, control: &Arc<Control>) -> Result<Summary, SessionError> {
        let Self {
            loader,
            loaded,
            rules,
            inspector,
            mut source,
            omits,
            heartbeat,
            telemetry,
            outputs,
            page: _,
        } = self;
        let shared = Shared {
            telemetry,
            outputs,
            control: Arc::clone(control),
        };
        let drops = loaded.config.syscall_event_drops.clone();
        let reloader = Reloader::new(loader, &loaded, rules, omits, shared.clone());
        let monitor = monitor::start(drops, reloader.format(), heartbeat, shared.clone())?;
        let (mut initial, handover, reloader) = reloader.start()?;
        initial.has_times(source.times);
        service::ready("watching");
        let reload = (handover, reloader);
        let live = source.is_live();
        if !live {
            // a recording can wait for slow outputs
            let control = Arc::clone(control);
            (shared.outputs).wait_for_room(move || !control.is_asked_to_end());
        }
        let origin = Origin {
            live,
            times: source.times,
        };
        let flight = FlightRecorder::start(&initial.captures, origin, Failures::default())
            .map_err(SessionError::Capture)?;
        let mut path = EventPath::new(initial, inspector, shared, reload, monitor, flight, live)?;
        let ended = watch(&mut source, &mut path, control);
        let stats = source.stats();
        let finished = path.finish();
        Ok(Summary {
            ended,
            stats,
            workers: finished.workers,
            outputs: finished.outputs,
        })
    }
}

/// What each driver can do on this host, as JSON.
fn drivers(config: &Config) -> Result<String, SourceError> {
    let mut host = drivers::host::try_out(&drivers::host::detect());
    host.btf_file.clone_from(&config.btf);
    let order = drivers::Order::named(&config.driver_order)?;
    Ok(reference::drivers(&host, &order, Form::Json))
}

/// Checks a configuration, the rules that it names, and the settings of its outputs: what [`Session::new`] and
/// [`Session::open`] would refuse, as far as that can be known without opening or starting anything. Returns what is wrong:
/// the first fault of the configuration file, or one of the rules and one of each output.
#[must_use]
pub fn check(config: LoadConfig) -> Vec<SessionError> {
    let loader = Arc::new(RuleLoader::new(config));
    let loaded = match loader.configuration() {
        Ok(loaded) => loaded,
        Err(error) => return vec![error.into()],
    };
    let wanted = loaded.clone();
    let checked = loader.within(&loaded.config, move |loader| {
        let rules = loader.load(&wanted, None);
        let has_captures = match &rules {
            Ok(rules) => rules.captures.is_on(),
            Err(_) => wanted.config.capture.enabled == Some(true),
        };
        let outputs = loader.faults_of_outputs(&wanted.config, &[]);
        Ok((rules.err(), has_captures, outputs))
    });
    let (rules, has_captures, outputs) = match checked {
        Ok(faults) => faults,
        // a plugin hangs
        Err(error) => return vec![error.into()],
    };
    let faults = rules.into_iter().chain(outputs);
    let mut faults: Vec<SessionError> = faults.map(SessionError::from).collect();
    let config = &loaded.config;
    let path_limit = config.limits.get("path").copied();
    if let Some(gap) = path_limit.and_then(short_paths) {
        tracing::warn!("{}: {}; {}", gap.what, gap.why, gap.remedy);
    }
    if let Some(btf) = &config.btf
        && let Err(error) = check_btf(btf)
    {
        faults.push(error.into());
    }
    if has_captures && let Err(error) = Folder::check(&config.capture) {
        faults.push(SessionError::Capture(error));
    }
    if config.webserver.enabled
        && let Err(error) = web::check(&config.webserver)
    {
        faults.push(error.into());
    }
    faults
}
