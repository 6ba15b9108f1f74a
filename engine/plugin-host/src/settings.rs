//! Checks the settings of a plugin against the schema that the plugin hands over, before the plugin sees them. So the
//! users of all plugins get the same messages, with the key that is wrong and the nearest known one.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use boon::{
    CompileError, Compiler, ErrorKind, SchemaIndex, Schemas, Type, UrlLoader, ValidationError,
};
use serde_json::Value as Json;

use suggest::did_you_mean;

use super::border::printable;
use super::error::PluginError;
use super::secrets;

/// At most this many faults are reported at a time.
const MAX_FAULTS: usize = 5;
/// At most this many characters of a wrong value are shown.
const MAX_SHOWN: usize = 60;
/// The address of the schema, to which its references are relative. Nothing is loaded from there.
const ADDRESS: &str = "lanner:/settings";

/// A compiled schema.
pub(crate) struct Validator {
    schemas: Schemas,
    root: SchemaIndex,
}

/// A plugin's schema is not a JSON schema.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    /// boon shows the cause only in the alternate form.
    #[error("{0:#}")]
    Compile(Box<CompileError>),
    /// boon panics, for example at a pattern that is too large.
    #[error("the compiler of schemas panicked")]
    Panicked,
}

impl From<CompileError> for SchemaError {
    fn from(error: CompileError) -> Self {
        Self::Compile(Box::new(error))
    }
}

/// Loads nothing: a plugin's schema has no business with files or other hosts.
struct NoLoader;

impl UrlLoader for NoLoader {
    fn load(&self, _url: &str) -> Result<Json, Box<dyn Error>> {
        Err("a schema of settings is one document; it cannot refer to others".into())
    }
}

impl Validator {
    /// Compiles a schema.
    ///
    /// # Errors
    ///
    /// It is not a JSON schema.
    pub(crate) fn new(schema: &Json) -> Result<Self, SchemaError> {
        catch_unwind(AssertUnwindSafe(|| Self::compile(schema)))
            .unwrap_or(Err(SchemaError::Panicked))
    }

    fn compile(schema: &Json) -> Result<Self, SchemaError> {
        let mut compiler = Compiler::new();
        compiler.use_loader(Box::new(NoLoader));
        compiler.add_resource(ADDRESS, schema.clone())?;
        let mut schemas = Schemas::new();
        let root = compiler.compile(ADDRESS, &mut schemas)?;
        Ok(Self { schemas, root })
    }
}

/// Checks settings, a JSON text, against a plugin's schema. An empty text is left to the plugin.
///
/// # Errors
///
/// What is wrong with the settings or with the schema.
pub fn check(plugin: &str, schema: &Json, settings: &str) -> Result<(), PluginError> {
    if settings.trim().is_empty() {
        return Ok(());
    }
    let refuse = |reason: String| PluginError::Settings {
        plugin: plugin.to_owned(),
        reason: printable(&reason, false),
    };
    let given: Json =
        serde_json::from_str(settings).map_err(|error| refuse(format!("not JSON: {error}")))?;
    let validator = Validator::new(schema).map_err(|error| PluginError::Failed {
        plugin: plugin.to_owned(),
        call: "say what its settings are",
        reason: format!("its schema is none: {error}"),
    })?;
    let Err(error) = validator.schemas.validate(&given, validator.root) else {
        return Ok(());
    };
    let mut faults = Vec::new();
    describe(&error, schema, &given, &mut faults);
    faults.truncate(MAX_FAULTS);
    Err(refuse(faults.join("; ")))
}

/// Adds a text for each fault that an error consists of.
fn describe(
    error: &ValidationError<'_, '_>,
    schema: &Json,
    given: &Json,
    faults: &mut Vec<String>,
) {
    let place = error.instance_location.to_string();
    let key = place.trim_start_matches('/').replace('/', ".");
    let shown = || shown(given.pointer(&place).unwrap_or(given));
    let text = match &error.kind {
        // These only say which schema or group of schemas the causes are from.
        ErrorKind::Group
        | ErrorKind::Schema { .. }
        | ErrorKind::Reference { .. }
        | ErrorKind::AllOf => {
            for cause in &error.causes {
                describe(cause, schema, given, faults);
            }
            return;
        }
        ErrorKind::AdditionalProperties { got } => {
            let known = known_keys(schema, error.schema_url);
            faults.extend(got.iter().map(|unknown| unknown_key(&key, unknown, &known)));
            return;
        }
        ErrorKind::Type { want, .. }
            if key.is_empty() && want.iter().eq(std::iter::once(Type::Null)) =>
        {
            faults.push("there are no settings".to_owned());
            return;
        }
        ErrorKind::Required { want } => {
            let one = |name: &&str| at(&key, &format!("{name:?} is a required property"));
            faults.extend(want.iter().map(one));
            return;
        }
        ErrorKind::Type { want, .. } => {
            let want: Vec<String> = want.iter().map(|one| format!("\"{one}\"")).collect();
            let types = if want.len() == 1 { "type" } else { "types" };
            format!("{} is not of {types} {}", shown(), want.join(", "))
        }
        ErrorKind::Enum { want } => {
            let want: Vec<String> = want.iter().map(Json::to_string).collect();
            format!("{} is not one of {}", shown(), want.join(", "))
        }
        ErrorKind::Const { want } => format!("{} is not {want}", shown()),
        ErrorKind::AnyOf | ErrorKind::OneOf(None) => {
            let mut allowed = Vec::new();
            constants(&error.causes, &mut allowed);
            if allowed.is_empty() {
                format!("{} is none of the values that are allowed here", shown())
            } else {
                format!("{} is not one of {}", shown(), allowed.join(", "))
            }
        }
        ErrorKind::Minimum { want, .. } => {
            format!("{} is less than the minimum of {want}", shown())
        }
        ErrorKind::Maximum { want, .. } => {
            format!("{} is greater than the maximum of {want}", shown())
        }
        ErrorKind::Pattern { want, .. } => format!("{} does not match {want:?}", shown()),
        other => other.to_string(),
    };
    faults.push(at(&key, &text));
}

