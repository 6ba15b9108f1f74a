//! Raises alerts about lost events and alerts. Alerts about events have Falco's name and shape. The monitor's thread looks
//! once a second.

use std::collections::HashMap;
use std::time::Instant;

use driver_api::event::Loss;

use super::{Telemetry, now_ns};
use crate::config::{DropAction, EventDrops};
use crate::counters::Sight;
use crate::flight::Failed;
use crate::heartbeat::Sign;
use delivery::alert::AlertFormat;
use delivery::{Bucket, Counts, Outputs, Rate};
use plugin_host::{Alert, OwnedValue, Priority};

/// Events were lost. Falco's name.
pub(crate) const EVENT_DROP: &str = "Falco internal: syscall event drop";
/// A reload failed, and the old rules go on. Falco's name.
pub(crate) const RELOAD_FAILED: &str = "Falco internal: hot restart failure";
/// Alerts were lost. Falco counts these only.
pub(crate) const ALERT_LOSS: &str = "lanner internal: alert loss";
/// An output's disk is full, read-only or broken.
pub(crate) const OUTPUT_DISK: &str = "lanner internal: output spool";
/// A plugin hangs. Falco logs this only.
pub(crate) const OUTPUT_HANGS: &str = "lanner internal: output timeout";

/// The heartbeat does not come back, or does again.
pub(crate) const HEARTBEAT: &str = "lanner internal: heartbeat";
/// A rule plugin hangs.
pub(crate) const RULES_HANG: &str = "lanner internal: rule plugin timeout";
/// A rule plugin is switched off.
const RULES_OFF: &str = "lanner internal: rule plugin off";
/// A reload found an empty rule file.
pub(crate) const RULES_EMPTY: &str = "lanner internal: empty rule file";
/// A rule plugin beside the event path did not see all events.
pub(crate) const RULES_LOSS: &str = "lanner internal: rule plugin event loss";
/// The file of an alert could not be written.
const CAPTURE_FILE: &str = "lanner internal: capture file";

fn text(name: &str, value: &str) -> (String, OwnedValue) {
    let value = OwnedValue::String(value.as_bytes().to_vec());
    (name.to_owned(), value)
}

/// The alert about a rule plugin that is switched off.
#[must_use]
pub(crate) fn rules_off(format: &AlertFormat, plugin: &str, reason: &str) -> Alert {
    let message = format!("{RULES_OFF}. Rule plugin {plugin} is switched off: {reason}.");
    let fields = vec![text("plugin", plugin), text("reason", reason)];
    format.internal(now_ns(), RULES_OFF, Priority::Critical, &message, fields)
}

/// The alert about the file of an alert that could not be written.
pub(crate) fn failed_file(format: &AlertFormat, failed: &Failed) -> Alert {
    let Failed {
        name,
        reason,
        removed,
    } = failed;
    let what = if *removed {
        "is missing"
    } else {
        "is not whole"
    };
    let message = format!("{CAPTURE_FILE}. {name} {what}: it could not be written: {reason}.");
    let fields = vec![text("capture.file", name), text("reason", reason)];
    format.internal(now_ns(), CAPTURE_FILE, Priority::Critical, &message, fields)
}

/// The alert about a rule file that a reload found empty.
pub(crate) fn empty_rules(format: &AlertFormat, file: &str) -> Alert {
    let message = format!("{RULES_EMPTY}. {file} is empty since the last reload: it has no rules.");
    let fields = vec![text("file", file)];
    format.internal(now_ns(), RULES_EMPTY, Priority::Critical, &message, fields)
}

/// The alert about a rule file in which a reload found no rules any more.
pub(crate) fn rules_gone(format: &AlertFormat, file: &str) -> Alert {
    let message =
        format!("{RULES_EMPTY}. {file} has no rules since the last reload, only lists and macros.");
    let fields = vec![text("file", file)];
    format.internal(now_ns(), RULES_EMPTY, Priority::Critical, &message, fields)
}

