//! The event path: inspects events, matches them, and hands alerts on.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use driver_api::driver::{Capture, Flow};
use driver_api::event::{Event, EventKind, Flags};
use driver_api::table::of_number;

use delivery::{Account, LateAlerts, Outputs, PATIENCE, RuleLimits, Verdict};
use fields::{Scratch, View};
use inspect::{Inspector, Seen};
use plugin_host::Alert;

use crate::control::{Control, Notice};
use crate::counters::{Board, WorkerStatus};
use crate::error::ReloadError;
use crate::flight::{Failures, FlightRecorder, Origin};
use crate::heartbeat;
use crate::monitor::Monitor;
use crate::reload::{Handover, ReloadThread};
use crate::rule_loader::RuleSet;
use crate::rule_workers::RuleWorker;
use crate::session::Shared;
use crate::telemetry::losses::{failed_file, rules_off};
use crate::telemetry::{Telemetry, service};
use crate::watch::Consumer;

/// How often counters are published. Reading those of the driver costs system calls.
const PUBLISH: Duration = Duration::from_millis(200);

/// Consumes the events of a session.
#[derive(Debug)]
pub(super) struct EventPath {
    now: Box<RuleSet>,
    inspector: Inspector,
    scratch: Scratch,
    matches: Vec<u32>,
    /// Alerts that wait until a container runtime has answered.
    late: LateAlerts,
    /// Replaced rules whose alerts still wait.
    retired: Vec<(Box<RuleSet>, LateAlerts)>,
    /// Replaced rule plugins that still work on their queues.
    ending: Vec<RuleWorker>,
    telemetry: Arc<Telemetry>,
    outputs: Arc<Outputs>,
    handover: Arc<Handover>,
    reloader: Option<ReloadThread>,
    monitor: Option<Monitor>,
    control: Arc<Control>,
    /// Keeps the latest events, if an alert can have a file.
    flight: Option<FlightRecorder>,
    /// Files of alerts that could not be written.
    failures: Failures,
    /// Events happen now.
    live: bool,
    /// The rules want calls of the heartbeat's kind.
    is_beat_selected: bool,
    published: Instant,
}

impl EventPath {
    pub(super) fn new(
        mut first: Box<RuleSet>,
        inspector: Inspector,
        shared: Shared,
        (handover, reloader): (Arc<Handover>, ReloadThread),
        monitor: Monitor,
        flight: Option<FlightRecorder>,
        live: bool,
    ) -> std::io::Result<Self> {
        let Shared {
            telemetry,
            outputs,
            control,
        } = shared;
        start_workers(&mut first, &telemetry, &outputs)?;
        telemetry.set_board(Arc::clone(&first.board));
        telemetry.beat();
        let failures = flight.as_ref().map(FlightRecorder::failures);
        Ok(Self {
            failures: failures.unwrap_or_default(),
            is_beat_selected: selects_beat(&first),
            now: first,
            inspector,
            scratch: Scratch::default(),
            matches: Vec::new(),
            late: LateAlerts::default(),
            retired: Vec::new(),
            ending: Vec::new(),
            telemetry,
            outputs,
            handover,
            reloader: Some(reloader),
            monitor: Some(monitor),
            control,
            flight,
            live,
            published: Instant::now(),
        })
    }
}

/// Whether rules want calls of the heartbeat's kind.
fn selects_beat(rules: &RuleSet) -> bool {
    heartbeat::call().is_some_and(|call| rules.selection.contains(call))
}

/// Starts the rule plugins beside the event path.
fn start_workers(
    rules: &mut RuleSet,
    telemetry: &Telemetry,
    outputs: &Arc<Outputs>,
) -> std::io::Result<()> {
    for worker in &mut rules.workers {
        worker.start(&rules.board, outputs)?;
    }
    let statuses = rules
        .workers
        .iter()
        .map(|worker| Arc::clone(worker.status()));
    telemetry.set_workers(statuses.collect());
    Ok(())
}

/// Pushes an alert to the outputs, unless a limit of its rule forbids it.
fn deliver(limits: &mut RuleLimits, board: &Board, outputs: &Outputs, rule: usize, alert: Alert) {
    let verdict = limits.judge(rule, &alert);
    board.count(rule, verdict);
    if verdict == Verdict::Pass {
        outputs.push(alert);
    }
}

