//! Makes the alert of a rule's match, once for all outputs: Falco's text line, Falco's JSON object, and the typed fields.
//! Events that match no rule do not come here.

mod append;
mod internal;
mod kept;
mod late;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;

use fields::template::{Template, TemplateError};
use fields::{FieldId, FieldRegistry, View, time, without_invalid};
use plugin_host::{Alert, FieldSource, OwnedValue, Priority, Rule, Value};

use append::Extra;
pub use append::{AppendError, AppendOutput, ExtraField, RuleMatch};
pub use kept::Kept;
pub use late::LateAlerts;

/// The field with the name of the file that has the events around an alert.
pub const CAPTURE_FILE: &str = "capture.file";

/// The format of alerts. The defaults are Falco's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertFormat {
    /// Name of this host.
    pub hostname: String,
    /// Date and time in UTC at the beginning of the text, rather than the local time of day
    /// (`time_format_iso_8601`).
    pub iso_time: bool,
    /// JSON has `output` (`json_include_output_property`).
    pub json_output: bool,
    /// JSON has `output_fields` (`json_include_output_fields_property`).
    pub json_output_fields: bool,
    /// JSON has `tags` (`json_include_tags_property`).
    pub json_tags: bool,
    /// JSON has `message`, the text without time and priority (`json_include_message_property`).
    pub json_message: bool,
    /// Fields that every alert has (`static_fields`).
    pub static_fields: BTreeMap<String, String>,
}

impl AlertFormat {
    /// Falco's defaults.
    #[must_use]
    pub fn new(hostname: impl Into<String>) -> Self {
        Self {
            hostname: hostname.into(),
            iso_time: false,
            json_output: true,
            json_output_fields: true,
            json_tags: true,
            json_message: false,
            static_fields: BTreeMap::new(),
        }
    }

    /// Makes the alert of a rule that an event matches.
    #[must_use]
    pub fn alert(&self, rule: &AlertRule, view: &View<'_>) -> Alert {
        self.alert_of(rule, view.time_ns(), view, None)
    }

    /// The same, with the name of the file that has the events around the alert.
    #[must_use]
    pub fn alert_with_file(&self, rule: &AlertRule, view: &View<'_>, file: Option<&str>) -> Alert {
        self.alert_of(rule, view.time_ns(), view, file)
    }

    /// The same from fields that were kept.
    #[must_use]
    pub fn alert_of_kept(&self, rule: &AlertRule, kept: &Kept) -> Alert {
        self.alert_of(rule, kept.time_ns(), kept, kept.file())
    }

    fn alert_of(
        &self,
        rule: &AlertRule,
        time_ns: u64,
        view: &impl FieldSource,
        file: Option<&str>,
    ) -> Alert {
        let mut message = String::new();
        rule.template.render(view, &mut message);
        let time_field = if self.iso_time {
            "evt.time.iso8601"
        } else {
            "evt.time"
        };
        let mut text = String::new();
        if self.iso_time {
            time::iso8601(&mut text, time_ns, "+0000");
        } else {
            time::clock(&mut text, time_ns);
        }
        let stamp = if self.iso_time {
            OwnedValue::String(text.clone().into_bytes())
        } else {
            OwnedValue::U64(time_ns)
        };
        text.push_str(": ");
        text.push_str(rule.priority.name());
        text.push(' ');
        text.push_str(&message);

        let mut fields = vec![(time_field.to_owned(), stamp)];
        for field in rule.template.fields() {
            if fields.iter().all(|(name, _)| **name != *field.name) {
                let value = match &*field.name {
                    "evt.time" => OwnedValue::U64(time_ns),
                    _ => field.owned(view),
                };
                fields.push((field.name.to_string(), value));
            }
        }
        let extra = rule
            .extra
            .iter()
            .map(|extra| (extra.name(), extra.value(view)));
        let fixed = self
            .static_fields
            .iter()
            .map(|(name, value)| (&**name, OwnedValue::String(value.clone().into_bytes())));
        for (name, value) in extra.chain(fixed) {
            if fields.iter().all(|(known, _)| known != name) {
                fields.push((name.to_owned(), value));
            }
        }
        if let Some(file) = file {
            let value = OwnedValue::String(file.as_bytes().to_vec());
            fields.push((CAPTURE_FILE.to_owned(), value));
        }
        let context = rule.context.iter();
        let context = context.map(|extra| (extra.name().to_owned(), extra.value(view)));
        let context = context.collect();
        let json = self.json(rule, time_ns, &message, &text, &fields);
        Alert {
            time_ns,
            rule: rule.name.clone(),
            priority: rule.priority,
            source: rule.source.clone(),
            hostname: self.hostname.clone(),
            tags: rule.tags.clone(),
            text,
            json,
            fields,
            context,
        }
    }

