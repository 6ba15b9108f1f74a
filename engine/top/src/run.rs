//! Puts it together: the capture on the thread that opened it, and the screen on another.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::alert::AlertFormat;
use driver_api::driver::CaptureError;
use driver_api::error::Chain;
use driver_api::request::{Omit, SyscallSet};
use driver_api::selection::Selection;
use driver_api::stats::Stats;
use fields::{FieldRegistry, HostNames, host_names};
use inspect::{Inspector, Options};
use look::EventSet;
use plugin_host::{Plugin, RuleHost};
use ratatui::Terminal;
use ratatui::backend::Backend;
use ratatui::layout::{Position, Rect};
use session::{Control, OpenedSource, SourceError, plugin_directories};

use crate::alerts::Alerts;
use crate::app::{Action, App};
use crate::cost::Meter;
use crate::draw::draw;
use crate::error::TopError;
use crate::filter::Compiler;
use crate::keys::{Keys, Waited};
use crate::model::{CaptureState, Model};
use crate::screen::{self, Screen};
use crate::watcher::{Asked, Rules, Shared, Watcher};

/// How often the screen is drawn if no key is pressed.
const FRAME: Duration = Duration::from_millis(250);
/// How often rates are computed.
const TICK: Duration = Duration::from_secs(1);
/// How often a source that has ended looks for requests.
const LOOK: Duration = Duration::from_millis(50);
/// The most bytes of a line of the command's output.
const LONGEST_LINE: usize = 4096;

/// Which rules make alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleChoice {
    /// The default rules. Where the rule plugin is not there, there are no alerts.
    Default,
    /// These files and folders.
    Files(Vec<PathBuf>),
    /// None.
    None,
}

/// What the user asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The values of `-e`, as [`EventSet::parse`] reads them.
    pub events: Vec<String>,
    /// A condition that is set from the start.
    pub condition: Option<String>,
    /// The rules.
    pub rules: RuleChoice,
    /// The rule plugin.
    pub rules_plugin: String,
    /// Where plugins are. Empty: the usual folders.
    pub plugin_dirs: Vec<PathBuf>,
}

/// A request, compiled: before the source is opened, so that a mistake leaves nothing behind.
#[derive(Debug)]
pub struct Plan {
    watcher: Watcher,
    compiler: Compiler,
    selection: Selection,
    omit: Omit,
}

/// What is watched, as the screen names it.
#[derive(Debug, Clone)]
pub struct Target {
    /// A few words, such as `whole host`.
    pub words: String,
    /// It is a command, which lanner has started.
    pub is_command: bool,
    /// It is a host, where processes that have ended are soon of no interest.
    pub is_host: bool,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// What the driver captured and lost.
    pub stats: Stats,
    /// The wait status of the command, if there was one and it ended; or why the capture could not go on.
    pub status: Result<Option<i32>, CaptureError>,
}

impl Plan {
    /// Compiles a request.
    ///
    /// # Errors
    ///
    /// A name, a rule or the condition is wrong, or the rule plugin is needed and not there.
    pub fn new(request: &Request) -> Result<Self, TopError> {
        let hostname = session::host_name();
        let events = EventSet::parse(&request.events)?;
        let folders = plugin_directories(request.plugin_dirs.clone(), &request.rules_plugin);
        let plugin = match plugin_host::find(&folders, &request.rules_plugin) {
            Err(error) if matches!(request.rules, RuleChoice::Files(_)) => {
                return Err(TopError::Rules(error));
            }
            found => found,
        };
        let registry = FieldRegistry::new(&hostname);
        let mut names = Vec::new();
        let (rules, alerts) = match (&request.rules, &plugin) {
            (RuleChoice::None, _) => (None, Alerts::none("there are no rules (--no-rules)")),
            (_, Err(error)) => (None, Alerts::none(&Chain(error).to_string())),
            (choice, Ok(plugin)) => {
                let named: &[PathBuf] = match choice {
                    RuleChoice::Files(files) => files,
                    RuleChoice::Default | RuleChoice::None => &[],
                };
                let (rules, alerts) = load(plugin, named, &registry, &hostname, &mut names)?;
                (Some(rules), alerts)
            }
        };
        let asked = Asked::new(&registry)?;
        let names = HostNames::watch(names);
        let fields = registry.fields().with_names(names).with_times(true);
        let mut model = Model::new(alerts);
        let compiler = Compiler::new(plugin, &hostname);
        let filter = match &request.condition {
            Some(text) => Some(compiler.compile(text).map_err(TopError::Condition)?),
            None => None,
        };
        model.filter = request.condition.clone().unwrap_or_default();
        let (calls, omit) = session::with_state(&events.calls);
        // the pane of calls shows how long they take
        let selection = Selection::from(calls).with_times(true);
        // it is replaced when the source is open
        let inspector = Inspector::new(&Options::default());
        let shared = Shared::new(model);
        let mut watcher = Watcher::new(shared, events, rules, fields, asked, inspector);
        watcher.filter = filter;
        Ok(Self {
            watcher,
            compiler,
            selection,
            omit,
        })
    }

