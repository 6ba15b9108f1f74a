//! YAML as a tree with the position of every node, so that messages can point at it.
//!
//! Scalars stay texts: the elements of `[22, 1.10, no]` are the texts as written. Deserializing with serde would lose them,
//! and the style of each scalar, which the way back from a byte of its text to the file depends on. The configuration of
//! the host has a tree of its own: its scalars have types, and environment variables are filled in. A plugin cannot share
//! code with the host, except for the SDK.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StructureStyle};

use crate::source::{Location, Problem, SourceFile, code};
use lenient::Lenient;

#[path = "yaml_lenient.rs"]
mod lenient;

/// The depth limit of lists and maps. Rule files need five levels.
const MAX_DEPTH: usize = 50;

/// A node with the position of its beginning. Aliases share it.
#[derive(Debug)]
pub(crate) enum Node {
    Scalar(Scalar),
    Sequence(Location, Vec<Arc<Node>>),
    Mapping(Location, Vec<(Scalar, Arc<Node>)>),
}

/// A text with its position.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) place: Location,
    plain: bool,
    block: bool,
    /// It has a tag, such as `!!str`.
    tagged: bool,
}

impl Node {
    pub(crate) fn place(&self) -> &Location {
        match self {
            Self::Scalar(scalar) => &scalar.place,
            Self::Sequence(place, _) | Self::Mapping(place, _) => place,
        }
    }

    /// Its kind, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Scalar(scalar) if scalar.is_null() => "nothing",
            Self::Scalar(_) => "a text",
            Self::Sequence(..) => "a list",
            Self::Mapping(..) => "a map",
        }
    }
}

impl Scalar {
    /// A text that is not in the file. Messages about it point at `place`.
    pub(crate) fn new(text: &str, place: &Location) -> Self {
        Self {
            text: text.to_owned(),
            place: place.clone(),
            plain: true,
            block: false,
            tagged: false,
        }
    }

    /// Whether it is empty or YAML's null. With a tag it is a text, whatever the tag says.
    pub(crate) fn is_null(&self) -> bool {
        !self.tagged
            && self.plain
            && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// Another text with the same position.
    pub(crate) fn with_text(&self, text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ..self.clone()
        }
    }

    /// The position of a byte of the text.
    pub(crate) fn place_of(self: &Arc<Self>, offset: usize) -> Location {
        Location {
            within: Some((Arc::clone(self), offset)),
            ..self.place.clone()
        }
    }

    /// The byte in the file for a byte of the text. The text of a block scalar has lost its indentation, and that of a
    /// quoted one its escapes, so this compares both from the beginning.
    pub(crate) fn offset_of(&self, offset: usize) -> usize {
        self.walk(offset).unwrap_or(self.place.offset)
    }

    fn walk(&self, offset: usize) -> Option<usize> {
        let file = self.place.source.text.as_bytes();
        let mut at = self.place.offset;
        if self.block && matches!(file.get(at), Some(b'>' | b'|')) {
            at += file[at..].iter().position(|byte| *byte == b'\n')?;
        } else if !self.block && !self.plain {
            at += 1;
        }
        let wanted = self.text.as_bytes().get(..offset)?;
        for byte in wanted.iter().filter(|byte| !byte.is_ascii_whitespace()) {
            at += file
                .get(at..)?
                .iter()
                .position(|b| !b.is_ascii_whitespace())?;
            // An escaped quote or backslash; a doubled quote.
            if file[at] != *byte || (file.get(at + 1) == Some(byte) && *byte == b'\'') {
                at += 1;
            }
            if file.get(at) != Some(byte) {
                return None;
            }
            at += 1;
        }
        let rest = self.text.as_bytes().get(offset);
        if rest.is_some_and(|byte| !byte.is_ascii_whitespace()) {
            at += file
                .get(at..)?
                .iter()
                .position(|b| !b.is_ascii_whitespace())?;
        }
        Some(at)
    }
}

/// A list or map whose end has not been read yet.
enum Open {
    Sequence(Vec<Arc<Node>>),
    Mapping(Vec<(Scalar, Arc<Node>)>, Option<Scalar>),
}

/// Parses all documents of a file. `notes` gets what Falco's parser refuses. What the parser refuses and Falco's takes is
/// changed until it is taken: see [`Lenient`].
pub(crate) fn parse(
    source: &Arc<SourceFile>,
    notes: &mut Vec<Problem>,
) -> Result<Vec<Arc<Node>>, Problem> {
    let mut lenient = Lenient::new(&source.text);
    loop {
        notes.clear();
        match parse_text(source, &lenient, notes) {
            Err(Refused::Syntax(error)) => {
                let at = offset_of(error.marker(), lenient.text());
                if !at.is_some_and(|at| lenient.repair(error.kind(), at)) {
                    let message = format!("this is not YAML: {}", error.info());
                    let place = place(source, at.map(|at| lenient.in_source(at)));
                    return Err(Problem::new(&place, message).code(code::YAML));
                }
            }
            Err(Refused::Other(problem)) => return Err(*problem),
            Ok(documents) => return Ok(documents),
        }
    }
}

