//! Alerts of lanner's own: about what it lost, and what went wrong with it. Falco's shape: the source is
//! `internal`, the text ends with the fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::{Alert, AlertFormat, OwnedValue, Priority, json};
use fields::time;
use plugin_host::secrets;

/// The source of such alerts.
const SOURCE: &str = "internal";

fn without_secrets(value: Json) -> Json {
    match value {
        Json::String(text) => secrets::hide(&text).into_owned().into(),
        other => other,
    }
}

/// An error message may have lines and control characters; an alert's text has none.
fn in_one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

impl AlertFormat {
    /// Makes an alert about lanner itself, without an event. It shows no secrets.
    #[must_use]
    pub fn internal(
        &self,
        time_ns: u64,
        rule: &str,
        priority: Priority,
        message: &str,
        fields: Vec<(String, OwnedValue)>,
    ) -> Alert {
        let message = &secrets::hide(message);
        let mut text = String::new();
        if self.iso_time {
            time::iso8601(&mut text, time_ns, "+0000");
        } else {
            time::clock(&mut text, time_ns);
        }
        let sorted: BTreeMap<&String, Json> = fields
            .iter()
            .map(|(name, value)| (name, without_secrets(json(value))))
            .collect();
        let object: Map<String, Json> = sorted
            .into_iter()
            .map(|(name, value)| (name.clone(), value))
            .collect();
        let shown: Vec<String> = object
            .iter()
            .map(|(name, value)| match value {
                Json::String(value) => format!("{name}={}", in_one_line(value)),
                value => format!("{name}={value}"),
            })
            .collect();
        let message = in_one_line(message);
        text.push_str(&format!(": {} {message}", priority.name()));
        if !shown.is_empty() {
            text.push_str(&format!(" ({})", shown.join(" ")));
        }
        let mut iso_time = String::new();
        time::iso8601(&mut iso_time, time_ns, "Z");
        let mut whole = Map::new();
        let mut put = |key: &str, value: Json| whole.insert(key.to_owned(), value);
        put("hostname", self.hostname.clone().into());
        if self.json_output {
            put("output", message.into());
        }
        if self.json_output_fields {
            put("output_fields", object.into());
        }
        put("priority", priority.name().into());
        put("rule", rule.into());
        put("source", SOURCE.into());
        put("time", iso_time.into());
        Alert {
            time_ns,
            rule: rule.to_owned(),
            priority,
            source: SOURCE.to_owned(),
            hostname: self.hostname.clone(),
            tags: Vec::new(),
            text,
            json: Json::Object(whole).to_string(),
            fields,
            context: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_one_line_and_ends_with_the_fields_if_there_are_any() {
        let format = AlertFormat::new("box");
        let alert = |fields| format.internal(0, "A rule", Priority::Notice, "one\ntwo", fields);
        let reason = OwnedValue::String(b"a.yaml:7:1: no YAML\n 7 | x: [\n".to_vec());
        let reason = alert(vec![("reason".to_owned(), reason)]);
        assert!(
            (reason.text).ends_with(": Notice one two (reason=a.yaml:7:1: no YAML  7 | x: [ )"),
            "{}",
            reason.text
        );
        // JSON can hold the lines
        assert!(
            reason.json.contains(r"no YAML\n 7 | x: [\n"),
            "{}",
            reason.json
        );
        assert!(alert(Vec::new()).text.ends_with(": Notice one two"));
    }

    #[test]
    fn it_has_falcos_shape() {
        let alert = AlertFormat::new("box").internal(
            1_767_225_605_000_000_000,
            "Falco internal: syscall event drop",
            Priority::Critical,
            "Falco internal: syscall event drop.\n3 system calls dropped in last second.",
            vec![
                ("n_evts".to_owned(), OwnedValue::U64(70)),
                ("n_drops".to_owned(), OwnedValue::U64(3)),
            ],
        );
        assert!(
            alert.text.ends_with(
                ":05.000000000: Critical Falco internal: syscall event drop. 3 system calls dropped \
                 in last second. (n_drops=3 n_evts=70)"
            ),
            "{}",
            alert.text
        );
        assert_eq!(
            alert.json,
            r#"{"hostname":"box","output":"Falco internal: syscall event drop. 3 system calls dropped in last second.","output_fields":{"n_drops":3,"n_evts":70},"priority":"Critical","rule":"Falco internal: syscall event drop","source":"internal","time":"2026-01-01T00:00:05.000000000Z"}"#
        );
    }
}
