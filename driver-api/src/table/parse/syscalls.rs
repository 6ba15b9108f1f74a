//! Reads `syscalls.tbl`.

use super::kind::{Kind, Position};
use super::{Fault, SYSCALLS, TableError, lines, list, narrow_number, number};
use crate::words::{Category, LastLink, Returns, SqeField, Written};

/// A line of `syscalls.tbl` or `io_uring.tbl`.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) line: usize,
    pub(crate) name: String,
    /// The system call that does the same; its own name where it is one, or where none does.
    pub(crate) acts_as: String,
    /// On x86_64, i386 and aarch64, the number that x32 alone has, on arm, and the code of an operation of io_uring;
    /// -1: none.
    pub(crate) numbers: [i32; 6],
    pub(crate) category: Category,
    pub(crate) returns: Returns,
    /// A line `!unfailing` names it.
    pub(crate) unfailing: bool,
    /// The place in the table of the call whose type its events have; none: its own.
    pub(crate) event_type: Option<usize>,
    /// Source and target of a call with two paths, from a line `!paths`.
    pub(crate) paths: Option<(u8, u8)>,
    /// A line `!behind` names it.
    pub(crate) behind: bool,
    pub(crate) facts: Vec<Fact>,
    pub(crate) params: Vec<Param>,
    /// Where a request of an io_uring holds each parameter.
    pub(crate) sqe: [SqeField; REGISTERS],
}

impl Row {
    /// A row of the line and the name, with a category and a return value, and with nothing that few rows have.
    pub(super) fn new(
        (line, name): (usize, String),
        numbers: [i32; 6],
        (category, returns): (Category, Returns),
        params: Vec<Param>,
    ) -> Self {
        Self {
            line,
            acts_as: name.clone(),
            name,
            numbers,
            category,
            returns,
            unfailing: false,
            event_type: None,
            paths: None,
            behind: false,
            facts: Vec::new(),
            params,
            sqe: [SqeField::None; REGISTERS],
        }
    }

    /// The index of the parameter with this name.
    fn param(&self, name: &str) -> Result<u8, Fault> {
        let at = self.params.iter().position(|param| param.name == name);
        at.and_then(|at| u8::try_from(at).ok())
            .ok_or_else(|| Fault::no_such("parameter", name, &self.name))
    }
}

/// A fact: the variant's name, and the parameter it is about (none: the returned descriptor, or the thread).
#[derive(Debug)]
pub(crate) struct Fact {
    pub(crate) fact: &'static str,
    pub(crate) of: Option<u8>,
}

/// A parameter of a call.
#[derive(Debug, Clone)]
pub(crate) struct Param {
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) written: Written,
    pub(crate) kind: Kind,
    /// Parameter and mask that give this one a meaning.
    pub(crate) only_if: Option<(u8, u64)>,
    /// Of a path.
    pub(crate) last_link: LastLink,
    /// Its register where the kernel is configured with `CLONE_BACKWARDS`.
    pub(crate) backwards: Option<u8>,
}

/// The facts that a call can have: the word, and the variant of `Fact`.
const FACTS: &[(&str, &str)] = &[
    ("path", "Path"),
    ("tuple", "Tuple"),
    ("cwd", "Cwd"),
    ("root", "Root"),
    ("base", "Base"),
    ("base2", "Base2"),
];

/// Registers that have arguments.
pub(super) const REGISTERS: usize = 6;

pub(crate) fn syscalls(text: &str) -> Result<Vec<Row>, TableError> {
    let (marks, calls): (Vec<_>, Vec<_>) = lines(text).partition(|(_, text)| text.starts_with('!'));
    let mut rows = calls
        .into_iter()
        .map(|(line, text)| row(line, text).map_err(|fault| fault.at(SYSCALLS, line)))
        .collect::<Result<Vec<_>, _>>()?;
    for (line, text) in marks {
        mark(&mut rows, text).map_err(|fault| fault.at(SYSCALLS, line))?;
    }
    Ok(rows)
}

/// Reads a line that begins with `!`: it says something about calls that it names.
fn mark(rows: &mut [Row], text: &str) -> Result<(), Fault> {
    let mut words = text.split_whitespace();
    let mark = words.next().unwrap_or_default();
    let words: Vec<&str> = words.collect();
    match (mark, &words[..]) {
        ("!unfailing", names) => named(rows, names, |row| {
            row.unfailing = true;
            Ok(())
        }),
        ("!behind", names) => named(rows, names, |row| {
            row.behind = true;
            Ok(())
        }),
        ("!as", [of, names @ ..]) => {
            let of = place(rows, of)?;
            named(rows, names, |row| {
                row.event_type = Some(of);
                Ok(())
            })
        }
        ("!paths", [source, target, names @ ..]) => named(rows, names, |row| {
            row.paths = Some((row.param(source)?, row.param(target)?));
            Ok(())
        }),
        ("!as" | "!paths", _) => Err(Fault::Ends("names of calls")),
        (word, _) => Err(Fault::Word {
            what: "mark",
            word: word.to_owned(),
            known: "!unfailing, !behind, !as, !paths".to_owned(),
        }),
    }
}

/// The place of a call in the table.
fn place(rows: &[Row], name: &str) -> Result<usize, Fault> {
    rows.iter()
        .position(|row| row.name == name)
        .ok_or_else(|| Fault::no_such("call", name, SYSCALLS))
}

