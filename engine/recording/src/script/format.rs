//! The file of tests: YAML, read strictly.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

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

/// Events, and the alerts that they have to raise.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// What it shows.
    pub name: String,
    /// Who is there from the start.
    #[serde(default)]
    pub processes: Vec<Process>,
    /// What happens.
    pub events: Vec<Step>,
}

/// A process, or the program that one changes to.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Process {
    /// Its id; without: that of the event, or 100 and a number.
    pub pid: Option<u32>,
    /// Its parent; without: the process before it.
    pub parent: Option<u32>,
    /// Path of the executable.
    pub exe: Option<String>,
    /// Its name; without: the last part of `exe`.
    pub name: Option<String>,
    /// Arguments; without: `name`.
    pub args: Option<Vec<String>>,
    /// Environment, `NAME=value`.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: Option<String>,
    /// User; 0: root.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The user who logged in.
    pub loginuid: Option<u32>,
    /// Device number of the terminal; 0: none.
    pub tty: u32,
    /// Process group; without: its own.
    pub pgid: Option<u32>,
    /// Session; without: its own.
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
    /// A program is run: an execve that succeeds.
    pub exec: Option<Process>,
    /// Whose event it is; without: that of the last process there.
    pub pid: Option<u32>,
    /// Parameters of the call, by their names in `lanner syscalls`.
    pub params: BTreeMap<String, Given>,
    /// What the call returned: a number, or the name of an error.
    pub returns: Option<String>,
    /// What the kernel did: `path`, the resolved path of the descriptor; `local` and `remote`, the
    /// ends of a connection.
    pub facts: BTreeMap<String, String>,
    /// Fields that have this value, whatever the event says; null: they are missing.
    pub fields: BTreeMap<String, Given>,
    /// The rules that have to match, and no others; without: it does not matter.
    pub alerts: Option<Vec<String>>,
    /// Texts that the alerts have to contain.
    pub output: Vec<String>,
}

/// A value as the file has it.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// The field has no value.
    Missing,
    /// One value.
    One(String),
    /// A list.
    Many(Vec<String>),
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
        })
    }
}

impl Suite {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or says something that is not understood: a message naming file and place.
    pub fn read(path: &Path) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| failed(&error))?;
        let mut suite: Self = serde_saphyr::from_str(&text).map_err(|error| failed(&error))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for rules in &mut suite.rules {
            *rules = folder.join(&*rules);
        }
        Ok(suite)
    }
}

impl Step {
    /// What it is, in a word.
    pub fn title(&self) -> &str {
        self.call.as_deref().unwrap_or("exec")
    }
}
