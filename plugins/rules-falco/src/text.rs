//! Texts that are put together from scalars of rule files: conditions with appended parts, exceptions and lists. Every byte
//! leads back to its scalar, so that messages can point at it.

use std::ops::Range;
use std::sync::Arc;

use crate::source::Location;
use crate::yaml::Scalar;

/// A text that was put together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Composed {
    text: String,
    parts: Vec<Part>,
}

/// A part of the text. It reaches to the next one.
#[derive(Debug, Clone)]
struct Part {
    start: usize,
    scalar: Arc<Scalar>,
    /// Where in the scalar's text it begins. None for text that is not in the file, such as added parentheses.
    from: Option<usize>,
    origin: Option<Origin>,
}

/// The list that an element came from, and the list in it that it was written in, if that is another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) list: usize,
    pub(crate) inner: Option<usize>,
}

impl Origin {
    /// Whether an element came through a list.
    pub(crate) fn contains(self, list: usize) -> bool {
        self.list == list || self.inner == Some(list)
    }
}

impl Composed {
    pub(crate) fn new(scalar: Scalar) -> Self {
        let mut text = Self::default();
        text.push(&Arc::new(scalar), None);
        text
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The number of parts.
    pub(crate) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Whether a byte is that of a list's element, or between elements.
    pub(crate) fn is_of_list(&self, offset: usize) -> bool {
        let at = self.first_part(offset);
        let around = self
            .parts
            .get(at.saturating_sub(1)..=at)
            .unwrap_or_default();
        around.iter().any(|part| part.origin.is_some())
    }

    /// Appends a text after a blank.
    pub(crate) fn append(&mut self, scalar: Scalar) {
        let scalar = Arc::new(scalar);
        self.add(" ", &scalar);
        self.push(&scalar, None);
    }

    /// Appends the text of a scalar.
    pub(crate) fn push(&mut self, scalar: &Arc<Scalar>, origin: Option<Origin>) {
        self.part(scalar, Some(0), origin);
        self.text.push_str(&scalar.text);
    }

    /// Appends text that is not in the file. Messages about it point at `scalar`.
    pub(crate) fn add(&mut self, text: &str, scalar: &Arc<Scalar>) {
        self.part(scalar, None, None);
        self.text.push_str(text);
    }

    fn part(&mut self, scalar: &Arc<Scalar>, from: Option<usize>, origin: Option<Origin>) {
        self.parts.push(Part {
            start: self.text.len(),
            scalar: Arc::clone(scalar),
            from,
            origin,
        });
    }

    /// Appends a part of another text.
    pub(crate) fn push_slice(&mut self, other: &Self, range: Range<usize>) {
        for at in other.first_part(range.start)..other.parts.len() {
            let part = &other.parts[at];
            let whole = other.range(at);
            if whole.start >= range.end {
                break;
            }
            let (start, end) = (whole.start.max(range.start), whole.end.min(range.end));
            if start < end {
                let from = part.from.map(|from| from + (start - whole.start));
                self.part(&part.scalar, from, part.origin);
                self.text.push_str(&other.text[start..end]);
            }
        }
    }

    fn range(&self, part: usize) -> Range<usize> {
        let next = self.parts.get(part + 1);
        self.parts[part].start..next.map_or(self.text.len(), |next| next.start)
    }

    fn first_part(&self, offset: usize) -> usize {
        let after = self.parts.partition_point(|part| part.start <= offset);
        after.saturating_sub(1)
    }

    /// The elements of lists in the text, each with its place and origin.
    pub(crate) fn elements(&self) -> impl Iterator<Item = (Range<usize>, Origin)> {
        let parts = self.parts.iter().enumerate();
        parts.filter_map(|(at, part)| Some((self.range(at), part.origin?)))
    }

    /// A scalar that messages about the byte can point at.
    pub(crate) fn scalar(&self, offset: usize) -> Option<&Arc<Scalar>> {
        Some(&self.parts.get(self.first_part(offset))?.scalar)
    }

    /// The place of a byte in the file.
    pub(crate) fn place(&self, offset: usize) -> Location {
        let part = &self.parts[self.first_part(offset)];
        match part.from {
            Some(from) => {
                let at = from + offset.saturating_sub(part.start);
                part.scalar.place_of(at.min(part.scalar.text.len()))
            }
            None => part.scalar.place.clone(),
        }
    }
}
