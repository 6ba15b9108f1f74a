//! Where something stands in a rule file, and messages that show it.

use std::fmt;
use std::sync::Arc;

/// A rule file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A byte in a rule file.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) source: Arc<Source>,
    pub(crate) offset: usize,
}

impl Place {
    /// Line and column, both from 1; the column counts characters.
    fn line_and_column(&self) -> (usize, usize, &str) {
        let text = &self.source.text;
        let mut offset = self.offset.min(text.len());
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

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column, _) = self.line_and_column();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

/// What is wrong with a rule file, where, and what would be right.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) place: Option<Place>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// The host does not know a field or an event type; a rule may ask to be left out then.
    pub(crate) unknown_to_host: bool,
}

impl Problem {
    pub(crate) fn new(place: &Place, message: impl Into<String>) -> Self {
        Self {
            place: Some(place.clone()),
            message: message.into(),
            help: None,
            unknown_to_host: false,
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Proposes the nearest of `known`, if one is near.
    pub(crate) fn nearest<'a>(self, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(name, known) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None => self,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            None => write!(f, "{}", self.message)?,
            Some(place) => {
                let (number, column, line) = place.line_and_column();
                let number = number.to_string();
                let blank = " ".repeat(number.len());
                write!(f, "{place}: {}", self.message)?;
                // Long lines: show what is around the place.
                let skip = column.saturating_sub(60);
                let shown: String = line.chars().skip(skip).take(100).collect();
                let caret = " ".repeat(column - 1 - skip);
                write!(f, "\n {number} | {}", shown.replace('\t', " "))?;
                write!(f, "\n {blank} | {caret}^")?;
            }
        }
        match &self.help {
            Some(help) => write!(f, "\n   = {help}"),
            None => Ok(()),
        }
    }
}

/// The name of `known` that differs least from `name`, if it differs little.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = name.len() / 3 + 1;
    known
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substitute = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_line_with_a_caret() {
        let source = Arc::new(Source {
            name: "r.yaml".to_owned(),
            text: "- macro: x\n  condition: evt.type = \n".to_owned(),
        });
        let place = Place { source, offset: 24 };
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
