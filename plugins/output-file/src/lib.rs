//! Output plugin: alerts as lines in a file, which it can rotate, and which it opens anew when somebody else has
//! rotated it (`reopen`, SIGUSR1).
//!
//! A batch is one write(2) of whole lines in append mode, so that several writers do not mix. Of a line that the file
//! took only in part the part is taken back.

mod rotate;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use lanner_plugin::{Alerts, Delivery, Error, Host, OutputPlugin};
use schemars::JsonSchema;
use serde::Deserialize;

/// What a user can set for this plugin.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The file; it is made where it is not there. Folders are not.
    pub filename: PathBuf,
    /// Keep the file open. Without, it is opened for each batch, so that it may be moved at any time.
    #[serde(default = "yes")]
    pub keep_alive: bool,
    /// JSON lines instead of text lines.
    #[serde(default)]
    pub json: bool,
    /// Rotate before the file grows beyond so many MiB. 0: never.
    #[serde(default)]
    pub max_size_mb: u64,
    /// Rotate a file that is older than so many hours, by the time it was begun. 0: never.
    #[serde(default)]
    pub max_age_hours: u64,
    /// So many rotated files stay: `NAME.1` is the youngest.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 1000))]
    pub keep: u32,
    /// Permissions of a new file, as digits of chmod(1).
    #[serde(default = "mode")]
    #[schemars(regex(pattern = r"^0?[0-7]{3}$"))]
    pub mode: String,
    /// Have the file's contents on the disk (fdatasync(2)) before a batch counts as delivered.
    #[serde(default)]
    pub sync: bool,
}

fn yes() -> bool {
    true
}

fn five() -> u32 {
    5
}

fn mode() -> String {
    "600".to_owned()
}

/// The output.
#[derive(Debug)]
pub struct Output {
    settings: Settings,
    mode: u32,
    open: Option<Open>,
}

/// A file that is open, and how far it is written.
#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
}

impl OutputPlugin for Output {
    type Settings = Settings;

    fn open(_host: Host, settings: Settings) -> Result<Self, Error> {
        let mode = u32::from_str_radix(&settings.mode, 8)
            .ok()
            .filter(|mode| *mode <= 0o777)
            .ok_or_else(|| format!("`mode`: {:?} is no mode such as 640", settings.mode))?;
        if settings.keep == 0 {
            return Err("`keep`: at least 1 rotated file stays".into());
        }
        let mut output = Self {
            settings,
            mode,
            open: None,
        };
        // A mistyped name should be known at once.
        output.file()?;
        if !output.settings.keep_alive {
            output.open = None;
        }
        Ok(output)
    }

    fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery {
        let json = self.settings.json;
        let lines: Vec<&str> = alerts
            .iter()
            .map(|alert| if json { alert.json() } else { alert.text() })
            .collect();
        let (delivered, error) = self.lines(&lines);
        if !self.settings.keep_alive {
            self.open = None;
        }
        match error {
            None => Delivery::Delivered,
            // Whatever it is (a full disk, a folder that is not there yet), it may pass.
            Some(error) => Delivery::TryAgain {
                delivered,
                reason: format!("{}: {error}", self.settings.filename.display()),
            },
        }
    }

    fn reopen(&mut self) -> Result<(), Error> {
        self.open = None;
        if self.settings.keep_alive {
            self.file()?;
        }
        Ok(())
    }
}

impl Output {
    fn file(&mut self) -> Result<&mut Open, Error> {
        let path = &self.settings.filename;
        if self.open.is_none() {
            let open = || {
                let file = OpenOptions::new()
                    .append(true)
                    .create(true)
                    .mode(self.mode)
                    .open(path)?;
                let size = file.metadata()?.len();
                Ok(Open { file, size })
            };
            let opened =
                open().map_err(|error: io::Error| format!("{}: {error}", path.display()))?;
            self.open = Some(opened);
        }
        self.open.as_mut().ok_or_else(|| "no file".into())
    }

    /// Writes lines: how many, and why not all.
    fn lines(&mut self, lines: &[&str]) -> (usize, Option<Error>) {
        let mut done = 0;
        while done < lines.len() {
            match self.some_lines(&lines[done..]) {
                Ok(0) => return (done, Some("nothing was written".into())),
                Ok(count) => done += count,
                Err(error) => return (done, Some(error)),
            }
        }
        (done, None)
    }

    /// Writes as many lines as this file is to take, rotating it first where it is full or old.
    fn some_lines(&mut self, lines: &[&str]) -> Result<usize, Error> {
        let limit = match self.settings.max_size_mb {
            0 => u64::MAX,
            mib => mib.saturating_mul(1 << 20),
        };
        let first = lines.first().map_or(0, |line| line.len() as u64 + 1);
        let size = self.file()?.size;
        // An empty file takes any line, however long.
        let full = size > 0 && size.saturating_add(first) > limit;
        if full || rotate::is_old(&self.settings.filename, size, self.settings.max_age_hours) {
            self.open = None;
            rotate::rotate(&self.settings.filename, self.settings.keep)?;
        }
        let sync = self.settings.sync;
        let open = self.file()?;
        let mut batch = Vec::new();
        let mut count = 0;
        for line in lines {
            let after = open.size + batch.len() as u64 + line.len() as u64 + 1;
            if after > limit && open.size + batch.len() as u64 > 0 {
                break;
            }
            batch.extend_from_slice(line.as_bytes());
            batch.push(b'\n');
            count += 1;
        }
        if let Err(error) = open.file.write_all(&batch) {
            // A part of a line would stay for ever: the batch comes again as a whole.
            let _ = open.file.set_len(open.size);
            self.open = None;
            return Err(error.into());
        }
        open.size += batch.len() as u64;
        if sync {
            open.file.sync_data()?;
        }
        Ok(count)
    }
}

lanner_plugin::export_plugin! {
    name: "output-file",
    description: "Alerts as text or JSON lines in a file, with rotation.",
    output: Output,
}

#[cfg(test)]
mod tests;
