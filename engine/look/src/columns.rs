//! The fields that events are grouped by, and the fields that are numbers.

use fields::template::Template;
use fields::{FieldId, FieldRegistry, View};
use plugin_host::{FieldKind, FieldResolver, Value};

use super::error::{FieldError, LookError};

/// What separates the columns of a key. No value has it: templates escape control characters.
pub(crate) const SEPARATOR: char = '\t';

/// Fields that make a key.
#[derive(Debug)]
pub(crate) struct Columns {
    pub(crate) names: Vec<String>,
    templates: Vec<Template>,
}

impl Columns {
    /// Reads `FIELD,FIELD,...`. A column may also be a transformer, such as `basename(fd.name)`.
    pub(crate) fn parse(
        option: &'static str,
        text: &str,
        registry: &FieldRegistry,
    ) -> Result<Self, LookError> {
        let mut columns = Self {
            names: Vec::new(),
            templates: Vec::new(),
        };
        for name in split(text) {
            let name = name.trim();
            let failed = |source: FieldError| LookError::Field {
                option,
                text: name.to_owned(),
                source,
            };
            let template = Template::compile(&format!("%{name}"), registry)
                .map_err(|error| failed(error.into()))?;
            let mut fields = template.fields();
            if fields.next().is_none_or(|field| *field.name != *name) {
                drop(fields);
                // the registry has the better message where it is simply no field
                registry
                    .field(name, None)
                    .map_err(|error| failed(error.into()))?;
                return Err(failed(FieldError::NotAField));
            }
            drop(fields);
            columns.names.push(name.to_owned());
            columns.templates.push(template);
        }
        Ok(columns)
    }

    /// Replaces `key` by that of an event.
    pub(crate) fn key(&self, view: &View<'_>, key: &mut String) {
        key.clear();
        for (at, template) in self.templates.iter().enumerate() {
            if at > 0 {
                key.push(SEPARATOR);
            }
            template.render(view, key);
        }
    }
}

/// The parts between commas that are not in brackets or parentheses.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    text.split(move |c: char| {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

/// A field that is a number.
#[derive(Debug)]
pub(crate) struct NumberField {
    pub(crate) name: String,
    id: FieldId,
}

impl NumberField {
    pub(crate) fn parse(
        option: &'static str,
        text: &str,
        registry: &FieldRegistry,
    ) -> Result<Self, LookError> {
        let text = text.trim();
        let failed = |source: FieldError| LookError::Field {
            option,
            text: text.to_owned(),
            source,
        };
        let (name, arg) = match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
            Some((name, arg)) => (name, Some(arg)),
            None => (text, None),
        };
        let resolved = registry
            .resolve(name, arg)
            .map_err(|error| failed(error.into()))?;
        let kind = match resolved.kind {
            FieldKind::I64 | FieldKind::U64 | FieldKind::F64 | FieldKind::Any => None,
            FieldKind::Bool => Some("bool"),
            FieldKind::String => Some("string"),
            FieldKind::Bytes => Some("bytes"),
            FieldKind::Ip => Some("address"),
        };
        if let Some(kind) = kind {
            return Err(failed(FieldError::NotANumber { kind }));
        }
        Ok(Self {
            name: text.to_owned(),
            id: registry
                .field(name, arg)
                .map_err(|error| failed(error.into()))?,
        })
    }

    /// The number. None: the event does not have it, or it is none in this event.
    pub(crate) fn number(&self, view: &View<'_>) -> Option<i128> {
        match view.value(self.id) {
            Value::I64(number) => Some(number.into()),
            Value::U64(number) => Some(number.into()),
            #[expect(clippy::cast_possible_truncation, reason = "a fraction is cut off")]
            Value::F64(number) => Some(number as i128),
            Value::None
            | Value::Bool(_)
            | Value::String(_)
            | Value::Bytes(_)
            | Value::Ip(_)
            | Value::List(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_brackets_do_not_separate_columns() {
        let parts: Vec<&str> = split("a.b,c[1,2],f(x.y, z.z),d").collect();
        assert_eq!(parts, ["a.b", "c[1,2]", "f(x.y, z.z)", "d"]);
    }

    #[test]
    fn what_is_no_field_is_refused_with_what_was_meant() {
        let registry = FieldRegistry::new("");
        let columns = |text| Columns::parse("--count", text, &registry);
        assert!(columns("proc.name,fd.name").is_ok());
        assert!(columns("basename(fd.name)").is_ok());
        for wrong in [
            "proc.nam",
            "proc.nameand",
            "proc",
            "",
            "%proc.name",
            "proc.name ",
        ] {
            let result = columns(wrong);
            assert_eq!(result.is_err(), wrong != "proc.name ", "{wrong:?}");
        }
    }

    #[test]
    fn only_numbers_can_be_measured() {
        let registry = FieldRegistry::new("");
        let number = |text| NumberField::parse("--hist", text, &registry);
        assert!(number("evt.buflen").is_ok());
        assert!(number("evt.rawarg.size").is_ok());
        assert!(number("evt.rawarg[size]").is_ok());
        assert!(matches!(
            number("proc.name"),
            Err(LookError::Field {
                source: FieldError::NotANumber { .. },
                ..
            })
        ));
    }
}
