//! Output plugin: alerts to syslog: to the socket of this host, or with RFC 5424 over UDP, TCP or TLS.
//!
//! Syslog acknowledges nothing. When a connection breaks, messages that it had taken can be lost, and others can arrive
//! twice. If the receiver has closed the connection in good order, the plugin notices that before it writes anything.
//!
//! `connection` is the way to the receiver. `message` writes messages in both formats.

mod connection;
mod message;

use std::path::PathBuf;

use lanner_plugin::{
    Alerts, Counter, Delivery, Error, Host, InvalidSetting, OutputPlugin, at_least,
};
use schemars::JsonSchema;
use serde::Deserialize;

use connection::{Connection, Receiver, SendError};
use message::{Facility, Formatter};

/// What a user can set for this plugin.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The receiver: `unix:///dev/log` (default), `udp://HOST:514`, `tcp://HOST:601` or `tls://HOST:6514`. A socket of
    /// this host gets messages in the format of syslog(3), the others get those of RFC 5424.
    pub address: String,
    /// The facility of the messages.
    pub facility: Facility,
    /// The name of the program.
    pub app_name: String,
    /// Falco's JSON as the message instead of the text.
    pub json: bool,
    /// Rule, priority, source and tags as structured data (RFC 5424 only).
    pub structured_data: bool,
    /// Longer messages are cut to this number of bytes. The default is rsyslogd's own limit.
    #[schemars(range(min = 480))]
    pub max_length: usize,
    /// Certificates (PEM) that can have signed the receiver's. Without it, those that this host trusts.
    pub ca_cert: Option<PathBuf>,
    /// Certificate chain (PEM) to show to the receiver.
    pub client_cert: Option<PathBuf>,
    /// The key (PEM) of that certificate.
    pub client_key: Option<PathBuf>,
    /// How many seconds connecting or writing can take.
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
    receiver: Receiver,
    formatter: Formatter,
    json: bool,
    connection: Option<Connection>,
    truncated: Counter,
}

/// Messages did not reach their receiver.
#[derive(Debug, thiserror::Error)]
#[error("{receiver}")]
struct Undelivered {
    receiver: String,
    source: SendError,
}

impl OutputPlugin for Output {
    type Settings = Settings;

    fn check(settings: &Settings) -> Result<(), Error> {
        check(settings)?;
        // It connects later.
        Receiver::new(settings)?;
        Ok(())
    }

    fn warnings(settings: &Settings) -> Vec<String> {
        connection::warnings(settings)
    }

    fn open(host: Host, settings: Settings) -> Result<Self, Error> {
        check(&settings)?;
        let receiver = Receiver::new(&settings)?;
        let help = "Messages that were cut to max_length.";
        Ok(Self {
            formatter: Formatter::new(&settings, receiver.framing()),
            json: settings.json,
            connection: None,
            truncated: host.counter("truncated_total", help, &[]),
            receiver,
        })
    }

    fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery {
        let mut messages = Vec::with_capacity(alerts.len());
        for alert in alerts.iter() {
            let (message, cut) = self.formatter.message(&alert, alert.line(self.json));
            self.truncated.add(u64::from(cut));
            messages.push(message);
        }
        match self.send(&messages) {
            (delivered, None) if delivered < messages.len() => Delivery::go_on(delivered),
            (_, None) => Delivery::Delivered,
            (delivered, Some(source)) => {
                self.connection = None;
                let receiver = self.receiver.to_string();
                Delivery::try_again(delivered, &Undelivered { receiver, source })
            }
        }
    }

    fn reopen(&mut self) -> Result<(), Error> {
        self.connection = None;
        Ok(())
    }
}

fn check(settings: &Settings) -> Result<(), InvalidSetting> {
    at_least("timeout", settings.timeout, 1)?;
    at_least("max_length", settings.max_length, 480)
}

impl Output {
    /// Sends messages. Returns how many the connection took and, if it failed, why.
    fn send(&mut self, messages: &[Vec<u8>]) -> (usize, Option<SendError>) {
        if messages.is_empty() {
            return (0, None);
        }
        if self.connection.as_mut().is_some_and(Connection::is_over) {
            self.connection = None;
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => match self.receiver.connect() {
                Ok(connection) => none.insert(connection),
                Err(error) => return (0, Some(error)),
            },
        };
        connection.send(messages, self.receiver.timeout)
    }
}

lanner_plugin::export_plugin! {
    name: "output-syslog",
    description: "Alerts to syslog: the socket of this host, or RFC 5424 over UDP, TCP or TLS.",
    output: Output,
}

#[cfg(test)]
mod tests;