/// Why a text is not parsed.
enum Refused {
    Syntax(Box<ScanError>),
    Other(Box<Problem>),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Other(problem.into())
    }
}

fn place(source: &Arc<SourceFile>, offset: Option<usize>) -> Location {
    Location {
        source: Arc::clone(source),
        offset: offset.unwrap_or(0),
        within: None,
    }
}

fn offset_of(marker: &Marker, text: &str) -> Option<usize> {
    marker
        .byte_offset()
        .or_else(|| byte_offset(text, marker.index()))
}

/// Whether a key at this byte of the text stands behind a `-` and a tab: Falco's parser then takes no key.
fn is_behind_tab(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let dash = before.trim_end_matches([' ', '\t']);
    dash.ends_with('-') && before[dash.len()..].contains('\t')
}

/// Parses the text.
fn parse_text(
    source: &Arc<SourceFile>,
    lenient: &Lenient,
    notes: &mut Vec<Problem>,
) -> Result<Vec<Arc<Node>>, Refused> {
    let text = lenient.text();
    let mut documents = Vec::new();
    let mut stack: Vec<(Open, Location, usize)> = Vec::new();
    let mut anchors: HashMap<usize, Arc<Node>> = HashMap::new();
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| Refused::Syntax(error.into()))?;
        let at = offset_of(&span.start, text);
        let here = place(source, at.map(|at| lenient.in_source(at)));
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let mut text = text.into_owned();
                if lenient.is_dash(here.offset) {
                    text.replace_range(..1, "-");
                }
                let scalar = Scalar {
                    text,
                    place: here,
                    plain: style == ScalarStyle::Plain,
                    block: matches!(style, ScalarStyle::Literal | ScalarStyle::Folded),
                    tagged: tag.is_some(),
                };
                (Arc::new(Node::Scalar(scalar)), anchor)
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if stack.len() == MAX_DEPTH => {
                let message = format!("lists and maps are nested more than {MAX_DEPTH} deep here");
                return Err(Problem::new(&here, message).code(code::YAML).into());
            }
            Event::SequenceStart(_, anchor, _) => {
                stack.push((Open::Sequence(Vec::new()), here, anchor));
                continue;
            }
            Event::MappingStart(style, anchor, _) => {
                if style == StructureStyle::Block && at.is_some_and(|at| is_behind_tab(text, at)) {
                    let message = "Falco takes no key behind a `-` and a tab";
                    notes.push(Problem::refused_by_falco(code::YAML, &here, message));
                }
                stack.push((Open::Mapping(Vec::new(), None), here, anchor));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match stack.pop() {
                Some((Open::Sequence(items), place, anchor)) => {
                    (Arc::new(Node::Sequence(place, items)), anchor)
                }
                Some((Open::Mapping(entries, _), place, anchor)) => {
                    (Arc::new(Node::Mapping(place, entries)), anchor)
                }
                None => continue,
            },
            Event::Alias(id) => match anchors.get(&id) {
                Some(node) => (Arc::clone(node), 0),
                None => {
                    return Err(Problem::new(&here, "this alias has no anchor before it").into());
                }
            },
            _ => continue,
        };
        if anchor != 0 {
            anchors.insert(anchor, Arc::clone(&node));
        }
        match stack.last_mut() {
            None => documents.push(node),
            Some((open, ..)) => open.add(node)?,
        }
    }
    Ok(documents)
}

impl Open {
    /// Adds an item to a list, or the next key or value to a map.
    fn add(&mut self, node: Arc<Node>) -> Result<(), Problem> {
        match self {
            Self::Sequence(items) => items.push(node),
            Self::Mapping(entries, key) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => match &*node {
                    Node::Scalar(scalar) => *key = Some(scalar.clone()),
                    other => {
                        let what = format!("a key must be a text, not {}", other.kind());
                        return Err(Problem::new(other.place(), what));
                    }
                },
            },
        }
        Ok(())
    }
}

