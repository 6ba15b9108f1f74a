//! Output plugin: alerts to the journal of systemd. Each is one entry, with the rule and the values of its fields as
//! fields of the entry, so that `journalctl LANNER_RULE=...` finds them.
//!
//! The journal acknowledges nothing: an alert counts as delivered when the journal's socket has taken it.
//!
//! `entry` writes entries in the [native protocol]. `socket` sends them.
//!
//! [native protocol]: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/

mod entry;
mod socket;

use std::path::PathBuf;

use lanner_plugin::{Alerts, Delivery, Error, Host, OutputPlugin, Turn};
use schemars::JsonSchema;
use serde::Deserialize;

use entry::Entry;
use socket::{Journal, JournalError};

/// What a user can set for this plugin.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The journal's socket.
    pub socket: PathBuf,
    /// The name of the program (`SYSLOG_IDENTIFIER`): `journalctl -t lanner`.
    pub app_name: String,
    /// Falco's JSON as the message instead of the text.
    pub json: bool,
    /// The values of an alert's fields, too: `proc.name` becomes `LANNER_PROC_NAME`.
    pub fields: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/systemd/journal/socket"),
            app_name: "lanner".to_owned(),
            json: false,
            fields: true,
        }
    }
}

/// The output.
#[derive(Debug)]
pub struct Output {
    settings: Settings,
    journal: Option<Journal>,
}

/// Entries did not reach the journal.
#[derive(Debug, thiserror::Error)]
#[error("{}", .socket.display())]
struct Undelivered {
    socket: PathBuf,
    source: JournalError,
}

impl OutputPlugin for Output {
    type Settings = Settings;

    fn open(_host: Host, settings: Settings) -> Result<Self, Error> {
        // It connects later, as the journal may start after lanner.
        Ok(Self {
            settings,
            journal: None,
        })
    }

    fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery {
        let turn = Turn::begin();
        for (done, alert) in alerts.iter().enumerate() {
            if done > 0 && turn.is_over() {
                return Delivery::go_on(done);
            }
            if let Err(source) = self.send(&Entry::of(&alert, &self.settings)) {
                self.journal = None;
                let socket = self.settings.socket.clone();
                return Delivery::try_again(done, &Undelivered { socket, source });
            }
        }
        Delivery::Delivered
    }

    fn reopen(&mut self) -> Result<(), Error> {
        self.journal = None;
        Ok(())
    }
}

impl Output {
    fn send(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let journal = match &mut self.journal {
            Some(journal) => journal,
            none => none.insert(Journal::connect(&self.settings.socket)?),
        };
        journal.send(entry.bytes())
    }
}

lanner_plugin::export_plugin! {
    name: "output-journald",
    description: "Alerts to the journal of systemd, each with its fields.",
    output: Output,
}

#[cfg(test)]
mod tests;
