//! What Falco's YAML parser takes although it is not YAML: a text is changed so that the parser here takes it, too, and the
//! places of the changes are kept.

use granit_parser::ErrorKind;

/// How many changes a file may need.
const MAX_CHANGES: usize = 100;
/// More than any indentation of a rule file.
const INDENTATION: usize = 64;

/// A text with changes.
#[derive(Debug)]
pub(super) struct Lenient {
    text: String,
    /// Where `_` stands for `-`, in the file.
    dashes: Vec<usize>,
    /// What was inserted: its byte in the file, and its length. In the order of the file.
    inserted: Vec<(usize, usize)>,
}

impl Lenient {
    pub(super) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            dashes: Vec::new(),
            inserted: Vec::new(),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The byte of the file at a byte of the text.
    pub(super) fn in_source(&self, at: usize) -> usize {
        let mut shift = 0;
        for (place, length) in &self.inserted {
            let begin = place + shift;
            if at < begin {
                break;
            }
            if at < begin + length {
                return *place;
            }
            shift += length;
        }
        at - shift
    }

    /// Whether the letter at this byte of the file is a `-` in the file.
    pub(super) fn is_dash(&self, at: usize) -> bool {
        self.dashes.contains(&at)
    }

    /// Changes the text where the parser has found this error, so that it may be taken. False: Falco does not take it either.
    pub(super) fn repair(&mut self, error: &ErrorKind, at: usize) -> bool {
        if self.dashes.len() + self.inserted.len() == MAX_CHANGES {
            return false;
        }
        // the error may be at the sign, or after it
        let near = |sign: u8| {
            let places = [Some(at), at.checked_sub(1)];
            let mut places = places.into_iter().flatten();
            places.find(|at| self.text.as_bytes().get(*at) == Some(&sign))
        };
        match error {
            // `"one\ntwo"`: the second line is not indented
            ErrorKind::InvalidQuotedScalarIndent => self.insert(at, &" ".repeat(INDENTATION)),
            // `[a]#comment`
            ErrorKind::CommentNotSeparated => near(b'#').is_some_and(|at| self.insert(at, " ")),
            // a line without a colon at the end of the file
            ErrorKind::SimpleKeyExpected => {
                (self.end_of_last_line(at)).is_some_and(|end| self.insert(end, ":"))
            }
            // `[-, a]`
            error if error.to_string().contains("cannot start with '-'") => {
                let dash = near(b'-');
                if let Some(dash) = dash {
                    self.dashes.push(self.in_source(dash));
                    self.text.replace_range(dash..=dash, "_");
                }
                dash.is_some()
            }
            _ => false,
        }
    }

    fn insert(&mut self, at: usize, what: &str) -> bool {
        let place = self.in_source(at);
        if self.inserted.iter().any(|(known, _)| *known == place) || !self.text.is_char_boundary(at)
        {
            return false;
        }
        self.text.insert_str(at, what);
        self.inserted.push((place, what.len()));
        self.inserted.sort_unstable();
        true
    }

    /// The end of the line with the text at `at`, if nothing but comments follows.
    fn end_of_last_line(&self, at: usize) -> Option<usize> {
        let rest = self.text.get(at..)?;
        let said = rest.lines().next()?.split(" #").next()?.trim_end();
        let follows = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        let is_last = !rest.lines().skip(1).any(follows);
        (is_last && !said.is_empty()).then_some(at + said.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_lead_back_to_the_file() {
        let mut lenient = Lenient::new("abc");
        assert!(lenient.insert(2, "--") && lenient.insert(1, "+"));
        assert_eq!(lenient.text(), "a+b--c");
        let back: Vec<usize> = (0..6).map(|at| lenient.in_source(at)).collect();
        assert_eq!(back, [0, 1, 1, 2, 2, 2]);
        assert!(!lenient.insert(2, "x"), "changed once");
    }
}
