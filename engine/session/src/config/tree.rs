//! Configuration as a tree whose nodes remember their place in the file, so that messages can name it.

use std::fmt;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

use super::error::{ConfigError, ExpandError, Fault, shown};
use super::expand::{self, Expanded};

/// How deep lists and maps may nest.
pub(super) const MAX_DEPTH: usize = 50;

/// How much a file may hold once its aliases are resolved: bytes of text, and [`NODE`] for each value.
const MAX_SIZE: usize = 16 << 20;
/// What a value counts for, besides its text.
const NODE: usize = 64;

/// Where a value is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) source: Arc<str>,
    /// From 1; 0: the source has no lines.
    pub(super) line: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.source),
            line => write!(f, "{}:{line}", self.source),
        }
    }
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: NodeValue,
    pub(super) place: Location,
    /// It came from the environment or a file. Messages must not show it.
    pub(super) secret: bool,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(super) enum NodeValue {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn map(place: Location) -> Self {
        Self {
            kind: NodeValue::Map(Vec::new()),
            place,
            secret: false,
        }
    }

    /// What is below a key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.kind {
            NodeValue::Map(entries) => entries
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, node)| node),
            _ => None,
        }
    }

    /// Takes what is below a key out.
    pub(super) fn take(&mut self, key: &str) -> Option<Self> {
        let NodeValue::Map(entries) = &mut self.kind else {
            return None;
        };
        let at = entries.iter().position(|(name, _)| name == key)?;
        Some(entries.remove(at).1)
    }

    /// How much of [`MAX_SIZE`] this is.
    fn size(&self) -> usize {
        NODE + match &self.kind {
            NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) => 0,
            NodeValue::Text(text) => text.len(),
            NodeValue::List(items) => items.iter().map(Self::size).sum(),
            NodeValue::Map(entries) => {
                let sizes = entries.iter().map(|(key, node)| key.len() + node.size());
                sizes.sum()
            }
        }
    }

    /// How many lists and maps are nested here.
    fn depth(&self) -> usize {
        match &self.kind {
            NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::Text(_) => 0,
            NodeValue::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            NodeValue::Map(entries) => {
                let depths = entries.iter().map(|(_, node)| node.depth());
                1 + depths.max().unwrap_or(0)
            }
        }
    }

    /// As JSON, for serde.
    pub(super) fn json(&self) -> Value {
        match &self.kind {
            NodeValue::Null => Value::Null,
            NodeValue::Bool(v) => Value::Bool(*v),
            NodeValue::Number(v) => Value::Number(v.clone()),
            NodeValue::Text(v) => Value::String(v.clone()),
            NodeValue::List(items) => Value::Array(items.iter().map(Self::json).collect()),
            NodeValue::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, node)| (key.clone(), node.json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }
}

/// A scalar that is not quoted, as YAML's core schema reads it.
pub(super) fn plain(text: &str) -> NodeValue {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return NodeValue::Null,
        "true" | "True" | "TRUE" => return NodeValue::Bool(true),
        "false" | "False" | "FALSE" => return NodeValue::Bool(false),
        _ => {}
    }
    if let Ok(number) = text.parse::<i64>() {
        return NodeValue::Number(number.into());
    }
    if let Ok(number) = text.parse::<u64>() {
        return NodeValue::Number(number.into());
    }
    let digit = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    match text
        .parse()
        .ok()
        .filter(|_| digit)
        .and_then(Number::from_f64)
    {
        Some(number) => NodeValue::Number(number),
        None => NodeValue::Text(text.to_owned()),
    }
}

/// A list or a map whose end has not come yet.
enum Open {
    List(Vec<Node>),
    /// Its entries, and a key that waits for its value.
    Map(Vec<(String, Node)>, Option<String>),
}

/// Parses a text with one document or none, and fills in values from the environment and from files.
pub(super) fn parse(source: &Arc<str>, text: &str) -> Result<Option<Node>, ConfigError> {
    parse_with(source, text, &expand::expand)
}