    #[cfg(test)]
    pub(crate) fn into_watcher(self) -> Watcher {
        self.watcher
    }

    /// What to capture, and what the driver may leave out.
    #[must_use]
    pub fn selection(&self) -> (Selection, Omit) {
        (self.selection.clone(), self.omit)
    }

    /// Shows a source until the user leaves, `control` asks for the end, or the time of the source is over. `reopen` opens
    /// a recording again, which a new filter begins from its start. `end_command` asks the command to end.
    ///
    /// # Errors
    ///
    /// The terminal cannot be used.
    pub fn run(
        self,
        mut screen: Screen,
        source: OpenedSource,
        reopen: &dyn Fn() -> Result<OpenedSource, SourceError>,
        target: &Target,
        control: &Control,
        end_command: &(dyn Fn() + Sync),
    ) -> Result<Ended, TopError> {
        let Self {
            mut watcher,
            compiler,
            omit,
            ..
        } = self;
        let shared = Arc::clone(&watcher.shared);
        shared.model().output = Some(crate::model::Lines::default());
        if let Some(written) = screen.written() {
            let shared = Arc::clone(&shared);
            // it ends when all that have the other end of the pipe have ended, which may be never
            std::thread::Builder::new()
                .name("output".to_owned())
                .spawn(move || read_output(written, &shared))
                .map_err(TopError::Terminal)?;
        }
        let mut app = App::new(target.is_command, !target.is_host);
        app.has_colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        app.is_ascii = !is_utf8();
        let view = View {
            shared: &shared,
            compiler: &compiler,
            control,
            end_command,
        };
        std::thread::scope(|scope| {
            let drawing = std::thread::Builder::new()
                .name("screen".to_owned())
                .spawn_scoped(scope, move || {
                    // however it ends, the capture ends as well
                    let _leaving = Leaving(view);
                    view.show(&screen, app)
                })
                .map_err(TopError::Terminal)?;
            let ended = watch(&mut watcher, source, omit, reopen, target, control);
            shared.end();
            match drawing.join() {
                Ok(shown) => shown.map(|()| ended),
                Err(_) => Err(TopError::Panicked),
            }
        })
    }
}

fn load(
    plugin: &Plugin,
    named: &[PathBuf],
    registry: &FieldRegistry,
    hostname: &str,
    names: &mut Vec<String>,
) -> Result<(Rules, Alerts), TopError> {
    let files = session::trusted_rules(named)?;
    let mut host = RuleHost::open(plugin, registry, &files, "").map_err(TopError::Rules)?;
    let templates = session::alert_rules(&host, &[], registry)?;
    *names = host_names(&host.comparisons().map_err(TopError::Rules)?);
    let alerts = Alerts::of_rules(
        (host.rules().iter())
            .map(|rule| (rule.name.as_str(), rule.description.as_str(), rule.priority)),
    );
    let format = AlertFormat::new(hostname);
    let rules = Rules {
        host,
        templates,
        format,
    };
    Ok((rules, alerts))
}

