//! Plugins: what a file is, and the list of those in folders.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use plugin_host::{Plugin, PluginError};
use serde_json::{Value, json};

/// Loads a file in this process. Returns its row of the list, as a JSON object: what the plugin says about itself, or why the
/// file is refused.
#[must_use]
pub fn plugin(file: &Path) -> Value {
    match plugin_host::load(file) {
        Ok(plugin) => row(&plugin),
        Err(error) => json!({
            "path": file,
            "sha256": plugin_host::sum(file).ok(),
            "error": error.to_string(),
        }),
    }
}

/// The rows of the plugins that are linked into this program.
#[must_use]
pub fn built_in_plugins() -> Vec<Value> {
    let rows = plugin_host::built_in()
        .iter()
        .map(|found| match &found.plugin {
            Ok(plugin) => row(plugin),
            Err(error) => json!({"path": null, "built_in": true, "error": error.to_string()}),
        });
    rows.collect()
}

/// What a plugin says about itself.
fn row(plugin: &Plugin) -> Value {
    let file = (!plugin.is_built_in()).then(|| plugin.path());
    let mut errors = Vec::new();
    let mut settings = serde_json::Map::new();
    for (capability, schema) in schemas(plugin) {
        let schema = schema.map(|schema| schema.cloned().unwrap_or_default());
        let schema = schema.unwrap_or_else(|error| {
            errors.push(error.to_string());
            Value::Null
        });
        settings.insert(capability.to_owned(), schema);
    }
    json!({
        "name": plugin.name(),
        "version": plugin.version(),
        "abi": format!("{}.{}", plugin.abi().0, plugin.abi().1),
        "capabilities": plugin.capabilities(),
        "description": plugin.description(),
        "path": file,
        "built_in": plugin.is_built_in(),
        "sha256": file.and_then(|file| plugin_host::sum(file).ok()),
        "settings": settings,
        "schema_errors": errors,
        "error": null,
    })
}

/// The schemas of a plugin's settings, by capability.
fn schemas(plugin: &Plugin) -> Vec<(&'static str, Result<Option<&Value>, PluginError>)> {
    plugin
        .capabilities()
        .into_iter()
        .map(|capability| {
            let schema = match capability {
                "rules" => plugin.rule_schema(),
                _ => plugin.output_schema(),
            };
            (capability, schema)
        })
        .collect()
}

/// The list of these rows, as text. `directories` are those that were searched.
#[must_use]
pub fn plugins(rows: &[Value], directories: &[PathBuf]) -> String {
    let mut text = String::new();
    for row in rows {
        let field = |name: &str| row[name].as_str().unwrap_or_default();
        if let Some(error) = row["error"].as_str() {
            let _ = writeln!(text, "refused: {error}");
            continue;
        }
        let list = |name: &str| {
            let values = row[name].as_array().into_iter().flatten();
            values.filter_map(Value::as_str).collect::<Vec<_>>()
        };
        let _ = writeln!(
            text,
            "{} {} (ABI {}, {}): {}\n  {}",
            field("name"),
            field("version"),
            field("abi"),
            list("capabilities").join(", "),
            field("description"),
            row["path"].as_str().unwrap_or("built in")
        );
        for capability in list("capabilities") {
            settings(&row["settings"][capability], &mut text);
        }
        for error in list("schema_errors") {
            let _ = writeln!(text, "  {error}");
        }
    }
    if rows.is_empty() {
        let shown: Vec<String> = directories
            .iter()
            .map(|directory| directory.display().to_string())
            .collect();
        let _ = writeln!(text, "no plugins in {}", shown.join(", "));
    }
    if !plugin_host::LOADS_LIBRARIES {
        text.push_str(
            "this lanner is linked statically: it has these plugins and loads no others\n",
        );
    }
    text
}

/// One line for each setting.
fn settings(schema: &Value, text: &mut String) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (name, property) in properties {
        let description = property["description"].as_str().unwrap_or_default();
        let description = description.split("\n\n").next().unwrap_or_default();
        let _ = write!(text, "  {name}: {}", description.replace('\n', " "));
        let choices = choices(schema, property);
        if !choices.is_empty() {
            let _ = write!(text, " One of {}.", choices.join(", "));
        }
        let required = schema["required"].as_array();
        if required.is_some_and(|names| names.contains(&Value::from(name.as_str()))) {
            text.push_str(" (required)");
        }
        match property.get("default") {
            Some(Value::Null) | None => text.push('\n'),
            Some(default) => drop(writeln!(text, " [{default}]")),
        }
    }
}

/// The words that a setting can have, if its schema lists them: here, or in the definition that it refers to.
fn choices<'a>(schema: &'a Value, property: &'a Value) -> Vec<&'a str> {
    let reference = property["$ref"].as_str();
    let definition = reference.and_then(|name| name.strip_prefix("#/$defs/"));
    let property = definition.map_or(property, |name| &schema["$defs"][name]);
    let words = |list: &'a Value| list.as_array().into_iter().flatten();
    words(&property["enum"])
        .chain(words(&property["oneOf"]).map(|choice| &choice["const"]))
        .filter_map(Value::as_str)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_which_settings_are_required_and_what_they_can_be() {
        let schema = json!({
            "properties": {
                "batch": {"$ref": "#/$defs/Batch", "default": "none", "description": "How many."},
                "level": {"enum": ["low", "high"], "description": "How much."},
                "url": {"type": "string", "description": "Where to."},
            },
            "required": ["url"],
            "$defs": {"Batch": {"oneOf": [{"const": "none"}, {"const": "array"}]}},
        });
        let mut text = String::new();
        settings(&schema, &mut text);
        let expected = "  batch: How many. One of none, array. [\"none\"]\n  \
                        level: How much. One of low, high.\n  url: Where to. (required)\n";
        assert_eq!(text, expected);
    }
}
