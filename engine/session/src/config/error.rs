//! What is wrong with a configuration, and where.

use driver_api::request::LimitError;
use lanner_plugin::files::FileError;
use plugin_host::{InvalidSum, escape, secrets};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or a folder of files is refused or cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something is wrong at one place.
    #[error("{place}")]
    At {
        /// File and line, or the option.
        place: String,
        /// What is wrong there.
        source: Fault,
    },
    /// An option of the command line is wrong.
    #[error("-o {option}")]
    Option {
        /// The option.
        option: String,
        /// What is wrong with it.
        source: OptionError,
    },
    /// Keys that do not exist: one line each, with place and suggestion.
    #[error("{}", .0.join("\n"))]
    UnknownKeys(Vec<String>),
}

/// A text from outside for a message: without secrets, and on one line.
pub(super) fn shown(text: &str) -> String {
    // what is escaped could not be recognised as a secret any more
    escape(&secrets::hide(text), false)
}

impl ConfigError {
    /// A fault at a place.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers have a place, a reference to one, or a text"
    )]
    pub(super) fn at(place: impl ToString, source: impl Into<Fault>) -> Self {
        Self::At {
            place: shown(&place.to_string()),
            source: source.into(),
        }
    }
}

/// What is wrong at a place of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It is not YAML.
    #[error("this is not YAML: {0}")]
    Syntax(String),
    /// Lists and maps are nested too deep.
    #[error("lists and maps are nested more than {0} deep here")]
    TooDeep(usize),
    /// Aliases or values from files make it too large.
    #[error("the aliases and values up to here make more than 16 MiB")]
    TooLarge,
    /// An alias without an anchor.
    #[error("this alias has no anchor before it")]
    NoAnchor,
    /// A file holds one document.
    #[error("a second document begins here")]
    SecondDocument,
    /// A key is a list or a map.
    #[error("a key must be a text")]
    KeyNotText,
    /// A key occurs twice in a map.
    #[error("`{key}` was set before, at {first}")]
    SetTwice {
        /// The key.
        key: String,
        /// Where it was set first.
        first: String,
    },
    /// A variable or a file cannot be filled in.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// The file is a list or a single value.
    #[error("a configuration is a map of keys")]
    NotAMap,
    /// An option sets `config_files`.
    #[error("files are included by the configuration file alone")]
    LateInclude,
    /// An included file has `config_files`.
    #[error("a file that is included cannot include others")]
    NestedInclude,
    /// `config_files` is not a list.
    #[error("`config_files` is a list of files and folders")]
    IncludesNotAList,
    /// An element of `config_files` is not understood.
    #[error("expected a path, or `path` and `strategy` (append, override, add-only)")]
    Include,
    /// An option addresses an element behind the end of a list.
    #[error("the list has {0} entries only")]
    ShortList(usize),
    /// A value has the wrong type.
    #[error("{path}: {problem}")]
    Value {
        /// The key, with the keys above it.
        path: String,
        /// What is wrong. Never shows what came from the environment or a file.
        problem: String,
    },
    /// A value has the right type, but is not allowed.
    #[error("{key}")]
    Key {
        /// The key.
        key: &'static str,
        /// What is wrong.
        source: KeyError,
    },
}

/// What a `${...}` lacks.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// It does not end.
    #[error("a `${{` has no `}}` behind it; write `$$` for a `$`")]
    Unclosed,
    /// The environment has no such variable.
    #[error("${{{0}}}: the environment variable is not set; ${{{0}:-}} would be empty then")]
    NotSet(String),
    /// The value of the variable is not UTF-8.
    #[error("${{{name}}}")]
    Variable {
        /// The variable.
        name: String,
        /// Why.
        source: std::env::VarError,
    },
    /// The environment belongs to a user who has fewer rights than lanner.
    #[error(
        "${{{0}}}: this lanner has more rights than its user (file capabilities), so it does not trust the environment; \
         write the value into the configuration, or into a file of root's and use ${{file:...}}"
    )]
    NotTrusted(String),
    /// The file cannot be read, or another user can change it.
    #[error("${{{name}}}")]
    File {
        /// `file:` and the path.
        name: String,
        /// Why.
        source: FileError,
    },
}

/// What is wrong with `-o KEY=VALUE`.
#[derive(Debug, thiserror::Error)]
pub enum OptionError {
    /// It has no `=`.
    #[error("this is not KEY=VALUE; --output FILE writes alerts to a file")]
    NotKeyValue,
    /// The key has an empty part.
    #[error("a name is missing in the key")]
    NoName,
    /// A bracket is not closed.
    #[error("a `[` has no `]` behind it")]
    Unclosed,
    /// An index is not a number.
    #[error("between [ and ] is no number")]
    NoNumber,
}

