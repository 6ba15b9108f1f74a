//! Positions in rule files, and messages that show them.

use std::fmt;
use std::sync::Arc;

use lanner_plugin::{Diagnostic, Severity};

use crate::yaml::Scalar;

/// A rule file.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A position in a rule file.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    pub(crate) source: Arc<SourceFile>,
    /// The byte, or the start of the scalar that contains it.
    pub(crate) offset: usize,
    /// The scalar that contains it, and the byte in the scalar's text. Its byte in the file is computed on demand,
    /// because that takes a walk through the scalar.
    pub(crate) within: Option<(Arc<Scalar>, usize)>,
}

impl Location {
    /// Line and column, both from 1, and the text of the line. The column counts characters.
    fn line_and_column(&self) -> (usize, usize, &str) {
        let text = &self.source.text;
        let offset = match &self.within {
            Some((scalar, at)) => scalar.offset_of(*at),
            None => self.offset,
        };
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[start..].lines().next().unwrap_or_default();
        (
            text[..start].matches('\n').count() + 1,
            text[start..offset].chars().count() + 1,
            line,
        )
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column, _) = self.line_and_column();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

/// A problem in a rule file: what is wrong, where, and how to fix it.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) severity: Severity,
    /// Falco's code for it, or our own if Falco has none.
    pub(crate) code: &'static str,
    pub(crate) place: Option<Location>,
    pub(crate) message: Box<str>,
    pub(crate) help: Option<Box<str>>,
    /// The rule, macro or list concerned.
    pub(crate) item: Option<Box<str>>,
    /// The field or event type that the host does not know. A rule can ask to be left out for that reason.
    pub(crate) missing: Option<Box<str>>,
    /// For a note: Falco refuses this, with the code.
    pub(crate) falco_refuses: bool,
    /// For such a note: Falco leaves out a rule with `skip-if-unknown-filter: true` for this.
    pub(crate) unknown_to_falco: bool,
}

impl Problem {
    /// An error.
    pub(crate) fn new(place: &Location, message: impl Into<Box<str>>) -> Self {
        Self {
            place: Some(place.clone()),
            ..Self::without_place(message)
        }
    }

    /// An error about no place in a file.
    pub(crate) fn without_place(message: impl Into<Box<str>>) -> Self {
        Self {
            severity: Severity::Error,
            code: code::VALIDATE,
            place: None,
            message: message.into(),
            help: None,
            item: None,
            missing: None,
            falco_refuses: false,
            unknown_to_falco: false,
        }
    }

    /// A note that Falco refuses something. With the setting `strict_falco`, it is an error.
    pub(crate) fn refused_by_falco(
        code: &'static str,
        place: &Location,
        message: impl Into<Box<str>>,
    ) -> Self {
        Self {
            falco_refuses: true,
            ..Self::note(code, place, message)
        }
    }

    pub(crate) fn warning(
        code: &'static str,
        place: &Location,
        message: impl Into<Box<str>>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            code,
            ..Self::new(place, message)
        }
    }

    pub(crate) fn note(code: &'static str, place: &Location, message: impl Into<Box<str>>) -> Self {
        Self {
            severity: Severity::Note,
            ..Self::warning(code, place, message)
        }
    }

    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    pub(crate) fn help(mut self, help: impl Into<Box<str>>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Proposes the name of `known` that is most like `name`, if one is similar.
    pub(crate) fn nearest<'a>(self, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(name, known) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None => self,
        }
    }

    /// The diagnostic for the host.
    pub(crate) fn diagnostic(&self) -> Diagnostic {
        let mut diagnostic = Diagnostic {
            severity: self.severity,
            code: self.code.to_owned(),
            message: self.message.to_string(),
            help: self.help.clone().unwrap_or_default().into(),
            item: self.item.clone().unwrap_or_default().into(),
            missing: self.missing.clone().unwrap_or_default().into(),
            ..Diagnostic::default()
        };
        if let Some(place) = &self.place {
            let (line, column, text) = place.line_and_column();
            // show only the part of a long line around the position
            let skip = column.saturating_sub(60);
            let shown = text.chars().skip(skip).take(100);
            diagnostic.file.clone_from(&place.source.name);
            diagnostic.line = u32::try_from(line).unwrap_or(u32::MAX);
            diagnostic.column = u32::try_from(column).unwrap_or(u32::MAX);
            diagnostic.caret = u32::try_from(column - 1 - skip).unwrap_or(0);
            diagnostic.snippet = shown
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
        }
        diagnostic
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic().fmt(f)
    }
}