/// Delivers the alerts whose wait is over.
fn deliver_late(late: &mut LateAlerts, rules: &mut RuleSet, outputs: &Outputs) {
    let (limits, board) = (&mut rules.limits, &rules.board);
    late.ready(
        &rules.templates,
        &rules.fields,
        &rules.format,
        &mut |at, alert| {
            deliver(limits, board, outputs, at, alert);
        },
    );
}

impl EventPath {
    fn deliver_all_late(&mut self) {
        deliver_late(&mut self.late, &mut self.now, &self.outputs);
        for (rules, late) in &mut self.retired {
            deliver_late(late, rules, &self.outputs);
        }
        while let Some(done) = self.retired.iter().position(|(_, late)| late.is_empty()) {
            self.handover.discard(self.retired.swap_remove(done).0);
        }
    }

    /// Reports that the rule plugin of the event path is switched off. The capture and the plugins beside the event path
    /// go on. A reload starts the plugin again.
    fn report_off(&self, reason: &str) {
        let plugin = self.now.rules.plugin().name();
        (self.control.observer()).notice(&Notice::RulePluginOff { plugin, reason });
        self.outputs
            .push(rules_off(&self.now.format, plugin, reason));
    }

    /// Says of files that alerts have named that they could not be written.
    fn report_failed_files(&self) {
        for failed in self.failures.take() {
            self.outputs.push(failed_file(&self.now.format, &failed));
        }
    }

    /// Matches the rules with an event, or with one message of it, and hands alerts on.
    fn judge(&mut self, event: &Event<'_>, seen: &Seen) {
        let now = &mut *self.now;
        {
            let view = View::new(&now.fields, &self.inspector, event, seen, &self.scratch);
            self.telemetry.asks(true);
            now.rules.on_event(&view, &mut self.matches);
            self.telemetry.asks(false);
            for at in &self.matches {
                let at = usize::try_from(*at).unwrap_or(usize::MAX);
                let Some(rule) = now.templates.get(at) else {
                    continue;
                };
                // a smaller number is a higher priority
                if rule.priority > now.least {
                    continue;
                }
                let file = match (&mut self.flight, now.captures.of(at)) {
                    (Some(flight), Some(limits)) => {
                        let state = &self.inspector;
                        flight.alert(limits, event, state, seen.time_ns, seen.number)
                    }
                    _ => None,
                };
                let file = file.as_deref();
                if !self.late.keep(at, rule, &now.fields, &view, file) {
                    let alert = now.format.alert_with_file(rule, &view, file);
                    deliver(&mut now.limits, &now.board, &self.outputs, at, alert);
                }
            }
            for worker in &mut now.workers {
                if !self.live {
                    worker.wait_for_room(&self.control);
                }
                worker.offer(&view);
            }
        }
        self.scratch.reset();
    }

    /// Whether rules see the event. Others are captured for the files of alerts alone.
    #[inline]
    fn is_judged(&self, event: &Event<'_>) -> bool {
        if heartbeat::is_call(event) && !self.is_beat_selected {
            return false;
        }
        match &self.now.judged {
            None => true,
            Some(judged) => {
                !matches!(event.kind(), EventKind::Syscall | EventKind::Exec)
                    || judged.contains(of_number(event.abi(), event.header().nr))
            }
        }
    }

    /// How long alerts may still have to wait. None: no alert waits.
    fn patience(&self) -> Option<Duration> {
        let retired = self.retired.iter().map(|(_, late)| late);
        (retired.chain([&self.late]).filter_map(LateAlerts::patience)).max()
    }
}

impl Consumer for EventPath {
    fn event(&mut self, event: &Event<'_>) -> Flow {
        if self.telemetry.pulse.takes(event) {
            return Flow::Continue;
        }
        if let Some(flight) = &mut self.flight {
            flight.before(event, &self.inspector);
        }
        let mut seen = self.inspector.update(event);
        if let Some(flight) = &mut self.flight {
            flight.event(event, &self.inspector);
        }
        if event.has(Flags::UNSELECTED) || !self.is_judged(event) {
            return Flow::Continue;
        }
        self.judge(event, &seen);
        // as in Falco, a call that sends several messages is judged once for each
        while self.inspector.next_message(event, &mut seen) {
            self.judge(event, &seen);
        }
        Flow::Continue
    }

