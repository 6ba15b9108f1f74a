//! Output plugin: alerts to syslog: the socket of this host, or RFC 5424 over UDP, TCP or TLS.
//!
//! Syslog acknowledges nothing. What a stream had taken when it broke may be lost, and may come twice; a stream that
//! the receiver has closed in good order is noticed before anything is written into it.

mod connection;
mod message;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

use lanner_plugin::{Alerts, Counter, Delivery, Error, Host, OutputPlugin};
use schemars::JsonSchema;
use serde::Deserialize;

use connection::{Connection, Target};
use message::{Facility, Writer};

/// What a user can set for this plugin.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where to: `unix:///dev/log` (default), `udp://HOST:514`, `tcp://HOST:601` or `tls://HOST:6514`. To a socket of
    /// this host go messages as syslog(3) makes them, to the others those of RFC 5424.
    pub address: String,
    /// The facility: `user` (default), `daemon`, `auth`, `authpriv`, `local0` to `local7` and so on.
    pub facility: Facility,
    /// The name of the program.
    pub app_name: String,
    /// Falco's JSON as the message instead of the text.
    pub json: bool,
    /// Rule, priority, source and tags as structured data (RFC 5424 only).
    pub structured_data: bool,
    /// Longer messages are cut; rsyslogd takes so many bytes unless it is told otherwise.
    #[schemars(range(min = 480))]
    pub max_length: usize,
    /// Certificates (PEM) that may have signed the receiver's; without, those of this host.
    pub ca_cert: Option<PathBuf>,
    /// Certificate chain (PEM) to show to the receiver.
    pub client_cert: Option<PathBuf>,
    /// The key (PEM) of that certificate.
    pub client_key: Option<PathBuf>,
    /// Seconds that connecting or writing may take.
    #[schemars(range(min = 1, max = 3600))]
    pub timeout: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: "unix:///dev/log".to_owned(),
            facility: Facility::default(),
            app_name: "lanner".to_owned(),
            json: false,
            structured_data: true,
            max_length: 8192,
            ca_cert: None,
            client_cert: None,
            client_key: None,
            timeout: 5,
        }
    }
}

/// The output.
#[derive(Debug)]
pub struct Output {
    target: Target,
    writer: Writer,
    json: bool,
    connection: Option<Connection>,
    truncated: Counter,
}

impl OutputPlugin for Output {
    type Settings = Settings;

    fn open(host: Host, settings: Settings) -> Result<Self, Error> {
        if settings.timeout == 0 || settings.max_length < 480 {
            return Err("`timeout` is at least 1, `max_length` at least 480".into());
        }
        let target = Target::new(&settings)?;
        let frame = target.frame();
        Ok(Self {
            writer: Writer::new(&settings, frame),
            json: settings.json,
            connection: None,
            truncated: host.counter(
                "truncated_total",
                "Messages that were cut to max_length.",
                &[],
            ),
            target,
        })
    }

    fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery {
        let mut messages = Vec::with_capacity(alerts.len());
        for alert in alerts.iter() {
            let text = if self.json {
                alert.json()
            } else {
                alert.text()
            };
            let (message, cut) = self.writer.message(&alert, text);
            self.truncated.add(u64::from(cut));
            messages.push(message);
        }
        match self.send(&messages) {
            (_, None) => Delivery::Delivered,
            (delivered, Some(error)) => {
                self.connection = None;
                Delivery::TryAgain {
                    delivered,
                    reason: format!("{}: {error}", self.target),
                }
            }
        }
    }

    fn reopen(&mut self) -> Result<(), Error> {
        self.connection = None;
        Ok(())
    }
}

impl Output {
    /// Sends messages: how many were taken, and why not all.
    fn send(&mut self, messages: &[Vec<u8>]) -> (usize, Option<Error>) {
        if messages.is_empty() {
            return (0, None);
        }
        if self.connection.as_mut().is_some_and(Connection::is_over) {
            self.connection = None;
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => match self.target.connect() {
                Ok(connection) => none.insert(connection),
                Err(error) => return (0, Some(error)),
            },
        };
        connection.send(messages)
    }
}

/// Seconds as the deadline of one call.
fn seconds(settings: &Settings) -> Duration {
    Duration::from_secs(settings.timeout)
}

lanner_plugin::export_plugin! {
    name: "output-syslog",
    description: "Alerts to syslog: the socket of this host, or RFC 5424 over UDP, TCP or TLS.",
    output: Output,
}

#[cfg(test)]
mod tests;
