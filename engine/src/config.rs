//! The configuration file of `lanner run`: YAML, read strictly.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use driver_api::request::Limits;
use serde::Deserialize;

use crate::alert::AppendOutput;

/// What a configuration file may say. What the command line says goes before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Rule files, in this order.
    pub rules_files: Vec<PathBuf>,
    /// Alerts as JSON lines.
    pub json_output: bool,
    /// Where plugins are.
    pub plugin_dirs: Vec<PathBuf>,
    /// The driver, where the command line names none.
    pub driver: Option<String>,
    /// The drivers that `auto` tries, in this order, where the command line names none.
    pub driver_order: Vec<String>,
    /// A file with the kernel's types, where the command line names none (`--btf`).
    pub btf: Option<PathBuf>,
    /// How much is captured of what arguments point to: bytes, path, strings, arrays, entries.
    pub limits: BTreeMap<String, u32>,
    /// `first`: the first rule that matches an event wins; `all`: every one.
    pub rule_matching: Option<Matching>,
    /// What is appended to the alerts of which rules.
    pub append_output: Vec<AppendOutput>,
    /// Fields that every alert has.
    pub static_fields: BTreeMap<String, String>,
}

/// How many rules an event can match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Matching {
    /// The first in load order.
    First,
    /// Every one.
    All,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or says something that is not understood: a message naming file and place.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text =
            fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let config: Self = serde_saphyr::from_str(&text)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        for (name, value) in &config.limits {
            Limits::default()
                .set(name, *value)
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lanner.yaml");
        fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    #[test]
    fn a_file_is_read() {
        let config =
            read("rules_files: [a.yaml, b.yaml]\njson_output: true\nrule_matching: all\n").unwrap();
        assert_eq!(
            config.rules_files,
            [PathBuf::from("a.yaml"), PathBuf::from("b.yaml")]
        );
        assert!(config.json_output);
        assert_eq!(config.rule_matching, Some(Matching::All));
    }

    #[test]
    fn an_empty_file_says_nothing() {
        assert_eq!(read("\n"), Ok(Config::default()));
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_file_and_key() {
        let error = read("json_outptu: true\n").unwrap_err();
        assert!(
            error.contains("lanner.yaml") && error.contains("json_outptu"),
            "{error}"
        );
    }
}
