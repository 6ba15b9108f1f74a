//! `capture`: files with the events around an alert. Falco's keys, and some of lanner's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KeyError, Size, Time};
use crate::recording_file::RecordingFormat;

/// The most memory that the latest events can have.
const MAX_MEMORY: u64 = 4 << 30;

/// The least: some events fit.
const MIN_MEMORY: u64 = 64 << 10;

/// `capture`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CaptureConfig {
    /// Whether alerts can have files. Without this key: if a rule asks for one (`capture: true`).
    pub enabled: Option<bool>,
    /// The folder of the files, and how their names begin. Nothing is written elsewhere.
    pub path_prefix: PathBuf,
    /// `rules`: alerts of rules with `capture: true` have files; `all_rules`: those of every rule, if `enabled` is true.
    pub mode: CaptureMode,
    /// How long a file goes on after an alert, in milliseconds, if its rule has no `capture_duration`.
    pub default_duration: u64,
    /// The most megabytes of a file. 0: any number.
    pub max_file_size_mb: Option<u64>,
    /// How long before an alert its file begins, if its rule has no `capture_before`.
    pub capture_before: Time,
    /// Which events are kept: those that the rules and the state need (`rules`), or every system call (`all`), which costs
    /// more.
    pub capture_selection: CaptureSelection,
    /// The format of the files.
    pub format: RecordingFormat,
    /// How many bytes of memory the latest events have.
    pub memory: Size,
    /// The most files. The oldest is removed.
    pub max_files: usize,
    /// The most bytes of all files. The oldest is removed.
    pub max_total_size: Size,
    /// How long files are kept.
    pub max_age: Time,
}

/// Whose alerts have files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CaptureMode {
    /// Those of rules that ask for it.
    #[default]
    Rules,
    /// Those of every rule.
    AllRules,
}

/// Which events are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CaptureSelection {
    /// What the rules and the state need.
    #[default]
    Rules,
    /// Every system call.
    All,
}

impl CaptureConfig {
    /// Checks what the types cannot express.
    pub(super) fn check(&self) -> Result<(), KeyError> {
        if self.memory.0 > MAX_MEMORY {
            return Err(KeyError::MuchMemory);
        }
        if self.memory.0 < MIN_MEMORY {
            return Err(KeyError::LittleMemory);
        }
        if self.max_files == 0 {
            return Err(KeyError::NoFiles);
        }
        if self.folder().is_none() {
            return Err(KeyError::CapturePrefix);
        }
        Ok(())
    }

    /// The folder of the files, and how their names begin. None: `path_prefix` does not end with the beginning of a name.
    pub(crate) fn folder(&self) -> Option<(&Path, &str)> {
        let prefix = self.path_prefix.file_name()?.to_str()?;
        // if a path ends with `/` or `/.`, its last name is that of the folder
        let is_beginning = self.path_prefix.to_str()?.ends_with(prefix);
        let folder = match self.path_prefix.parent() {
            Some(folder) if folder != "" => folder,
            _ => Path::new("."),
        };
        is_beginning.then_some((folder, prefix))
    }
}

impl Default for CaptureConfig {
    /// Falco's defaults, except for the folder; 10 s before the alert, in 64 MiB; 100 files of 1 GiB together, for a week.
    fn default() -> Self {
        Self {
            enabled: None,
            path_prefix: PathBuf::from("/var/lib/lanner/captures/lanner"),
            mode: CaptureMode::default(),
            default_duration: 5000,
            max_file_size_mb: None,
            capture_before: Time(Duration::from_secs(10)),
            capture_selection: CaptureSelection::default(),
            format: RecordingFormat::default(),
            memory: Size(64 << 20),
            max_files: 100,
            max_total_size: Size(1 << 30),
            max_age: Time(Duration::from_secs(7 * 24 * 3600)),
        }
    }
}
