//! Why a file of tests cannot be used. Print these errors with [`driver_api::error::Chain`].

use driver_api::event::Malformed;
use lanner_plugin::files::FileError;

/// Why a file of tests cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] FileError),
    /// The file is not YAML, or not in the format of tests.
    #[error("{path}")]
    Parse {
        /// The file.
        path: String,
        /// What is wrong, and in which line.
        source: Box<serde_saphyr::Error>,
    },
}

/// Why no events can be made from a test.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// One of the processes at the start is wrong.
    #[error("process {number}")]
    Process {
        /// Its position in `processes`, from 1.
        number: usize,
        /// What is wrong.
        source: Box<StepError>,
    },
    /// One of the events is wrong.
    #[error("event {number} ({title})")]
    Event {
        /// Its position in `events`, from 1.
        number: usize,
        /// The call, or `exec`.
        title: String,
        /// What is wrong.
        source: Box<StepError>,
    },
}

/// Why no event can be made from its description.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The description has both `call` and `exec`, or neither.
    #[error("an event has either `call` or `exec`")]
    CallOrExec,
    /// Nothing says which program a process runs.
    #[error("a process needs `exe` or `name`")]
    NoProgram,
    /// The table has no call with this name.
    #[error("there is no call `{name}`{help}")]
    NoCall {
        /// The name.
        name: String,
        /// The nearest name that exists; may be empty.
        help: String,
    },
    /// The call does not exist on x86_64, the ABI of tests.
    #[error("`{0}` is not a call of x86_64")]
    OtherAbi(String),
    /// The call has no parameter with this name.
    #[error("`{call}` has no parameter `{name}`{help}")]
    NoParameter {
        /// The call.
        call: &'static str,
        /// The name.
        name: String,
        /// The nearest name that exists; may be empty.
        help: String,
    },
    /// A parameter's value is wrong.
    #[error("parameter `{name}`")]
    Parameter {
        /// The parameter.
        name: String,
        /// What is wrong.
        source: ValueError,
    },
    /// `returns` is neither a number nor the name of an error.
    #[error("`returns` is a number or the name of an error, not `{text}`{help}")]
    Returns {
        /// What the test says.
        text: String,
        /// The nearest name that exists; may be empty.
        help: String,
    },
    /// A fact has an unknown name.
    #[error("there is no fact `{0}`: use path, local or remote")]
    NoFact(String),
    /// One end of a connection is not an address with a port.
    #[error("`{name}` is written like 192.0.2.1:443, not `{text}`")]
    FactAddress {
        /// `local` or `remote`.
        name: String,
        /// What the test says.
        text: String,
    },
    /// Only one end of a connection is given.
    #[error("a connection has two ends: give both `local` and `remote`")]
    OneEnd,
    /// The login id is neither -1 nor an id.
    #[error("`loginuid` is a user id, or -1 for none, not {0}")]
    LoginId(i64),
    /// The event is too large, or otherwise invalid.
    #[error("it does not make a valid event")]
    Malformed(#[from] Malformed),
}

/// Why a text is not the value of a parameter.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The parameter has one value, and the test gives a list.
    #[error("it takes one value, not a list")]
    List,
    /// It is not a number.
    #[error("`{0}` is no number")]
    Number(String),
    /// It is not a number in base 8.
    #[error("`{0}` is no number in base 8")]
    Octal(String),
    /// It is not one of the parameter's names.
    #[error("`{word}` is not one of {set}{help}")]
    Symbol {
        /// The unknown name.
        word: String,
        /// The set of names.
        set: &'static str,
        /// The nearest name that exists; may be empty.
        help: String,
    },
    /// It is not the address of a socket.
    #[error("an address is written like 192.0.2.1:443, not `{0}`")]
    Address(String),
    /// The structure has no field with this name.
    #[error("`struct {structure}` has no field `{name}`{help}")]
    Field {
        /// The name.
        name: String,
        /// The structure.
        structure: &'static str,
        /// The nearest name that exists; may be empty.
        help: String,
    },
    /// The format has no notation for this kind of parameter.
    #[error("a test cannot describe this kind of parameter; give the `fields` instead")]
    Undescribable,
}
