//! The keys of one item. Each is taken once; a key that remains is unknown. The checks are those of Falco.

use std::sync::Arc;
use std::time::Duration;

use crate::source::{Location, Problem, code};
use crate::yaml::{Node, Scalar};

/// The keys of an item.
#[derive(Debug)]
pub(crate) struct Keys {
    entries: Vec<(Scalar, Arc<Node>)>,
    /// The keys that the reader knows.
    known: Vec<&'static str>,
    /// The keys that were present.
    taken: Vec<(&'static str, Location)>,
    /// Warnings about keys.
    warnings: Vec<Problem>,
}

/// How an item changes an earlier item with the same name.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// `append: true`
    pub(crate) append: bool,
    /// The keys that `override` appends.
    pub(crate) appended: Vec<Scalar>,
    /// The keys that `override` replaces.
    pub(crate) replaced: Vec<Scalar>,
}

impl Changes {
    pub(crate) fn has_override(&self) -> bool {
        !self.appended.is_empty() || !self.replaced.is_empty()
    }

    /// Whether a key of the item is appended to the earlier item.
    pub(crate) fn appends(&self, key: &str) -> bool {
        self.append || self.appended.iter().any(|one| one.text == key)
    }

    /// Whether `override` names a key.
    fn names(&self, key: &str) -> bool {
        let mut all = self.appended.iter().chain(&self.replaced);
        all.any(|one| one.text == key)
    }
}

impl Keys {
    pub(crate) fn new(item: &Node) -> Result<Self, Problem> {
        let Node::Mapping(_, entries) = item else {
            let message = format!("an item is a map of keys, not {}", item.kind());
            return Err(Problem::new(item.place(), message).code(code::ITEM));
        };
        let mut kept: Vec<(Scalar, Arc<Node>)> = Vec::new();
        let mut warnings = Vec::new();
        for (key, value) in entries {
            if kept.iter().any(|(known, _)| known.text == key.text) {
                let message = format!("the key `{}` is given twice", key.text);
                let problem = Problem::warning(code::LEFT_OUT, &key.place, message);
                warnings.push(problem.help("the first one counts; remove the other one"));
            } else {
                kept.push((key.clone(), Arc::clone(value)));
            }
        }
        Ok(Self {
            entries: kept,
            known: Vec::new(),
            taken: Vec::new(),
            warnings,
        })
    }

    /// Whether the item has a key.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.place_of(name).is_some()
    }

    /// The value of a key, also if it is null.
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
        boolean(&scalar.text).map(Some).ok_or_else(|| {
            let message = format!("`{name}` must be true or false, not `{}`", scalar.text);
            Problem::new(&scalar.place, message).code(code::ITEM)
        })
    }

    pub(crate) fn number(&mut self, name: &'static str) -> Result<Option<u32>, Problem> {
        let Some(scalar) = self.text(name)? else {
            return Ok(None);
        };
        unsigned(&scalar.text).map(Some).ok_or_else(|| {
            let message = format!("`{name}` must be a number, not `{}`", scalar.text);
            Problem::new(&scalar.place, message).code(code::ITEM)
        })
    }

    /// A time: a number of milliseconds, or one with a unit, such as `10s`.
    pub(crate) fn time(&mut self, name: &'static str) -> Result<Option<Duration>, Problem> {
        let Some(scalar) = self.text(name)? else {
            return Ok(None);
        };
        time(&scalar.text).map(Some).ok_or_else(|| {
            let message = format!(
                "`{name}` must be a time such as `10s`, not `{}`",
                scalar.text
            );
            Problem::new(&scalar.place, message).code(code::ITEM)
        })
    }

    pub(crate) fn texts(&mut self, name: &'static str) -> Result<Option<Vec<Scalar>>, Problem> {
        self.take(name).map(|node| texts(name, &node)).transpose()
    }

    /// Reads `append` and `override`. `keys` are those that `override` can append and those that it can replace.
    pub(crate) fn changes(&mut self, keys: (&[&str], &[&str])) -> Result<Changes, Problem> {
        let (appendable, replaceable) = keys;
        let mut changes = Changes {
            append: self.boolean("append")?.unwrap_or(false),
            ..Changes::default()
        };
        let node = self.take("override");
        let entries = match node.as_deref() {
            Some(Node::Mapping(_, entries)) => entries.as_slice(),
            Some(node @ Node::Sequence(_, items)) if !items.is_empty() => {
                let message = format!("`override` is a map of keys, not {}", node.kind());
                return Err(Problem::new(node.place(), message).code(code::VALIDATE));
            }
            Some(Node::Scalar(scalar)) if scalar.is_null() => &[],
            Some(node @ (Node::Scalar(_) | Node::Sequence(..))) => {
                let message = "`override` is ignored: it is a map of keys";
                let problem = Problem::warning(code::LEFT_OUT, node.place(), message);
                self.warnings
                    .push(problem.help("write `override: {condition: append}`"));
                &[]
            }
            None => &[],
        };
        for (key, how) in entries {
            let how = text("override", how).map_err(|problem| match &**how {
                Node::Scalar(_) => problem,
                Node::Sequence(..) | Node::Mapping(..) => problem.code(code::VALIDATE),
            })?;
            let (keys, allowed) = match how.text.as_str() {
                "append" => (&mut changes.appended, appendable),
                "replace" => (&mut changes.replaced, replaceable),
                _ => {
                    let problem = Problem::new(&how.place, "choose `append` or `replace`");
                    return Err(problem.code(code::ITEM));
                }
            };
            if !allowed.contains(&key.text.as_str()) {
                let message = format!("`{}` cannot be overridden with `{}`", key.text, how.text);
                let help = format!("`{}` takes {}", how.text, allowed.join(", "));
                return Err(Problem::new(&key.place, message)
                    .code(code::ITEM)
                    .help(help));
            }
            keys.push(key.clone());
        }
        if let Some(both) = (changes.appended.iter())
            .find(|one| changes.replaced.iter().any(|other| other.text == one.text))
        {
            let message = format!("`override` appends and replaces `{}`", both.text);
            return Err(Problem::new(&both.place, message).code(code::ITEM));
        }
        if changes.append && changes.has_override() {
            let place = node.as_deref().map_or(&self.taken[0].1, Node::place);
            let message = "`append` and `override` exclude each other";
            return Err(Problem::new(place, message).code(code::ITEM));
        }
        Ok(changes)
    }

    /// Checks that `override` names each of these keys that the item has, and none that it does not have.
    pub(crate) fn check_override(&self, changes: &Changes, keys: &[&str]) -> Result<(), Problem> {
        for key in changes.appended.iter().chain(&changes.replaced) {
            if self.place_of(&key.text).is_none() {
                let message = format!(
                    "`override` names `{}`, but the item has no such key",
                    key.text
                );
                return Err(Problem::new(&key.place, message).code(code::ITEM));
            }
        }
        for name in keys.iter().filter(|name| !changes.names(name)) {
            if let Some(place) = self.place_of(name) {
                let message = format!("`override` does not say what to do with `{name}`");
                let help = format!("add `{name}: replace` or `{name}: append` to it");
                return Err(Problem::new(place, message).code(code::ITEM).help(help));
            }
        }
        Ok(())
    }

    /// The position of a key of the item.
    pub(crate) fn place_of(&self, name: &str) -> Option<&Location> {
        let taken = self.taken.iter().find(|(taken, _)| *taken == name);
        let left = || self.entries.iter().find(|(key, _)| key.text == name);
        taken
            .map(|(_, place)| place)
            .or_else(|| left().map(|(key, _)| &key.place))
    }

    /// A warning for each remaining key, and for each key that is given twice.
    pub(crate) fn unknown(self) -> Vec<Problem> {
        let known = self.known;
        let entries = self.entries.into_iter();
        let unknown = entries.map(|(key, _)| {
            let message = format!("the key `{}` is unknown and ignored", key.text);
            Problem::warning(code::KEY, &key.place, message)
                .nearest(&key.text, known.iter().copied())
        });
        unknown.chain(self.warnings).collect()
    }
}

