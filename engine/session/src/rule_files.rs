//! Finds rule files and plugins, and checks who may write them.

use std::path::{Path, PathBuf};

use plugin_host::{PluginError, RuleFile};

use crate::config::trusted;
use crate::error::RuleFilesError;

/// The rules of a build tree, or of a binary that was copied somewhere by itself.
const BUILT_IN: &str = include_str!("../../../rules/lanner_rules.yaml");
/// Where `make install` puts the default rules.
const INSTALLED: &str = "/etc/lanner/lanner_rules.yaml";

/// The directories of plugins: those that are named, or else the directory of the executable if it has `plugin`, or else
/// `../lib/lanner/plugins` beside it.
#[must_use]
pub fn plugin_directories(named: Vec<PathBuf>, plugin: &str) -> Vec<PathBuf> {
    if !named.is_empty() {
        return named;
    }
    let executable = std::env::current_exe().unwrap_or_default();
    let beside = executable.parent().map(Path::to_owned).unwrap_or_default();
    let library = format!("lib{}.so", plugin.replace('-', "_"));
    if beside.join(library).exists() {
        vec![beside]
    } else {
        vec![beside.join("../lib/lanner/plugins")]
    }
}

/// Reads these rule files; without any, the default rules.
///
/// # Errors
///
/// A file cannot be read.
pub fn rule_files(named: &[PathBuf]) -> Result<Vec<RuleFile>, PluginError> {
    if !named.is_empty() {
        return named.iter().map(|path| RuleFile::read(path)).collect();
    }
    if Path::new(INSTALLED).exists() {
        return RuleFile::read(Path::new(INSTALLED)).map(|file| vec![file]);
    }
    Ok(vec![RuleFile {
        name: "the default rules".to_owned(),
        text: BUILT_IN.as_bytes().to_vec(),
    }])
}

/// Reads rule files and folders of rule files after a check that other users cannot write them. Also returns the paths to
/// watch.
pub(crate) fn trusted_rule_files(
    named: &[PathBuf],
) -> Result<(Vec<RuleFile>, Vec<PathBuf>), RuleFilesError> {
    let mut paths = Vec::new();
    let mut watched = Vec::new();
    for path in named {
        watched.push(path.clone());
        if path.is_dir() {
            let files = trusted::folder(path, &["yaml", "yml"])?;
            watched.extend_from_slice(&files);
            paths.extend(files);
        } else {
            paths.push(path.clone());
        }
    }
    if named.is_empty() && Path::new(INSTALLED).exists() {
        paths.push(PathBuf::from(INSTALLED));
        watched.push(PathBuf::from(INSTALLED));
    }
    for path in &paths {
        trusted::file(path)?;
    }
    if paths.is_empty() && !named.is_empty() {
        return Err(RuleFilesError::Empty);
    }
    let files = rule_files(&paths)?;
    Ok((files, watched))
}
