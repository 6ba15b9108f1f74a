//! The keys of one item. Each is taken once; a key that remains is unknown.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::source::{Place, Problem, code};
use crate::yaml::{Node, Scalar};

/// The keys of an item.
#[derive(Debug)]
pub(crate) struct Keys {
    entries: Vec<(Scalar, Arc<Node>)>,
    /// The keys that the reader knows.
    known: Vec<&'static str>,
    /// The keys that were present.
    taken: Vec<(&'static str, Place)>,
}

/// How an item changes one key of an earlier item with the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Define,
    Append,
    Replace,
}

/// How an item changes an earlier item with the same name.
#[derive(Debug)]
pub(crate) enum Changes {
    /// Replaces it.
    Define,
    /// `append: true`: appends every key that is present.
    AppendAll,
    /// `override:` has a change for each key.
    Override(HashMap<String, Change>),
}

impl Changes {
    pub(crate) fn of(&self, key: &str) -> Change {
        match self {
            Self::Define => Change::Define,
            Self::AppendAll => Change::Append,
            Self::Override(keys) => keys.get(key).copied().unwrap_or(Change::Replace),
        }
    }

    pub(crate) fn is_definition(&self) -> bool {
        matches!(self, Self::Define)
    }
}

impl Keys {
    pub(crate) fn new(item: &Node) -> Result<Self, Problem> {
        let Node::Mapping(_, entries) = item else {
            let message = format!("an item is a map of keys, not {}", item.kind());
            return Err(Problem::new(item.place(), message));
        };
        let mut seen = HashSet::new();
        for (key, _) in entries {
            if !seen.insert(key.text.as_str()) {
                let message = format!("the key `{}` is given twice", key.text);
                return Err(Problem::new(&key.place, message).code(code::ITEM));
            }
        }
        Ok(Self {
            entries: entries.clone(),
            known: Vec::new(),
            taken: Vec::new(),
        })
    }

    /// The value of a key.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Arc<Node>> {
        self.known.push(name);
        let at = self.entries.iter().position(|(key, _)| key.text == name)?;
        let (key, node) = self.entries.swap_remove(at);
        self.taken.push((name, key.place));
        Some(node)
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<Scalar>, Problem> {
        self.take(name).map(|node| text(name, &node)).transpose()
    }

    pub(crate) fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, Problem> {
        let Some(scalar) = self.text(name)? else {
            return Ok(None);
        };
        match scalar.text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(Some(true)),
            "false" | "no" | "off" => Ok(Some(false)),
            other => {
                let message = format!("`{name}` must be true or false, not `{other}`");
                Err(Problem::new(&scalar.place, message))
            }
        }
    }

    pub(crate) fn texts(&mut self, name: &'static str) -> Result<Option<Vec<Scalar>>, Problem> {
        self.take(name).map(|node| texts(name, &node)).transpose()
    }

    /// Reads `append` and `override`, which decide about the keys taken so far.
    pub(crate) fn change(
        &mut self,
        appendable: &[&str],
        replaceable: &[&str],
    ) -> Result<Changes, Problem> {
        let given = self.taken.clone();
        let append = self.boolean("append")?.unwrap_or(false);
        let Some(node) = self.take("override") else {
            return Ok(if append {
                Changes::AppendAll
            } else {
                Changes::Define
            });
        };
        let Node::Mapping(place, entries) = &*node else {
            let message = format!("`override` is a map of keys, not {}", node.kind());
            return Err(Problem::new(node.place(), message));
        };
        if append {
            return Err(Problem::new(
                place,
                "`append` and `override` exclude each other",
            ));
        }
        let mut changes = HashMap::new();
        for (key, how) in entries {
            let how = text("override", how)?;
            let (change, allowed) = match how.text.as_str() {
                "append" => (Change::Append, appendable),
                "replace" => (Change::Replace, replaceable),
                _ => return Err(Problem::new(&how.place, "choose `append` or `replace`")),
            };
            if !allowed.contains(&key.text.as_str()) {
                let message = format!("`{}` cannot be overridden with `{}`", key.text, how.text);
                let help = format!("`{}` takes {}", how.text, allowed.join(", "));
                return Err(Problem::new(&key.place, message).help(help));
            }
            if !given.iter().any(|(name, _)| *name == key.text) {
                let message = format!(
                    "`override` names `{}`, but the item has no such key",
                    key.text
                );
                return Err(Problem::new(&key.place, message));
            }
            changes.insert(key.text.clone(), change);
        }
        let name_key = given.first().map(|(name, _)| *name);
        for (name, place) in &given {
            if Some(*name) != name_key && !changes.contains_key(*name) {
                let message = format!("`override` does not say what to do with `{name}`");
                let help = format!("add `{name}: replace` or `{name}: append` to it");
                return Err(Problem::new(place, message).help(help));
            }
        }
        Ok(Changes::Override(changes))
    }

    /// The position of a key that was present.
    pub(crate) fn place_of(&self, name: &str) -> Option<&Place> {
        let found = self.taken.iter().find(|(taken, _)| *taken == name);
        found.map(|(_, place)| place)
    }

    /// A warning for each remaining key.
    pub(crate) fn unknown(self) -> Vec<Problem> {
        let known = self.known;
        let entries = self.entries.into_iter();
        entries
            .map(|(key, _)| {
                let message = format!("the key `{}` is unknown and ignored", key.text);
                Problem::warning(code::KEY, &key.place, message)
                    .nearest(&key.text, known.iter().copied())
            })
            .collect()
    }
}

/// The value of a key that must be a text.
pub(crate) fn text(name: &str, node: &Node) -> Result<Scalar, Problem> {
    match node {
        Node::Scalar(scalar) if !scalar.is_null() => Ok(scalar.clone()),
        Node::Scalar(scalar) => Err(Problem::new(
            &scalar.place,
            format!("`{name}` has no value"),
        )),
        other => {
            let message = format!("`{name}` must be a text, not {}", other.kind());
            Err(Problem::new(other.place(), message))
        }
    }
}

/// The value of a key that must be a list of texts.
pub(crate) fn texts(name: &str, node: &Node) -> Result<Vec<Scalar>, Problem> {
    match node {
        Node::Sequence(_, nodes) => nodes.iter().map(|node| text(name, node)).collect(),
        Node::Scalar(scalar) if scalar.is_null() => Ok(Vec::new()),
        other => {
            let message = format!("`{name}` must be a list, not {}", other.kind());
            Err(Problem::new(other.place(), message))
        }
    }
}
