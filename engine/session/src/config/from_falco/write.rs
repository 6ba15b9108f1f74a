//! A tree as YAML in block style.

use std::fmt::Write;

use super::super::tree::{Node, NodeValue};

/// Writes `key: value`.
pub(super) fn entry(yaml: &mut String, indent: usize, key: &str, node: &Node) {
    let blanks = "  ".repeat(indent);
    let _ = match scalar(node) {
        Some(text) => writeln!(yaml, "{blanks}{}: {text}", key_text(key)),
        None => writeln!(yaml, "{blanks}{}:", key_text(key)),
    };
    below(yaml, indent + 1, node);
}

fn below(yaml: &mut String, indent: usize, node: &Node) {
    let blanks = "  ".repeat(indent);
    match &node.kind {
        NodeValue::Map(entries) => {
            for (key, node) in entries {
                entry(yaml, indent, key, node);
            }
        }
        NodeValue::List(items) => {
            for item in items {
                let _ = match scalar(item) {
                    Some(text) => writeln!(yaml, "{blanks}- {text}"),
                    None => writeln!(yaml, "{blanks}-"),
                };
                below(yaml, indent + 1, item);
            }
        }
        NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::Text(_) => {}
    }
}

/// A value that fits on the line of its key.
fn scalar(node: &Node) -> Option<String> {
    match &node.kind {
        NodeValue::List(items) => items.is_empty().then(|| "[]".to_owned()),
        NodeValue::Map(entries) => entries.is_empty().then(|| "{}".to_owned()),
        // its type shows when it is filled in
        NodeValue::Text(text) if is_variable(text) => Some(text.clone()),
        NodeValue::Text(text) => Some(quoted(&dollars(text))),
        NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) => {
            Some(node.json().to_string())
        }
    }
}

/// Whether a text has a variable that Falco fills in.
pub(super) fn has_variable(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if !rest[..at].ends_with('$') && variable(&rest[at..]).is_some() {
            return true;
        }
        rest = &rest[at + 2..];
    }
    false
}

/// Whether a text is nothing but a variable.
fn is_variable(text: &str) -> bool {
    variable(text).is_some_and(|variable| variable.len() == text.len())
}

/// `${NAME}` at the start of a text.
fn variable(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix("${")?.split_once('}')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (!name.is_empty() && name.bytes().all(is_name)).then(|| &text[..name.len() + 3])
}

/// A text whose dollars mean for lanner what they mean for Falco, which fills in `${NAME}`, reads `$${` as `${`, and leaves
/// every other dollar as it is.
fn dollars(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        written.push_str(&rest[..at]);
        rest = &rest[at..];
        let same = if rest.starts_with("$${") {
            "$${"
        } else {
            variable(rest).unwrap_or_default()
        };
        if same.is_empty() {
            written.push_str("$$");
            rest = &rest[1..];
        } else {
            written.push_str(same);
            rest = &rest[same.len()..];
        }
    }
    written + rest
}

fn key_text(key: &str) -> String {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if !key.is_empty() && key.bytes().all(is_word) {
        key.to_owned()
    } else {
        quoted(key)
    }
}

/// A text in double quotes (YAML 1.2, 5.7 and 7.3.1).
pub(super) fn quoted(text: &str) -> String {
    let mut written = String::from("\"");
    for c in text.chars() {
        let _ = match c {
            '"' | '\\' => write!(written, "\\{c}"),
            '\n' => write!(written, "\\n"),
            '\t' => write!(written, "\\t"),
            '\u{feff}' | '\u{2028}' | '\u{2029}' => write!(written, "\\u{:04x}", u32::from(c)),
            c if c.is_control() => write!(written, "\\u{:04x}", u32::from(c)),
            c => write!(written, "{c}"),
        };
    }
    written.push('"');
    written
}
