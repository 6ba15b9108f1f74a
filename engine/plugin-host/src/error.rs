//! What can go wrong with plugins: what was tried, on which file, and the next step.

use std::path::PathBuf;

use lanner_plugin::files::FileError;

use super::load::Plugin;

/// A plugin that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// The file cannot be read, or another user can change it.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no shared library.
    #[error("{path} is not a shared library: {reason}")]
    NotALibrary {
        /// The file.
        path: PathBuf,
        /// What it is.
        reason: String,
    },
    /// The file is shorter than its headers say.
    #[error(
        "{path} is cut off: it has {size} bytes, and its headers speak of {needed}; copy it again, to another name, and \
         rename it when it is whole"
    )]
    CutOff {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The size that its headers need.
        needed: u64,
    },
    /// The file has its size, but not all of its bytes.
    #[error(
        "{path} is cut off: its end is missing, as it has nothing but zeros there; copy it again, to another name, and \
         rename it when it is whole"
    )]
    Unfinished {
        /// The file.
        path: PathBuf,
    },
    /// The library is for another machine.
    #[error("{path} is built for {found}, and this is {expected}; build the plugin for {expected}")]
    WrongArchitecture {
        /// The file.
        path: PathBuf,
        /// What it was built for.
        found: String,
        /// What lanner was built for.
        expected: String,
    },
    /// The dynamic linker refused it.
    #[error("{path} cannot be loaded: {reason}")]
    NotLoaded {
        /// The file.
        path: PathBuf,
        /// What the linker says.
        reason: String,
    },
    /// This program cannot load libraries.
    #[error(
        "{path} cannot be loaded: this lanner is linked statically and has only its built-in plugins; take the lanner of the \
         packages, or build the plugin in"
    )]
    Static {
        /// The file.
        path: PathBuf,
    },
    /// This program cannot load libraries, and has no plugin of this name.
    #[error(
        "there is no plugin `{name}`: this lanner is linked statically and has only its built-in plugins ({built_in}); take the \
         lanner of the packages, or build the plugin in"
    )]
    NotBuiltIn {
        /// The name.
        name: String,
        /// The names of those that it has.
        built_in: String,
    },
    /// It does not export `lanner_plugin`.
    #[error("{path} is not a lanner plugin: it does not export the function `lanner_plugin`")]
    MissingSymbol {
        /// The file.
        path: PathBuf,
    },
    /// It was built for another major version of the ABI.
    #[error(
        "{path} was built for plugin ABI {found}, and this lanner has {expected}; get the plugin \
         for this version of lanner"
    )]
    WrongMajor {
        /// The file.
        path: PathBuf,
        /// The plugin's major version.
        found: u32,
        /// The host's major version.
        expected: u32,
    },
    /// A struct is smaller than the first version of the ABI had it.
    #[error("{path} is faulty: its {what} has {size} bytes, and at least {needed} are needed")]
    TooSmall {
        /// The file.
        path: PathBuf,
        /// Which struct.
        what: &'static str,
        /// What its size field says.
        size: usize,
        /// What the first version has.
        needed: usize,
    },
    /// A capability lacks a function.
    #[error("{path} is faulty: its capability `{capability}` lacks the function `{function}`")]
    HalfImplemented {
        /// The file.
        path: PathBuf,
        /// Which capability.
        capability: &'static str,
        /// Which function.
        function: &'static str,
    },
    /// It can do nothing.
    #[error("{path} is faulty: it has no capability, neither `rules` nor `output`")]
    NoCapability {
        /// The file.
        path: PathBuf,
    },
    /// What it says about itself makes no sense.
    #[error("{path} is faulty: {reason}")]
    Faulty {
        /// The file.
        path: PathBuf,
        /// What makes no sense.
        reason: String,
    },
    /// Another plugin has the same name.
    #[error("{path} is left out: {first} is called `{name}`, too, and comes first")]
    SameName {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// The file that has it already.
        first: PathBuf,
    },
    /// No directory has a plugin of this name.
    #[error("there is no plugin `{name}` in {directories}{advice}")]
    NotFound {
        /// The name.
        name: String,
        /// Where was looked.
        directories: String,
        /// What was probably meant, or how to name other folders; then the plugins that were refused, each with its reason.
        advice: String,
    },
    /// It cannot do what it is asked for.
    #[error("plugin `{plugin}` has no capability `{capability}`")]
    LacksCapability {
        /// The plugin.
        plugin: String,
        /// Which capability.
        capability: &'static str,
    },
    /// The configuration pins plugins, and this one is not among them.
    #[error(
        "{path} is refused: the configuration pins plugins by their SHA-256 sums, and has none for it"
    )]
    NotPinned {
        /// The file.
        path: PathBuf,
    },
    /// It is not the file that the configuration pins.
    #[error(
        "{path} is refused: its SHA-256 sum is {found}, and the configuration wants {expected}"
    )]
    WrongSum {
        /// The file.
        path: PathBuf,
        /// The file's sum.
        found: String,
        /// The sum that it must have.
        expected: String,
    },
    /// Its settings do not fit its schema.
    #[error("plugin `{plugin}`: settings: {reason}")]
    Settings {
        /// The plugin.
        plugin: String,
        /// What is wrong, with the keys.
        reason: String,
    },
    /// It failed.
    #[error("plugin `{plugin}` failed to {call}: {reason}")]
    Failed {
        /// The plugin.
        plugin: String,
        /// What it was asked to do.
        call: &'static str,
        /// What it says.
        reason: String,
    },
    /// It panicked, and is switched off.
    #[error("plugin `{plugin}` panicked and is switched off: {reason}")]
    Panicked {
        /// The plugin.
        plugin: String,
        /// What it says.
        reason: String,
    },
}

impl PluginError {
    /// The plugin at `path` has the name of another one, which comes first.
    pub(super) fn same_name(path: PathBuf, plugin: &Plugin, first: &Plugin) -> Self {
        Self::SameName {
            path,
            name: plugin.name().to_owned(),
            first: first.path().to_owned(),
        }
    }
}
