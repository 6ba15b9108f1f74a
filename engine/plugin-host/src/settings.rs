//! Settings of a plugin against the schema that it hands over, before the plugin sees them: so that every plugin's
//! user is told the same way what is wrong, with the key and the nearest known one.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value as Json;

use super::error::PluginError;
use suggest::did_you_mean;

/// So many faults are told at once.
const MAX_FAULTS: usize = 5;

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
        reason,
    };
    let given: Json =
        serde_json::from_str(settings).map_err(|error| refuse(format!("not JSON: {error}")))?;
    let validator = jsonschema::validator_for(schema).map_err(|error| PluginError::Failed {
        plugin: plugin.to_owned(),
        call: "say what its settings are",
        reason: format!("its schema is none: {error}"),
    })?;
    let faults: Vec<String> = validator
        .iter_errors(&given)
        .flat_map(|error| describe(&error, schema, &given))
        .take(MAX_FAULTS)
        .collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(refuse(faults.join("; ")))
}

fn describe(error: &jsonschema::ValidationError<'_>, schema: &Json, given: &Json) -> Vec<String> {
    let place = error.instance_path().to_string();
    let key = place.trim_start_matches('/').replace('/', ".");
    if let ValidationErrorKind::AdditionalProperties { unexpected } = error.kind() {
        // The properties that stand beside the keyword that refused.
        let beside = error.schema_path().to_string();
        let beside = beside.trim_end_matches("/additionalProperties");
        let known: Vec<&str> = schema
            .pointer(beside)
            .and_then(|schema| schema.get("properties")?.as_object())
            .map(|known| known.keys().map(String::as_str).collect())
            .unwrap_or_default();
        let one = |unknown: &String| {
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
        };
        return unexpected.iter().map(one).collect();
    }
    if key.is_empty() {
        if let ValidationErrorKind::Type {
            kind: TypeKind::Single(_),
        } = error.kind()
            && schema.get("type") == Some(&Json::from("null"))
        {
            return vec!["there are no settings".to_owned()];
        }
        return vec![error.to_string()];
    }
    let shown = given
        .pointer(&place)
        .map(Json::to_string)
        .unwrap_or_default();
    let text = error.to_string();
    // The crate's messages begin with the value, which may be long.
    let text = text.strip_prefix(&shown).map_or(text.clone(), |rest| {
        let mut shown: String = shown.chars().take(60).collect();
        shown.push_str(rest);
        shown
    });
    vec![format!("`{key}`: {text}")]
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
}
