//! The thread of a rule plugin: asks it about events, and makes alerts of what it finds. It may hang.

use std::sync::Arc;

use crate::counters::Board;
use delivery::alert::Kept;
use delivery::{Outputs, Verdict};

use super::WorkerRules;
use super::queue::Queue;
use crate::counters::WorkerStatus;

/// See the module.
#[derive(Debug)]
pub(super) struct Worker {
    rules: WorkerRules,
    board: Arc<Board>,
    outputs: Arc<Outputs>,
    matches: Vec<u32>,
}

impl Worker {
    pub(super) fn new(rules: WorkerRules, board: Arc<Board>, outputs: Arc<Outputs>) -> Self {
        Self {
            rules,
            board,
            outputs,
            matches: Vec::new(),
        }
    }

    pub(super) fn run(mut self, queue: &Queue, status: &WorkerStatus) {
        loop {
            let events = queue.take();
            if events.is_empty() {
                return;
            }
            for event in &events {
                if status.is_off() {
                    status.lose(1);
                } else {
                    self.judge(event);
                }
                if let Some(reason) = self.rules.host.off() {
                    status.switch_off(reason);
                }
                status.done();
            }
        }
    }

    fn judge(&mut self, event: &Kept) {
        let rules = &mut self.rules;
        rules.host.on_event(event, &mut self.matches);
        for at in &self.matches {
            let at = usize::try_from(*at).unwrap_or(usize::MAX);
            // the smaller, the worse
            let Some(rule) = rules.alerts.get(at).filter(|r| r.priority <= rules.least) else {
                continue;
            };
            let alert = rules.format.alert_of_kept(rule, event);
            let verdict = rules.limits.judge(at, &alert);
            self.board.count(rules.first + at, verdict);
            if verdict == Verdict::Pass {
                self.outputs.push(alert);
            }
        }
    }
}
