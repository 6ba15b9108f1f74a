//! Messages: as syslog(3) makes them for the socket of this host, and as RFC 5424 has them for all else.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use lanner_plugin::{AlertView, Priority};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::Settings;

/// RFC 5424, 6.2.1.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Facility {
    Kern = 0,
    #[default]
    User = 1,
    Mail = 2,
    Daemon = 3,
    Auth = 4,
    Syslog = 5,
    Lpr = 6,
    News = 7,
    Uucp = 8,
    Cron = 9,
    Authpriv = 10,
    Ftp = 11,
    Local0 = 16,
    Local1 = 17,
    Local2 = 18,
    Local3 = 19,
    Local4 = 20,
    Local5 = 21,
    Local6 = 22,
    Local7 = 23,
}

/// How messages are told apart, and which they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    /// One datagram each, as syslog(3) makes them.
    Local,
    /// One datagram each (RFC 5426).
    Datagram,
    /// The length before each (RFC 6587, 3.4.1; RFC 5425, 4.3).
    Counted,
}

/// Makes messages.
#[derive(Debug)]
pub(crate) struct Writer {
    frame: Frame,
    facility: u32,
    app_name: String,
    structured_data: bool,
    max_length: usize,
}

impl Writer {
    pub(crate) fn new(settings: &Settings, frame: Frame) -> Self {
        Self {
            frame,
            facility: settings.facility as u32,
            app_name: settings.app_name.clone(),
            structured_data: settings.structured_data,
            max_length: settings.max_length,
        }
    }

    /// The message of an alert, and whether it was cut.
    pub(crate) fn message(&self, alert: &AlertView<'_>, text: &str) -> (Vec<u8>, bool) {
        let mut message = self.head(alert);
        // A line break or a NUL would end the message for many receivers.
        message.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
        let cut = message.len() > self.max_length;
        if cut {
            let end = (0..=self.max_length)
                .rev()
                .find(|at| message.is_char_boundary(*at));
            message.truncate(end.unwrap_or_default());
        }
        let message = match self.frame {
            Frame::Counted => format!("{} {message}", message.len()),
            _ => message,
        };
        (message.into_bytes(), cut)
    }

    fn head(&self, alert: &AlertView<'_>) -> String {
        // Priorities are syslog's severities.
        let priority = self.facility * 8 + alert.priority() as u32;
        let process = std::process::id();
        if self.frame == Frame::Local {
            return format!("<{priority}>{}[{process}]: ", word(&self.app_name, 48));
        }
        let time = UNIX_EPOCH + Duration::from_nanos(alert.time_ns());
        let mut head = format!(
            "<{priority}>1 {} {} {} {process} alert ",
            humantime::format_rfc3339_micros(time),
            word(alert.hostname(), 255),
            word(&self.app_name, 48),
        );
        if self.structured_data {
            let tags: Vec<&str> = alert.tags().collect();
            head.push_str("[lanner@32473");
            for (name, value) in [
                ("rule", alert.rule()),
                ("priority", name(alert.priority())),
                ("source", alert.source()),
                ("tags", &tags.join(",")),
            ] {
                // Room is left for the text.
                let value: String = value.chars().take(self.max_length / 16).collect();
                let _ = write!(head, " {name}=\"");
                for c in value.chars() {
                    match c {
                        '"' | '\\' | ']' => head.extend(['\\', c]),
                        c if c.is_control() => head.push(' '),
                        c => head.push(c),
                    }
                }
                head.push('"');
            }
            head.push_str("] ");
        } else {
            head.push_str("- ");
        }
        head
    }
}

fn name(priority: Priority) -> &'static str {
    priority.name()
}

/// A header field: printable ASCII without spaces, `-` where there is nothing (RFC 5424, 6).
fn word(text: &str, longest: usize) -> String {
    let printable = |c: char| if c.is_ascii_graphic() { c } else { '_' };
    let word: String = text.chars().take(longest).map(printable).collect();
    if word.is_empty() {
        "-".to_owned()
    } else {
        word
    }
}
