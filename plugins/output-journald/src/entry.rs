//! An entry of the journal: lines `NAME=value`, or, for a value with a line break, the name, the length and the bytes.

use std::borrow::Cow;

use lanner_plugin::{AlertView, Value};

use crate::Settings;

/// The longest name of a field that the journal takes, in bytes.
const MAX_NAME: usize = 64;

/// The bytes of an entry.
#[derive(Debug, Default)]
pub(crate) struct Entry(Vec<u8>);

impl Entry {
    /// The entry of an alert.
    pub(crate) fn of(alert: &AlertView<'_>, settings: &Settings) -> Self {
        let mut entry = Self::default();
        entry.add("MESSAGE", alert.line(settings.json));
        // The numbers of lanner's priorities are those of syslog.
        entry.add("PRIORITY", (alert.priority() as u32).to_string());
        entry.add("SYSLOG_IDENTIFIER", &settings.app_name);
        entry.add("LANNER_RULE", alert.rule());
        entry.add("LANNER_PRIORITY", alert.priority().name());
        entry.add("LANNER_SOURCE", alert.source());
        entry.add("LANNER_HOSTNAME", alert.hostname());
        entry.add("LANNER_TIME_NS", alert.time_ns().to_string());
        for tag in alert.tags() {
            entry.add("LANNER_TAG", tag);
        }
        if settings.fields {
            for (name, value) in alert.fields() {
                if let Some(value) = bytes_of(value) {
                    entry.add(&name_of(name), &value);
                }
            }
        }
        entry
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.0.extend(name.as_bytes());
        if value.contains(&b'\n') {
            self.0.push(b'\n');
            self.0.extend((value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend(value);
        self.0.push(b'\n');
    }
}

/// A value as the journal has it: texts and buffers as they are, without a change. `None`: the event has no value.
fn bytes_of(value: Value<'_>) -> Option<Cow<'_, [u8]>> {
    let text = match value {
        Value::None => return None,
        Value::String(bytes) | Value::Bytes(bytes) => return Some(Cow::Borrowed(bytes)),
        Value::Bool(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::F64(value) => value.to_string(),
        Value::Ip(value) => value.to_string(),
        Value::List(values) => {
            let each: Vec<_> = values.iter().filter_map(bytes_of).collect();
            return Some(Cow::Owned(each.join(&b',')));
        }
    };
    Some(Cow::Owned(text.into_bytes()))
}

/// The journal's name for a field of a rule: `proc.aname[2]` is `LANNER_PROC_ANAME_2`. The journal ignores names with other
/// characters than `A` to `Z`, `0` to `9` and `_`, and longer ones.
fn name_of(field: &str) -> String {
    let mut name = format!("LANNER_{}", field.trim_end_matches(']')).to_ascii_uppercase();
    name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    name.truncate(MAX_NAME);
    name
}