/// Whether the user's locale writes UTF-8 (locale(7)).
fn is_utf8() -> bool {
    let value = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty());
    value.is_some_and(|value| {
        let value = value.to_ascii_lowercase();
        value.contains("utf-8") || value.contains("utf8")
    })
}

/// Feeds the watcher until the screen is closed.
fn watch(
    watcher: &mut Watcher,
    mut source: OpenedSource,
    omit: Omit,
    reopen: &dyn Fn() -> Result<OpenedSource, SourceError>,
    target: &Target,
    control: &Control,
) -> Ended {
    let shared = Arc::clone(&watcher.shared);
    loop {
        let is_recorded = !source.is_live();
        let mut inspector = Inspector::new(&Options {
            programs: true,
            held: source.holds() && omit.if_held != SyscallSet::empty(),
            ..source.inspect_options()
        });
        source.scan(&mut inspector);
        watcher.begin(inspector, is_recorded);
        {
            let mut model = shared.model();
            model.source = CaptureState::Running;
            let facts = &mut model.facts;
            facts.driver.clone_from(&source.driver.name);
            facts.reason.clone_from(&source.driver.reason);
            facts.gaps.clone_from(&source.driver.gaps);
            facts.target.clone_from(&target.words);
        }
        let began = Instant::now();
        let status = session::watch(&mut source, watcher, control);
        watcher.refresh();
        let stats = source.stats();
        let is_over = (source.duration).is_some_and(|duration| began.elapsed() >= duration);
        let ended = Ended { stats, status };
        {
            let mut model = shared.model();
            model.facts.stats = stats;
            model.tick(TICK.as_secs_f64());
            model.source = CaptureState::Ended(words(&ended.status, target, is_recorded));
        }
        let goes = || {
            let leaves = shared.has_left() || shared.leaves_at_end();
            leaves || is_over || control.is_asked_to_end()
        };
        loop {
            if goes() {
                return ended;
            }
            if !shared.has_filter_waiting() {
                std::thread::sleep(LOOK);
                continue;
            }
            if !is_recorded {
                shared.take_filter();
                let notice = "there will be no more events, so a filter would find none";
                shared.model().notice = Some(notice.to_owned());
                continue;
            }
            watcher.take_filter();
            match reopen() {
                Ok(again) => {
                    source = again;
                    break;
                }
                Err(error) => shared.model().notice = Some(Chain(&error).to_string()),
            }
        }
    }
}

/// Why no more events come.
fn words(status: &Result<Option<i32>, CaptureError>, target: &Target, is_recorded: bool) -> String {
    match status {
        Err(error) => Chain(error).to_string(),
        Ok(_) if is_recorded => "end of the recording".to_owned(),
        Ok(Some(status)) if libc::WIFSIGNALED(*status) => {
            format!("killed by signal {}", libc::WTERMSIG(*status))
        }
        Ok(Some(status)) => format!("exit status {}", libc::WEXITSTATUS(*status)),
        Ok(None) if target.is_command => "the command has ended".to_owned(),
        Ok(None) => "the processes have ended".to_owned(),
    }
}

/// Reads what the command and lanner write, line by line.
fn read_output(written: File, shared: &Shared) {
    let mut reader = BufReader::new(written);
    let mut line = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        let count = match reader.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let mut model = shared.model();
        for byte in &bytes[..count] {
            match byte {
                b'\n' => {
                    model.wrote(&line);
                    line.clear();
                }
                // a tab is a few spaces, and what comes after a return is written over what was before
                b'\t' => line.extend(b"    "),
                b'\r' => {}
                byte => line.push(*byte),
            }
            if line.len() >= LONGEST_LINE {
                model.wrote(&line);
                line.clear();
            }
        }
    }
    if !line.is_empty() {
        shared.model().wrote(&line);
    }
}

/// What the thread of the screen needs.
#[derive(Clone, Copy)]
struct View<'a> {
    shared: &'a Shared,
    compiler: &'a Compiler,
    control: &'a Control,
    end_command: &'a (dyn Fn() + Sync),
}

