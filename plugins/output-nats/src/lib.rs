//! Output plugin: alerts into a stream of NATS JetStream, which keeps and distributes them: the way to outgrow one
//! machine.
//!
//! An alert counts as delivered when the stream has acknowledged it. One that is sent again, as its acknowledgement was
//! lost, has the same `Nats-Msg-Id`, and the stream leaves it out (`duplicate_window`).

mod connection;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use lanner_plugin::{AlertView, Alerts, Counter, Delivery, Error, Host, OutputPlugin};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::runtime::{Builder, Runtime};

use connection::{Connection, Outgoing};

/// What a user can set for this plugin.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Servers of the cluster: `nats://HOST:4222`, or `tls://HOST:4222`.
    #[schemars(length(min = 1))]
    pub servers: BTreeSet<String>,
    /// The stream.
    pub stream: String,
    /// Where alerts are published; `{hostname}`, `{priority}`, `{rule}` and `{source}` are filled in.
    pub subject: String,
    /// Make the stream where it is not there. Its subjects are `subject` with a `*` for each placeholder.
    pub create_stream: bool,
    /// Copies that a new stream keeps in the cluster.
    #[schemars(range(min = 1, max = 5))]
    pub replicas: usize,
    /// A new stream keeps alerts for so many hours; 0: for ever.
    pub max_age_hours: u64,
    /// A new stream keeps so many MiB; 0: no limit.
    pub max_mb: u32,
    /// The user, with `password`.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// A token instead of a user.
    pub token: Option<String>,
    /// A credentials file (JWT and nkey) instead of a user.
    pub credentials_file: Option<PathBuf>,
    /// Certificates (PEM) that may have signed the server's; without, those of this host.
    pub ca_cert: Option<PathBuf>,
    /// Certificate chain (PEM) to show to the server.
    pub client_cert: Option<PathBuf>,
    /// The key (PEM) of that certificate.
    pub client_key: Option<PathBuf>,
    /// Seconds that connecting, or an acknowledgement, may take.
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

/// What `subject` may have, between braces.
const PLACEHOLDERS: [&str; 4] = ["{hostname}", "{priority}", "{rule}", "{source}"];

impl Settings {
    fn deadline(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// The subject with a wildcard for each placeholder.
    fn subjects(&self) -> String {
        let mut subjects = self.subject.clone();
        for placeholder in PLACEHOLDERS {
            subjects = subjects.replace(placeholder, "*");
        }
        subjects
    }

    fn check(&self) -> Result<(), Error> {
        if self.servers.is_empty() || self.timeout == 0 {
            return Err("`servers` names at least one, `timeout` is at least 1".into());
        }
        // A placeholder is a whole part of a subject, as a wildcard has to be.
        let good = |part: &str| {
            let plain = part
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"*>{}".contains(&b));
            !part.is_empty() && (plain || PLACEHOLDERS.contains(&part))
        };
        if !self.subject.split('.').all(good) {
            return Err(format!(
                "`subject`: {:?} is not made of words and {}, with dots between",
                self.subject,
                PLACEHOLDERS.join(", ")
            )
            .into());
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
            at.map_or_else(|| part.to_owned(), |at| word(values[at]))
        };
        let parts: Vec<String> = self.subject.split('.').map(fill).collect();
        parts.join(".")
    }
}

/// A part of a subject: no dots, wildcards or spaces.
fn word(text: &str) -> String {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let word: String = text
        .chars()
        .take(100)
        .map(|c| if good(c) { c } else { '_' })
        .collect();
    if word.is_empty() {
        "_".to_owned()
    } else {
        word
    }
}

/// The output.
#[derive(Debug)]
pub struct Output {
    settings: Settings,
    runtime: Option<Runtime>,
    connection: Option<Connection>,
    duplicates: Counter,
}

impl OutputPlugin for Output {
    type Settings = Settings;

    fn open(host: Host, settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        connection::check(&settings)?;
        // Pings are answered and connections mended between two batches, too.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("lanner-nats")
            .enable_all()
            .build()?;
        Ok(Self {
            settings,
            runtime: Some(runtime),
            connection: None,
            duplicates: host.counter(
                "duplicates_total",
                "Alerts that the stream had already, and left out.",
                &[],
            ),
        })
    }

    fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery {
        let outgoing: Vec<Outgoing> = alerts
            .iter()
            .map(|alert| Outgoing::new(self.settings.subject_of(&alert), alert.json()))
            .collect();
        match self.send(outgoing) {
            (_, None) => Delivery::Delivered,
            (delivered, Some(error)) => {
                let servers: Vec<&str> = self.settings.servers.iter().map(String::as_str).collect();
                let reason = format!("{}: {error}", servers.join(","));
                Delivery::TryAgain { delivered, reason }
            }
        }
    }

    fn reopen(&mut self) -> Result<(), Error> {
        self.connection = None;
        Ok(())
    }
}

impl Output {
    /// Sends alerts: how many were acknowledged, counted from the front, and why not all.
    fn send(&mut self, outgoing: Vec<Outgoing>) -> (usize, Option<Error>) {
        let Some(runtime) = &self.runtime else {
            return (0, Some("it is closed".into()));
        };
        if outgoing.is_empty() {
            return (0, None);
        }
        let connection = match &self.connection {
            Some(connection) => connection,
            None => match runtime.block_on(Connection::new(&self.settings)) {
                Ok(connection) => self.connection.insert(connection),
                Err(error) => return (0, Some(error)),
            },
        };
        let (sent, duplicates, error) = runtime.block_on(connection.send(outgoing));
        self.duplicates.add(duplicates);
        (sent, error)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.connection = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

lanner_plugin::export_plugin! {
    name: "output-nats",
    description: "Alerts into a stream of NATS JetStream.",
    output: Output,
}

#[cfg(test)]
mod tests;