/// A number of 32 bits without a sign as a C++ stream reads it: behind a `+`, hexadecimal behind `0x`, octal behind `0`, and
/// with blanks behind it.
pub(crate) fn unsigned(text: &str) -> Option<u32> {
    let text = text.trim_end_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let digits = text.strip_prefix('+').unwrap_or(text);
    let hexadecimal = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    let (digits, base) = match hexadecimal {
        Some(digits) => (digits, 16),
        None if digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    // a second sign is none of the stream's
    let is_digit = |c: char| c.is_digit(base);
    u32::from_str_radix(digits, base)
        .ok()
        .filter(|_| digits.starts_with(is_digit))
}

/// A number with a unit; without one, of milliseconds.
fn time(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(unit.unwrap_or(text.len()));
    let ms: u64 = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(
        number.parse::<u64>().ok()?.checked_mul(ms)?,
    ))
}

/// The words that YAML 1.1 has for true and false, in lower case, upper case, or capitalized.
fn boolean(text: &str) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    let rest = text.get(1..).unwrap_or_default();
    let cased = text == lower
        || text == text.to_ascii_uppercase()
        || (text.starts_with(|c: char| c.is_ascii_uppercase())
            && rest == rest.to_ascii_lowercase());
    match lower.as_str() {
        "y" | "yes" | "true" | "on" if cased => Some(true),
        "n" | "no" | "false" | "off" if cased => Some(false),
        _ => None,
    }
}

/// The value of a key that must be a text, and not empty.
pub(crate) fn text(name: &str, node: &Node) -> Result<Scalar, Problem> {
    let message = match node {
        Node::Scalar(scalar) if !scalar.is_null() && !scalar.text.is_empty() => {
            return Ok(scalar.clone());
        }
        Node::Scalar(_) => format!("`{name}` has no value"),
        other => format!("`{name}` must be a text, not {}", other.kind()),
    };
    Err(Problem::new(node.place(), message).code(code::ITEM))
}

/// The value of a key that must be a list of texts.
fn texts(name: &str, node: &Node) -> Result<Vec<Scalar>, Problem> {
    let wrong = |node: &Node, what: &str| {
        let message = format!("{what}, not {}", node.kind());
        Err(Problem::new(node.place(), message).code(code::ITEM))
    };
    let Node::Sequence(_, nodes) = node else {
        return wrong(node, &format!("`{name}` must be a list"));
    };
    let mut texts = Vec::with_capacity(nodes.len());
    for node in nodes {
        match &**node {
            Node::Scalar(scalar) if !scalar.is_null() => texts.push(scalar.clone()),
            other => return wrong(other, &format!("an element of `{name}` must be a text")),
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::unsigned;

    #[test]
    fn numbers_are_read_as_by_a_stream() {
        let cases = [
            ("0", Some(0)),
            ("5 ", Some(5)),
            ("+5", Some(5)),
            ("010", Some(8)),
            ("0x1F", Some(31)),
            ("+0X1f", Some(31)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("08", None),
            ("0x", None),
            ("0x+1", None),
            ("++5", None),
            ("-0", None),
            (" 5", None),
            ("5.", None),
            ("1_000", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(unsigned(text), expected, "{text:?}");
        }
    }
}
