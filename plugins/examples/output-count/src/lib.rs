//! Output plugin: counts alerts, and writes the count to lanner's log from time to time.

use lanner_plugin::{Alerts, Counter, Delivery, Error, Host, Level, OutputPlugin};
use schemars::JsonSchema;
use serde::Deserialize;

/// What the user can set. Lanner refuses anything else.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Write a log line whenever this many more alerts have come.
    #[schemars(range(min = 1))]
    every: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { every: 100 }
    }
}

/// The output. Lanner keeps one for each configured output.
pub struct Output {
    host: Host,
    settings: Settings,
    seen: u64,
    counter: Counter,
}

impl OutputPlugin for Output {
    type Settings = Settings;

    fn open(host: Host, settings: Settings) -> Result<Self, Error> {
        if settings.every == 0 {
            return Err("set `every` to at least 1".into());
        }
        let counter = host.counter("alerts_total", "Alerts counted.", &[]);
        Ok(Self {
            host,
            settings,
            seen: 0,
            counter,
        })
    }

    fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery {
        for alert in alerts.iter() {
            self.seen += 1;
            if self.seen.is_multiple_of(self.settings.every) {
                let message = format!("{} alerts, the last by {}", self.seen, alert.rule());
                self.host.log(Level::Info, &message);
            }
        }
        self.counter.add(alerts.len() as u64);
        Delivery::Delivered
    }
}

lanner_plugin::export_plugin! {
    name: "output-count",
    description: "Counts alerts.",
    output: Output,
}

#[cfg(test)]
mod tests {
    use lanner_plugin::testing::{self, Alert};

    use super::*;

    #[test]
    fn alerts_are_counted() {
        let (host, heard) = testing::host_with_ears();
        let mut output = Output::open(host, Settings { every: 2 }).unwrap();
        let alerts = ["one", "two", "three"].map(|message| Alert::new("A rule", message));
        assert_eq!(testing::emit(&mut output, &alerts), Delivery::Delivered);
        assert_eq!(heard.lines(), ["2 alerts, the last by A rule"]);
        assert_eq!(heard.metric("alerts_total"), Some(3.0));
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        assert!(Output::open(testing::host(), Settings { every: 0 }).is_err());
    }
}
