//! Rule plugins beside the event path: each has a thread of its own behind a bounded queue of events. A plugin that
//! hangs there, or is slow, loses its own events, which are counted. It delays no other.
//!
//! ```text
//! event path: the fields that the plugin asked for when it was opened -> queue -> thread: plugin, alerts -> outputs
//! ```
//!
//! The state around an event changes with the next one. So what the plugin may want to look at is copied first: the
//! fields that it has resolved, and those of its rules' alerts. Events of types that it does not want cost one look
//! into a table.

mod queue;
mod worker;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::control::Control;
use crate::counters::{Board, WorkerStatus};
use delivery::alert::{AlertFormat, AlertRule, Kept};
use delivery::{Outputs, RuleLimits};
use fields::{FieldId, View};
use plugin_host::{FieldSource, Priority, RuleHost};

use queue::Queue;
use worker::Worker;

/// Events that are handed over at once while they come fast; otherwise when there is a pause.
const BATCH: usize = 64;

/// A rule plugin, opened, and what belongs to its rules.
#[derive(Debug)]
pub(crate) struct WorkerRules {
    /// The plugin.
    pub host: RuleHost,
    /// What its rules put into alerts.
    pub alerts: Vec<AlertRule>,
    /// Their limits.
    pub limits: RuleLimits,
    /// Where they begin on the board.
    pub first: usize,
    /// Rules that are less severe raise no alert.
    pub least: Priority,
    /// How alerts look.
    pub format: AlertFormat,
}

/// How a plugin is treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkerSettings {
    /// At most this many events wait for it.
    pub queue: usize,
    /// How long a call may take before it is reported as hanging.
    pub deadline: Duration,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct RuleWorker {
    /// By event type; none: all.
    wanted: Option<Vec<bool>>,
    /// Sorted.
    ids: Vec<FieldId>,
    pending: Vec<Kept>,
    capacity: u64,
    queue: Arc<Queue>,
    status: Arc<WorkerStatus>,
    /// Until it is started.
    rules: Option<WorkerRules>,
    thread: Option<JoinHandle<()>>,
}

impl RuleWorker {
    /// One that is not started yet. `asked`: the fields that the plugin resolved. `wanted`: the numbers of the event
    /// types that it wants; none: all.
    #[must_use]
    pub(crate) fn new(
        rules: WorkerRules,
        settings: &WorkerSettings,
        mut asked: Vec<FieldId>,
        wanted: Option<Vec<u32>>,
    ) -> Self {
        for alert in &rules.alerts {
            alert.ids(&mut |id| asked.push(id));
        }
        asked.sort_unstable();
        asked.dedup();
        let table = |numbers: Vec<u32>| {
            let mut table = Vec::new();
            for number in numbers.into_iter().filter_map(|n| usize::try_from(n).ok()) {
                if table.len() <= number {
                    table.resize(number + 1, false);
                }
                table[number] = true;
            }
            table
        };
        Self {
            wanted: wanted.map(table),
            ids: asked,
            pending: Vec::new(),
            capacity: settings.queue as u64,
            queue: Arc::default(),
            status: Arc::new(WorkerStatus::new(
                rules.host.plugin().name(),
                settings.deadline,
            )),
            rules: Some(rules),
            thread: None,
        }
    }

    /// Its plugin, before it is started.
    #[must_use]
    pub(crate) fn rules(&self) -> Option<&WorkerRules> {
        self.rules.as_ref()
    }

    /// How it is.
    #[must_use]
    pub(crate) fn status(&self) -> &Arc<WorkerStatus> {
        &self.status
    }

    /// Starts its thread. What it finds goes to these outputs, and is counted on the board.
    ///
    /// # Errors
    ///
    /// The kernel refused a thread.
    pub(crate) fn start(
        &mut self,
        board: &Arc<Board>,
        outputs: &Arc<Outputs>,
    ) -> std::io::Result<()> {
        let Some(rules) = self.rules.take() else {
            return Ok(());
        };
        let worker = Worker::new(rules, Arc::clone(board), Arc::clone(outputs));
        let (queue, status) = (Arc::clone(&self.queue), Arc::clone(&self.status));
        let thread = std::thread::Builder::new()
            .name("rules".to_owned())
            .spawn(move || worker.run(&queue, &status))?;
        self.thread = Some(thread);
        Ok(())
    }

    /// Takes an event, if the plugin wants it and there is room. Waits for nothing.
    pub(crate) fn offer(&mut self, view: &View<'_>) {
        let event_type = view.event_type();
        let wanted = self.wanted.as_ref().is_none_or(|wanted| {
            usize::try_from(event_type).is_ok_and(|at| wanted.get(at) == Some(&true))
        });
        if !wanted || self.status.is_off() {
            return;
        }
        if self.status.waiting() >= self.capacity {
            self.status.lose(1);
            return;
        }
        self.status.offered();
        self.pending.push(Kept::of(view, &self.ids));
        if self.pending.len() >= BATCH {
            self.hand_over();
        }
    }

    /// Waits until there is room, as long as the plugin works and the session goes on.
    pub(crate) fn wait_for_room(&mut self, control: &Control) {
        while self.status.waiting() >= self.capacity
            && !self.status.is_off()
            && !self.status.is_hanging()
            && !control.is_asked_to_end()
        {
            self.hand_over();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Hands over what was taken. To be called when there is a pause.
    pub(crate) fn hand_over(&mut self) {
        if !self.pending.is_empty() {
            self.queue.put(&mut self.pending);
        }
    }

    /// Has the thread end when it is through with what waits.
    pub(crate) fn end(&mut self) {
        self.hand_over();
        self.queue.end();
    }

    /// Waits for the end, until then at the latest. A plugin that hangs is left behind, with what waits for it. Whether
    /// it has ended.
    pub(crate) fn finish(&mut self, until: Instant) -> bool {
        self.end();
        let Some(thread) = &self.thread else {
            return true;
        };
        while !thread.is_finished() && Instant::now() < until && !self.status.is_hanging() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let ended = thread.is_finished();
        if !ended {
            self.status.lose(self.status.waiting());
            tracing::error!(
                "rule plugin `{}` does not return from a call: it is left behind",
                self.status.plugin()
            );
        }
        self.thread = None;
        ended
    }

    /// Whether its thread has ended.
    #[must_use]
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for RuleWorker {
    fn drop(&mut self) {
        self.queue.end();
    }
}
