//! An alert as bytes: what the spool keeps of it, which is all.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use plugin_host::{Alert, OwnedValue, Priority};

/// Goes up when the layout changes; records of other layouts are unreadable.
const LAYOUT: u8 = 1;
/// Layout, and when it was stored in nanoseconds since the epoch.
const HEAD: usize = 9;

#[derive(Debug, Serialize, Deserialize)]
struct Record<'a> {
    time_ns: u64,
    rule: &'a str,
    priority: u32,
    source: &'a str,
    hostname: &'a str,
    #[serde(borrow)]
    tags: Vec<&'a str>,
    text: &'a str,
    json: &'a str,
    #[serde(borrow)]
    fields: Vec<(&'a str, Field<'a>)>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Field<'a> {
    None,
    Bool(bool),
    I64(i64),
    U64(u64),
    F64(f64),
    String(&'a [u8]),
    Bytes(&'a [u8]),
    Ip(IpAddr),
    #[serde(borrow)]
    List(Vec<Field<'a>>),
}

impl<'a> From<&'a OwnedValue> for Field<'a> {
    fn from(value: &'a OwnedValue) -> Self {
        match value {
            OwnedValue::None => Self::None,
            OwnedValue::Bool(v) => Self::Bool(*v),
            OwnedValue::I64(v) => Self::I64(*v),
            OwnedValue::U64(v) => Self::U64(*v),
            OwnedValue::F64(v) => Self::F64(*v),
            OwnedValue::String(v) => Self::String(v),
            OwnedValue::Bytes(v) => Self::Bytes(v),
            OwnedValue::Ip(v) => Self::Ip(*v),
            OwnedValue::List(v) => Self::List(v.iter().map(Self::from).collect()),
        }
    }
}

impl From<Field<'_>> for OwnedValue {
    fn from(field: Field<'_>) -> Self {
        match field {
            Field::None => Self::None,
            Field::Bool(v) => Self::Bool(v),
            Field::I64(v) => Self::I64(v),
            Field::U64(v) => Self::U64(v),
            Field::F64(v) => Self::F64(v),
            Field::String(v) => Self::String(v.to_vec()),
            Field::Bytes(v) => Self::Bytes(v.to_vec()),
            Field::Ip(v) => Self::Ip(v),
            Field::List(v) => Self::List(v.into_iter().map(Self::from).collect()),
        }
    }
}

/// The bytes of an alert that is stored now.
pub(super) fn encode(alert: &Alert, now_ns: u64) -> Vec<u8> {
    let record = Record {
        time_ns: alert.time_ns,
        rule: &alert.rule,
        priority: alert.priority as u32,
        source: &alert.source,
        hostname: &alert.hostname,
        tags: alert.tags.iter().map(String::as_str).collect(),
        text: &alert.text,
        json: &alert.json,
        fields: alert
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.into()))
            .collect(),
    };
    let mut bytes = Vec::with_capacity(HEAD + alert.text.len() + alert.json.len() + 256);
    bytes.push(LAYOUT);
    bytes.extend_from_slice(&now_ns.to_le_bytes());
    // Texts, numbers and lists whose lengths are known always have a form.
    postcard::to_extend(&record, bytes).unwrap_or_default()
}

/// When a record was stored, in nanoseconds since the epoch.
pub(super) fn stored_ns(bytes: &[u8]) -> Option<u64> {
    let stamp = bytes.get(1..HEAD)?.try_into().ok()?;
    (bytes[0] == LAYOUT).then_some(u64::from_le_bytes(stamp))
}

/// The alert, unless the bytes are of another layout or damaged.
pub(super) fn decode(bytes: &[u8]) -> Option<Alert> {
    stored_ns(bytes)?;
    let record: Record<'_> = postcard::from_bytes(bytes.get(HEAD..)?).ok()?;
    Some(Alert {
        time_ns: record.time_ns,
        rule: record.rule.to_owned(),
        priority: Priority::from_number(record.priority)?,
        source: record.source.to_owned(),
        hostname: record.hostname.to_owned(),
        tags: record.tags.into_iter().map(str::to_owned).collect(),
        text: record.text.to_owned(),
        json: record.json.to_owned(),
        fields: record
            .fields
            .into_iter()
            .map(|(name, field)| (name.to_owned(), field.into()))
            .collect(),
        context: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_comes_back_as_it_was() {
        let alert = Alert {
            time_ns: u64::MAX,
            rule: "Läuft".to_owned(),
            priority: Priority::Warning,
            source: "syscall".to_owned(),
            hostname: String::new(),
            tags: vec!["a".to_owned(), "b".to_owned()],
            text: "text".to_owned(),
            json: "{}".to_owned(),
            fields: vec![
                ("none".to_owned(), OwnedValue::None),
                ("bool".to_owned(), OwnedValue::Bool(true)),
                ("i64".to_owned(), OwnedValue::I64(i64::MIN)),
                ("f64".to_owned(), OwnedValue::F64(0.5)),
                ("string".to_owned(), OwnedValue::String(vec![0xff, 0, b'x'])),
                ("bytes".to_owned(), OwnedValue::Bytes(vec![0; 300])),
                ("ip".to_owned(), OwnedValue::Ip("::1".parse().unwrap())),
                (
                    "list".to_owned(),
                    OwnedValue::List(vec![OwnedValue::U64(1), OwnedValue::None]),
                ),
            ],
            context: Vec::new(),
        };
        let bytes = encode(&alert, 77);
        assert_eq!(stored_ns(&bytes), Some(77));
        assert_eq!(decode(&bytes), Some(alert));
    }

    #[test]
    fn what_is_damaged_is_no_alert_and_no_panic() {
        let bytes = encode(&Alert::clone(&sample()), 1);
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None, "{end}");
        }
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0xff;
            let _ = decode(&other);
        }
    }

    fn sample() -> Alert {
        Alert {
            time_ns: 1,
            rule: "rule".to_owned(),
            priority: Priority::Debug,
            source: "syscall".to_owned(),
            hostname: "box".to_owned(),
            tags: vec!["t".to_owned()],
            text: "text".to_owned(),
            json: "{}".to_owned(),
            fields: vec![("f".to_owned(), OwnedValue::String(b"v".to_vec()))],
            context: Vec::new(),
        }
    }
}
