//! Output plugin: alerts as lines into the standard input of a program. The plugin starts the program for each batch, or
//! keeps it alive and feeds it line by line.
//!
//! A program that is started for a batch has taken the batch when it ends with status 0. Only then does the batch count
//! as delivered. A program that is kept alive has taken what the pipe has taken. What is in the pipe when it dies is
//! lost.
//!
//! `child` is a program with a pipe to its standard input, and a deadline for everything that is done with it.

mod child;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use lanner_plugin::{
    Alerts, Chain, Delivery, Error, Host, InvalidSetting, Level, LineWriter, OutputPlugin, Turn,
    at_least,
};
use schemars::JsonSchema;
use serde::Deserialize;

use child::{Child, ChildError};

/// What a user can set for this plugin.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The program and its arguments, as a command line for /bin/sh: `mail -s Alert root`.
    pub program: String,
    /// Keep the program alive, and start it again when it has ended. If false, it is started for each batch.
    #[serde(default)]
    pub keep_alive: bool,
    /// JSON lines instead of text lines.
    #[serde(default)]
    pub json: bool,
    /// Start the program for each alert instead of each batch of up to 256. Not with `keep_alive`.
    #[serde(default)]
    pub single: bool,
    /// How many seconds the program can take for a batch. A program that takes longer is killed.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout: u64,
}

fn ten() -> u64 {
    10
}

/// The output.
#[derive(Debug)]
pub struct Output {
    host: Host,
    settings: Settings,
    /// The program that is kept alive.
    child: Option<Child>,
    /// Lines for that program.
    lines: LineWriter,
}

impl OutputPlugin for Output {
    type Settings = Settings;

    fn check(settings: &Settings) -> Result<(), Error> {
        check(settings)?;
        match first_path(&settings.program) {
            Some(path) => Ok(check_program(path)?),
            None => Ok(()),
        }
    }

    fn open(host: Host, settings: Settings) -> Result<Self, Error> {
        check(&settings)?;
        Ok(Self {
            host,
            settings,
            child: None,
            lines: LineWriter::default(),
        })
    }

    fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery {
        let json = self.settings.json;
        let lines: Vec<&str> = alerts.iter().map(|alert| alert.line(json)).collect();
        let (delivered, failed) = if self.settings.keep_alive {
            self.feed(&lines)
        } else {
            self.run(&lines)
        };
        match failed {
            None if delivered < lines.len() => Delivery::go_on(delivered),
            None => Delivery::Delivered,
            Some(error) => Delivery::try_again(delivered, &error),
        }
    }

    fn reopen(&mut self) -> Result<(), Error> {
        self.lines.clear();
        match self.child.take() {
            Some(child) => Ok(child.end(self.timeout())?),
            None => Ok(()),
        }
    }
}

fn check(settings: &Settings) -> Result<(), InvalidSetting> {
    if settings.program.trim().is_empty() {
        return Err(InvalidSetting::new(
            "program",
            "it is empty; give a command line",
        ));
    }
    if settings.program.contains('\0') {
        return Err(InvalidSetting::new("program", "it has a null character"));
    }
    if settings.single && settings.keep_alive {
        let reason = "it excludes `keep_alive`; set one of them";
        return Err(InvalidSetting::new("single", reason));
    }
    at_least("timeout", settings.timeout, 1)
}

/// The program's path, if the command line begins with an absolute one in which the shell replaces nothing.
fn first_path(command: &str) -> Option<&Path> {
    let first = command.split_whitespace().next()?;
    let is_plain = |c: char| c.is_alphanumeric() || "/._+-".contains(c);
    (first.starts_with('/') && first.chars().all(is_plain)).then(|| Path::new(first))
}

/// Checks that there is a program.
fn check_program(path: &Path) -> Result<(), InvalidSetting> {
    let refused = |why: &str| {
        let reason = format!("{} {why}", path.display());
        Err(InvalidSetting::new("program", reason))
    };
    match std::fs::metadata(path) {
        Err(error) => refused(&format!("cannot be started: {error}")),
        Ok(found) if !found.is_file() => refused("is no program"),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => {
            refused("is no program: it is not executable (chmod +x)")
        }
        Ok(_) => Ok(()),
    }
}

impl Output {
    fn timeout(&self) -> Duration {
        Duration::from_secs(self.settings.timeout)
    }

    /// Runs a program for the whole batch, or one for each alert until the turn is over. Returns how many lines were
    /// delivered, and the error if there was one.
    fn run(&self, lines: &[&str]) -> (usize, Option<ChildError>) {
        let size = if self.settings.single {
            1
        } else {
            lines.len().max(1)
        };
        let turn = Turn::begin();
        let mut delivered = 0;
        for batch in lines.chunks(size) {
            if delivered > 0 && turn.is_over() {
                break;
            }
            let mut text = batch.join("\n");
            text.push('\n');
            let timeout = self.timeout();
            let ended = Child::start(&self.settings.program).and_then(|mut child| {
                // A program can end well without reading its whole input.
                let _ = child.write(text.as_bytes(), timeout);
                child.end(timeout)
            });
            if let Err(error) = ended {
                return (delivered, Some(error));
            }
            delivered += batch.len();
        }
        (delivered, None)
    }

    /// Writes lines to the program that is kept alive. Returns how many were delivered and, if not all, why.
    fn feed(&mut self, lines: &[&str]) -> (usize, Option<ChildError>) {
        let timeout = self.timeout();
        if self.child.as_mut().is_some_and(Child::has_ended) {
            if let Some(Err(error)) = self.child.take().map(|child| child.end(timeout)) {
                let message = format!("{}; it is started again", Chain(&error));
                self.host.log(Level::Warn, &message);
            }
            // The next program cannot use the rest of a line.
            self.lines.clear();
        }
        let child = match &mut self.child {
            Some(child) => child,
            none => match Child::start(&self.settings.program) {
                Ok(child) => none.insert(child),
                Err(error) => return (0, Some(error)),
            },
        };
        let lines = lines.iter().copied();
        self.lines.write(lines, |bytes| child.write(bytes, timeout))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(child) = self.child.take()
            && let Err(error) = child.end(self.timeout())
        {
            self.host.log(Level::Warn, &Chain(&error).to_string());
        }
    }
}

lanner_plugin::export_plugin! {
    name: "output-program",
    description: "Alerts as text or JSON lines into the standard input of a program.",
    output: Output,
}

#[cfg(test)]
mod tests;
