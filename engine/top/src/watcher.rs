//! The consumer of events: follows the state, asks the filter and the rules, and counts into the model.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use decode::errno;
use delivery::alert::{AlertFormat, AlertRule};
use driver_api::driver::{Capture, Flow};
use driver_api::event::{Event, EventKind, Flags};
use driver_api::table::{self, Param, SYSCALLS};
use fields::{FieldId, FieldRegistry, Fields, Scratch, View};
use inspect::{DescriptorKind, Inspector, Seen};
use look::EventSet;
use plugin_host::{RuleHost, Value};
use session::Consumer;

use crate::alerts::ShownAlert;
use crate::count::Outcome;
use crate::filter::Filter;
use crate::model::Model;
use crate::text::{LONGEST, cut, safe, safe_text};

/// The most alerts of a rule between two refreshes whose event is kept. More are counted alone.
const DETAILED: u32 = 50;

/// How often names of processes and counters of the driver are taken over.
const REFRESH: Duration = Duration::from_millis(250);

/// What the thread of the capture and that of the screen share.
#[derive(Debug)]
pub(crate) struct Shared {
    model: Mutex<Model>,
    /// A filter that the user has set. `Some(None)`: all events count again.
    next_filter: Mutex<Option<Option<Filter>>>,
    has_next_filter: AtomicBool,
    /// The screen is gone.
    left: AtomicBool,
    /// The screen shall go.
    over: AtomicBool,
    /// The screen shall go when the command has ended.
    leaves_at_end: AtomicBool,
}

impl Shared {
    pub(crate) fn new(model: Model) -> Arc<Self> {
        Arc::new(Self {
            model: Mutex::new(model),
            next_filter: Mutex::new(None),
            has_next_filter: AtomicBool::new(false),
            left: AtomicBool::new(false),
            over: AtomicBool::new(false),
            leaves_at_end: AtomicBool::new(false),
        })
    }

    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_filter(&self, filter: Option<Filter>) {
        let mut next = (self.next_filter.lock()).unwrap_or_else(PoisonError::into_inner);
        *next = Some(filter);
        self.has_next_filter.store(true, Relaxed);
    }

    /// The filter that waits. `Some(None)`: all events are to count again.
    pub(crate) fn take_filter(&self) -> Option<Option<Filter>> {
        if !self.has_next_filter.swap(false, Relaxed) {
            return None;
        }
        let mut next = (self.next_filter.lock()).unwrap_or_else(PoisonError::into_inner);
        next.take()
    }

    /// Whether a filter waits.
    pub(crate) fn has_filter_waiting(&self) -> bool {
        self.has_next_filter.load(Relaxed)
    }

    pub(crate) fn leave(&self) {
        self.left.store(true, Relaxed);
    }

    pub(crate) fn has_left(&self) -> bool {
        self.left.load(Relaxed)
    }

    pub(crate) fn leave_at_end(&self) {
        self.leaves_at_end.store(true, Relaxed);
    }

    pub(crate) fn leaves_at_end(&self) -> bool {
        self.leaves_at_end.load(Relaxed)
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }
}

/// Rules, and what their alerts are made of.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) host: RuleHost,
    pub(crate) templates: Vec<AlertRule>,
    pub(crate) format: AlertFormat,
}

/// Fields that the counters ask for.
#[derive(Debug)]
pub(crate) struct Asked {
    reads: FieldId,
    writes: FieldId,
    /// The path that a successful call acted on, and that of a failed open.
    paths: [FieldId; 2],
}

impl Asked {
    pub(crate) fn new(registry: &FieldRegistry) -> Result<Self, plugin_host::UnknownName> {
        Ok(Self {
            reads: registry.field("evt.is_io_read", None)?,
            writes: registry.field("evt.is_io_write", None)?,
            paths: [
                registry.field("fs.path.name", None)?,
                registry.field("fd.name", None)?,
            ],
        })
    }
}

