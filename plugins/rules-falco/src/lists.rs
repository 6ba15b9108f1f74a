//! Fills lists into conditions. As in Falco, the name of a list is replaced by its elements wherever it stands between
//! blanks, `(`, `)`, `,` and `=`: before the condition is parsed, so also inside quotes.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use aho_corasick::AhoCorasick;

use crate::items::Items;
use crate::source::{Problem, code};
use crate::text::{Composed, Origin};
use crate::yaml::Scalar;

/// The length limit of all conditions together, in bytes. Lists in lists can grow exponentially.
const MAX_LENGTH: usize = 32 << 20;

/// The limit of values in one condition.
const MAX_PARTS: usize = 2_000_000;

/// All lists, ready to be filled in.
#[derive(Debug)]
pub(crate) struct Lists<'a> {
    lists: Vec<Filled<'a>>,
    by_name: HashMap<&'a str, usize>,
    /// Finds the names of lists, if there are any.
    names: Option<AhoCorasick>,
    used: RefCell<BTreeSet<usize>>,
    /// The length of the conditions so far.
    length: Cell<usize>,
}

/// A list whose elements that are names of earlier lists were replaced by their elements.
#[derive(Debug)]
struct Filled<'a> {
    name: &'a str,
    elements: Vec<Element>,
    /// Lists whose names are in the elements.
    inside: Vec<usize>,
}

#[derive(Debug)]
struct Element {
    scalar: Arc<Scalar>,
    /// The list that it was written in, if that is another one.
    via: Option<usize>,
}

impl<'a> Lists<'a> {
    pub(crate) fn new(items: &'a Items) -> Self {
        let by_name: HashMap<&str, usize> = items
            .lists
            .iter()
            .enumerate()
            .map(|(at, list)| (list.name.as_str(), at))
            .collect();
        let names = AhoCorasick::new(items.lists.iter().map(|list| list.name.as_bytes()));
        let mut lists = Self {
            lists: Vec::new(),
            by_name,
            names: names.ok().filter(|_| !items.lists.is_empty()),
            used: RefCell::default(),
            length: Cell::new(0),
        };
        for (at, list) in items.lists.iter().enumerate() {
            let mut elements = Vec::new();
            for scalar in &list.elements {
                let inner = lists.by_name.get(scalar.text.as_str()).copied();
                match inner.filter(|inner| *inner != at && items.lists[*inner].order < list.changed)
                {
                    Some(inner) => {
                        lists.used.get_mut().insert(inner);
                        elements.extend(items.lists[inner].elements.iter().map(|scalar| Element {
                            scalar: Arc::clone(scalar),
                            via: Some(inner),
                        }));
                    }
                    None => elements.push(Element {
                        scalar: Arc::clone(scalar),
                        via: None,
                    }),
                }
            }
            let mut inside: Vec<usize> = elements
                .iter()
                .flat_map(|element| lists.names_in(&element.scalar.text))
                .collect();
            inside.sort_unstable();
            inside.dedup();
            lists.lists.push(Filled {
                name: &list.name,
                elements,
                inside,
            });
        }
        lists
    }

    /// The lists whose names are somewhere in a text.
    fn names_in(&self, text: &str) -> Vec<usize> {
        match &self.names {
            Some(names) => names
                .find_overlapping_iter(text)
                .map(|found| found.pattern().as_usize())
                .collect(),
            None => Vec::new(),
        }
    }

    /// Whether a condition or another list uses this list.
    pub(crate) fn is_used(&self, list: usize) -> bool {
        self.used.borrow().contains(&list)
    }

    /// Whether there is a list of this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Replaces the names of lists in a condition. `found` gets the names.
    pub(crate) fn fill_in(
        &self,
        mut text: Composed,
        found: &mut BTreeSet<String>,
        notes: &mut Vec<Problem>,
    ) -> Result<Composed, Problem> {
        let mut candidates: BTreeSet<usize> = self.names_in(text.as_str()).into_iter().collect();
        // As in Falco: one list after the other, so a name that an earlier list's turn has passed stays.
        while let Some(list) = candidates.pop_first() {
            if self.replace(&mut text, list)? {
                self.used.borrow_mut().insert(list);
                found.insert(self.lists[list].name.to_owned());
                let later = self.lists[list].inside.iter();
                candidates.extend(later.filter(|inner| **inner > list));
            }
        }
        let text = self.fill_in_rest(text, found, notes)?;
        self.length.set(self.length.get() + text.as_str().len());
        Ok(text)
    }

