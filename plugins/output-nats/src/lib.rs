//! Output plugin: alerts into a stream of NATS JetStream, which stores and distributes them. So the alerts of many hosts
//! come together.
//!
//! An alert counts as delivered when the stream has acknowledged it. If the acknowledgement is lost, the alert is sent
//! again with the same `Nats-Msg-Id`, and the stream drops the duplicate (`duplicate_window`). `connection` keeps a connection
//! to one of the servers, `client` speaks the protocol.

mod client;
mod connection;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use lanner_plugin::{
    AlertView, Alerts, Counter, Delivery, Error, Host, InvalidSetting, OutputPlugin, at_least,
};
use schemars::JsonSchema;
use serde::Deserialize;

use client::Outgoing;
use connection::Connection;

/// What a user can set for this plugin.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Servers of the cluster: `nats://HOST:4222`, or `tls://HOST:4222`. No other server is used.
    #[schemars(length(min = 1))]
    pub servers: BTreeSet<String>,
    /// The name of the stream.
    pub stream: String,
    /// The subject of alerts. `{hostname}`, `{priority}`, `{rule}` and `{source}` are replaced by their values.
    pub subject: String,
    /// Create the stream if it does not exist. Its subjects are `subject` with a `*` for each placeholder.
    pub create_stream: bool,
    /// How many copies of each alert a new stream keeps in the cluster.
    #[schemars(range(min = 1, max = 5))]
    pub replicas: usize,
    /// For how many hours a new stream keeps alerts. 0: forever.
    #[schemars(range(max = 876_000))]
    pub max_age_hours: u64,
    /// How many MiB of alerts a new stream keeps. 0: no limit.
    pub max_mb: u32,
    /// The user, with `password`.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// A token instead of a user.
    pub token: Option<String>,
    /// A credentials file (JWT and nkey) instead of a user.
    pub credentials_file: Option<PathBuf>,
    /// Certificates (PEM) that can have signed the server's. Without it, those that this host trusts.
    pub ca_cert: Option<PathBuf>,
    /// Certificate chain (PEM) to show to the server.
    pub client_cert: Option<PathBuf>,
    /// The key (PEM) of that certificate.
    pub client_key: Option<PathBuf>,
    /// How many seconds connecting or an acknowledgement can take.
    #[schemars(range(min = 1, max = 3600))]
    pub timeout: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            servers: BTreeSet::from(["nats://127.0.0.1:4222".to_owned()]),
            stream: "LANNER".to_owned(),
            subject: "lanner.alerts.{hostname}.{priority}".to_owned(),
            create_stream: true,
            replicas: 1,
            max_age_hours: 0,
            max_mb: 0,
            user: None,
            password: None,
            token: None,
            credentials_file: None,
            ca_cert: None,
            client_cert: None,
            client_key: None,
            timeout: 5,
        }
    }
}

/// The placeholders of `subject`.
const PLACEHOLDERS: [&str; 4] = ["{hostname}", "{priority}", "{rule}", "{source}"];

impl Settings {
    fn deadline(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// The subject with a wildcard for each placeholder.
    fn wildcard_subject(&self) -> String {
        let subject = self.subject.clone();
        PLACEHOLDERS
            .iter()
            .fold(subject, |subject, one| subject.replace(one, "*"))
    }

    fn check(&self) -> Result<(), InvalidSetting> {
        if self.servers.is_empty() {
            return Err(InvalidSetting::new("servers", "it is empty; name a server"));
        }
        at_least("timeout", self.timeout, 1)?;
        // A placeholder must be a whole part of the subject, as the wildcard for it must be.
        let good = |part: &str| {
            let plain = part
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"*>{}".contains(&b));
            !part.is_empty() && (plain || PLACEHOLDERS.contains(&part))
        };
        if !self.subject.split('.').all(good) {
            let reason = format!(
                "{:?} is not made of words and {}, with dots between them",
                self.subject,
                PLACEHOLDERS.join(", ")
            );
            return Err(InvalidSetting::new("subject", reason));
        }
        // JetStream, "Naming Conventions"
        let forbidden = |c: char| ".*>/\\".contains(c) || c.is_whitespace() || c.is_control();
        if self.stream.is_empty() || self.stream.contains(forbidden) {
            let reason = format!(
                "{:?} is no name of a stream: it has no blanks and none of . * > / \\",
                self.stream
            );
            return Err(InvalidSetting::new("stream", reason));
        }
        Ok(())
    }

    fn subject_of(&self, alert: &AlertView<'_>) -> String {
        let values = [
            alert.hostname(),
            alert.priority().name(),
            alert.rule(),
            alert.source(),
        ];
        let fill = |part: &str| {
            let at = PLACEHOLDERS.iter().position(|one| *one == part);
            at.map_or_else(|| part.to_owned(), |at| subject_part(values[at]))
        };
        let parts: Vec<String> = self.subject.split('.').map(fill).collect();
        parts.join(".")
    }
}

/// A value as a part of a subject, without dots, wildcards or spaces.
fn subject_part(value: &str) -> String {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let part: String = value
        .chars()
        .take(100)
        .map(|c| if good(c) { c } else { '_' })
        .collect();
    if part.is_empty() {
        "_".to_owned()
    } else {
        part
    }
}

/// The output.
#[derive(Debug)]
pub struct Output {
    settings: Settings,
    connection: Connection,
    duplicates: Counter,
}

impl OutputPlugin for Output {
    type Settings = Settings;

    fn check(settings: &Settings) -> Result<(), Error> {
        settings.check()?;
        Ok(connection::check(settings)?)
    }

    fn warnings(settings: &Settings) -> Vec<String> {
        connection::warnings(settings)
    }

    fn open(host: Host, settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        connection::check(&settings)?;
        let help = "Alerts that the stream had before, and dropped.";
        Ok(Self {
            connection: Connection::new(&settings)?,
            settings,
            duplicates: host.counter("duplicates_total", help, &[]),
        })
    }

    fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery {
        if alerts.is_empty() {
            return Delivery::Delivered;
        }
        let outgoing: Vec<Outgoing<'_>> = alerts
            .iter()
            .map(|alert| Outgoing::new(self.settings.subject_of(&alert), alert.json()))
            .collect();
        let (published, failed) = self.connection.publish(&self.settings, &outgoing);
        self.duplicates.add(published.duplicates);
        let delivered = published.acknowledged;
        match failed {
            None if delivered < outgoing.len() => Delivery::go_on(delivered),
            None => Delivery::Delivered,
            Some(error) if error.is_refusal() => Delivery::refused(delivered, 1, &error),
            Some(error) => Delivery::try_again(delivered, &error),
        }
    }

    fn reopen(&mut self) -> Result<(), Error> {
        self.connection.close();
        Ok(())
    }
}

lanner_plugin::export_plugin! {
    name: "output-nats",
    description: "Alerts into a stream of NATS JetStream.",
    output: Output,
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
