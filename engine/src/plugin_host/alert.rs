//! An alert, and the form in which it crosses the border.

use lanner_plugin::abi::{LannerAlert, LannerAlertField, LannerStr};
use lanner_plugin::{OwnedValue, Priority, RawValue};

/// An alert. Text and JSON are made once, before the first output sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// When the event happened, in nanoseconds since the epoch.
    pub time_ns: u64,
    /// Name of the rule.
    pub rule: String,
    /// How bad it is.
    pub priority: Priority,
    /// Where the event came from, such as `syscall`.
    pub source: String,
    /// Name of the host.
    pub hostname: String,
    /// Tags of the rule.
    pub tags: Vec<String>,
    /// `HH:MM:SS.nnnnnnnnn: Priority text`, without a line break.
    pub text: String,
    /// Falco's JSON object, without a line break.
    pub json: String,
    /// The fields of the rule's template, in its order.
    pub fields: Vec<(String, OwnedValue)>,
}

impl AsRef<Alert> for Alert {
    fn as_ref(&self) -> &Alert {
        self
    }
}

/// What an alert's struct points to.
pub(super) struct Parts<'a> {
    alert: &'a Alert,
    tags: Vec<LannerStr>,
    fields: Vec<LannerAlertField>,
    /// Elements of list values, which `fields` points to.
    _lists: Vec<Vec<RawValue<'a>>>,
}

impl<'a> Parts<'a> {
    pub(super) fn new(alert: &'a Alert) -> Self {
        let mut fields = Vec::with_capacity(alert.fields.len());
        let mut lists = Vec::new();
        for (name, value) in &alert.fields {
            let raw = match value {
                OwnedValue::List(elements) => {
                    let elements: Vec<RawValue<'a>> = elements
                        .iter()
                        .map(|element| element.scalar().into())
                        .collect();
                    let list = lanner_plugin::List::new(&elements);
                    let raw = RawValue::from(lanner_plugin::Value::List(list)).abi();
                    // Moving the vector does not move its elements.
                    lists.push(elements);
                    raw
                }
                scalar => RawValue::from(scalar.scalar()).abi(),
            };
            fields.push(LannerAlertField {
                name: LannerStr::new(name.as_bytes()),
                value: raw,
            });
        }
        Self {
            alert,
            tags: alert
                .tags
                .iter()
                .map(|tag| LannerStr::new(tag.as_bytes()))
                .collect(),
            fields,
            _lists: lists,
        }
    }

    /// The struct. It must not outlive the parts.
    pub(super) fn abi(&self) -> LannerAlert {
        let text = |text: &str| LannerStr::new(text.as_bytes());
        let alert = self.alert;
        LannerAlert {
            size: size_of::<LannerAlert>(),
            time_ns: alert.time_ns,
            rule: text(&alert.rule),
            source: text(&alert.source),
            hostname: text(&alert.hostname),
            text: text(&alert.text),
            json: text(&alert.json),
            tags: self.tags.as_ptr(),
            tag_count: self.tags.len(),
            fields: self.fields.as_ptr(),
            field_count: self.fields.len(),
            priority: alert.priority as u32,
            reserved: 0,
        }
    }
}
