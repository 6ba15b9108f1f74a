//! Which rules ask for a file, and with which limits: those of the rule, else those of the configuration.

use std::time::Duration;

use plugin_host::RuleCapture;

use crate::config::{CaptureConfig, CaptureMode};

/// The limits of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How long it goes on after the alert.
    pub(crate) duration: Duration,
    /// How long before the alert it begins.
    pub(crate) before: Duration,
    /// The most events after the alert. None: any number.
    pub(crate) events: Option<u64>,
    /// The most bytes. None: any number.
    pub(crate) bytes: Option<u64>,
}

/// What the configuration and the rules ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    config: CaptureConfig,
    /// By the index of the rule. None: it asks for no file.
    rules: Vec<Option<Limits>>,
}

impl Plan {
    pub(crate) fn new(config: &CaptureConfig, rules: usize, asked: &[RuleCapture]) -> Self {
        let most = config.max_file_size_mb.filter(|size| *size != 0);
        let most = most.map(|megabytes| megabytes.saturating_mul(1 << 20));
        let default = Limits {
            duration: Duration::from_millis(config.default_duration),
            before: config.capture_before.0,
            events: None,
            bytes: most,
        };
        let all = config.mode == CaptureMode::AllRules && config.enabled == Some(true);
        let mut plan = Self {
            config: config.clone(),
            rules: vec![all.then_some(default); rules],
        };
        if config.enabled == Some(false) {
            return plan;
        }
        for capture in asked {
            let Some(rule) = plan.rules.get_mut(capture.rule as usize) else {
                continue;
            };
            // the limit of the configuration is that of every file
            let bytes = [capture.bytes, most].into_iter().flatten().min();
            *rule = Some(Limits {
                duration: capture.duration.unwrap_or(default.duration),
                before: capture.before.unwrap_or(default.before),
                events: capture.events,
                bytes,
            });
        }
        plan
    }

    pub(crate) fn config(&self) -> &CaptureConfig {
        &self.config
    }

    /// Whether a recorder for the other plan can go on for this one.
    pub(crate) fn goes_on_from(&self, other: &Self) -> bool {
        self.config == other.config && self.is_on() == other.is_on()
    }

    /// Whether files can come to be.
    pub(crate) fn is_on(&self) -> bool {
        self.rules.iter().any(Option::is_some)
    }

    /// How long events are kept: as long as the rule needs them that asks for most.
    pub(crate) fn window(&self) -> Duration {
        let before = self.rules.iter().flatten().map(|limits| limits.before);
        before.max().unwrap_or_default()
    }

    /// What a rule asks for when it matches.
    pub(crate) fn of(&self, rule: usize) -> Option<&Limits> {
        self.rules.get(rule)?.as_ref()
    }
}
