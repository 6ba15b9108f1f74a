//! Finds rule files and plugins, and checks who may write them.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lanner_plugin::files::{self, FileError};
use plugin_host::{PluginError, RuleFile};

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
    let executable = executable().unwrap_or_default();
    let beside = executable.parent().map(Path::to_owned).unwrap_or_default();
    let library = format!("lib{}.so", plugin.replace('-', "_"));
    if beside.join(library).exists() {
        vec![beside]
    } else {
        vec![beside.join("../lib/lanner/plugins")]
    }
}

/// The file of the running program, also where there is no /proc.
///
/// # Errors
///
/// The program was started by a path that does not lead to it any more.
pub fn executable() -> io::Result<PathBuf> {
    std::env::current_exe().or_else(|_| executable_without_proc())
}

/// The path that lanner was started by (`AT_EXECFN`, getauxval(3)), where there is no /proc.
fn executable_without_proc() -> io::Result<PathBuf> {
    // SAFETY: getauxval(3) takes a number.
    let name = unsafe { libc::getauxval(libc::AT_EXECFN) };
    if name == 0 {
        return Err(io::ErrorKind::NotFound.into());
    }
    let name: *const libc::c_char = std::ptr::with_exposed_provenance(name as usize);
    // SAFETY: the kernel put a text there that ends with a null byte and stays for as long as the process runs.
    let name = unsafe { CStr::from_ptr(name) };
    std::fs::canonicalize(OsStr::from_bytes(name.to_bytes()))
}

/// Endings of the files of a folder that are rule files.
const ENDINGS: [&str; 2] = ["yaml", "yml"];

/// Reads rule files and folders of rule files, whoever may write them; without any, the default rules.
///
/// # Errors
///
/// A file cannot be read; or there is no file.
pub fn rule_files(named: &[PathBuf]) -> Result<Vec<RuleFile>, RuleFilesError> {
    let paths = expand(named, |folder| files::list_untrusted(folder, &ENDINGS))?;
    read_rule_files(&paths, RuleFile::read)
}

/// Why a session would refuse these rule files and folders, because other users can write to them: each path with its reason.
#[must_use]
pub fn untrusted_rules(named: &[PathBuf]) -> Vec<(PathBuf, RuleFilesError)> {
    let mut found = Vec::new();
    let list = |folder: &Path| files::list_untrusted(folder, &ENDINGS);
    for path in named {
        if path.is_dir()
            && let Err(error) = files::list(path, &ENDINGS)
        {
            found.push((path.clone(), error.into()));
        }
    }
    for path in expand(named, list).unwrap_or_default() {
        if let Err(error) = RuleFile::read_trusted(&path) {
            found.push((path, error.into()));
        }
    }
    found
}

/// The files that are named, and those of the folders that are named.
fn expand(
    named: &[PathBuf],
    list: impl Fn(&Path) -> Result<Vec<PathBuf>, FileError>,
) -> Result<Vec<PathBuf>, RuleFilesError> {
    let mut paths = Vec::new();
    for path in named {
        if path.is_dir() {
            paths.extend(list(path)?);
        } else {
            paths.push(path.clone());
        }
    }
    if paths.is_empty() && !named.is_empty() {
        return Err(RuleFilesError::Empty);
    }
    if paths.is_empty() && Path::new(INSTALLED).exists() {
        paths.push(PathBuf::from(INSTALLED));
    }
    Ok(paths)
}

/// Reads these files; without any, the default rules.
fn read_rule_files(
    paths: &[PathBuf],
    read: impl Fn(&Path) -> Result<RuleFile, PluginError>,
) -> Result<Vec<RuleFile>, RuleFilesError> {
    if !paths.is_empty() {
        let read: Result<_, _> = paths.iter().map(|path| read(path)).collect();
        return Ok(read?);
    }
    Ok(vec![RuleFile {
        name: "the default rules".to_owned(),
        text: BUILT_IN.as_bytes().to_vec(),
    }])
}

/// Reads rule files and folders of rule files; without any, the default rules. Other users must not be able to write them.
///
/// # Errors
///
/// A file cannot be read, or another user can write it; or there is no file.
pub fn trusted_rules(named: &[PathBuf]) -> Result<Vec<RuleFile>, RuleFilesError> {
    trusted_rule_files(named).map(|(files, _)| files)
}

/// Reads rule files and folders of rule files after a check that other users cannot write them. Also returns the paths to
/// watch.
pub(crate) fn trusted_rule_files(
    named: &[PathBuf],
) -> Result<(Vec<RuleFile>, Vec<PathBuf>), RuleFilesError> {
    let paths = expand(named, |folder| files::list(folder, &ENDINGS))?;
    let folders = named.iter().filter(|path| path.is_dir());
    let watched = folders.chain(&paths).cloned().collect();
    let files = read_rule_files(&paths, RuleFile::read_trusted)?;
    Ok((files, watched))
}

/// Whether a rule file has nothing but comments and the empty list.
pub(crate) fn has_nothing(text: &[u8]) -> bool {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut rest = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    rest.all(|line| matches!(line, b"---" | b"..." | b"[]"))
}

/// Whether a rule file has a rule, as far as that shows in its lines. A file without any may have lists and macros.
pub(crate) fn has_rules(text: &[u8]) -> bool {
    const QUOTES: &[u8] = b"\"'";
    let is_rule = |entry: &[u8]| {
        let entry = entry.trim_ascii_start();
        let entry = match entry.split_first() {
            Some((quote, rest)) if QUOTES.contains(quote) => rest,
            _ => entry,
        };
        let Some(rest) = entry.strip_prefix(b"rule") else {
            return false;
        };
        let rest = match rest.split_first() {
            Some((quote, rest)) if QUOTES.contains(quote) => rest,
            _ => rest,
        };
        rest.trim_ascii_start().starts_with(b":")
    };
    text.split(|byte| *byte == b'\n').any(|line| {
        let mut line = line.trim_ascii_start();
        while let Some(rest) = line.strip_prefix(b"- ") {
            line = rest.trim_ascii_start();
        }
        // keys of a map in one line
        !line.starts_with(b"#") && line.split(|byte| b"{,".contains(byte)).any(is_rule)
    })
}

#[test]
fn rules_are_found_in_the_lines_of_a_file() {
    for text in [
        "- rule: A\n",
        "---\n  - desc: x\n    rule : A",
        "[{macro: a, condition: b}, {\"rule\": A}]",
        "- - 'rule': A",
    ] {
        assert!(has_rules(text.as_bytes()), "{text}");
    }
    for text in [
        "",
        "- macro: rule\n  condition: rule = a\n",
        "# - rule: A\n- list: rules\n  items: [rule]\n",
        "- ruler: A\n",
    ] {
        assert!(!has_rules(text.as_bytes()), "{text}");
    }
}
