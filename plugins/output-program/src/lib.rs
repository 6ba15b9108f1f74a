//! Output plugin: alerts as lines into the standard input of a program. It is started for each batch, or kept alive
//! and fed line by line.
//!
//! A program of a batch has taken it when it ends with status 0; then, and only then, the batch counts as delivered.
//! One that is kept alive has taken what the pipe has taken: what lies in the pipe when it dies is lost.

mod child;

use std::time::Duration;

use lanner_plugin::{Alerts, Delivery, Error, Host, Level, OutputPlugin};
use schemars::JsonSchema;
use serde::Deserialize;

use child::Child;

/// What a user can set for this plugin.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The program and its arguments, as /bin/sh reads them: `mail -s Alert root`.
    pub program: String,
    /// Keep the program alive, and start it again when it has ended; else it is started for each batch.
    #[serde(default)]
    pub keep_alive: bool,
    /// JSON lines instead of text lines.
    #[serde(default)]
    pub json: bool,
    /// Start the program for each alert rather than for each batch of up to 256. Not with `keep_alive`.
    #[serde(default)]
    pub single: bool,
    /// Seconds that the program may take for a batch; one that takes longer is killed.
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
    /// The rest of a line that the living program has taken in part.
    rest: Vec<u8>,
}

impl OutputPlugin for Output {
    type Settings = Settings;

    fn open(host: Host, settings: Settings) -> Result<Self, Error> {
        if settings.program.trim().is_empty() {
            return Err("`program` is empty".into());
        }
        if settings.single && settings.keep_alive {
            return Err("`single` and `keep_alive` exclude each other".into());
        }
        Ok(Self {
            host,
            settings,
            child: None,
            rest: Vec::new(),
        })
    }

    fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery {
        let json = self.settings.json;
        let lines: Vec<String> = alerts
            .iter()
            .map(|alert| format!("{}\n", if json { alert.json() } else { alert.text() }))
            .collect();
        let (delivered, failed) = if self.settings.keep_alive {
            self.feed(&lines)
        } else {
            self.start(&lines)
        };
        match failed {
            None => Delivery::Delivered,
            Some(reason) => Delivery::TryAgain { delivered, reason },
        }
    }

    fn reopen(&mut self) -> Result<(), Error> {
        self.rest.clear();
        match self.child.take() {
            Some(child) => child.end(self.timeout()).map_err(Error::from),
            None => Ok(()),
        }
    }
}

impl Output {
    fn timeout(&self) -> Duration {
        Duration::from_secs(self.settings.timeout)
    }

    /// One program for each batch, or each alert.
    fn start(&self, lines: &[String]) -> (usize, Option<String>) {
        let size = if self.settings.single {
            1
        } else {
            lines.len().max(1)
        };
        let mut delivered = 0;
        for batch in lines.chunks(size) {
            let deadline = self.timeout();
            let ran = Child::start(&self.settings.program).and_then(|mut child| {
                // A program may end well without reading all that it is offered.
                let _ = child.write(batch.concat().as_bytes(), deadline);
                child.end(deadline)
            });
            if let Err(reason) = ran {
                return (delivered, Some(reason));
            }
            delivered += batch.len();
        }
        (delivered, None)
    }

    /// Lines to the program that lives.
    fn feed(&mut self, lines: &[String]) -> (usize, Option<String>) {
        let deadline = self.timeout();
        if self.child.as_mut().is_some_and(Child::has_ended) {
            let ended = self.child.take().map(|child| child.end(deadline));
            if let Some(Err(reason)) = ended {
                self.host
                    .log(Level::Warn, &format!("{reason}; it is started again"));
            }
            // The rest of a line would be nonsense to the next one.
            self.rest.clear();
        }
        let child = match &mut self.child {
            Some(child) => child,
            none => match Child::start(&self.settings.program) {
                Ok(child) => none.insert(child),
                Err(reason) => return (0, Some(reason)),
            },
        };
        let before = self.rest.len();
        let mut batch = std::mem::take(&mut self.rest);
        batch.extend(lines.iter().flat_map(|line| line.bytes()));
        let (written, failed) = child.write(&batch, deadline);
        let Some(reason) = failed else {
            return (lines.len(), None);
        };
        // A line that has begun counts as delivered, as its rest goes first next time.
        let mut end = before;
        let mut delivered = 0;
        for line in lines {
            if end >= written {
                break;
            }
            end += line.len();
            delivered += 1;
        }
        batch.truncate(end);
        self.rest = batch.split_off(written.min(end));
        (delivered, Some(reason))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(child) = self.child.take()
            && let Err(reason) = child.end(self.timeout())
        {
            self.host.log(Level::Warn, &reason);
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
