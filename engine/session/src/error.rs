//! Why a session cannot begin, and why a reload fails.

use std::io;
use std::path::PathBuf;

use delivery::{AppendError, SpoolError};
use driver_api::driver::CaptureError;
pub(crate) use driver_api::error::Cause;
use fields::template::TemplateError;
use lanner_plugin::files::FileError;
use plugin_host::{InvalidSum, NoResult, PluginError};

use crate::config::ConfigError;
use crate::source::SourceError;

/// Why a session cannot begin. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The configuration, the rules or the plugins that they need are at fault.
    #[error(transparent)]
    Configuration(#[from] LoadError),
    /// Events cannot be captured.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An output cannot start.
    #[error(transparent)]
    Output(#[from] delivery::StartError),
    /// The web server cannot start.
    #[error(transparent)]
    Web(#[from] WebError),
    /// The folder of capture files cannot be used.
    #[error("cannot use the folder of capture files (capture.path_prefix)")]
    Capture(#[source] io::Error),
    /// The kernel refused a thread.
    #[error("cannot start a thread")]
    Thread(#[from] io::Error),
}

/// Why configuration and rules cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The configuration is at fault.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The rule files of an option or a key are at fault.
    #[error("{from}")]
    RuleFiles {
        /// `-r`, or the key of the configuration.
        from: &'static str,
        /// What is wrong with them.
        source: RuleFilesError,
    },
    /// A plugin cannot be found or used, or refuses the rules.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// `plugin_sums` of the configuration is not understood.
    #[error(transparent)]
    Sums(#[from] InvalidSum),
    /// A rule plugin beside the event path cannot be opened.
    #[error("cannot use a plugin of rule_plugins")]
    Worker(#[source] PluginError),
    /// A rule plugin wants events of a type that does not exist.
    #[error("plugin `{plugin}`")]
    EventType {
        /// The plugin.
        plugin: String,
        /// The type, and what was probably meant.
        source: Cause,
    },
    /// The output of a rule is at fault.
    #[error(transparent)]
    RuleOutput(#[from] RuleOutputError),
    /// `alert_limits` names a rule that does not exist.
    #[error("alert_limits: there is no rule {rule:?}{hint}")]
    NoSuchRule {
        /// The name.
        rule: String,
        /// What was probably meant, or where the names are.
        hint: String,
    },
    /// There is no output of this name.
    #[error("there is no output {output:?}{hint}")]
    NoSuchOutput {
        /// The name.
        output: String,
        /// What was probably meant, or which outputs there are.
        hint: String,
    },
    /// An output's plugin cannot be opened.
    #[error("output {output}")]
    Output {
        /// The output.
        output: String,
        /// Why.
        source: PluginError,
    },
    /// Another output, or the web server, has what only one can have.
    #[error("output {output}: `{setting}`: {other} has the same; give one of them another")]
    Claimed {
        /// The output.
        output: String,
        /// Its setting.
        setting: String,
        /// Who has it.
        other: String,
    },
    /// The spool of an output cannot be where the configuration says.
    #[error("output {output}: its spool")]
    Spool {
        /// The output.
        output: String,
        /// Why.
        source: FileError,
    },
    /// The spool of an output would replace a file.
    #[error("output {output}")]
    SpoolFile {
        /// The output.
        output: String,
        /// Why.
        source: SpoolError,
    },
    /// Plugins did not open in time, or could not be called.
    #[error(transparent)]
    Opening(#[from] NoResult),
}

/// Why rule files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuleFilesError {
    /// A folder is refused or cannot be listed.
    #[error(transparent)]
    Folder(#[from] FileError),
    /// A file is refused or cannot be read.
    #[error(transparent)]
    File(#[from] PluginError),
    /// Only empty folders are named.
    #[error("no folder of rules has a rule file (*.yaml, *.yml)")]
    Empty,
}

/// The output of a rule cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum RuleOutputError {
    /// The fault is the rule's.
    #[error("rule {rule:?}, output")]
    Rule {
        /// The rule.
        rule: String,
        /// What is wrong with its output.
        source: TemplateError,
    },
    /// The fault is in what the configuration appends.
    #[error(transparent)]
    Appended(#[from] AppendError),
}

/// The web server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// It cannot listen.
    #[error("webserver: cannot listen at {place}")]
    Listen {
        /// The address, or the path of the socket.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// The page needs a token, and the kernel gives no random bytes.
    #[error(
        "webserver: the page needs a token, and the kernel gives no random bytes; set page.token"
    )]
    Random(#[source] io::Error),
    /// The page needs a token, and there is none.
    #[error(
        "webserver: other hosts may reach {0}, so the page needs a token there; set page.token"
    )]
    Open(std::net::SocketAddr),
}

/// Why a reload fails. What ran before goes on, except for [`ReloadError::Outputs`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReloadError {
    /// The new configuration or the new rules cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A file of the configuration has lost all its keys: an accident, more often than not.
    #[error(
        "{} is empty since the last reload; to run with the defaults, restart lanner",
        .0.display()
    )]
    Emptied(PathBuf),
    /// The new rules need calls that are omitted because the driver holds processes.
    #[error("the new rules need calls that are left out since the start; restart lanner")]
    Omitted,
    /// The driver refuses the new selection, and keeps the old one.
    #[error("the driver cannot capture what the new rules need while it runs")]
    Selection(#[source] CaptureError),
    /// A rule plugin got no thread.
    #[error("cannot start a thread for a rule plugin")]
    Thread(#[source] io::Error),
    /// The session ends before the event path took the rules.
    #[error("the session ends")]
    Ending,
    /// The new rules run, but these outputs could not be started.
    #[error("{}", joined(.0))]
    Outputs(Vec<delivery::StartError>),
}

fn joined(errors: &[delivery::StartError]) -> String {
    let texts: Vec<String> = errors
        .iter()
        .map(|error| driver_api::error::Chain(error).to_string())
        .collect();
    texts.join("; ")
}
