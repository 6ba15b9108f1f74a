//! Alerts as messages. They are made once for all clients.

use std::collections::HashMap;

use lanner_plugin::{AlertView, Value};
use prost::Message;
use prost_types::Timestamp;

use crate::proto::falco::outputs::Response;
use crate::proto::falco::schema::{Priority, Source};
use crate::proto::own;

/// An alert, as each of the services sends it.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) falco: Response,
    pub(crate) own: own::Alert,
    /// Roughly how much memory it takes.
    pub(crate) bytes: usize,
}

pub(crate) fn item(alert: &AlertView<'_>) -> Item {
    let time = Some(timestamp(alert.time_ns()));
    let tags: Vec<String> = alert.tags().map(str::to_owned).collect();
    let text = |text: &str| text.to_owned();
    let falco = Response {
        time,
        priority: alert.priority() as i32,
        rule: text(alert.rule()),
        output: text(alert.text()),
        output_fields: alert
            .fields()
            .map(|(name, value)| (text(name), as_text(value)))
            .collect(),
        hostname: text(alert.hostname()),
        tags: tags.clone(),
        source: text(alert.source()),
        ..Response::default()
    };
    let fields: HashMap<String, own::Value> = alert
        .fields()
        .map(|(name, value)| (text(name), typed(value)))
        .collect();
    let own = own::Alert {
        time,
        priority: alert.priority() as u32,
        rule: text(alert.rule()),
        source: text(alert.source()),
        hostname: text(alert.hostname()),
        tags,
        text: text(alert.text()),
        json: text(alert.json()),
        fields,
    };
    let bytes = 1024 + 2 * (falco.encoded_len() + own.encoded_len());
    Item { falco, own, bytes }
}

/// A notice that a client missed alerts. Falco's service has no message for that, so it is an alert. No rule can have its
/// name.
pub(crate) fn alerts_dropped(count: u64, time_ns: u64) -> Response {
    #[expect(deprecated, reason = "old clients read this field")]
    Response {
        time: Some(timestamp(time_ns)),
        priority: Priority::Warning.into(),
        source_deprecated: Source::Internal.into(),
        rule: "lanner internal: alerts dropped".to_owned(),
        output: format!("{count} alerts were dropped for this client, which reads too slowly"),
        output_fields: HashMap::from([("n_drops".to_owned(), count.to_string())]),
        source: "internal".to_owned(),
        ..Response::default()
    }
}

fn timestamp(time_ns: u64) -> Timestamp {
    const SECOND: u64 = 1_000_000_000;
    Timestamp {
        seconds: i64::try_from(time_ns / SECOND).unwrap_or(i64::MAX),
        nanos: i32::try_from(time_ns % SECOND).unwrap_or(0),
    }
}

/// A field's value in the map of Falco's message.
fn as_text(value: Value<'_>) -> String {
    match value {
        Value::None => "<NA>".to_owned(),
        Value::Bool(v) => v.to_string(),
        Value::I64(v) => v.to_string(),
        Value::U64(v) => v.to_string(),
        Value::F64(v) => v.to_string(),
        Value::Ip(v) => v.to_string(),
        Value::String(v) | Value::Bytes(v) => String::from_utf8_lossy(v).into_owned(),
        Value::List(list) => {
            let parts: Vec<String> = list.iter().map(as_text).collect();
            format!("({})", parts.join(","))
        }
    }
}

/// A field's value in our own message.
fn typed(value: Value<'_>) -> own::Value {
    use own::value::Value as Kind;
    let kind = match value {
        Value::None => None,
        Value::Bool(v) => Some(Kind::Boolean(v)),
        Value::I64(v) => Some(Kind::Signed(v)),
        Value::U64(v) => Some(Kind::Unsigned(v)),
        Value::F64(v) => Some(Kind::Floating(v)),
        Value::Ip(std::net::IpAddr::V4(v)) => Some(Kind::Address(v.octets().to_vec())),
        Value::Ip(std::net::IpAddr::V6(v)) => Some(Kind::Address(v.octets().to_vec())),
        Value::String(v) => Some(match std::str::from_utf8(v) {
            Ok(text) => Kind::Text(text.to_owned()),
            Err(_) => Kind::Raw(v.to_vec()),
        }),
        Value::Bytes(v) => Some(Kind::Raw(v.to_vec())),
        Value::List(list) => Some(Kind::List(own::List {
            values: list.iter().map(typed).collect(),
        })),
    };
    own::Value { value: kind }
}
