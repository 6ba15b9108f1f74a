//! The event path: inspects events, matches them, and hands alerts on.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use driver_api::driver::{Capture, Flow};
use driver_api::event::{Event, Flags};

use super::monitor::Monitor;
use super::prepare::Prepared;
use super::reload::{Handover, ReloadThread};
use super::{report, report_lane};
use crate::alert::LateAlerts;
use crate::cli::say;
use crate::cli::session::Consumer;
use crate::delivery::{Outputs, PATIENCE, RuleLimits, Verdict};
use crate::fields::{Scratch, View};
use crate::inspect::Inspector;
use crate::plugin_host::Alert;
use crate::rule_lanes::RuleLane;
use crate::telemetry::losses::rules_off;
use crate::telemetry::{Board, Telemetry, service};

/// How often counters are published: to read the driver's costs system calls.
const PUBLISH: Duration = Duration::from_millis(200);

/// See the module.
#[derive(Debug)]
pub(super) struct Matcher {
    now: Box<Prepared>,
    inspector: Inspector,
    scratch: Scratch,
    matches: Vec<u32>,
    /// Alerts that wait for what a container's runtime says.
    late: LateAlerts,
    /// Rules that were replaced, as long as alerts of theirs wait.
    retired: Vec<(Box<Prepared>, LateAlerts)>,
    /// Rule plugins that were replaced, and are not through yet.
    ending: Vec<RuleLane>,
    telemetry: Arc<Telemetry>,
    outputs: Arc<Outputs>,
    handover: Arc<Handover>,
    reloader: Option<ReloadThread>,
    monitor: Option<Monitor>,
    published: Instant,
}

impl Matcher {
    pub(super) fn new(
        mut first: Box<Prepared>,
        inspector: Inspector,
        telemetry: Arc<Telemetry>,
        outputs: Arc<Outputs>,
        handover: Arc<Handover>,
        reloader: ReloadThread,
        monitor: Monitor,
    ) -> std::io::Result<Self> {
        start_lanes(&mut first, &telemetry, &outputs)?;
        telemetry.set_board(Arc::clone(&first.board));
        telemetry.beat();
        Ok(Self {
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
            published: Instant::now(),
        })
    }
}

/// Starts the rule plugins beside the event path.
fn start_lanes(
    rules: &mut Prepared,
    telemetry: &Telemetry,
    outputs: &Arc<Outputs>,
) -> std::io::Result<()> {
    for lane in &mut rules.lanes {
        lane.start(&rules.board, outputs)?;
    }
    let statuses = rules.lanes.iter().map(|lane| Arc::clone(lane.status()));
    telemetry.set_lanes(statuses.collect());
    Ok(())
}

/// An alert that is allowed to go is on its way.
fn deliver(limits: &mut RuleLimits, board: &Board, outputs: &Outputs, rule: usize, alert: Alert) {
    let verdict = limits.judge(rule, &alert);
    board.count(rule, verdict);
    if verdict == Verdict::Pass {
        outputs.push(alert);
    }
}