/// Why the value of a key is not allowed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// `limits`
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// `plugin_sums`
    #[error(transparent)]
    Sum(#[from] InvalidSum),
    /// `capture`
    #[error("memory: at most 4G")]
    MuchMemory,
    /// `capture`
    #[error("memory: at least 64K, so that some events fit")]
    LittleMemory,
    /// `capture`
    #[error("max_files: at least 1; `enabled: false` makes no files")]
    NoFiles,
    /// `capture`
    #[error(
        "path_prefix: it ends with the beginning of a file's name, as in /var/lib/lanner/captures/lanner"
    )]
    CapturePrefix,
    /// `heartbeat`
    #[error("interval: at least 100ms")]
    FastHeartbeat,
    /// `outputs_queue`
    #[error("a queue holds at least one alert: lanner's are never unbounded")]
    EmptyQueue,
    /// `rule_plugins` names a plugin twice.
    #[error("{0} is there twice")]
    PluginTwice(String),
    /// The queue of a rule plugin has no room.
    #[error("{0}: a queue holds at least one event")]
    NoEvents(String),
    /// An output's name is not usable as a name of a file.
    #[error("the name {0:?} is not made of at most 64 letters, digits, `-`, `_` and `.`")]
    OutputName(String),
    /// Two outputs have one name.
    #[error("two outputs are called {0:?}; give one of them another `name`")]
    OutputTwice(String),
    /// The queue of an output has no room.
    #[error("{0}: a queue holds at least one alert")]
    NoAlerts(String),
    /// The queue of an output or a plugin is too long.
    #[error("{0}: a queue holds at most {max}", max = super::outputs::MAX_QUEUE)]
    LongQueue(String),
    /// A time is zero.
    #[error("{0}: a time must be longer than 0s")]
    NoTime(String),
    /// The pauses between tries would have to shrink.
    #[error("{0}: retry_first is longer than retry_max")]
    ShrinkingPauses(String),
    /// The path of a spool is empty.
    #[error("{0}: spool.path: the path is empty")]
    NoSpoolPath(String),
    /// A spool has no room for alerts.
    #[error("{0}: spool.size: a spool has at least 64K")]
    SmallSpool(String),
    /// Two outputs have one spool.
    #[error("{0}: its spool is also that of {1}; give one of them another `spool.path`")]
    SpoolTwice(String, String),
    /// The spool of an output lies in the spool of another one.
    #[error(
        "{0}: its spool would lie in that of {1}, which is a file; give one of them another `spool.path`"
    )]
    SpoolInside(String, String),
    /// A driver does not exist, or is named twice.
    #[error(transparent)]
    Driver(#[from] drivers::Refused),
    /// A rate is negative or not a number.
    #[error("{0}: a rate is a number of alerts a second")]
    Rate(String),
    /// The kernel would choose the port, and no client would know it.
    #[error("listen_port: a port from 1 to 65535; 0 is any free port, and nothing says which")]
    NoPort,
    /// The path of the socket is empty.
    #[error("unix_socket: the path is empty")]
    NoSocketPath,
    /// No request could ask for health.
    #[error(
        "k8s_healthz_endpoint: {0:?} is not the path of a request, such as /healthz: it begins with `/` and has no blanks, \
         `?` or `#`"
    )]
    HealthPath(String),
    /// The path of health is one of the web server's own.
    #[error("k8s_healthz_endpoint: {0} is a path of the web server's own; name another one")]
    HealthTaken(String),
    /// The page is on, and the web server is off.
    #[error("page: the web server that serves it is off; set `enabled: true` beside it")]
    PageWithoutServer,
    /// The path of health is one of the page's.
    #[error("k8s_healthz_endpoint: {0} is a path of the page")]
    HealthOnPage(String),
    /// The token of the page is too short, or has other characters.
    #[error("page.token: at least {0} characters, which are letters, digits or ASCII punctuation")]
    PageToken(usize),
    /// The page is open, and has a token.
    #[error("page: with a `token` it is not `open`; remove one of the two")]
    OpenWithToken,
    /// A name of the page's host is none.
    #[error("page.hosts: {0:?} is not the name of a host (without scheme and port)")]
    PageHost(String),
    /// Other hosts can connect.
    #[error(
        "page: other hosts may reach {0}, so the page needs a `token` there (head -c 16 /dev/urandom | base64); or \
         listen at 127.0.0.1, or at a `unix_socket`"
    )]
    PageNeedsToken(String),
    /// `syscall_event_drops`
    #[error("actions: `ignore` excludes the others; remove one or the other")]
    IgnoreAndMore,
    /// `syscall_event_drops`
    #[error("the threshold is a part of all events: 0 to 1")]
    Threshold,
}