fn byte_offset(text: &str, characters: usize) -> Option<usize> {
    text.char_indices()
        .nth(characters)
        .map(|(offset, _)| offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Arc<Node>> {
        let source = Arc::new(SourceFile {
            name: "t".to_owned(),
            text: text.to_owned(),
        });
        parse(&source, &mut Vec::new()).unwrap()
    }

    fn value<'a>(node: &'a Node, key: &str) -> &'a Scalar {
        let Node::Mapping(_, entries) = node else {
            panic!("not a map: {node:?}");
        };
        let found = entries.iter().find(|(name, _)| name.text == key).unwrap();
        match &*found.1 {
            Node::Scalar(scalar) => scalar,
            other => panic!("not a text: {other:?}"),
        }
    }

    /// The byte of the value at which `word` begins must lead to `word` in the file.
    fn leads_back(yaml: &str, word: &str) {
        let documents = read(yaml);
        let scalar = value(&documents[0], "k");
        let offset = scalar.offset_of(scalar.text.find(word).unwrap());
        let expected = yaml.rfind(word).unwrap();
        assert_eq!(offset, expected, "{yaml:?} {scalar:?}");
    }

    #[test]
    fn every_style_of_scalar_leads_back_to_the_file() {
        leads_back("k: one two three", "three");
        leads_back("k: one\n  two three", "three");
        leads_back("k: >\n  one two\n\n  and three", "three");
        leads_back("a: 1\nk: |\n    one\n      two\n", "two");
        leads_back("k: 'it''s three'", "three");
        leads_back("k: \"a \\\"b\\\" three\"", "three");
        leads_back("k: >-\n  été three\n", "three");
    }

    #[test]
    fn scalars_stay_as_they_were_written() {
        let documents = read("k: 1.10");
        assert_eq!(value(&documents[0], "k").text, "1.10");
    }

    #[test]
    fn several_documents_and_aliases() {
        let documents = read("- &a [x]\n- *a\n---\n- y\n");
        assert_eq!(documents.len(), 2);
        let Node::Sequence(_, items) = &*documents[0] else {
            panic!("not a list");
        };
        assert!(Arc::ptr_eq(&items[0], &items[1]));
    }

    #[test]
    fn a_lone_dash_is_a_text() {
        let documents = read("k: x\nl: [-, a, '-']\nm: [-]\n");
        let Node::Mapping(_, entries) = &*documents[0] else {
            panic!("not a map");
        };
        let texts = |at: usize| match &*entries[at].1 {
            Node::Sequence(_, items) => items
                .iter()
                .map(|item| match &**item {
                    Node::Scalar(scalar) => scalar.text.clone(),
                    other => panic!("not a text: {other:?}"),
                })
                .collect::<Vec<_>>(),
            other => panic!("not a list: {other:?}"),
        };
        assert_eq!(texts(1), ["-", "a", "-"]);
        assert_eq!(texts(2), ["-"]);
    }

    #[test]
    fn what_falcos_parser_takes_is_taken() {
        let texts = |yaml: &str, key: &str| value(&read(yaml)[0], key).text.clone();
        // a quoted text goes on at a smaller indentation
        let short = "m:\n  k: \"one\n two\nthree\"\n  last: x\n";
        let documents = read(short);
        let Node::Mapping(_, entries) = &*documents[0] else {
            panic!("not a map");
        };
        assert_eq!(value(&entries[0].1, "k").text, "one two three");
        let last = value(&entries[0].1, "last");
        assert_eq!(last.place.offset, short.find('x').unwrap());
        assert_eq!(texts("k: 'one\ntwo'\n", "k"), "one two");
        // the last line of the file has no colon
        let documents = read("a: b\nenabled:false\n# end\n");
        assert!(value(&documents[0], "enabled:false").is_null());
        // nothing separates a comment
        assert_eq!(texts("k: \"a\"#c\nb: [x]#d\nl: z\n", "l"), "z");
    }

    #[test]
    fn a_key_behind_a_tab_is_a_note() {
        for (text, count) in [
            ("-\tk: a\n", 1),
            ("- k: a\n- l:\n  - \tm: b\n", 1),
            ("- k:\ta\n-\tb\n", 0),
            ("- {\tk: a}\n", 0),
        ] {
            let source = Arc::new(SourceFile {
                name: "t".to_owned(),
                text: text.to_owned(),
            });
            let mut notes = Vec::new();
            parse(&source, &mut notes).unwrap();
            assert_eq!(notes.len(), count, "{text:?}");
        }
    }

    #[test]
    fn broken_yaml_says_where() {
        let source = Arc::new(SourceFile {
            name: "t".to_owned(),
            text: "a: b\nc: [1, 2\n".to_owned(),
        });
        let problem = parse(&source, &mut Vec::new()).unwrap_err().to_string();
        assert!(problem.starts_with("t:"), "{problem}");
        assert!(problem.contains("not YAML"), "{problem}");
    }
}