    fn idle(&mut self) -> Flow {
        self.telemetry.beat();
        self.deliver_all_late();
        if let Some(flight) = &mut self.flight {
            flight.idle();
        }
        self.report_failed_files();
        self.now.workers.iter_mut().for_each(RuleWorker::hand_over);
        self.ending.retain(|worker| !worker.is_finished());
        if self.telemetry.exit.load(Relaxed) {
            self.control.observer().notice(&Notice::EndsAfterLoss);
            return Flow::Stop;
        }
        if let Some(reason) = self.now.rules.off()
            && !self.telemetry.rules_off.swap(true, Relaxed)
        {
            self.report_off(reason);
        }
        Flow::Continue
    }

    /// Takes over reloaded rules, if there are any. The new rules also judge events that were captured before. Calls that
    /// only the new rules need are captured from now on.
    fn between(&mut self, capture: &mut dyn Capture) {
        if self.published.elapsed() >= PUBLISH {
            self.published = Instant::now();
            self.telemetry
                .publish(&capture.stats(), &self.inspector.stats());
        }
        let Some(mut next) = self.handover.take() else {
            return;
        };
        let selection = match self.telemetry.pulse.beats() {
            Some(_) => heartbeat::with_call(&next.selection),
            None => next.selection.clone(),
        };
        if next.selection != self.now.selection
            && let Err(error) = capture.select(&selection)
        {
            // a selection that is refused changes nothing
            self.handover.answer(Err(ReloadError::Selection(error)));
            return;
        }
        // a driver that cannot add times has refused the selection
        let adds_times = self.live && next.selection.times() && !self.now.selection.times();
        next.has_times(adds_times || self.now.fields.times());
        match &mut self.flight {
            _ if next.captures == self.now.captures => {}
            Some(flight) if next.captures.goes_on_from(&self.now.captures) => {
                flight.keep(&next.captures);
            }
            old => {
                // the file that is being written ends here
                if let Some(old) = old.take() {
                    old.retire();
                }
                let origin = Origin {
                    live: self.live,
                    times: next.fields.times(),
                };
                match FlightRecorder::start(&next.captures, origin, self.failures.clone()) {
                    Ok(flight) => self.flight = flight,
                    Err(error) => tracing::warn!("alerts have no files: {error}"),
                }
            }
        }
        if let Err(error) = start_workers(&mut next, &self.telemetry, &self.outputs) {
            self.handover.answer(Err(ReloadError::Thread(error)));
            return;
        }
        self.telemetry.set_board(Arc::clone(&next.board));
        self.telemetry.rules_off.store(false, Relaxed);
        self.is_beat_selected = selects_beat(&next);
        let mut old = std::mem::replace(&mut self.now, next);
        old.workers.iter_mut().for_each(RuleWorker::end);
        self.ending.append(&mut old.workers);
        self.handover.answer(Ok(()));
        let late = std::mem::take(&mut self.late);
        if late.is_empty() {
            // dropping rules takes a while: another thread does it
            self.handover.discard(old);
        } else {
            self.retired.push((old, late));
        }
    }
}

/// What became of alerts and events when the session ended.
#[derive(Debug, Default)]
pub(super) struct Finished {
    /// One for each rule plugin beside the event path.
    pub(super) workers: Vec<Arc<WorkerStatus>>,
    /// One for each output.
    pub(super) outputs: Vec<Account>,
}

impl EventPath {
    /// Delivers the alerts that wait, and ends every thread. A second call does nothing.
    pub(super) fn finish(&mut self) -> Finished {
        service::stopping();
        while let Some(patience) = self.patience() {
            self.deliver_all_late();
            std::thread::sleep(patience.min(Duration::from_millis(10)));
        }
        drop(self.reloader.take());
        let until = Instant::now() + PATIENCE;
        self.ending.append(&mut self.now.workers);
        self.ending.iter_mut().for_each(RuleWorker::end);
        let mut workers = Vec::new();
        for worker in &mut self.ending {
            worker.finish(until);
            workers.push(Arc::clone(worker.status()));
        }
        self.ending.clear();
        // the file that is being written is whole then
        drop(self.flight.take());
        self.report_failed_files();
        drop(self.monitor.take());
        Finished {
            workers,
            outputs: self.outputs.finish(),
        }
    }
}

impl Drop for EventPath {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests;
