//! `lanner plugins list`. Each file is loaded in a process of its own: one that hangs, crashes or ends its process is a line
//! of the list.

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::args::PluginListArgs;
use super::super::{Failure, print};
use super::myself;
use plugin_host::{self, Plugin, PluginError};
use session::config::DEFAULT_RULES_PLUGIN;
use session::plugin_directories;

pub(super) fn list(args: &PluginListArgs) -> Result<ExitCode, Failure> {
    if let Some(file) = &args.file {
        return print(format!("{}\n", row(file)).as_bytes());
    }
    let directories = plugin_directories(args.plugin_dirs.clone(), DEFAULT_RULES_PLUGIN);
    let mut rows: Vec<Value> = Vec::new();
    for file in plugin_host::files(&directories) {
        let mut row = ask(&file, args.deadline)
            .unwrap_or_else(|error| refused(&file, &format!("{}: {error}", file.display())));
        let same = |other: &&Value| !row["name"].is_null() && other["name"] == row["name"];
        if let Some(first) = rows.iter().find(same) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let error = PluginError::SameName {
                path: file.clone(),
                name: text(&row["name"]),
                first: text(&first["path"]).into(),
            };
            row = refused(&file, &error.to_string());
        }
        rows.push(row);
    }
    if args.json {
        return print(format!("{:#}\n", Value::from(rows)).as_bytes());
    }
    print(text(&rows, &directories).as_bytes())
}

/// Why another process could not describe a plugin.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("cannot start a process to load it in: {0}")]
    Start(std::io::Error),
    #[error("it hangs: it has not been loaded after {0:?} (--deadline)")]
    Hangs(Duration),
    #[error("it ended the process that loaded it ({0})")]
    Ended(std::process::ExitStatus),
}

/// Loads a file in another process and returns its row.
fn ask(file: &Path, deadline: Duration) -> Result<Value, AskError> {
    let mut child = Command::new(myself().map_err(AskError::Start)?)
        .args(["plugins", "list", "--file"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(AskError::Start)?;
    let output = child.stdout.take();
    let (answer, answers) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut output) = output {
            // What was read until an error is what there is.
            let _ = output.read_to_end(&mut text);
        }
        // The other side may have stopped waiting.
        let _ = answer.send(text);
    });
    let answer = answers.recv_timeout(deadline);
    let ended = match answer {
        Ok(_) => child.wait(),
        Err(_) => child.kill().and_then(|()| child.wait()),
    };
    let Ok(text) = answer else {
        return Err(AskError::Hangs(deadline));
    };
    let status = ended.map_err(AskError::Start)?;
    // A plugin may print lines of its own, before the row.
    let last = text.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
    let row = last.and_then(|line| serde_json::from_slice(line).ok());
    match row {
        Some(row @ Value::Object(_)) if status.success() => Ok(row),
        _ => Err(AskError::Ended(status)),
    }
}

fn refused(file: &Path, error: &str) -> Value {
    json!({"path": file, "sha256": plugin_host::sum(file).ok(), "error": error})
}

/// Loads a file in this process.
fn row(file: &Path) -> Value {
    let plugin = match plugin_host::load(file) {
        Ok(plugin) => plugin,
        Err(error) => return refused(file, &error.to_string()),
    };
    let mut errors = Vec::new();
    let mut settings = serde_json::Map::new();
    for (capability, schema) in schemas(&plugin) {
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
        "sha256": plugin_host::sum(file).ok(),
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

fn text(rows: &[Value], directories: &[PathBuf]) -> String {
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
            field("path")
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
