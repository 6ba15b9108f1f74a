//! Finds plugins in directories.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::built_in::{built_in, named};
use super::error::PluginError;
use super::load::{LOADS_LIBRARIES, Plugin, load_pinned};
use super::pin::Pins;

/// A file that may be a plugin.
#[derive(Debug)]
pub struct PluginFile {
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

/// Loads the [`files`] of the directories. If two plugins have the same name, the second one is refused; built-in plugins come
/// first.
#[must_use]
pub fn list(directories: &[PathBuf]) -> Vec<PluginFile> {
    list_pinned(directories, &Pins::default())
}

/// As [`list`], but refuses files that are not pinned.
fn list_pinned(directories: &[PathBuf], pins: &Pins) -> Vec<PluginFile> {
    let mut found: Vec<PluginFile> = Vec::new();
    for path in files(directories) {
        let plugin = load_pinned(&path, pins).and_then(|plugin| {
            let name = plugin.name();
            match named(built_in(), name).or_else(|| named(&found, name)) {
                Some(first) => Err(PluginError::same_name(path.clone(), &plugin, first)),
                None => Ok(plugin),
            }
        });
        found.push(PluginFile { path, plugin });
    }
    found
}

/// Loads the plugin of this name.
///
/// # Errors
///
/// [`PluginError::NotFound`], which also names the refused plugins with the reasons. [`PluginError::NotBuiltIn`] if this
/// program cannot load libraries.
pub fn find(directories: &[PathBuf], name: &str) -> Result<Plugin, PluginError> {
    find_pinned(directories, name, &Pins::default())
}

/// As [`find`], but takes only files with the right SHA-256 sums, if there are any sums.
///
/// Built-in plugins come first; they have no files, and so no sums. Then it looks for the plugin `output-x` in
/// `liboutput_x.so`. Only if that is another plugin, it loads all files of the directories and compares their names.
///
/// # Errors
///
/// As for [`find`].
pub fn find_pinned(
    directories: &[PathBuf],
    name: &str,
    pins: &Pins,
) -> Result<Plugin, PluginError> {
    if let Some(plugin) = named(built_in(), name) {
        return Ok(plugin.clone());
    }
    if !LOADS_LIBRARIES {
        return Err(PluginError::NotBuiltIn {
            name: name.to_owned(),
            built_in: names(built_in()),
        });
    }
    let usual = format!("lib{}.so", name.replace('-', "_"));
    let mut usual = directories.iter().map(|directory| directory.join(&usual));
    if let Some(path) = usual.find(|path| path.exists())
        && let Ok(plugin) = load_pinned(&path, pins)
        && plugin.name() == name
    {
        return Ok(plugin);
    }
    let found = list_pinned(directories, pins);
    if let Some(plugin) = named(&found, name) {
        return Ok(plugin.clone());
    }
    let mut advice = suggest::nearest(name, usable(built_in()).chain(usable(&found))).map_or_else(
        || {
            "; name its folder with --plugin-dir, which takes the place of the usual folders and can be repeated".to_owned()
        },
        |near| format!("; did you mean `{near}`?"),
    );
    for PluginFile { plugin, .. } in built_in().iter().chain(&found) {
        if let Err(error) = plugin {
            // Writing to a string cannot fail.
            let _ = write!(advice, "\n  {error}");
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
        advice,
    })
}

/// The names of the usable plugins, for a message.
fn names(found: &[PluginFile]) -> String {
    let names: Vec<_> = usable(found).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
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

fn usable(found: &[PluginFile]) -> impl Iterator<Item = &str> {
    let plugins = found.iter().filter_map(|found| found.plugin.as_ref().ok());
    plugins.map(Plugin::name)
}
