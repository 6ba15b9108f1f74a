//! YAML as a tree with the position of every node, so that messages can point at it.
//!
//! Scalars stay texts: the elements of `[22, 1.10, no]` are the texts as written. Deserializing with serde would lose them,
//! and the style of each scalar, which the way back from a byte of its text to the file depends on. The configuration of
//! the host has a tree of its own: its scalars have types, and environment variables are filled in. A plugin cannot share
//! code with the host, except for the SDK.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, ScanError};

use crate::source::{Place, Problem, SourceFile, code};

/// The depth limit of lists and maps. Rule files need five levels.
const MAX_DEPTH: usize = 50;

/// A node with the position of its beginning. Aliases share it.
#[derive(Debug)]
pub(crate) enum Node {
    Scalar(Scalar),
    Sequence(Place, Vec<Arc<Node>>),
    Mapping(Place, Vec<(Scalar, Arc<Node>)>),
}

/// A text with its position.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) place: Place,
    plain: bool,
    block: bool,
    /// It has a tag, such as `!!str`.
    tagged: bool,
}

impl Node {
    pub(crate) fn place(&self) -> &Place {
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
    pub(crate) fn new(text: &str, place: &Place) -> Self {
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
    pub(crate) fn place_of(self: &Arc<Self>, offset: usize) -> Place {
        Place {
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

/// How many lone `-` in `[-, a]` a file may have.
const MAX_DASHES: usize = 100;

/// Parses all documents of a file.
///
/// Falco takes a lone `-` in a list in brackets, `[-, a]`, which the parser refuses. It is parsed as another letter then.
pub(crate) fn parse(source: &Arc<SourceFile>) -> Result<Vec<Arc<Node>>, Problem> {
    let mut text = source.text.clone();
    let mut dashes = Vec::new();
    loop {
        match parse_text(source, &text, &dashes) {
            Err(Refused::LoneDash(at, problem)) => {
                if dashes.len() == MAX_DASHES || text.as_bytes().get(at) != Some(&b'-') {
                    return Err(*problem);
                }
                text.replace_range(at..=at, "_");
                dashes.push(at);
            }
            Err(Refused::Other(problem)) => return Err(*problem),
            Ok(documents) => return Ok(documents),
        }
    }
}

/// Why a text is not parsed.
enum Refused {
    /// Because of a `-` at this byte.
    LoneDash(usize, Box<Problem>),
    Other(Box<Problem>),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Other(problem.into())
    }
}

/// Parses a text in which the letters at `dashes` stand for `-`.
fn parse_text(
    source: &Arc<SourceFile>,
    text: &str,
    dashes: &[usize],
) -> Result<Vec<Arc<Node>>, Refused> {
    let place = |offset: Option<usize>| Place {
        source: Arc::clone(source),
        offset: offset.unwrap_or(0),
        within: None,
    };
    let mut documents = Vec::new();
    let mut stack: Vec<(Open, Place, usize)> = Vec::new();
    let mut anchors: HashMap<usize, Arc<Node>> = HashMap::new();
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| not_yaml(&error, text, place))?;
        let here = place(
            span.start
                .byte_offset()
                .or_else(|| byte_offset(text, span.start.index())),
        );
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let mut text = text.into_owned();
                if dashes.contains(&here.offset) {
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
            Event::MappingStart(_, anchor, _) => {
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

/// What the parser has said, and whether the reason is a `-` alone.
fn not_yaml(error: &ScanError, text: &str, place: impl Fn(Option<usize>) -> Place) -> Refused {
    let marker = error.marker();
    let offset = marker
        .byte_offset()
        .or_else(|| byte_offset(text, marker.index()));
    let message = format!("this is not YAML: {}", error.info());
    let problem = Problem::new(&place(offset), message).code(code::YAML);
    // the error may be at the dash, or after it
    let near = offset
        .into_iter()
        .flat_map(|at| [Some(at), at.checked_sub(1)]);
    let mut dash = near
        .flatten()
        .filter(|at| text.as_bytes().get(*at) == Some(&b'-'));
    match dash.next() {
        Some(at) if error.info().contains("cannot start with '-'") => {
            Refused::LoneDash(at, problem.into())
        }
        _ => Refused::Other(problem.into()),
    }
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
        parse(&source).unwrap()
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
    fn broken_yaml_says_where() {
        let source = Arc::new(SourceFile {
            name: "t".to_owned(),
            text: "a: b\nc: [1, 2\n".to_owned(),
        });
        let problem = parse(&source).unwrap_err().to_string();
        assert!(problem.starts_with("t:"), "{problem}");
        assert!(problem.contains("not YAML"), "{problem}");
    }
}
