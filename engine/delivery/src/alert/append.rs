//! What the configuration appends to alerts: Falco's `append_output`. Rules stay as they are; what is appended is part of
//! their templates before any event comes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::AlertRule;
use fields::template::{Template, TemplateError};
use fields::{FieldId, FieldRegistry};
use plugin_host::{FieldSource, OwnedValue, Rule};

/// What `suggested_output` stands for: whose container and pod it is.
const SUGGESTED: &str = "container_id=%container.id container_name=%container.name \
    container_image_repository=%container.image.repository container_image_tag=%container.image.tag \
    k8s_pod_name=%k8s.pod.name k8s_ns_name=%k8s.ns.name";

/// An entry of `append_output`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AppendOutput {
    /// Which rules; without it, all.
    #[serde(rename = "match")]
    pub matches: RuleMatch,
    /// Appended to the text, after a space; a template, whose fields are in the alert's fields, too.
    pub extra_output: String,
    /// Fields that the alert has beside those of the text.
    pub extra_fields: Vec<ExtraField>,
    /// Append the container's and the pod's names to the text.
    pub suggested_output: bool,
}

/// Selects rules: all given conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RuleMatch {
    /// The rule's source.
    pub source: Option<String>,
    /// The rule has all of these.
    pub tags: Vec<String>,
    /// The rule's name.
    pub rule: Option<String>,
}

/// A field that an alert has beside those of its text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ExtraField {
    /// A field by its name, with its type: `evt.cpu`, `proc.aname[2]`.
    Field(String),
    /// Texts by names of their own: `{who: "%user.name of %proc.sid"}`.
    Text(BTreeMap<String, String>),
}

/// What is appended cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[error("append_output[{entry}].{key}")]
pub struct AppendError {
    /// The entry, from 0.
    pub entry: usize,
    /// Its key.
    pub key: String,
    /// What is wrong with the template or the field.
    pub source: TemplateError,
}

/// An extra field, ready to be filled in.
#[derive(Debug, Clone)]
pub(super) struct Extra {
    name: String,
    template: Template,
    /// The value has its field's type, rather than being a text.
    typed: bool,
}

impl AppendOutput {
    /// Compiles what the entries append, whether or not there are rules that they fit.
    ///
    /// # Errors
    ///
    /// The first field or template that cannot be used.
    pub fn check(entries: &[Self], fields: &FieldRegistry) -> Result<(), AppendError> {
        for (entry, append) in entries.iter().enumerate() {
            let fault = |key: &str, source| AppendError {
                entry,
                key: key.to_owned(),
                source,
            };
            Template::compile(&append.extra_output, fields)
                .map_err(|source| fault("extra_output", source))?;
            for (at, field) in append.extra_fields.iter().enumerate() {
                Extra::of(field, fields)
                    .map_err(|source| fault(&format!("extra_fields[{at}]"), source))?;
            }
        }
        Ok(())
    }

    /// The entries that fit none of these rules, by their number from 0. That is a mistake in a name, more often than not.
    pub fn idle<'a>(
        entries: &'a [Self],
        rules: &'a [Rule],
    ) -> impl Iterator<Item = (usize, &'a RuleMatch)> {
        let fits_none =
            |matches: &RuleMatch| !rules.is_empty() && !rules.iter().any(|rule| matches.fits(rule));
        let all = entries.iter().map(|entry| &entry.matches).enumerate();
        all.filter(move |(_, matches)| fits_none(matches))
    }

    fn suggested(&self) -> &'static str {
        if self.suggested_output { SUGGESTED } else { "" }
    }
}

impl RuleMatch {
    fn fits(&self, rule: &Rule) -> bool {
        self.source
            .as_ref()
            .is_none_or(|source| *source == rule.source)
            && self.rule.as_ref().is_none_or(|name| *name == rule.name)
            && self.tags.iter().all(|tag| rule.tags.contains(tag))
    }
}

impl Extra {
    fn of(field: &ExtraField, fields: &FieldRegistry) -> Result<Vec<Self>, TemplateError> {
        match field {
            ExtraField::Field(name) => Ok(vec![Self::of_field(name, fields)?]),
            ExtraField::Text(texts) => texts
                .iter()
                .map(|(name, text)| {
                    Ok(Self {
                        name: name.clone(),
                        template: Template::compile(text, fields)?,
                        typed: false,
                    })
                })
                .collect(),
        }
    }

    pub(super) fn of_field(name: &str, fields: &FieldRegistry) -> Result<Self, TemplateError> {
        let written = name.strip_prefix('%').unwrap_or(name);
        let template = Template::compile(&format!("%{written}"), fields)?;
        if template.fields().count() != 1 {
            return Err(TemplateError {
                at: 0,
                reason: format!("`{name}` is no field; a text needs a name: `{{name: \"text\"}}`"),
            });
        }
        Ok(Self {
            name: written.to_owned(),
            template,
            typed: true,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn value(&self, event: &impl FieldSource) -> OwnedValue {
        if self.typed
            && let Some(field) = self.template.fields().next()
        {
            return field.owned(event);
        }
        let mut text = String::new();
        self.template.render(event, &mut text);
        OwnedValue::String(text.into_bytes())
    }

    pub(super) fn ids(&self, sink: &mut dyn FnMut(FieldId)) {
        self.template.ids(sink);
    }
}

impl AlertRule {
    /// A rule with what the configuration appends to its alerts.
    ///
    /// # Errors
    ///
    /// The rule's output or what is appended has a field that does not exist.
    pub fn compile(
        rule: &Rule,
        append: &[AppendOutput],
        fields: &FieldRegistry,
    ) -> Result<Self, TemplateError> {
        let mut output = rule.output.clone();
        let mut extra = Vec::new();
        for append in append.iter().filter(|append| append.matches.fits(rule)) {
            for text in [&*append.extra_output, append.suggested()] {
                if !text.is_empty() {
                    output.push(' ');
                    output.push_str(text);
                }
            }
            for field in &append.extra_fields {
                extra.extend(Extra::of(field, fields)?);
            }
        }
        let mut compiled = Self::new(rule, Template::compile(&output, fields)?);
        compiled.extra = extra;
        Ok(compiled)
    }
}
