//! An alert, and the form in which it crosses the border.

use lanner_plugin::abi::{
    LannerAlert, LannerAlertField, LannerBatch, LannerList, LannerStr, LannerValue,
    LannerValueData, TAG_LIST,
};
use lanner_plugin::{OwnedValue, Priority, RawValue};

/// An alert. Text and JSON are made once, before the first output sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// When the event happened, in nanoseconds since the epoch.
    pub time_ns: u64,
    /// Name of the rule.
    pub rule: String,
    /// How serious it is.
    pub priority: Priority,
    /// The source of the event, such as `syscall`.
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
    /// Fields that lanner's own page needs and that outputs do not get. They are lost in a spool.
    pub context: Vec<(String, OwnedValue)>,
}

impl AsRef<Alert> for Alert {
    fn as_ref(&self) -> &Alert {
        self
    }
}

/// The structs of a batch, and everything that they point to. The vectors keep their memory from batch to batch, so that a
/// call allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Batch {
    tags: Vec<LannerStr>,
    fields: Vec<LannerAlertField>,
    /// Elements of lists, and for each list the place of its field and of its first element.
    elements: Vec<LannerValue>,
    lists: Vec<(usize, usize, usize)>,
    alerts: Vec<LannerAlert>,
    pointers: Vec<*const LannerAlert>,
}

impl Batch {
    /// The structs of these alerts. `refused` takes the plugin's answer. The structs must not be used after any of the
    /// three was changed or dropped.
    pub(super) fn fill<A: AsRef<Alert>>(
        &mut self,
        alerts: &[A],
        refused: &mut usize,
    ) -> LannerBatch {
        self.tags.clear();
        self.fields.clear();
        self.elements.clear();
        self.lists.clear();
        self.alerts.clear();
        self.pointers.clear();
        let text = |text: &str| LannerStr::new(text.as_bytes());
        for alert in alerts {
            let alert = alert.as_ref();
            self.tags.extend(alert.tags.iter().map(|tag| text(tag)));
            for (name, value) in &alert.fields {
                self.field(text(name), value);
            }
            self.alerts.push(LannerAlert {
                size: size_of::<LannerAlert>(),
                time_ns: alert.time_ns,
                rule: text(&alert.rule),
                source: text(&alert.source),
                hostname: text(&alert.hostname),
                text: text(&alert.text),
                json: text(&alert.json),
                tags: std::ptr::null(),
                tag_count: alert.tags.len(),
                fields: std::ptr::null(),
                field_count: alert.fields.len(),
                priority: alert.priority as u32,
                reserved: 0,
            });
        }
        // The vectors do not grow from here on, so the addresses of their elements are final.
        for (field, first, len) in &self.lists {
            let list = LannerList {
                ptr: self.elements[*first..].as_ptr(),
                len: *len,
            };
            self.fields[*field].value = LannerValue {
                tag: TAG_LIST,
                reserved: 0,
                data: LannerValueData { list },
            };
        }
        let (mut tag, mut field) = (0, 0);
        for alert in &mut self.alerts {
            alert.tags = self.tags[tag..].as_ptr();
            alert.fields = self.fields[field..].as_ptr();
            tag += alert.tag_count;
            field += alert.field_count;
        }
        self.pointers
            .extend(self.alerts.iter().map(std::ptr::from_ref));
        LannerBatch {
            size: size_of::<LannerBatch>(),
            alerts: self.pointers.as_ptr(),
            count: self.pointers.len(),
            refused: std::ptr::from_mut(refused),
        }
    }

    fn field(&mut self, name: LannerStr, value: &OwnedValue) {
        if let OwnedValue::List(elements) = value {
            self.lists
                .push((self.fields.len(), self.elements.len(), elements.len()));
            let elements = elements
                .iter()
                .map(|one| RawValue::from(one.scalar()).abi());
            self.elements.extend(elements);
        }
        self.fields.push(LannerAlertField {
            name,
            value: RawValue::from(value.scalar()).abi(),
        });
    }
}