/// Raises an alert about the heartbeat.
pub(crate) fn raise_heartbeat(format: &AlertFormat, outputs: &Outputs, sign: &Sign) {
    let (priority, reason) = match sign {
        Sign::Missing(reason) => (Priority::Critical, (*reason).to_owned()),
        Sign::Killed(signal) => (
            Priority::Critical,
            format!("its process was ended by {signal}, and another one has been started"),
        ),
        Sign::Back => (Priority::Notice, String::new()),
    };
    let (message, fields) = match sign {
        Sign::Missing(_) | Sign::Killed(_) => (
            format!("{HEARTBEAT}. Lanner's own call did not come back as an event: {reason}."),
            vec![text("reason", &reason)],
        ),
        Sign::Back => (
            format!("{HEARTBEAT}. Lanner's own calls come back as events again."),
            Vec::new(),
        ),
    };
    tracing::error!("{message}");
    outputs.push(format.internal(now_ns(), HEARTBEAT, priority, &message, fields));
}

/// The counts at the last look.
#[derive(Debug)]
pub(crate) struct Losses {
    settings: EventDrops,
    bucket: Bucket,
    events: (u64, [u64; Loss::ALL.len()]),
    outputs: HashMap<String, Counts>,
    /// The number of events that each rule plugin did not see, and a limit for the alerts about that.
    unseen: HashMap<String, (u64, Bucket)>,
    rate: Rate,
    rules_hang: bool,
    /// Alerts about alerts that were raised at the last look.
    reported: u64,
}

impl Losses {
    /// Begins now.
    #[must_use]
    pub(crate) fn new(settings: EventDrops) -> Self {
        let rate = Rate {
            per_second: settings.rate,
            burst: settings.max_burst,
        };
        Self {
            bucket: Bucket::new(rate),
            settings,
            events: Default::default(),
            outputs: HashMap::new(),
            unseen: HashMap::new(),
            rate,
            rules_hang: false,
            reported: 0,
        }
    }

    /// Looks for losses since the last look, and raises alerts. To be called every second.
    pub(crate) fn look(&mut self, telemetry: &Telemetry, format: &AlertFormat, outputs: &Outputs) {
        self.look_at_events(telemetry, format, outputs);
        self.look_at_rules(telemetry, format, outputs);
        self.look_at_outputs(format, outputs);
    }

    fn look_at_rules(&mut self, telemetry: &Telemetry, format: &AlertFormat, outputs: &Outputs) {
        let raise = |rule: &str, message: &str, fields| {
            let message = format!("{rule}. {message}");
            tracing::error!("{message}");
            let priority = Priority::Critical;
            outputs.push(format.internal(now_ns(), rule, priority, &message, fields));
        };
        let hang = telemetry.rules_hang();
        if hang && !self.rules_hang {
            let message = "The rule plugin of the event path does not return from a call.";
            raise(RULES_HANG, message, Vec::new());
        }
        self.rules_hang = hang;
        for worker in telemetry.workers() {
            let plugin = worker.plugin();
            match worker.look(Instant::now()) {
                Some(Sight::Hangs) => {
                    let message = format!("Rule plugin {plugin} does not return from a call.");
                    raise(RULES_HANG, &message, vec![text("plugin", plugin)]);
                }
                Some(Sight::Off(reason)) => {
                    tracing::error!("{RULES_OFF}. Rule plugin {plugin} is switched off: {reason}.");
                    outputs.push(rules_off(format, plugin, &reason));
                }
                None => {}
            }
            let rate = self.rate;
            let (reported, bucket) =
                (self.unseen.entry(plugin.to_owned())).or_insert_with(|| (0, Bucket::new(rate)));
            let lost = worker.lost().saturating_sub(*reported);
            if lost > 0 && bucket.take(now_ns()) {
                *reported += lost;
                let message = format!("Rule plugin {plugin} did not see {lost} events.");
                let fields = vec![
                    text("plugin", plugin),
                    ("n_lost".to_owned(), OwnedValue::U64(lost)),
                ];
                raise(RULES_LOSS, &message, fields);
            }
        }
    }

