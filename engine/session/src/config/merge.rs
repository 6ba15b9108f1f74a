//! Several sources, one configuration: what included files add, and what `-o key=value` sets.

use std::sync::Arc;

use super::error::{ConfigError, Fault, OptionError, shown};
use super::expand;
use super::tree::{self, Location, Node, NodeValue};

/// How an included file is merged with the configuration before it. The names are Falco's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Strategy {
    /// Appends to lists, and replaces everything else.
    #[default]
    Append,
    /// Replaces the keys that both have.
    Override,
    /// Adds only keys that are not set yet.
    AddOnly,
}

impl Strategy {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "append" => Some(Self::Append),
            "override" => Some(Self::Override),
            "add-only" => Some(Self::AddOnly),
            _ => None,
        }
    }
}

/// Adds a file's top-level keys.
pub(super) fn merge(into: &mut Node, from: Node, strategy: Strategy) {
    let NodeValue::Map(new) = from.kind else {
        return;
    };
    let NodeValue::Map(entries) = &mut into.kind else {
        return;
    };
    for (key, node) in new {
        let Some(at) = entries.iter().position(|(name, _)| *name == key) else {
            entries.push((key, node));
            continue;
        };
        match (strategy, &mut entries[at].1.kind, node.kind) {
            (Strategy::AddOnly, ..) => {}
            (Strategy::Append, NodeValue::List(old), NodeValue::List(more)) => old.extend(more),
            (_, _, kind) => entries[at].1 = Node { kind, ..node },
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    At(usize),
    Append,
}

/// Applies `a.b[0].c=value`; `a[]=value` appends.
pub(super) fn set(root: &mut Node, option: &str) -> Result<(), ConfigError> {
    // the value may be secret: messages show the key alone
    let key = option.split_once('=').map_or(option, |(key, _)| key);
    let wrong = |source| ConfigError::Option {
        option: shown(key),
        source,
    };
    let (key, value) = option
        .split_once('=')
        .ok_or_else(|| wrong(OptionError::NotKeyValue))?;
    let place = Location {
        source: Arc::from(format!("-o {key}")),
        line: 0,
    };
    let steps = steps(key).map_err(wrong)?;
    if steps.len() > tree::MAX_DEPTH {
        return Err(ConfigError::at(&place, Fault::TooDeep(tree::MAX_DEPTH)));
    }
    let value = match tree::parse(&place.source, value) {
        Ok(Some(mut node)) => {
            replace_place(&mut node, &place);
            node
        }
        Ok(None) => Node {
            kind: NodeValue::Text(String::new()),
            place: place.clone(),
            secret: false,
        },
        // the value is not YAML, for example a text that begins with `*`
        Err(_) => {
            let expanded = expand::expand(value).map_err(|error| ConfigError::at(&place, error))?;
            Node {
                kind: NodeValue::Text(expanded.text),
                place: place.clone(),
                secret: expanded.secret,
            }
        }
    };
    let mut node = root;
    for step in steps {
        node = descend(node, step, &place)?;
    }
    *node = value;
    Ok(())
}

fn replace_place(node: &mut Node, place: &Location) {
    node.place = place.clone();
    match &mut node.kind {
        NodeValue::List(items) => items.iter_mut().for_each(|item| replace_place(item, place)),
        NodeValue::Map(entries) => entries
            .iter_mut()
            .for_each(|(_, node)| replace_place(node, place)),
        _ => {}
    }
}

fn steps(key: &str) -> Result<Vec<Step>, OptionError> {
    let mut steps = Vec::new();
    for part in key.split('.') {
        let (name, mut rest) = part.split_at(part.find('[').unwrap_or(part.len()));
        if name.is_empty() {
            return Err(OptionError::NoName);
        }
        steps.push(Step::Key(name.to_owned()));
        while !rest.is_empty() {
            let (index, behind) = rest
                .strip_prefix('[')
                .and_then(|rest| rest.split_once(']'))
                .ok_or(OptionError::Unclosed)?;
            steps.push(match index {
                "" => Step::Append,
                index => Step::At(index.parse().map_err(|_| OptionError::NoNumber)?),
            });
            rest = behind;
        }
    }
    Ok(steps)
}

fn descend<'a>(
    node: &'a mut Node,
    step: Step,
    place: &Location,
) -> Result<&'a mut Node, ConfigError> {
    let empty = Node {
        kind: NodeValue::Null,
        place: place.clone(),
        secret: false,
    };
    match step {
        Step::Key(key) => {
            if !matches!(node.kind, NodeValue::Map(_)) {
                node.kind = NodeValue::Map(Vec::new());
            }
            let NodeValue::Map(entries) = &mut node.kind else {
                return Err(ConfigError::at(place, Fault::NotAMap));
            };
            let at = match entries.iter().position(|(name, _)| *name == key) {
                Some(at) => at,
                None => {
                    entries.push((key, empty));
                    entries.len() - 1
                }
            };
            Ok(&mut entries[at].1)
        }
        Step::At(_) | Step::Append => {
            if !matches!(node.kind, NodeValue::List(_)) {
                node.kind = NodeValue::List(Vec::new());
            }
            let NodeValue::List(items) = &mut node.kind else {
                return Err(ConfigError::at(place, Fault::ShortList(0)));
            };
            let at = match step {
                Step::At(at) => at,
                _ => items.len(),
            };
            if at == items.len() {
                items.push(empty);
            }
            let len = items.len();
            items
                .get_mut(at)
                .ok_or_else(|| ConfigError::at(place, Fault::ShortList(len)))
        }
    }
}