/// Falco's codes of problems, so that programs that read Falco's answers can read ours.
pub(crate) mod code {
    pub(crate) const YAML: &str = "LOAD_ERR_YAML_PARSE";
    pub(crate) const READ: &str = "LOAD_ERR_FILE_READ";
    pub(crate) const ITEM: &str = "LOAD_ERR_YAML_VALIDATE";
    pub(crate) const CONDITION: &str = "LOAD_ERR_COMPILE_CONDITION";
    pub(crate) const OUTPUT: &str = "LOAD_ERR_COMPILE_OUTPUT";
    pub(crate) const VALIDATE: &str = "LOAD_ERR_VALIDATE";
    pub(crate) const SOURCE: &str = "LOAD_UNKNOWN_SOURCE";
    pub(crate) const NA_CHECK: &str = "LOAD_UNSAFE_NA_CHECK";
    pub(crate) const NO_TYPES: &str = "LOAD_NO_EVTTYPE";
    pub(crate) const FILTER: &str = "LOAD_UNKNOWN_FILTER";
    pub(crate) const UNUSED_MACRO: &str = "LOAD_UNUSED_MACRO";
    pub(crate) const UNUSED_LIST: &str = "LOAD_UNUSED_LIST";
    pub(crate) const UNKNOWN_ITEM: &str = "LOAD_UNKNOWN_ITEM";
    pub(crate) const DEPRECATED: &str = "LOAD_DEPRECATED_ITEM";
    pub(crate) const NO_VALUES: &str = "LOAD_APPEND_NO_VALUES";
    pub(crate) const EXCEPTION_NAME: &str = "LOAD_EXCEPTION_NAME_NOT_UNIQUE";
    pub(crate) const MACRO_NAME: &str = "LOAD_INVALID_MACRO_NAME";
    pub(crate) const LIST_NAME: &str = "LOAD_INVALID_LIST_NAME";
    pub(crate) const KEY: &str = "LOAD_UNKNOWN_KEY";
    pub(crate) const HINT: &str = "LOAD_COMPILE_CONDITION";
    /// Not in Falco: a number that does not fit its field.
    pub(crate) const WRAPS: &str = "LOAD_WRAPPED_NUMBER";
    /// Not in Falco: a field that no event has.
    pub(crate) const EMPTY: &str = "LOAD_EMPTY_FIELD";
    /// Not in Falco: lanner knows this key and ignores it.
    pub(crate) const LEFT_OUT: &str = "LOAD_LEFT_OUT";
    /// Not in Falco: Falco understands this differently, because of the order or the depth of definitions.
    pub(crate) const ORDER: &str = "LOAD_ORDER";
}

/// The name of `known` that is most like `name`, if one is similar.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = name.len() / 3 + 1;
    known
        .into_iter()
        .map(|candidate| (strsim::levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_line_with_a_caret() {
        let source = Arc::new(SourceFile {
            name: "r.yaml".to_owned(),
            text: "- macro: x\n  condition: evt.type = \n".to_owned(),
        });
        let place = Location {
            source,
            offset: 24,
            within: None,
        };
        let problem = Problem::new(&place, "oops").help("write it");
        assert_eq!(
            problem.to_string(),
            "r.yaml:2:14: oops\n 2 |   condition: evt.type = \n   |              ^\n   = write it"
        );
    }

    #[test]
    fn the_nearest_name_is_near() {
        let known = ["open_read", "open_write", "spawned"];
        assert_eq!(nearest("open_raed", known), Some("open_read"));
        assert_eq!(nearest("unrelated", known), None);
    }
}
