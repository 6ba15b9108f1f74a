//! Messages: in the format of syslog(3) for the socket of this host, and of RFC 5424 for other receivers.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use lanner_plugin::AlertView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Settings;

/// The facilities of RFC 5424, 6.2.1, with their numbers.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
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

/// How a receiver finds the end of a message. It also decides the message's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One message in each datagram, in the format of syslog(3).
    Local,
    /// One message in each datagram (RFC 5426).
    Datagram,
    /// The length in bytes before each message (RFC 6587, 3.4.1; RFC 5425, 4.3).
    OctetCounted,
}

/// Makes messages of alerts.
#[derive(Debug)]
pub(crate) struct Formatter {
    framing: Framing,
    facility: u32,
    app_name: String,
    structured_data: bool,
    max_length: usize,
}

impl Formatter {
    pub(crate) fn new(settings: &Settings, framing: Framing) -> Self {
        Self {
            framing,
            facility: settings.facility as u32,
            app_name: settings.app_name.clone(),
            structured_data: settings.structured_data,
            max_length: settings.max_length,
        }
    }

    /// The message of an alert, and whether it was cut to the maximum length.
    pub(crate) fn message(&self, alert: &AlertView<'_>, text: &str) -> (Vec<u8>, bool) {
        let mut message = self.header(alert);
        // For many receivers a line break or a NUL ends the message.
        message.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
        let cut = message.len() > self.max_length;
        if cut {
            message.truncate(message.floor_char_boundary(self.max_length));
        }
        let message = match self.framing {
            Framing::OctetCounted => format!("{} {message}", message.len()),
            Framing::Local | Framing::Datagram => message,
        };
        (message.into_bytes(), cut)
    }

    fn header(&self, alert: &AlertView<'_>) -> String {
        // The numbers of lanner's priorities are those of syslog's severities.
        let priority = self.facility * 8 + alert.priority() as u32;
        let process = std::process::id();
        if self.framing == Framing::Local {
            return format!(
                "<{priority}>{}[{process}]: ",
                header_field(&self.app_name, 48)
            );
        }
        let time = UNIX_EPOCH + Duration::from_nanos(alert.time_ns());
        let mut header = format!(
            "<{priority}>1 {} {} {} {process} alert ",
            humantime::format_rfc3339_micros(time),
            header_field(alert.hostname(), 255),
            header_field(&self.app_name, 48),
        );
        if self.structured_data {
            self.add_structured_data(&mut header, alert);
        } else {
            header.push('-');
        }
        header.push(' ');
        header
    }

    /// Adds the rule, priority, source and tags (RFC 5424, 6.3). 32473 is the enterprise number for examples
    /// (RFC 5612).
    fn add_structured_data(&self, header: &mut String, alert: &AlertView<'_>) {
        let tags: Vec<&str> = alert.tags().collect();
        header.push_str("[lanner@32473");
        for (name, value) in [
            ("rule", alert.rule()),
            ("priority", alert.priority().name()),
            ("source", alert.source()),
            ("tags", &tags.join(",")),
        ] {
            let _ = write!(header, " {name}=\"");
            // Long values leave room for the text.
            for c in value.chars().take(self.max_length / 16) {
                match c {
                    '"' | '\\' | ']' => header.extend(['\\', c]),
                    c if c.is_control() => header.push(' '),
                    c => header.push(c),
                }
            }
            header.push('"');
        }
        header.push(']');
    }
}

/// A header field: printable ASCII without spaces, `-` if it is empty (RFC 5424, 6).
fn header_field(text: &str, max_length: usize) -> String {
    let printable = |c: char| if c.is_ascii_graphic() { c } else { '_' };
    let field: String = text.chars().take(max_length).map(printable).collect();
    if field.is_empty() {
        "-".to_owned()
    } else {
        field
    }
}