    /// Replaces all occurrences of one list's name. Returns whether there was one.
    fn replace(&self, text: &mut Composed, list: usize) -> Result<bool, Problem> {
        let name = self.lists[list].name;
        let is_blank = |byte: &u8| b" \t\n\r".contains(byte);
        let ends = |byte: Option<&u8>| byte.is_none_or(|byte| b" \t\n\r(),=".contains(byte));
        let mut filling = Composed::default();
        self.elements(list, &mut filling);
        let mut new = Composed::default();
        // What comes before `done` is in the new text.
        let (mut from, mut done) = (0, 0);
        let bytes = text.as_str().as_bytes();
        while let Some(at) = text.as_str().get(from..).and_then(|rest| rest.find(name)) {
            let (mut start, mut end) = (from + at, from + at + name.len());
            let before = start.checked_sub(1).and_then(|before| bytes.get(before));
            if !ends(before) || !ends(bytes.get(end)) {
                from = start + first_character(text.as_str(), start);
                continue;
            }
            while start > done && is_blank(&bytes[start - 1]) {
                start -= 1;
            }
            while bytes.get(end).is_some_and(is_blank) {
                end += 1;
            }
            // Without elements, a comma beside the name has to go, too.
            if filling.as_str().is_empty() {
                if start > done && bytes[start - 1] == b',' {
                    start -= 1;
                } else if bytes.get(end) == Some(&b',') {
                    end += 1;
                }
            }
            let scalar = text.scalar(start).cloned();
            let blank = |new: &mut Composed| {
                if let Some(scalar) = &scalar {
                    new.add(" ", scalar);
                }
            };
            new.push_slice(text, done..start);
            if start > 0 {
                blank(&mut new);
            }
            new.push_slice(&filling, 0..filling.as_str().len());
            blank(&mut new);
            self.check_length(&new)?;
            (from, done) = (end, end);
        }
        if done == 0 {
            return Ok(false);
        }
        new.push_slice(text, done..text.as_str().len());
        *text = new;
        Ok(true)
    }

    fn check_length(&self, text: &Composed) -> Result<(), Problem> {
        let length = self.length.get() + text.as_str().len();
        if length <= MAX_LENGTH && text.parts() <= MAX_PARTS {
            return Ok(());
        }
        let message = "the lists make the conditions longer than 32 MiB or two million values";
        Err(Problem::new(&text.place(0), message).code(code::CONDITION))
    }

    /// Appends the elements of a list.
    fn elements(&self, list: usize, out: &mut Composed) {
        for element in &self.lists[list].elements {
            let scalar = &element.scalar;
            if !out.as_str().is_empty() {
                out.add(", ", scalar);
            }
            let origin = Origin {
                list,
                inner: element.via,
            };
            push_value(out, scalar, Some(origin));
        }
    }

    /// Falco does not look into lists of lists of lists, so it compares with the names of the innermost lists. These are
    /// filled in here, with a note.
    fn fill_in_rest(
        &self,
        text: Composed,
        found: &mut BTreeSet<String>,
        notes: &mut Vec<Problem>,
    ) -> Result<Composed, Problem> {
        let mut new = Composed::default();
        let mut done = 0;
        for (range, origin) in text.elements() {
            let list = self.by_name.get(&text.as_str()[range.clone()]).copied();
            let Some(list) = list.filter(|list| !origin.contains(*list)) else {
                continue;
            };
            let leaves = self.leaves(list);
            if leaves.is_empty() {
                continue;
            }
            new.push_slice(&text, done..range.start);
            done = range.end;
            for (at, scalar) in leaves.into_iter().enumerate() {
                new.add(if at == 0 { "" } else { ", " }, scalar);
                push_value(&mut new, scalar, None);
            }
            self.check_length(&new)?;
            let name = self.lists[list].name;
            if found.insert(name.to_owned()) {
                let message = format!(
                    "Falco would compare with the text `{name}` here: it looks into lists of lists, not deeper"
                );
                notes.push(Problem::note(
                    code::ORDER,
                    &text.place(range.start),
                    message,
                ));
            }
        }
        if done == 0 {
            return Ok(text);
        }
        new.push_slice(&text, done..text.as_str().len());
        Ok(new)
    }

    /// The elements of a list and of all lists in it, which are used then. Each list counts once.
    fn leaves(&self, list: usize) -> Vec<&Arc<Scalar>> {
        let mut seen = BTreeSet::from([list]);
        let mut open: Vec<&Arc<Scalar>> = self.scalars(list).rev().collect();
        let mut leaves = Vec::new();
        while let Some(scalar) = open.pop() {
            match self.by_name.get(scalar.text.as_str()) {
                Some(inner) => {
                    if seen.insert(*inner) {
                        open.extend(self.scalars(*inner).rev());
                    }
                }
                None => leaves.push(scalar),
            }
        }
        self.used.borrow_mut().append(&mut seen);
        leaves
    }

    fn scalars(&self, list: usize) -> impl DoubleEndedIterator<Item = &Arc<Scalar>> {
        let elements = self.lists[list].elements.iter();
        elements.map(|element| &element.scalar)
    }
}

/// The length of the character at a byte of a text.
fn first_character(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(1, char::len_utf8)
}

/// Appends a value of a list or an exception. As in Falco, a value with a blank gets quotes, unless it has some.
pub(crate) fn push_value(out: &mut Composed, scalar: &Arc<Scalar>, origin: Option<Origin>) {
    let quote = scalar.text.contains(' ') && !scalar.text.starts_with(['"', '\'']);
    if quote {
        out.add("\"", scalar);
    }
    out.push(scalar, origin.filter(|_| !quote));
    if quote {
        out.add("\"", scalar);
    }
}
