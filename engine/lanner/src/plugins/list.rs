//! `lanner plugins list`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::super::args::PluginListArgs;
use super::super::{Failure, print};
use plugin_host::{self, Found, Plugin, PluginError};
use session::config::DEFAULT_RULES_PLUGIN;
use session::plugin_directories;

pub(super) fn list(args: &PluginListArgs) -> Result<ExitCode, Failure> {
    let directories = plugin_directories(args.plugin_dirs.clone(), DEFAULT_RULES_PLUGIN);
    let found = plugin_host::list(&directories);
    if args.json {
        let rows: Vec<Value> = found.iter().map(row).collect();
        return print(format!("{:#}\n", Value::from(rows)).as_bytes());
    }
    print(text(&found, &directories).as_bytes())
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

fn row(found: &Found) -> Value {
    let sum = plugin_host::sum(&found.path).ok();
    let plugin = match &found.plugin {
        Ok(plugin) => plugin,
        Err(error) => {
            return json!({"path": found.path, "sha256": sum, "error": error.to_string()});
        }
    };
    let settings: serde_json::Map<String, Value> = schemas(plugin)
        .into_iter()
        .map(|(capability, schema)| {
            let schema = schema.ok().flatten().cloned().unwrap_or_default();
            (capability.to_owned(), schema)
        })
        .collect();
    json!({
        "name": plugin.name(),
        "version": plugin.version(),
        "abi": format!("{}.{}", plugin.abi().0, plugin.abi().1),
        "capabilities": plugin.capabilities(),
        "description": plugin.description(),
        "path": found.path,
        "sha256": sum,
        "settings": settings,
        "error": null,
    })
}

fn text(found: &[Found], directories: &[PathBuf]) -> String {
    let mut text = String::new();
    for found in found {
        let plugin = match &found.plugin {
            Ok(plugin) => plugin,
            Err(error) => {
                let _ = writeln!(text, "refused: {error}");
                continue;
            }
        };
        let _ = writeln!(
            text,
            "{} {} (ABI {}.{}, {}): {}\n  {}",
            plugin.name(),
            plugin.version(),
            plugin.abi().0,
            plugin.abi().1,
            plugin.capabilities().join(", "),
            plugin.description(),
            found.path.display()
        );
        for (_, schema) in schemas(plugin) {
            match schema {
                Ok(Some(schema)) => settings(schema, &mut text),
                Ok(None) => {}
                Err(error) => drop(writeln!(text, "  {error}")),
            }
        }
    }
    if found.is_empty() {
        let shown: Vec<String> = directories
            .iter()
            .map(|directory| directory.display().to_string())
            .collect();
        let _ = writeln!(text, "no plugins in {}", shown.join(", "));
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
        match property.get("default") {
            Some(Value::Null) | None => text.push('\n'),
            Some(default) => drop(writeln!(text, " [{default}]")),
        }
    }
}