/// Consumes the events of a source.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) shared: Arc<Shared>,
    pub(crate) events: EventSet,
    pub(crate) rules: Option<Rules>,
    pub(crate) filter: Option<Filter>,
    pub(crate) fields: Fields,
    pub(crate) asked: Asked,
    inspector: Inspector,
    scratch: Scratch,
    matches: Vec<u32>,
    /// Alerts of the current event: the rule, and the alert if it is kept.
    alerts: Vec<(usize, Option<ShownAlert>)>,
    /// Alerts of each rule since the last refresh.
    detailed: Vec<u32>,
    /// The first parameter of a call that is a path, by the call's place in the table.
    path_params: Vec<Option<usize>>,
    key: String,
    refreshed: Instant,
    /// The counters of the driver are to be taken over.
    wants_stats: bool,
    /// Events can be had again: a new filter begins from the start.
    pub(crate) is_recorded: bool,
}

/// What an event is about, beside its process and call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Nothing,
    File,
    Connection,
}

impl Watcher {
    pub(crate) fn new(
        shared: Arc<Shared>,
        events: EventSet,
        rules: Option<Rules>,
        fields: Fields,
        asked: Asked,
        inspector: Inspector,
    ) -> Self {
        let is_path = |param: &Param| matches!(param.kind, table::Kind::Path(_));
        let path_params = SYSCALLS
            .iter()
            .map(|call| call.params.iter().position(is_path))
            .collect();
        Self {
            shared,
            events,
            rules,
            filter: None,
            fields,
            asked,
            inspector,
            scratch: Scratch::default(),
            matches: Vec::new(),
            alerts: Vec::new(),
            detailed: Vec::new(),
            path_params,
            key: String::new(),
            refreshed: Instant::now(),
            wants_stats: true,
            is_recorded: false,
        }
    }

    /// Begins anew with the state of another source.
    pub(crate) fn begin(&mut self, inspector: Inspector, is_recorded: bool) {
        self.inspector = inspector;
        self.is_recorded = is_recorded;
        let mut model = self.shared.model();
        model.recorded = is_recorded.then_some((0, 0));
        model.clear();
    }

    /// Takes over a filter that the user has set. A recording has to be replayed from its start then.
    pub(crate) fn take_filter(&mut self) -> bool {
        let Some(next) = self.shared.take_filter() else {
            return false;
        };
        self.filter = next;
        let mut model = self.shared.model();
        model.filter =
            (self.filter.as_ref()).map_or_else(String::new, |filter| filter.text.clone());
        model.clear();
        true
    }

    /// Takes over names and counters.
    pub(crate) fn refresh(&mut self) {
        self.refreshed = Instant::now();
        self.wants_stats = true;
        self.detailed.fill(0);
        let mut model = self.shared.model();
        model.processes.refresh(&self.inspector);
        if let Some(rules) = &self.rules
            && let Some(reason) = rules.host.off()
            && model.alerts.off.is_none()
        {
            model.alerts.off = Some(format!("the rule plugin is switched off: {reason}"));
        }
        let off = self
            .filter
            .as_ref()
            .and_then(|filter| filter.condition.off());
        if let Some(reason) = off {
            model.notice = Some(format!(
                "the filter is removed, its plugin failed: {reason}"
            ));
            model.filter.clear();
            drop(model);
            self.filter = None;
        }
    }

    /// Whether the event, or a message of it, fulfils the filter.
    fn passes(&mut self, event: &Event<'_>, seen: &mut Seen) -> bool {
        let Some(filter) = &mut self.filter else {
            return true;
        };
        loop {
            let holds = filter.matches(&self.inspector, event, seen, &self.scratch);
            self.scratch.reset();
            if holds {
                return true;
            }
            if !self.inspector.next_message(event, seen) {
                return false;
            }
        }
    }