/// Ends the capture when the thread of the screen ends.
struct Leaving<'a>(View<'a>);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.shared.leave();
        self.0.control.end();
    }
}

/// Clears the screen, so that all of it is drawn next. `Terminal::clear` would ask the terminal where its cursor is, on
/// standard output, which is not the terminal now.
fn clear<B: Backend>(terminal: &mut Terminal<B>) -> Result<(), B::Error> {
    let size = terminal.size()?;
    terminal.resize(Rect::from((Position::ORIGIN, size)))
}

impl View<'_> {
    /// Draws and takes keys until the user leaves.
    fn show(self, screen: &Screen, mut app: App) -> Result<(), TopError> {
        let mut terminal = screen.terminal().map_err(TopError::Terminal)?;
        let mut keys = Keys::open().map_err(TopError::Terminal)?;
        let mut meter = Meter::new();
        // the first rates come soon
        let mut ticked = Instant::now();
        let mut next = TICK / 4;
        loop {
            if self.shared.is_over() || self.shared.has_left() {
                return Ok(());
            }
            if ticked.elapsed() >= next {
                let cost = meter.look();
                let mut model = self.shared.model();
                model.cost = cost;
                // what has ended does not slow down
                if model.source == CaptureState::Running || model.recorded.is_some() {
                    model.tick(ticked.elapsed().as_secs_f64());
                }
                drop(model);
                (ticked, next) = (Instant::now(), TICK);
            }
            if screen::take_stale() {
                clear(&mut terminal).map_err(TopError::Terminal)?;
            }
            terminal
                .draw(|frame| draw(frame, &mut app, &self.shared.model()))
                .map_err(TopError::Terminal)?;
            let until = Instant::now() + FRAME;
            loop {
                match keys.wait(until.saturating_duration_since(Instant::now())) {
                    Ok(Waited::Key(key)) => {
                        let action = {
                            let mut model = self.shared.model();
                            model.notice = None;
                            app.key(key, &model)
                        };
                        self.act(action, &mut app, &mut terminal)?;
                        break;
                    }
                    Ok(Waited::Nothing) if Instant::now() < until => {}
                    Ok(Waited::Nothing) => break,
                    Ok(Waited::HungUp) => return Ok(()),
                    Err(error) => return Err(TopError::Terminal(error)),
                }
            }
        }
    }

    fn act<B: Backend<Error = std::io::Error>>(
        self,
        action: Action,
        app: &mut App,
        terminal: &mut Terminal<B>,
    ) -> Result<(), TopError> {
        match action {
            Action::Nothing => {}
            Action::Quit => self.shared.leave(),
            Action::EndCommand => {
                self.shared.leave_at_end();
                (self.end_command)();
                app.asks_to_leave = false;
                app.message = Some("the command was asked to end (SIGTERM)".to_owned());
            }
            Action::Suspend => screen::suspend(),
            Action::Redraw => clear(terminal).map_err(TopError::Terminal)?,
            Action::Clear => {
                let mut model = self.shared.model();
                model.clear();
                model.notice = None;
            }
            Action::Follow(process) => {
                let mut model = self.shared.model();
                match process {
                    Some(process) => model.follow(process),
                    None => model.followed = None,
                }
                // a stopped picture shows what was known then
                if let (Some(frozen), Some(process)) = (&mut app.frozen, process) {
                    frozen.follow(process);
                }
            }
            Action::Filter(text) if text.is_empty() => {
                app.prompt = None;
                app.frozen = None;
                self.shared.set_filter(None);
            }
            Action::Filter(text) => match self.compiler.compile(&text) {
                Ok(filter) => {
                    app.prompt = None;
                    app.frozen = None;
                    self.shared.set_filter(Some(filter));
                }
                Err(error) => {
                    if let Some(prompt) = &mut app.prompt {
                        prompt.error = Some(error.reason());
                    }
                }
            },
        }
        if self.shared.has_left() {
            self.control.end();
        }
        Ok(())
    }
}
