//! Finds plugins in directories.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::PluginError;
use super::load::{Plugin, load_pinned};
use super::pin::Pins;

/// A file that may be a plugin.
#[derive(Debug)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// The plugin, or why lanner refuses it.
    pub plugin: Result<Plugin, PluginError>,
}

/// The files in the directories that look like plugins: `lib*.so`, sorted by name within each directory. A directory that
/// does not exist has none.
#[must_use]
pub fn files(directories: &[PathBuf]) -> Vec<PathBuf> {
    let files = directories
        .iter()
        .flat_map(|directory| libraries(directory));
    files.collect()
}

/// Loads the [`files`] of the directories. If two plugins have the same name, the second one is refused.
#[must_use]
pub fn list(directories: &[PathBuf]) -> Vec<Found> {
    list_pinned(directories, &Pins::default())
}

/// As [`list`], but refuses files that are not pinned.
fn list_pinned(directories: &[PathBuf], pins: &Pins) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for path in files(directories) {
        let plugin = load_pinned(&path, pins).and_then(|plugin| {
            let same = found
                .iter()
                .filter_map(|found| found.plugin.as_ref().ok())
                .find(|other| other.name() == plugin.name());
            match same {
                Some(first) => Err(PluginError::SameName {
                    path: path.clone(),
                    name: plugin.name().to_owned(),
                    first: first.path().to_owned(),
                }),
                None => Ok(plugin),
            }
        });
        found.push(Found { path, plugin });
    }
    found
}

/// Loads the plugin of this name.
///
/// # Errors
///
/// [`PluginError::NotFound`], which also names the refused plugins with the reasons.
pub fn find(directories: &[PathBuf], name: &str) -> Result<Plugin, PluginError> {
    find_pinned(directories, name, &Pins::default())
}

/// As [`find`], but takes only files with the right SHA-256 sums, if there are any sums.
///
/// It looks for the plugin `output-x` in `liboutput_x.so` first. Only if that is another plugin, it loads all files of the
/// directories and compares their names.
///
/// # Errors
///
/// As for [`find`].
pub fn find_pinned(
    directories: &[PathBuf],
    name: &str,
    pins: &Pins,
) -> Result<Plugin, PluginError> {
    let usual = format!("lib{}.so", name.replace('-', "_"));
    let mut usual = directories.iter().map(|directory| directory.join(&usual));
    if let Some(path) = usual.find(|path| path.exists())
        && let Ok(plugin) = load_pinned(&path, pins)
        && plugin.name() == name
    {
        return Ok(plugin);
    }
    let mut refused = String::new();
    for found in list_pinned(directories, pins) {
        match found.plugin {
            Ok(plugin) if plugin.name() == name => return Ok(plugin),
            Ok(_) => {}
            // Writing to a string cannot fail.
            Err(error) => drop(write!(refused, "\n  {error}")),
        }
    }
    let shown: Vec<_> = directories
        .iter()
        .map(|directory| directory.display().to_string())
        .collect();
    Err(PluginError::NotFound {
        name: name.to_owned(),
        directories: if shown.is_empty() {
            "no directory at all".to_owned()
        } else {
            shown.join(", ")
        },
        refused,
    })
}

fn libraries(directory: &Path) -> Vec<PathBuf> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::debug!(directory = %directory.display(), %error, "no plugin directory");
            return Vec::new();
        }
    };
    let is_library = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        name.starts_with("lib") && name.ends_with(".so")
    };
    let mut paths: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(is_library)
        .collect();
    paths.sort();
    paths
}
