//! The event path: inspects events, matches them, and hands alerts on.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use driver_api::driver::{Capture, Flow};
use driver_api::event::{Event, Flags};

use super::monitor::Monitor;
use super::prepare::Prepared;
use super::reload::{Handover, ReloadThread};
use super::report;
use crate::cli::say;
use crate::cli::session::Consumer;
use crate::delivery::{Outputs, Verdict};
use crate::fields::{Scratch, View};
use crate::inspect::Inspector;
use crate::telemetry::{Telemetry, service};

/// How often counters are published: to read the driver's costs system calls.
const PUBLISH: Duration = Duration::from_millis(200);

/// See the module.
#[derive(Debug)]
pub(super) struct Matcher {
    now: Box<Prepared>,
    inspector: Inspector,
    scratch: Scratch,
    matches: Vec<u32>,
    telemetry: Arc<Telemetry>,
    outputs: Arc<Outputs>,
    handover: Arc<Handover>,
    reloader: Option<ReloadThread>,
    monitor: Option<Monitor>,
    published: Instant,
}

impl Matcher {
    pub(super) fn new(
        first: Box<Prepared>,
        inspector: Inspector,
        telemetry: Arc<Telemetry>,
        outputs: Arc<Outputs>,
        handover: Arc<Handover>,
        reloader: ReloadThread,
        monitor: Monitor,
    ) -> Self {
        telemetry.set_board(Arc::clone(&first.board));
        telemetry.beat();
        Self {
            now: first,
            inspector,
            scratch: Scratch::default(),
            matches: Vec::new(),
            telemetry,
            outputs,
            handover,
            reloader: Some(reloader),
            monitor: Some(monitor),
            published: Instant::now(),
        }
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
            now.rules.on_event(&view, &mut self.matches);
            for at in &self.matches {
                let at = usize::try_from(*at).unwrap_or(usize::MAX);
                let Some(rule) = now.templates.get(at) else {
                    continue;
                };
                // the smaller, the worse
                if rule.priority > now.least {
                    continue;
                }
                let alert = now.format.alert(rule, &view);
                let verdict = now.limits.judge(at, &alert);
                now.board.count(at, verdict);
                if verdict == Verdict::Pass {
                    self.outputs.push(alert);
                }
            }
        }
        self.scratch.reset();
        Flow::Continue
    }

    fn idle(&mut self) -> Flow {
        self.telemetry.beat();
        if self.telemetry.exit.load(Relaxed) {
            say("events were lost, and the configuration says to end then");
            return Flow::Stop;
        }
        match self.now.rules.off() {
            Some(reason) => {
                self.telemetry.rules_off.store(true, Relaxed);
                say(&format!("no rules are left: {reason}"));
                Flow::Stop
            }
            None => Flow::Continue,
        }
    }

    /// Between two polls the rules can change: what was captured before is judged by the new ones, and what
    /// these want besides is captured from now on.
    fn between(&mut self, capture: &mut dyn Capture) {
        if self.published.elapsed() >= PUBLISH {
            self.published = Instant::now();
            self.telemetry
                .publish(&capture.stats(), &self.inspector.stats());
        }
        let Some(next) = self.handover.take() else {
            return;
        };
        if next.selection != self.now.selection
            && let Err(error) = capture.select(&next.selection)
        {
            // it is whole or not at all
            self.handover.answer(Err(format!(
                "the driver cannot capture what the new rules need while it runs: {error}"
            )));
            return;
        }
        self.telemetry.set_board(Arc::clone(&next.board));
        let old = std::mem::replace(&mut self.now, next);
        self.handover.answer(Ok(()));
        // to take rules apart takes a while
        self.handover.bury(old);
    }
}

impl Drop for Matcher {
    fn drop(&mut self) {
        service::stopping();
        drop(self.reloader.take());
        drop(self.monitor.take());
        for account in self.outputs.finish() {
            report(&account);
        }
    }
}
