//! The requirements of a rule file: a version of Falco's engine, and plugins of Falco.

use lanner_plugin::Severity;

use crate::keys::{Keys, text, unsigned};
use crate::source::{Problem, code};
use crate::yaml::{Node, Scalar};

/// The version of Falco's engine that this plugin implements.
const ENGINE: (u64, u64, u64) = (0, 63, 0);

/// Plugins of Falco whose fields the host has built in.
const BUILT_IN: &[&str] = &["container"];

/// Checks that this plugin implements the version of the engine that a file needs.
pub(crate) fn engine(needed: &Scalar) -> Result<(), Problem> {
    let version = parse(&needed.text).ok_or_else(|| not_a_version(needed))?;
    if version <= ENGINE {
        return Ok(());
    }
    let (major, minor, patch) = ENGINE;
    let message = format!(
        "this file needs version {} of the rules language, and lanner has {major}.{minor}.{patch}",
        needed.text
    );
    Err(Problem::new(&needed.place, message).help("a newer lanner may support it"))
}

/// Checks the list of plugins, and warns about those that lanner does not have.
pub(crate) fn plugins(list: &Node) -> Result<Vec<Problem>, Problem> {
    let mut warnings = Vec::new();
    for item in elements("required_plugin_versions", list)? {
        let mut keys = Keys::new(item)?;
        let first = plugin(item, &mut keys)?;
        let mut all = vec![first.clone()];
        let twice = |all: &[Scalar], one: &Scalar| {
            let found = all.iter().any(|known| known.text == one.text);
            let message = format!("the plugin `{}` is named twice", one.text);
            found.then(|| Problem::new(&one.place, message))
        };
        if let Some(others) = keys.take("alternatives") {
            for item in elements("alternatives", &others)? {
                let mut keys = Keys::new(item)?;
                let other = plugin(item, &mut keys)?;
                if let Some(problem) = twice(&all, &other) {
                    return Err(problem);
                }
                all.push(other);
                warnings.extend(keys.unknown());
            }
        }
        warnings.extend(keys.unknown());
        if !all
            .iter()
            .any(|name| BUILT_IN.contains(&name.text.as_str()))
        {
            let message = format!("lanner does not have Falco's plugin `{}`", first.text);
            let problem = Problem::warning(code::LEFT_OUT, &first.place, message);
            warnings.push(
                problem.help("its fields are missing, so rules that need them are not loaded"),
            );
        }
    }
    Ok(warnings)
}

fn elements<'a>(name: &str, node: &'a Node) -> Result<impl Iterator<Item = &'a Node>, Problem> {
    match node {
        Node::Sequence(_, items) => Ok(items.iter().map(|item| &**item)),
        other => {
            let message = format!("`{name}` must be a list, not {}", other.kind());
            Err(Problem::new(other.place(), message).code(code::ITEM))
        }
    }
}

/// The name of a plugin. Its version must have the right form.
fn plugin(item: &Node, keys: &mut Keys) -> Result<Scalar, Problem> {
    let need = |what: &str| {
        let message = format!("a plugin needs a `{what}`");
        Problem::new(item.place(), message).code(code::ITEM)
    };
    let name = keys.take("name").ok_or_else(|| need("name"))?;
    let version = keys.take("version").ok_or_else(|| need("version"))?;
    let version = text("version", &version)?;
    if three_numbers(&version.text).is_none() {
        return Err(not_a_version(&version).code(code::VALIDATE));
    }
    text("name", &name)
}

fn not_a_version(found: &Scalar) -> Problem {
    let message = format!("`{}` is not a version", found.text);
    Problem {
        severity: Severity::Error,
        ..Problem::new(&found.place, message)
            .code(code::ITEM)
            .help("a version is written like `0.57.0`")
    }
}

/// Parses `0.57.0`, or `57`, the older form.
fn parse(text: &str) -> Option<(u64, u64, u64)> {
    if let Some(number) = unsigned(text) {
        return Some((0, u64::from(number), 0));
    }
    three_numbers(text)
}

/// Parses `0.57.0`.
fn three_numbers(mut rest: &str) -> Option<(u64, u64, u64)> {
    let first = scanned(&mut rest)?;
    rest = rest.strip_prefix('.')?;
    let second = scanned(&mut rest)?;
    rest = rest.strip_prefix('.')?;
    Some((first, second, scanned(&mut rest)?))
}

/// A number of 32 bits as Falco's `sscanf("%u")` reads it from a text: behind blanks and a sign, cut to its width. Anything
/// may follow.
fn scanned(text: &mut &str) -> Option<u64> {
    let blank = |c: char| c.is_ascii_whitespace() || c == '\x0b';
    let from = text.trim_start_matches(blank);
    let digits = from.strip_prefix(['+', '-']).unwrap_or(from);
    let end = digits.find(|c: char| !c.is_ascii_digit());
    let (digits, rest) = digits.split_at(end.unwrap_or(digits.len()));
    if digits.is_empty() {
        return None;
    }
    let number: u64 = digits.parse().unwrap_or(u64::MAX);
    let number = if from.starts_with('-') {
        number.wrapping_neg()
    } else {
        number
    };
    *text = rest;
    Some(number & u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::{parse, three_numbers};

    #[test]
    fn versions_are_read_in_both_forms() {
        assert_eq!(parse("0.57.0"), Some((0, 57, 0)));
        assert_eq!(parse("13"), Some((0, 13, 0)));
        assert_eq!(parse("1.2.3.4"), Some((1, 2, 3)));
        assert_eq!(parse("0.40.0-rc1"), Some((0, 40, 0)));
        assert_eq!(parse("0x10"), Some((0, 16, 0)));
        assert_eq!(parse("+5"), Some((0, 5, 0)));
        assert_eq!(parse(" 0. +15.-0x"), Some((0, 15, 0)));
        assert_eq!(parse("0.4294967297.1"), Some((0, 1, 1)));
        for bad in [
            "",
            "08",
            "0 .1.2",
            "x",
            "1.",
            "1.x",
            "1.2",
            "1.2.x",
            "-1",
            "99999999999999999999",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        // that of a plugin has three numbers
        assert_eq!(three_numbers("13"), None);
    }
}
