//! Reads `syscalls.tbl`.

use super::kind::Kind;
use super::{lines, number};

/// A line of `syscalls.tbl`.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) line: usize,
    pub(crate) name: String,
    /// On x86_64, i386 and aarch64, the one that x32 alone has, and on arm.
    pub(crate) numbers: [i32; 5],
    pub(crate) category: String,
    pub(crate) returns: String,
    /// Fact and the parameter it is about (none: the returned descriptor).
    pub(crate) facts: Vec<(String, Option<u8>)>,
    pub(crate) params: Vec<Param>,
}

/// A parameter of a call.
#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
    /// `Always`, `Success` or `Interrupted`.
    pub(crate) written: &'static str,
    pub(crate) kind: Kind,
    /// Parameter and mask that give this one a meaning.
    pub(crate) only_if: Option<(u8, u64)>,
    /// Its register where the kernel is configured with `CLONE_BACKWARDS`.
    pub(crate) backwards: Option<u8>,
}

const RETURNS: &[&str] = &[
    "errno", "fd", "size", "pid", "child", "ptr", "fcntl", "i64", "none", "off", "mode", "uid",
    "gid", "hex",
];

pub(crate) fn syscalls(text: &str) -> Result<Vec<Row>, String> {
    lines(text)
        .map(|(line, text)| row(line, text).map_err(|error| format!("{line}: {error}")))
        .collect()
}

fn call_number(word: &str) -> Result<i32, String> {
    match word {
        "-" => Ok(-1),
        _ => word
            .parse()
            .map_err(|_| format!("{word:?} is no syscall number")),
    }
}

fn row(line: usize, text: &str) -> Result<Row, String> {
    let mut words = text.split_whitespace();
    let mut next = |what: &str| words.next().ok_or_else(|| format!("no {what}"));
    let name = next("name")?.to_owned();
    let first = next("number")?;
    let (x86_64, x32) = first.split_once('/').unwrap_or((first, "-"));
    let numbers = [
        call_number(x86_64)?,
        call_number(next("number")?)?,
        call_number(next("number")?)?,
        call_number(x32)?,
        call_number(next("number")?)?,
    ];
    let category = next("category")?.to_owned();
    let returns = next("return value")?.to_owned();
    let words: Vec<&str> = words.collect();
    let names: Vec<&str> = words
        .iter()
        .map(|w| w.split([':', '/']).next().unwrap_or(w))
        .collect();
    let position = |name: &str| {
        names
            .iter()
            .position(|n| *n == name)
            .and_then(|at| u8::try_from(at).ok())
            .ok_or_else(|| format!("there is no parameter {name:?}"))
    };
    let params: Vec<Param> = words
        .iter()
        .map(|word| param(word, &position))
        .collect::<Result<_, _>>()?;
    if params.len() > 6 {
        return Err("more than six parameters".to_owned());
    }
    let mut parts = returns.split('+');
    let returns = parts.next().unwrap_or_default().to_owned();
    if !RETURNS.contains(&returns.as_str()) {
        return Err(format!("{returns:?} is no kind of return value"));
    }
    let facts = parts
        .map(|part| match part.split_once('=') {
            Some((fact, of)) => position(of).map(|of| (fact.to_owned(), Some(of))),
            None => Ok((part.to_owned(), None)),
        })
        .collect::<Result<_, _>>()?;
    Ok(Row {
        line,
        name,
        numbers,
        category,
        returns,
        facts,
        params,
    })
}

fn param(word: &str, position: &dyn Fn(&str) -> Result<u8, String>) -> Result<Param, String> {
    let (names, rest) = word
        .split_once(':')
        .ok_or_else(|| format!("{word:?} has no kind"))?;
    let mut names = names.split('/').map(str::to_owned);
    let name = names.next().unwrap_or_default();
    let (rest, backwards) = match rest.split_once('^') {
        Some((before, at)) => (
            before,
            Some(u8::try_from(number(at)?).map_err(|_| format!("{at:?} is no register"))?),
        ),
        None => (rest, None),
    };
    let (rest, only_if) = match rest.split_once('?') {
        Some((before, condition)) => {
            let (of, mask) = condition
                .split_once('&')
                .ok_or_else(|| format!("{condition:?} is not PARAM&MASK"))?;
            (before, Some((position(of)?, number(mask)?)))
        }
        None => (rest, None),
    };
    let (written, rest) = written(rest);
    Ok(Param {
        name,
        aliases: names.collect(),
        written,
        kind: Kind::parse(rest, position)?,
        only_if,
        backwards,
    })
}

/// When the kernel writes it: `>` on success, `!` when interrupted.
pub(super) fn written(text: &str) -> (&'static str, &str) {
    if let Some(rest) = text.strip_prefix('>') {
        ("Success", rest)
    } else if let Some(rest) = text.strip_prefix('!') {
        ("Interrupted", rest)
    } else {
        ("Always", text)
    }
}