    /// Asks the rules about the event, or about a message of it. Alerts are put aside: the model is not locked meanwhile,
    /// as a plugin may take long.
    fn judge(&mut self, event: &Event<'_>, seen: &Seen) {
        let Some(rules) = &mut self.rules else {
            return;
        };
        {
            let view = View::new(&self.fields, &self.inspector, event, seen, &self.scratch);
            rules.host.on_event(&view, &mut self.matches);
            for at in &self.matches {
                let at = usize::try_from(*at).unwrap_or(usize::MAX);
                let Some(rule) = rules.templates.get(at) else {
                    continue;
                };
                let is_detailed = self.detailed.get(at).is_none_or(|count| *count < DETAILED);
                let shown = is_detailed.then(|| {
                    let header = event.header();
                    let process = seen.process.and_then(|key| self.inspector.process(key));
                    let name = process.map_or(&[][..], |process| process.thread_name(seen.tid));
                    let who = format!("{}/{} {}", header.tgid, header.tid, name.escape_ascii());
                    ShownAlert::new(&rules.format.alert(rule, &view), &who, event)
                });
                if self.detailed.len() <= at {
                    self.detailed.resize(rules.templates.len(), 0);
                }
                self.detailed[at] = self.detailed[at].saturating_add(1);
                self.alerts.push((at, shown));
            }
        }
        self.scratch.reset();
    }

    /// Counts an event.
    fn count(&mut self, event: &Event<'_>, seen: &Seen, model: &mut Model) {
        let alerts = self.alerts.len() as u64;
        for (rule, alert) in self.alerts.drain(..) {
            model.alerts.add(rule, seen.time_ns, alert);
        }
        let is_call = matches!(event.kind(), EventKind::Syscall | EventKind::Exec);
        let failed = is_call && errno::of(event.header().ret).is_some();
        let outcome = if event.has(Flags::NO_RESULT | Flags::ENTRY) {
            Outcome::Unknown
        } else if failed {
            Outcome::Failed
        } else {
            Outcome::Good
        };
        model.total.add(outcome);
        if let Some((first, last)) = &mut model.recorded {
            let at = event.header().time_ns;
            if *first == 0 {
                *first = at;
            }
            *last = at.max(*last);
        }
        if is_call {
            let call = table::of_number(event.abi(), event.header().nr).event_type();
            model.calls[call.index()].add(outcome);
            if let Some(ns) = event.took_ns() {
                model.times[call.index()].add(ns);
            }
        }
        let Some(key) = seen.process else { return };
        match model.processes.row(key, &self.inspector) {
            Some(row) => {
                row.count.add(outcome);
                row.alerts += alerts;
            }
            None => model.processes.others.add(outcome),
        }
        if event.kind() != EventKind::Syscall {
            model.processes.changed(key);
        }
        let process = self.inspector.process(key);
        let name = process.map_or(&[][..], |process| process.thread_name(seen.tid));
        model.note(key, seen.time_ns, name, event);
        if let Some(container) = process.and_then(|process| process.cgroups.container.as_ref()) {
            let row = model.containers.value(container.short_id());
            row.count.add(outcome);
            row.alerts += alerts;
            row.runtime = container.runtime.name();
            if row.name.is_empty()
                && let Some(data) = container.metadata()
            {
                row.name = safe_text(data.name.as_bytes());
                row.image = safe_text(data.image.name.as_bytes());
            }
        }
        self.count_traffic(event, seen, outcome, model);
    }