/// As [`parse`], with another function for what is filled in.
pub(super) fn parse_with(
    source: &Arc<str>,
    text: &str,
    fill_in: &dyn Fn(&str) -> Result<Expanded, ExpandError>,
) -> Result<Option<Node>, ConfigError> {
    let place = |line| Location {
        source: Arc::clone(source),
        line,
    };
    let mut tree = Tree::default();
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| {
            let here = place(error.marker().line());
            ConfigError::at(here, Fault::Syntax(shown(&error.info())))
        })?;
        let here = place(span.start.line());
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let expanded = fill_in(&text).map_err(|error| ConfigError::at(&here, error))?;
                let kind = match style {
                    ScalarStyle::Plain => plain(&expanded.text),
                    _ => NodeValue::Text(expanded.text),
                };
                let node = Node {
                    kind,
                    place: here,
                    secret: expanded.secret,
                };
                tree.add(node, anchor)?;
            }
            Event::SequenceStart(_, anchor, _) => {
                tree.open(Open::List(Vec::new()), here, anchor)?;
            }
            Event::MappingStart(_, anchor, _) => {
                tree.open(Open::Map(Vec::new(), None), here, anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => tree.close()?,
            Event::Alias(id) => tree.repeat(id, &here)?,
            _ => {}
        }
    }
    Ok(tree
        .document
        .filter(|node| !matches!(node.kind, NodeValue::Null)))
}

/// A tree that grows with the events of a parser.
#[derive(Default)]
struct Tree {
    document: Option<Node>,
    /// The lists and maps around the next node, with their places and the numbers of their anchors.
    open: Vec<(Open, Location, usize)>,
    /// Nodes by the numbers of their anchors.
    anchors: Vec<(usize, Node)>,
    /// Bytes, about.
    size: usize,
}

impl Tree {
    fn open(&mut self, what: Open, here: Location, anchor: usize) -> Result<(), ConfigError> {
        if self.open.len() == MAX_DEPTH {
            return Err(ConfigError::at(here, Fault::TooDeep(MAX_DEPTH)));
        }
        self.open.push((what, here, anchor));
        Ok(())
    }

    fn close(&mut self) -> Result<(), ConfigError> {
        let Some((open, place, anchor)) = self.open.pop() else {
            return Ok(());
        };
        let kind = match open {
            Open::List(items) => NodeValue::List(items),
            Open::Map(entries, _) => NodeValue::Map(entries),
        };
        let node = Node {
            kind,
            place,
            secret: false,
        };
        self.add(node, anchor)
    }

    /// Adds the node of an anchor once more.
    fn repeat(&mut self, anchor: usize, here: &Location) -> Result<(), ConfigError> {
        let found = self.anchors.iter().find(|(at, _)| *at == anchor);
        let Some((_, node)) = found else {
            return Err(ConfigError::at(here, Fault::NoAnchor));
        };
        if self.open.len() + node.depth() > MAX_DEPTH {
            return Err(ConfigError::at(here, Fault::TooDeep(MAX_DEPTH)));
        }
        self.size = self.size.saturating_add(node.size());
        if self.size > MAX_SIZE {
            return Err(ConfigError::at(here, Fault::TooLarge));
        }
        let node = node.clone();
        self.add(node, 0)
    }

    /// Adds a node. `anchor`: 0 if it has none.
    fn add(&mut self, node: Node, anchor: usize) -> Result<(), ConfigError> {
        let text = match &node.kind {
            NodeValue::Text(text) => text.len(),
            _ => 0,
        };
        self.size = self.size.saturating_add(text + NODE);
        if self.size > MAX_SIZE {
            return Err(ConfigError::at(node.place, Fault::TooLarge));
        }
        if anchor != 0 {
            self.anchors.push((anchor, node.clone()));
        }
        match self.open.last_mut() {
            None if self.document.is_some() => {
                return Err(ConfigError::at(node.place, Fault::SecondDocument));
            }
            None => self.document = Some(node),
            Some((Open::List(items), ..)) => items.push(node),
            Some((Open::Map(entries, key), ..)) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(key_of(&node, entries)?),
            },
        }
        Ok(())
    }
}

fn key_of(node: &Node, before: &[(String, Node)]) -> Result<String, ConfigError> {
    let key = match &node.kind {
        NodeValue::Text(text) => text.clone(),
        NodeValue::Number(number) => number.to_string(),
        NodeValue::Bool(value) => value.to_string(),
        _ => return Err(ConfigError::at(&node.place, Fault::KeyNotText)),
    };
    match before.iter().find(|(name, _)| *name == key) {
        Some((_, first)) => Err(ConfigError::at(
            &node.place,
            Fault::SetTwice {
                key: shown(&key),
                first: first.place.to_string(),
            },
        )),
        None => Ok(key),
    }
}