    fn json(
        &self,
        rule: &AlertRule,
        time_ns: u64,
        message: &str,
        text: &str,
        fields: &[(String, OwnedValue)],
    ) -> String {
        let mut iso_time = String::new();
        time::iso8601(&mut iso_time, time_ns, "Z");
        let object = Object {
            hostname: &self.hostname,
            message: self.json_message.then_some(message),
            output: self.json_output.then_some(text),
            output_fields: self.json_output_fields.then(|| {
                fields
                    .iter()
                    .map(|(name, value)| (&**name, json(value)))
                    .collect()
            }),
            priority: rule.priority.name(),
            rule: &rule.name,
            source: &rule.source,
            tags: self.json_tags.then_some(&rule.tags),
            time: &iso_time,
        };
        // Maps with text keys, texts and finite numbers always have a form in JSON.
        serde_json::to_string(&object).unwrap_or_default()
    }
}

/// The parts of a rule that its alerts need.
#[derive(Debug, Clone)]
pub struct AlertRule {
    /// Name.
    pub name: String,
    /// How bad a match is.
    pub priority: Priority,
    /// Where its events come from.
    pub source: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Text.
    pub template: Template,
    /// Fields beside those of the text.
    extra: Vec<Extra>,
    /// Fields that outputs do not get ([`Alert::context`]).
    context: Vec<Extra>,
}

impl AlertRule {
    /// A rule as its plugin described it, with its template compiled.
    #[must_use]
    pub fn new(rule: &Rule, template: Template) -> Self {
        Self {
            name: rule.name.clone(),
            priority: rule.priority,
            source: rule.source.clone(),
            tags: sorted(&rule.tags),
            template,
            extra: Vec::new(),
            context: Vec::new(),
        }
    }

    /// The same rule, whose alerts also have these fields as [`Alert::context`].
    ///
    /// # Errors
    ///
    /// There is no field of a name.
    pub fn with_context(
        mut self,
        names: &[&str],
        fields: &FieldRegistry,
    ) -> Result<Self, TemplateError> {
        let extra = names.iter().map(|name| Extra::of_field(name, fields));
        self.context = extra.collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Calls `sink` with every field that an alert is made of.
    pub fn ids(&self, sink: &mut dyn FnMut(FieldId)) {
        self.output_ids(sink);
        for extra in &self.context {
            extra.ids(sink);
        }
    }

    /// Calls `sink` with every field that outputs get.
    pub(crate) fn output_ids(&self, sink: &mut dyn FnMut(FieldId)) {
        self.template.ids(sink);
        for extra in &self.extra {
            extra.ids(sink);
        }
    }
}

/// Falco keeps tags as a set: in order, and each once.
fn sorted(tags: &[String]) -> Vec<String> {
    let set: std::collections::BTreeSet<_> = tags.iter().cloned().collect();
    set.into_iter().collect()
}

/// Falco's object; its keys are in alphabetical order.
#[derive(Debug, Serialize)]
struct Object<'a> {
    hostname: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_fields: Option<BTreeMap<&'a str, Json>>,
    priority: &'a str,
    rule: &'a str,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a Vec<String>>,
    time: &'a str,
}

/// A field's value in JSON. Bytes that are not UTF-8 come as `\xHH`.
#[must_use]
pub fn json(value: &OwnedValue) -> Json {
    if let OwnedValue::List(values) = value {
        return Json::Array(values.iter().map(json).collect());
    }
    match value.scalar() {
        Value::None | Value::List(_) => Json::Null,
        Value::Bool(v) => v.into(),
        Value::I64(v) => v.into(),
        Value::U64(v) => v.into(),
        Value::F64(v) => v.into(),
        Value::Ip(v) => v.to_string().into(),
        Value::String(v) | Value::Bytes(v) => {
            let mut text = String::new();
            without_invalid(&mut text, v);
            text.into()
        }
    }
}

#[cfg(test)]
mod tests;
