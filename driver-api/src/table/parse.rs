//! Reads `syscalls.tbl` and `symbols.tbl`. Used by the build script alone; errors begin with the line.

/// A line of `syscalls.tbl`.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) numbers: [i32; 3],
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
    pub(crate) alias: Option<String>,
    pub(crate) output: bool,
    pub(crate) kind: String,
    /// Symbol set of `flags(..)` and `enum(..)`.
    pub(crate) set: Option<String>,
    /// Name of `struct(..)`.
    pub(crate) structure: Option<String>,
    pub(crate) len: Option<Len>,
    /// Descriptor a path is relative to.
    pub(crate) at: Option<u8>,
    /// Parameter and mask that give this one a meaning.
    pub(crate) only_if: Option<(u8, u64)>,
}

/// Where a length is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Len {
    Const(u32),
    Arg(u8),
    At(u8),
    Ret,
}

/// A set of `symbols.tbl`.
#[derive(Debug)]
pub(crate) struct SymbolSet {
    pub(crate) name: String,
    /// What stands for a value without a name.
    pub(crate) unknown: String,
    /// Bits that together are a number, with the names of its values.
    pub(crate) fields: Vec<(u64, Vec<(u64, String)>)>,
    /// How many of the fields are printed before the bits.
    pub(crate) leading: usize,
    pub(crate) values: Vec<(u64, String)>,
}

const KINDS: &[&str] = &[
    "fd", "dirfd", "i32", "u32", "i64", "u64", "size", "size32", "off", "mode", "chmod", "uid",
    "gid", "pid", "signal", "ptr", "hex", "flags", "enum", "str", "path", "strv", "sockaddr",
    "bytes", "iovec", "msghdr", "struct",
];
const RETURNS: &[&str] = &[
    "errno", "fd", "size", "pid", "child", "ptr", "fcntl", "i64", "none",
];

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(at, line)| {
            (
                at + 1,
                line.split_once('#').map_or(line, |(before, _)| before),
            )
        })
        .filter(|(_, line)| !line.trim().is_empty())
}

pub(crate) fn syscalls(text: &str) -> Result<Vec<Row>, String> {
    lines(text)
        .map(|(line, text)| row(line, text).map_err(|error| format!("{line}: {error}")))
        .collect()
}

fn row(line: usize, text: &str) -> Result<Row, String> {
    let mut words = text.split_whitespace();
    let mut next = |what: &str| words.next().ok_or_else(|| format!("no {what}"));
    let name = next("name")?.to_owned();
    let mut numbers = [-1; 3];
    for number in &mut numbers {
        let word = next("number")?;
        if word != "-" {
            *number = word
                .parse()
                .map_err(|_| format!("{word:?} is no syscall number"))?;
        }
    }
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
    let (names, mut rest) = word
        .split_once(':')
        .ok_or_else(|| format!("{word:?} has no kind"))?;
    let (name, alias) = match names.split_once('/') {
        Some((name, alias)) => (name, Some(alias.to_owned())),
        None => (names, None),
    };
    let mut only_if = None;
    if let Some((before, condition)) = rest.split_once('?') {
        let (of, mask) = condition
            .split_once('&')
            .ok_or_else(|| format!("{condition:?} is not PARAM&MASK"))?;
        only_if = Some((position(of)?, number(mask)?));
        rest = before;
    }
    let mut at = None;
    if let Some((before, of)) = rest.split_once('@') {
        at = Some(position(of)?);
        rest = before;
    }
    let mut len = None;
    if let Some((before, after)) = rest.split_once('[') {
        let inside = after
            .strip_suffix(']')
            .ok_or_else(|| format!("{rest:?} lacks a closing bracket"))?;
        len = Some(match (inside, inside.strip_prefix('*')) {
            ("ret", _) => Len::Ret,
            (_, Some(of)) => Len::At(position(of)?),
            _ if inside.bytes().all(|b| b.is_ascii_digit()) => Len::Const(
                u32::try_from(number(inside)?).map_err(|_| format!("{inside} is too long"))?,
            ),
            _ => Len::Arg(position(inside)?),
        });
        rest = before;
    }
    let output = rest.starts_with('>');
    rest = rest.trim_start_matches('>');
    let mut inside = None;
    if let Some((before, after)) = rest.split_once('(') {
        inside = Some(
            after
                .strip_suffix(')')
                .ok_or_else(|| format!("{rest:?} lacks a closing parenthesis"))?
                .to_owned(),
        );
        rest = before;
    }
    if !KINDS.contains(&rest.trim_end_matches('*')) {
        return Err(format!("{rest:?} is no kind of parameter"));
    }
    let needs_len = matches!(rest, "bytes" | "sockaddr" | "iovec" | "struct");
    if needs_len && len.is_none() {
        return Err(format!("{name} needs a length in brackets"));
    }
    let (set, structure) = if rest == "struct" {
        (None, inside)
    } else {
        (inside, None)
    };
    Ok(Param {
        name: name.to_owned(),
        alias,
        output,
        kind: rest.to_owned(),
        set,
        structure,
        len,
        at,
        only_if,
    })
}

fn number(text: &str) -> Result<u64, String> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    }
    .map_err(|_| format!("{text:?} is no number"))
}

pub(crate) fn symbols(text: &str) -> Result<Vec<SymbolSet>, String> {
    let mut sets: Vec<SymbolSet> = Vec::new();
    for (line, text) in lines(text) {
        let fault = |what: String| format!("{line}: {what}");
        let words: Vec<&str> = text.split_whitespace().collect();
        if !text.starts_with(char::is_whitespace) {
            match words.as_slice() {
                ["set", name, unknown @ ..] if unknown.len() < 2 => {
                    sets.push(SymbolSet {
                        name: (*name).to_owned(),
                        unknown: unknown.concat(),
                        fields: Vec::new(),
                        leading: 0,
                        values: Vec::new(),
                    });
                    continue;
                }
                _ => {
                    return Err(fault(format!(
                        "expected `set NAME [UNKNOWN]`, found {text:?}"
                    )));
                }
            }
        }
        let set = sets
            .last_mut()
            .ok_or_else(|| fault("a symbol before the first set".to_owned()))?;
        match words.as_slice() {
            ["field", mask, values @ ..] => {
                let values = values
                    .iter()
                    .map(|pair| {
                        let (name, value) = pair
                            .split_once('=')
                            .ok_or_else(|| format!("{pair:?} is not NAME=VALUE"))?;
                        Ok((number(value)?, name.to_owned()))
                    })
                    .collect::<Result<_, String>>()
                    .map_err(fault)?;
                set.fields.push((number(mask).map_err(fault)?, values));
                if set.values.is_empty() {
                    set.leading = set.fields.len();
                }
            }
            [name, value] => set
                .values
                .push((number(value).map_err(fault)?, (*name).to_owned())),
            _ => {
                return Err(fault(format!(
                    "expected `NAME VALUE` or `field MASK NAME=VALUE...`, found {text:?}"
                )));
            }
        }
    }
    Ok(sets)
}
