//! A file of tests, in YAML. Unknown keys are errors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lanner_plugin::files;
use serde::Deserialize;

use super::error::SuiteError;

/// The largest file of tests that is read, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// A file of tests.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Rule files, relative to this file.
    #[serde(default)]
    pub rules: Vec<PathBuf>,
    /// The tests.
    pub tests: Vec<Test>,
}

/// Events, and the alerts that they must raise.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// The behaviour that it tests.
    pub name: String,
    /// Processes that exist at the start.
    #[serde(default)]
    pub processes: Vec<Process>,
    /// The events, in order.
    pub events: Vec<Step>,
}

/// A process, or the program that a process executes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Process {
    /// Process id. Default: that of the event; else one more than the greatest so far, from 100.
    pub pid: Option<u32>,
    /// The parent. Default: the process before it.
    pub parent: Option<u32>,
    /// Path of the executable.
    pub exe: Option<String>,
    /// Name (comm). Default: the last component of `exe`.
    pub name: Option<String>,
    /// Arguments. Default: `name` alone.
    pub args: Option<Vec<String>>,
    /// Environment, `NAME=value`.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: Option<String>,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Login user id. Default, and -1: none.
    pub loginuid: Option<i64>,
    /// Device number of the terminal; 0: none.
    pub tty: u32,
    /// Process group. Default: the process's id.
    pub pgid: Option<u32>,
    /// Session. Default: the process's id.
    pub sid: Option<u32>,
    /// The executable is a memfd.
    pub memfd: bool,
}

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// A system call, by its name.
    pub call: Option<String>,
    /// An execve that succeeds.
    pub exec: Option<Process>,
    /// The process of the event. Default: the newest process.
    pub pid: Option<u32>,
    /// Parameters of the call, by the names that `lanner syscalls` lists.
    pub params: BTreeMap<String, Given>,
    /// What the call returned: a number or the name of an error. Default: 0.
    pub returns: Option<String>,
    /// What the kernel did: `path`, the resolved path of the descriptor; `local` and `remote`, the
    /// ends of a connection.
    pub facts: BTreeMap<String, String>,
    /// Values that replace those of fields. Null: the field has no value.
    pub fields: BTreeMap<String, Given>,
    /// The rules that must match; all others must not. Default: any rules may match.
    pub alerts: Option<Vec<String>>,
    /// Texts. For each of them, at least one alert must contain it.
    pub output: Vec<String>,
}

/// A value in the file.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// The field has no value.
    Missing,
    /// One value.
    One(String),
    /// A list.
    Many(Vec<String>),
    /// The fields of a structure.
    Fields(BTreeMap<String, Given>),
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Plain {
            Bool(bool),
            Signed(i64),
            Unsigned(u64),
            Float(f64),
            Text(String),
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Plain(Plain),
            Many(Vec<Plain>),
            Fields(BTreeMap<String, Given>),
        }
        let text = |plain| match plain {
            Plain::Bool(v) => v.to_string(),
            Plain::Signed(v) => v.to_string(),
            Plain::Unsigned(v) => v.to_string(),
            Plain::Float(v) => v.to_string(),
            Plain::Text(v) => v,
        };
        Ok(match Option::<Raw>::deserialize(deserializer)? {
            None => Self::Missing,
            Some(Raw::Plain(plain)) => Self::One(text(plain)),
            Some(Raw::Many(all)) => Self::Many(all.into_iter().map(text).collect()),
            Some(Raw::Fields(fields)) => Self::Fields(fields),
        })
    }
}

impl Suite {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not in the format of tests.
    pub fn read(path: &Path) -> Result<Self, SuiteError> {
        let name = || path.display().to_string();
        let file = files::open_untrusted(path)?;
        let text = files::read_opened_text(file, path, MAX_FILE)?;
        let mut suite: Self =
            serde_saphyr::from_str(&text).map_err(|source| SuiteError::Parse {
                path: name(),
                source: Box::new(source),
            })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for rules in &mut suite.rules {
            *rules = folder.join(&*rules);
        }
        Ok(suite)
    }
}

impl Step {
    /// The call's name, or `exec`.
    #[must_use]
    pub fn title(&self) -> &str {
        self.call.as_deref().unwrap_or("exec")
    }
}
