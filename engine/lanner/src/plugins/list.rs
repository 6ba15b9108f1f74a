//! `lanner plugins list`. Each file is loaded in a process of its own: one that hangs, crashes or ends its process is a line
//! of the list.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::{Failure, print};
use super::{child, myself};
use command_line::PluginListArgs;
use plugin_host::{self, PluginError};
use session::config::DEFAULT_RULES_PLUGIN;
use session::plugin_directories;
use session::reference;

pub(super) fn list(args: &PluginListArgs) -> Result<ExitCode, Failure> {
    if let Some(file) = &args.file {
        return answer(file);
    }
    let directories = plugin_directories(args.plugin_dirs.clone(), DEFAULT_RULES_PLUGIN);
    let mut rows = reference::built_in_plugins();
    for file in plugin_host::files(&directories) {
        let mut row = ask(&file, args.deadline)
            .unwrap_or_else(|error| refused(&file, &format!("{}: {error}", file.display())));
        let same = |other: &&Value| !row["name"].is_null() && other["name"] == row["name"];
        if let Some(first) = rows.iter().find(same) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let error = PluginError::SameName {
                path: file.clone(),
                name: text(&row["name"]),
                first: first["path"].as_str().unwrap_or("a built-in plugin").into(),
            };
            row = refused(&file, &error.to_string());
        }
        rows.push(row);
    }
    if args.json {
        return print(format!("{:#}\n", Value::from(rows)).as_bytes());
    }
    print(reference::plugins(&rows, &directories).as_bytes())
}

/// Why another process could not describe a plugin.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("cannot start a process to load it in: {0}")]
    Start(io::Error),
    #[error("it hangs: it has not been loaded after {0:?} (--deadline)")]
    Hangs(Duration),
    #[error("it ended the process that loaded it ({0})")]
    Ended(std::process::ExitStatus),
}

/// The other process: answers with the row of a file.
fn answer(file: &Path) -> Result<ExitCode, Failure> {
    let failed = |error| Failure::broken(format!("cannot answer: {error}"));
    let mut answer = child::answer().map_err(failed)?;
    let row = reference::plugin(file).to_string();
    answer.write_all(row.as_bytes()).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

/// Loads a file in another process and returns its row.
fn ask(file: &Path, deadline: Duration) -> Result<Value, AskError> {
    let (answer, answers) = io::pipe().map_err(AskError::Start)?;
    let child = Command::new(myself().map_err(AskError::Start)?)
        .args(["plugins", "list", "--file"])
        .arg(file)
        .stdin(answers)
        .stdout(Stdio::null())
        .spawn()
        .map_err(AskError::Start)?;
    let mut text = Vec::new();
    let ended = child::until_end(child, answer, Some(deadline), |some| text.extend(some));
    let Some(status) = ended.map_err(AskError::Start)? else {
        return Err(AskError::Hangs(deadline));
    };
    match serde_json::from_slice(&text) {
        Ok(row @ Value::Object(_)) if status.success() => Ok(row),
        _ => Err(AskError::Ended(status)),
    }
}

/// The row of a file that is no usable plugin.
fn refused(file: &Path, error: &str) -> Value {
    json!({"path": file, "sha256": plugin_host::sum(file).ok(), "error": error})
}
