//! Why a test of rules cannot run.

use driver_api::driver::CaptureError;
use plugin_host::UnknownName;
use recording::script::ScriptError;

/// Why the tests of a file cannot run.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// A test expects an alert of a rule that does not exist.
    #[error("there is no rule `{rule}`{hint}")]
    NoSuchRule {
        /// The name.
        rule: String,
        /// What was probably meant, if anything.
        hint: String,
    },
    /// A test sets a field that does not exist, or to a value that the field cannot have.
    #[error("test `{test}`")]
    Field {
        /// The test.
        test: String,
        /// What is wrong with the field.
        source: FieldError,
    },
    /// An event of a test cannot be built.
    #[error("test `{test}`")]
    Script {
        /// The test.
        test: String,
        /// What is wrong with the event.
        source: ScriptError,
    },
    /// The events of a test cannot be delivered.
    #[error("test `{test}`")]
    Capture {
        /// The test.
        test: String,
        /// Why.
        source: CaptureError,
    },
}

/// Why a field cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum FieldError {
    /// There is no such field.
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    /// Only a process has fields of its own.
    #[error("`{0}` is no structure")]
    Structure(String),
    /// The value is not of the field's kind.
    #[error("`{name}` is {expected}, and `{value}` is none")]
    Kind {
        /// The field.
        name: String,
        /// What its values are.
        expected: &'static str,
        /// The value.
        value: String,
    },
}
