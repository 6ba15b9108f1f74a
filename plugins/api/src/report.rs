//! What a rule plugin reports about rules: diagnostics, explanations, comparisons, needs.

use std::time::Duration;

use std::fmt;

use crate::abi::{
    RELATION_CONTAINS, RELATION_EQUAL, RELATION_ORDER, RELATION_OTHER, RELATION_PATTERN,
    RELATION_PREFIX, RELATION_SUFFIX, SEVERITY_ERROR, SEVERITY_NOTE, SEVERITY_WARNING, TEST_EQUAL,
    TEST_EXISTS, TEST_GREATER, TEST_GREATER_OR_EQUAL, TEST_LESS, TEST_LESS_OR_EQUAL, TEST_UNEQUAL,
};
use crate::rule::EventTypes;

/// A message about rule files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnostic {
    /// How serious it is.
    pub severity: Severity,
    /// A short, stable name of the problem, for programs; may be empty.
    pub code: String,
    /// Name of the file; empty if the message concerns no file.
    pub file: String,
    /// From 1; 0 if the message has no place.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// How to fix it; may be empty.
    pub help: String,
    /// The part of the line to show; may be empty.
    pub snippet: String,
    /// The character of `snippet` that `column` points at, from 0.
    pub caret: u32,
    /// The rule, macro or list concerned; may be empty.
    pub item: String,
    /// The field or event type that the host lacks, if that is the reason; else empty.
    pub missing: String,
}

/// How serious a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u32)]
pub enum Severity {
    /// The rules cannot be used as they are.
    #[default]
    Error = SEVERITY_ERROR,
    /// Probably a mistake.
    Warning = SEVERITY_WARNING,
    /// Information.
    Note = SEVERITY_NOTE,
}

/// A rule with all names filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The condition, with the contents of macros and lists in place of their names.
    pub condition: String,
    /// The event types that it can match.
    pub event_types: EventTypes,
    /// The fields that it reads.
    pub fields: Vec<String>,
    /// The macros and lists that it uses.
    pub parts: Vec<String>,
}

/// What a rule asks to keep in a file when it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleCapture {
    /// Index of the rule.
    pub rule: u32,
    /// How long events are kept after the match. None: as the configuration says.
    pub duration: Option<Duration>,
    /// How long events are kept that happened before the match. None: as the configuration says.
    pub before: Option<Duration>,
    /// The most events after the match.
    pub events: Option<u64>,
    /// The most bytes of the file. None: as the configuration says.
    pub bytes: Option<u64>,
}

/// A field that rules compare with constants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldComparison {
    /// The field, with its argument in brackets: `fd.sip.name`, `proc.aname[2]`.
    pub field: String,
    /// How the values are compared.
    pub relation: Relation,
    /// The names of the transformers around the field, outermost first. Empty if the rule compares the field
    /// itself.
    pub transformers: Vec<String>,
    /// The constants, as text.
    pub constants: Vec<String>,
}

/// How a rule compares a value with a constant. Negated comparisons have the same relation: `!=` is
/// [`Relation::Equal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Relation {
    /// None of the relations below.
    Other = RELATION_OTHER,
    /// The value equals a constant, or the address is in a network.
    Equal = RELATION_EQUAL,
    /// The value is less or greater than a constant.
    Order = RELATION_ORDER,
    /// The value begins with a constant.
    Prefix = RELATION_PREFIX,
    /// The value ends with a constant.
    Suffix = RELATION_SUFFIX,
    /// The value contains a constant.
    Contains = RELATION_CONTAINS,
    /// The value fits a pattern: wildcards, a regular expression.
    Pattern = RELATION_PATTERN,
}

/// Events that rules may match: those of a type for which all tests hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventNeed {
    /// The event type, as in [`EventTypes::Only`].
    pub event_type: String,
    /// The tests.
    pub tests: Vec<FieldTest>,
}

/// A comparison of a field with constants. Without a value, no comparison holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldTest {
    /// The field, as the rules have it: `evt.failed`, `evt.rawarg.flags`.
    pub field: String,
    /// How it is compared.
    pub relation: TestRelation,
    /// The constants, as text. One, unless the relation takes several or none.
    pub constants: Vec<String>,
    /// The comparison must not hold.
    pub negated: bool,
}

/// How a [`FieldTest`] compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum TestRelation {
    /// The value equals one of the constants.
    Equal = TEST_EQUAL,
    /// There is a value, and it equals none of the constants.
    Unequal = TEST_UNEQUAL,
    /// It is less than the constant.
    Less = TEST_LESS,
    /// It is less than the constant or equal to it.
    LessOrEqual = TEST_LESS_OR_EQUAL,
    /// It is greater than the constant.
    Greater = TEST_GREATER,
    /// It is greater than the constant or equal to it.
    GreaterOrEqual = TEST_GREATER_OR_EQUAL,
    /// There is a value. Without constants.
    Exists = TEST_EXISTS,
}

impl TestRelation {
    /// The relation with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            TEST_EQUAL => Self::Equal,
            TEST_UNEQUAL => Self::Unequal,
            TEST_LESS => Self::Less,
            TEST_LESS_OR_EQUAL => Self::LessOrEqual,
            TEST_GREATER => Self::Greater,
            TEST_GREATER_OR_EQUAL => Self::GreaterOrEqual,
            TEST_EXISTS => Self::Exists,
            _ => return None,
        })
    }
}

impl Severity {
    /// The severity with this number. An unknown number is a note.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        match number {
            SEVERITY_ERROR => Self::Error,
            SEVERITY_WARNING => Self::Warning,
            _ => Self::Note,
        }
    }

    /// `error`, `warning` or `note`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl Relation {
    /// The relation with this number. An unknown number is [`Relation::Other`].
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        match number {
            RELATION_EQUAL => Self::Equal,
            RELATION_ORDER => Self::Order,
            RELATION_PREFIX => Self::Prefix,
            RELATION_SUFFIX => Self::Suffix,
            RELATION_CONTAINS => Self::Contains,
            RELATION_PATTERN => Self::Pattern,
            _ => Self::Other,
        }
    }
}

/// `file:line:column: message`, then the line with a caret, then the help.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        } else if !self.file.is_empty() {
            write!(f, "{}: ", self.file)?;
        }
        f.write_str(&self.message)?;
        let number = self.line.to_string();
        let blank = " ".repeat(number.len());
        if !self.snippet.is_empty() {
            let caret = " ".repeat(usize::try_from(self.caret).unwrap_or(0).min(1000));
            write!(f, "\n {number} | {}", self.snippet)?;
            write!(f, "\n {blank} | {caret}^")?;
        }
        if self.help.is_empty() {
            Ok(())
        } else {
            write!(f, "\n {blank} = {}", self.help)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_have_numbers_and_unknown_numbers_are_other() {
        for relation in [
            Relation::Other,
            Relation::Equal,
            Relation::Order,
            Relation::Prefix,
            Relation::Suffix,
            Relation::Contains,
            Relation::Pattern,
        ] {
            assert_eq!(Relation::from_number(relation as u32), relation);
        }
        assert_eq!(Relation::from_number(4711), Relation::Other);
    }
}