fn named(
    rows: &mut [Row],
    names: &[&str],
    mut set: impl FnMut(&mut Row) -> Result<(), Fault>,
) -> Result<(), Fault> {
    for name in names {
        let at = place(rows, name)?;
        set(&mut rows[at])?;
    }
    Ok(())
}

pub(super) fn call_number(word: &str) -> Result<i32, Fault> {
    match word {
        "-" => Ok(-1),
        _ => word.parse().map_err(|source| Fault::Number {
            found: word.to_owned(),
            source,
        }),
    }
}

fn row(line: usize, text: &str) -> Result<Row, Fault> {
    let mut words = text.split_whitespace();
    let mut next = |what: &'static str| words.next().ok_or(Fault::Ends(what));
    let name = next("a name")?.to_owned();
    let first = next("a number on x86_64")?;
    let (x86_64, x32) = first.split_once('/').unwrap_or((first, "-"));
    let numbers = [
        call_number(x86_64)?,
        call_number(next("a number on i386")?)?,
        call_number(next("a number on aarch64")?)?,
        call_number(x32)?,
        call_number(next("a number on arm")?)?,
        -1,
    ];
    let category = category(next("a category")?)?;
    let words_of_return = next("a return value")?;
    let words: Vec<&str> = words.collect();
    if words.len() > REGISTERS {
        return Err(Fault::Parameters(words.len()));
    }
    let position = |name: &str| positions(&words, name);
    let params = words.iter().map(|word| param(word, &position));
    let params = params.collect::<Result<_, _>>()?;
    let mut parts = words_of_return.split('+');
    let returns = returns(parts.next().unwrap_or_default())?;
    let facts = parts.map(|part| fact(part, &position));
    Ok(Row {
        facts: facts.collect::<Result<_, _>>()?,
        ..Row::new((line, name), numbers, (category, returns), params)
    })
}

/// The index of the parameter with this name.
pub(super) fn positions(words: &[&str], name: &str) -> Result<u8, Fault> {
    words
        .iter()
        .position(|word| word.split([':', '/']).next() == Some(name))
        .and_then(|at| u8::try_from(at).ok())
        .ok_or_else(|| Fault::no_such("parameter", name, "this call"))
}

pub(super) fn category(word: &str) -> Result<Category, Fault> {
    Category::from_word(word).ok_or_else(|| Fault::Word {
        what: "category",
        word: word.to_owned(),
        known: list(Category::ALL.iter().map(|one| one.word())),
    })
}

pub(super) fn returns(word: &str) -> Result<Returns, Fault> {
    Returns::from_word(word).ok_or_else(|| Fault::Word {
        what: "kind of return value",
        word: word.to_owned(),
        known: list(Returns::ALL.iter().map(|one| one.word())),
    })
}

fn fact(text: &str, position: Position<'_>) -> Result<Fact, Fault> {
    let (word, of) = match text.split_once('=') {
        Some((word, of)) => (word, Some(position(of)?)),
        None => (text, None),
    };
    let found = FACTS.iter().find(|(known, _)| *known == word);
    let (_, fact) = found.ok_or_else(|| Fault::Word {
        what: "fact",
        word: word.to_owned(),
        known: list(FACTS.iter().map(|(word, _)| *word)),
    })?;
    Ok(Fact { fact, of })
}

pub(super) fn param(word: &str, position: Position<'_>) -> Result<Param, Fault> {
    let (names, rest) = word
        .split_once(':')
        .ok_or_else(|| Fault::syntax("`NAME:KIND`", word))?;
    let mut names = names.split('/').map(str::to_owned);
    let name = names.next().unwrap_or_default();
    let (rest, backwards) = match rest.split_once('^') {
        Some((before, at)) => (before, Some(narrow_number(at, u8::MAX)?)),
        None => (rest, None),
    };
    let (rest, last_link) = match rest.split_once('~') {
        Some((before, condition)) => (before, last_link(condition, position)?),
        None => (rest, LastLink::Kept),
    };
    let (rest, only_if) = match rest.split_once('?') {
        Some((before, condition)) => {
            let (of, mask) = condition
                .split_once('&')
                .ok_or_else(|| Fault::syntax("`?PARAM&MASK`", word))?;
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
        last_link,
        backwards,
    })
}

/// What follows `~`.
fn last_link(condition: &str, position: Position<'_>) -> Result<LastLink, Fault> {
    if condition.is_empty() {
        return Ok(LastLink::Followed);
    }
    if let Some((of, mask)) = condition.split_once('!') {
        return Ok(LastLink::KeptIf(position(of)?, number(mask)?));
    }
    let (of, mask) = condition
        .split_once('&')
        .ok_or_else(|| Fault::syntax("`~`, `~PARAM!MASK` or `~PARAM&MASK`", condition))?;
    Ok(LastLink::FollowedIf(position(of)?, number(mask)?))
}

/// When the memory is captured, and the kind after it.
pub(super) fn written(text: &str) -> (Written, &str) {
    [Written::Success, Written::Interrupted]
        .into_iter()
        .find_map(|written| Some((written, text.strip_prefix(written.word())?)))
        .unwrap_or((Written::Always, text))
}