    fn look_at_events(&mut self, telemetry: &Telemetry, format: &AlertFormat, outputs: &Outputs) {
        let now = telemetry.events();
        let captured = now.0.saturating_sub(self.events.0);
        let lost: [u64; Loss::ALL.len()] =
            std::array::from_fn(|at| now.1[at].saturating_sub(self.events.1[at]));
        let total: u64 = lost.iter().sum();
        self.events = now;
        #[expect(clippy::cast_precision_loss, reason = "a ratio need not be exact")]
        let part = total as f64 / (captured + total).max(1) as f64;
        if total == 0
            || part <= self.settings.threshold
            || self.settings.actions.contains(&DropAction::Ignore)
        {
            return;
        }
        if self.settings.actions.contains(&DropAction::Exit) {
            tracing::error!("{total} events were lost, and the configuration says to end then");
            telemetry
                .exit
                .store(true, std::sync::atomic::Ordering::Relaxed);
        }
        let time = now_ns();
        if !self.bucket.take(time) {
            return;
        }
        let message = format!("{EVENT_DROP}. {total} system calls dropped in last second.");
        if self.settings.actions.contains(&DropAction::Log) {
            tracing::warn!("{message}");
        }
        if self.settings.actions.contains(&DropAction::Alert) {
            let number = |name: &str, value| (name.to_owned(), OwnedValue::U64(value));
            let mut fields = vec![
                number("n_evts", captured),
                number("n_drops", total),
                number("n_drops_buffer_total", lost[Loss::BufferFull as usize]),
                number("n_drops_bug", lost[Loss::Fault as usize]),
            ];
            for (cause, count) in Loss::ALL.iter().zip(lost) {
                fields.push(number(&format!("lost.{}", cause.name()), count));
            }
            let priority = Priority::Critical;
            outputs.push(format.internal(time, EVENT_DROP, priority, &message, fields));
        }
    }

    fn look_at_outputs(&mut self, format: &AlertFormat, outputs: &Outputs) {
        let mut reported = 0;
        for account in outputs.accounts() {
            let now = account.counts;
            let name = account.output;
            let before = self.outputs.insert(name.clone(), now).unwrap_or_default();
            let label = || text("output", &name);
            if now.deadlines > before.deadlines {
                let message = format!("{OUTPUT_HANGS}. Output {name} does not return from a call.");
                let alert = format.internal(
                    now_ns(),
                    OUTPUT_HANGS,
                    Priority::Critical,
                    &message,
                    vec![label()],
                );
                outputs.push(alert);
                reported += 1;
            }
            if now.spool_errors > 0 && before.spool_errors == 0 {
                let message = format!(
                    "{OUTPUT_DISK}. Output {name} cannot use its spool; its alerts wait in memory until it can."
                );
                let alert = format.internal(
                    now_ns(),
                    OUTPUT_DISK,
                    Priority::Critical,
                    &message,
                    vec![label()],
                );
                outputs.push(alert);
                reported += 1;
            }
            let lost = now.lost().saturating_sub(before.lost());
            if lost == 0 {
                continue;
            }
            let mut fields = vec![label(), ("n_lost".to_owned(), OwnedValue::U64(lost))];
            for ((cause, now), (_, before)) in now.losses().into_iter().zip(before.losses()) {
                if now > before {
                    fields.push((format!("lost.{cause}"), OwnedValue::U64(now - before)));
                }
            }
            // A dead output loses these alerts as well, which does not need another alert each second.
            if lost <= self.reported {
                continue;
            }
            let message = format!("{ALERT_LOSS}. Output {name} lost {lost} alerts in last second.");
            tracing::error!("{message}");
            reported += 1;
            outputs.push(format.internal(
                now_ns(),
                ALERT_LOSS,
                Priority::Critical,
                &message,
                fields,
            ));
        }
        self.reported = reported;
    }
}