/// Hands on alerts that have what they waited for.
fn deliver_late(late: &mut LateAlerts, rules: &mut Prepared, outputs: &Outputs) {
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

impl Matcher {
    fn deliver_all_late(&mut self) {
        deliver_late(&mut self.late, &mut self.now, &self.outputs);
        for (rules, late) in &mut self.retired {
            deliver_late(late, rules, &self.outputs);
        }
        while let Some(done) = self.retired.iter().position(|(_, late)| late.is_empty()) {
            self.handover.bury(self.retired.swap_remove(done).0);
        }
    }

    /// The rule plugin of the event path is switched off. The capture goes on, as do the plugins beside it, and a reload
    /// begins anew.
    fn tell_off(&self, reason: &str) {
        let plugin = self.now.rules.plugin().name();
        say(&format!("rule plugin {plugin} is switched off: {reason}"));
        self.outputs
            .push(rules_off(&self.now.format, plugin, reason));
    }

    /// How long alerts may have to wait yet; none: none does.
    fn patience(&self) -> Option<Duration> {
        let retired = self.retired.iter().map(|(_, late)| late);
        (retired.chain([&self.late]).filter_map(LateAlerts::patience)).max()
    }
}

impl Consumer for Matcher {
    const RELOADS: bool = true;

    fn event(&mut self, event: &Event<'_>) -> Flow {
        let seen = self.inspector.update(event);
        if event.has(Flags::UNSELECTED) {
            return Flow::Continue;
        }
        let now = &mut *self.now;
        {
            let view = View::new(&now.fields, &self.inspector, event, &seen, &self.scratch);
            self.telemetry.asks(true);
            now.rules.on_event(&view, &mut self.matches);
            self.telemetry.asks(false);
            for at in &self.matches {
                let at = usize::try_from(*at).unwrap_or(usize::MAX);
                let Some(rule) = now.templates.get(at) else {
                    continue;
                };
                // the smaller, the worse
                if rule.priority > now.least {
                    continue;
                }
                if !self.late.keep(at, rule, &now.fields, &view) {
                    let alert = now.format.alert(rule, &view);
                    deliver(&mut now.limits, &now.board, &self.outputs, at, alert);
                }
            }
            for lane in &mut now.lanes {
                lane.offer(&view);
            }
        }
        self.scratch.reset();
        Flow::Continue
    }

    fn idle(&mut self) -> Flow {
        self.telemetry.beat();
        self.deliver_all_late();
        self.now.lanes.iter_mut().for_each(RuleLane::hand_over);
        self.ending.retain(|lane| !lane.is_finished());
        if self.telemetry.exit.load(Relaxed) {
            say("events were lost, and the configuration says to end then");
            return Flow::Stop;
        }
        if let Some(reason) = self.now.rules.off()
            && !self.telemetry.rules_off.swap(true, Relaxed)
        {
            self.tell_off(reason);
        }
        Flow::Continue
    }

    /// Between two polls the rules can change: what was captured before is judged by the new ones, and what
    /// these want besides is captured from now on.
    fn between(&mut self, capture: &mut dyn Capture) {
        if self.published.elapsed() >= PUBLISH {
            self.published = Instant::now();
            self.telemetry
                .publish(&capture.stats(), &self.inspector.stats());
        }
        let Some(mut next) = self.handover.take() else {
            return;
        };
        if next.selection != self.now.selection
            && let Err(error) = capture.select(&next.selection)
        {
            // it is whole or not at all
            self.handover.answer(Err(format!(
                "the driver cannot capture what the new rules need while it runs: {}",
                driver_api::error::Chain(&error)
            )));
            return;
        }
        if let Err(error) = start_lanes(&mut next, &self.telemetry, &self.outputs) {
            self.handover.answer(Err(format!("no thread: {error}")));
            return;
        }
        self.telemetry.set_board(Arc::clone(&next.board));
        self.telemetry.rules_off.store(false, Relaxed);
        let mut old = std::mem::replace(&mut self.now, next);
        old.lanes.iter_mut().for_each(RuleLane::end);
        self.ending.append(&mut old.lanes);
        self.handover.answer(Ok(()));
        let late = std::mem::take(&mut self.late);
        if late.is_empty() {
            // to take rules apart takes a while
            self.handover.bury(old);
        } else {
            self.retired.push((old, late));
        }
    }
}

impl Drop for Matcher {
    fn drop(&mut self) {
        service::stopping();
        while let Some(patience) = self.patience() {
            self.deliver_all_late();
            std::thread::sleep(patience.min(Duration::from_millis(10)));
        }
        drop(self.reloader.take());
        let until = Instant::now() + PATIENCE;
        self.ending.append(&mut self.now.lanes);
        self.ending.iter_mut().for_each(RuleLane::end);
        for lane in &mut self.ending {
            lane.finish(until);
            report_lane(lane.status());
        }
        drop(self.monitor.take());
        for account in self.outputs.finish() {
            report(&account);
        }
    }
}