fn at(key: &str, text: &str) -> String {
    if key.is_empty() {
        text.to_owned()
    } else {
        format!("`{key}`: {text}")
    }
}

/// A wrong value, without secrets. It can be long: what is cut could not be recognised as a secret any more.
fn shown(value: &Json) -> String {
    let text = value.to_string();
    let text = secrets::hide(&text);
    let mut shown: String = text.chars().take(MAX_SHOWN).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

/// Adds the constants that alternatives allow.
fn constants(causes: &[ValidationError<'_, '_>], allowed: &mut Vec<String>) {
    for cause in causes {
        match &cause.kind {
            ErrorKind::Const { want } => allowed.push(want.to_string()),
            ErrorKind::Enum { want } => allowed.extend(want.iter().map(Json::to_string)),
            _ => {}
        }
        constants(&cause.causes, allowed);
    }
}

/// The names of the properties beside an `additionalProperties` that refused a key.
fn known_keys<'a>(schema: &'a Json, url: &str) -> Vec<&'a str> {
    let pointer = url.split_once('#').map_or("", |(_, pointer)| pointer);
    schema
        .pointer(pointer)
        .and_then(|schema| schema.get("properties")?.as_object())
        .map(|known| known.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

fn unknown_key(key: &str, unknown: &str, known: &[&str]) -> String {
    let hint = did_you_mean(unknown, known.iter().copied());
    let hint = match (hint.is_empty(), known.is_empty()) {
        (false, _) => hint,
        (true, true) => "; there are no settings".to_owned(),
        (true, false) => format!("; there are {}", known.join(", ")),
    };
    let under = if key.is_empty() {
        String::new()
    } else {
        format!("{key}.")
    };
    format!("unknown key `{under}{unknown}`{hint}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(settings: &str) -> String {
        let schema = json!({
            "type": "object",
            "properties": {
                "url": {"type": "string"},
                "timeout": {"type": "integer", "minimum": 1},
                "tls": {"$ref": "#/$defs/Tls"},
                "mode": {"enum": ["a", "b"]},
            },
            "required": ["url"],
            "additionalProperties": false,
            "$defs": {"Tls": {
                "type": "object",
                "properties": {"certificate": {"type": "string"}},
                "additionalProperties": false,
            }},
        });
        match check("p", &schema, settings) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_key() {
        assert_eq!(fault(""), "");
        assert_eq!(fault(r#"{"url":"x","timeout":3,"tls":{}}"#), "");
        for (settings, expected) in [
            (
                r#"{"url":"x","timeuot":3}"#,
                "plugin `p`: settings: unknown key `timeuot`; did you mean `timeout`?",
            ),
            (
                r#"{"url":"x","tls":{"certifcate":"x"}}"#,
                "unknown key `tls.certifcate`; did you mean `certificate`?",
            ),
            (
                r#"{"url":"x","zzzzzzz":3}"#,
                "unknown key `zzzzzzz`; there are mode, timeout, tls, url",
            ),
            (
                r#"{"url":"x","timeout":"soon"}"#,
                "`timeout`: \"soon\" is not of type \"integer\"",
            ),
            (
                r#"{"url":"x","timeout":0}"#,
                "`timeout`: 0 is less than the minimum of 1",
            ),
            (r#"{"url":"x","mode":"c"}"#, "`mode`: \"c\" is not one of"),
            (r#"{}"#, "\"url\" is a required property"),
            ("[", "not JSON"),
        ] {
            let found = fault(settings);
            assert!(found.contains(expected), "{settings}: {found}");
        }
    }

    #[test]
    fn a_plugin_without_settings_says_so() {
        let error = check("p", &json!({"type": "null"}), "{\"a\":1}").unwrap_err();
        assert!(
            error.to_string().contains("there are no settings"),
            "{error}"
        );
    }

    #[test]
    fn the_values_of_an_enum_are_listed() {
        let schema = json!({"properties": {
            "batch": {"oneOf": [{"const": "none"}, {"const": "array"}]},
        }});
        assert!(check("p", &schema, r#"{"batch":"none"}"#).is_ok());
        let error = check("p", &schema, r#"{"batch":"c"}"#).unwrap_err();
        let expected = r#"`batch`: "c" is not one of "none", "array""#;
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn a_schema_that_cannot_be_compiled_is_the_plugins_fault() {
        let pattern = "(((a{100}){100}){100}){100}";
        let schema = json!({"properties": {"url": {"pattern": pattern}}});
        let error = check("p", &schema, "{}").unwrap_err().to_string();
        assert!(error.contains("its schema is none"), "{error}");
    }

    #[test]
    fn a_schema_cannot_refer_to_files_or_hosts() {
        for address in ["file:///etc/passwd", "http://localhost/schema", "other"] {
            let schema = json!({"properties": {"url": {"$ref": address}}});
            let error = check("p", &schema, "{}").unwrap_err().to_string();
            assert!(error.contains("its schema is none"), "{error}");
        }
    }
}