    /// Counts the file or the connection that an event is about.
    fn count_traffic(
        &mut self,
        event: &Event<'_>,
        seen: &Seen,
        outcome: Outcome,
        model: &mut Model,
    ) {
        let mut about = About::Nothing;
        self.key.clear();
        if let Some(descriptor) = self.inspector.descriptor(seen)
            && !descriptor.name.is_empty()
        {
            about = about_of(descriptor.kind);
            if about != About::Nothing {
                let name = &descriptor.name[..descriptor.name.len().min(LONGEST)];
                safe(&mut self.key, name);
            }
        }
        let call = seen.call.map(|call| call.event_type().index());
        let path_param = call.and_then(|call| self.path_params.get(call).copied().flatten());
        let mut moved = (0, 0);
        if about != About::Nothing || path_param.is_some() {
            let view = View::new(&self.fields, &self.inspector, event, seen, &self.scratch);
            if about != About::Nothing && outcome == Outcome::Good {
                let bytes = u64::try_from(event.header().ret).unwrap_or(0);
                let is = |field| matches!(view.value(field), Value::Bool(true));
                if bytes > 0 && is(self.asked.reads) {
                    moved.0 = bytes;
                } else if bytes > 0 && is(self.asked.writes) {
                    moved.1 = bytes;
                }
            } else if about == About::Nothing
                && let Some(at) = path_param
            {
                let mut add = |path: &[u8]| safe(&mut self.key, &path[..path.len().min(LONGEST)]);
                let known = (self.asked.paths.iter()).find_map(|field| match view.value(*field) {
                    Value::String(path) | Value::Bytes(path) if !path.is_empty() => Some(path),
                    _ => None,
                });
                match known {
                    Some(path) => add(path),
                    // what the program passed
                    None => {
                        if let Some(said) = event.argument(at) {
                            add(&said.text());
                        }
                    }
                }
                if !self.key.is_empty() {
                    about = About::File;
                }
            }
            self.scratch.reset();
        }
        cut(&mut self.key, LONGEST);
        let traffic = match about {
            About::Nothing => return,
            About::File => model.files.value(&self.key),
            About::Connection => model.connections.value(&self.key),
        };
        traffic.count.add(outcome);
        traffic.read = traffic.read.saturating_add(moved.0);
        traffic.written = traffic.written.saturating_add(moved.1);
    }
}

fn about_of(kind: DescriptorKind) -> About {
    match kind {
        DescriptorKind::File | DescriptorKind::Directory | DescriptorKind::Memfd => About::File,
        DescriptorKind::Ipv4 | DescriptorKind::Ipv6 | DescriptorKind::Unix => About::Connection,
        DescriptorKind::Netlink
        | DescriptorKind::Pipe
        | DescriptorKind::Event
        | DescriptorKind::Signal
        | DescriptorKind::Epoll
        | DescriptorKind::Inotify
        | DescriptorKind::Timer
        | DescriptorKind::Bpf
        | DescriptorKind::Userfault
        | DescriptorKind::IoUring
        | DescriptorKind::Pidfd
        | DescriptorKind::Other => About::Nothing,
    }
}

impl Consumer for Watcher {
    fn event(&mut self, event: &Event<'_>) -> Flow {
        if self.shared.has_filter_waiting() && !self.is_recorded {
            self.take_filter();
        }
        let mut seen = self.inspector.update(event);
        if event.has(Flags::UNSELECTED)
            || event.kind() == EventKind::Lost
            || !self.events.has(event)
        {
            return Flow::Continue;
        }
        if !self.passes(event, &mut seen) {
            return Flow::Continue;
        }
        self.judge(event, &seen);
        if self.rules.is_some() {
            // an event counts once; rules judge each of its messages
            let mut next = seen.clone();
            while self.inspector.next_message(event, &mut next) {
                self.judge(event, &next);
            }
        }
        let shared = Arc::clone(&self.shared);
        self.count(event, &seen, &mut shared.model());
        Flow::Continue
    }

    fn idle(&mut self) -> Flow {
        if self.refreshed.elapsed() >= REFRESH {
            self.refresh();
        }
        if self.shared.has_left() {
            return Flow::Stop;
        }
        if self.shared.has_filter_waiting() {
            if self.is_recorded {
                return Flow::Stop;
            }
            self.take_filter();
        }
        Flow::Continue
    }

    fn between(&mut self, capture: &mut dyn Capture) {
        // reading its counters costs system calls
        if std::mem::take(&mut self.wants_stats) {
            self.shared.model().facts.stats = capture.stats();
        }
    }
}
