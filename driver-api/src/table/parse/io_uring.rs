//! Reads `io_uring.tbl`.

use super::syscalls::{REGISTERS, Row, call_number, category, param, positions, returns};
use super::{Fault, IO_URING, TableError, lines, list};
use crate::words::SqeField;

/// The column of the numbers of operations.
const COLUMN: usize = 5;

/// Reads the operations. `calls` are the system calls, whose parameters operations may have.
pub(crate) fn operations(text: &str, calls: &[Row]) -> Result<Vec<Row>, TableError> {
    lines(text)
        .map(|(line, text)| row(line, text, calls).map_err(|fault| fault.at(IO_URING, line)))
        .collect()
}

fn row(line: usize, text: &str, calls: &[Row]) -> Result<Row, Fault> {
    let mut words = text.split_whitespace();
    let mut next = |what: &'static str| words.next().ok_or(Fault::Ends(what));
    let name = next("a name")?.to_owned();
    let mut numbers = [-1; 6];
    numbers[COLUMN] = call_number(next("a code")?)?;
    let third = next("`=CALL` or a category")?;
    let mut sqe = [SqeField::None; REGISTERS];
    if let Some(call) = third.strip_prefix('=') {
        let same = calls
            .iter()
            .find(|row| row.name == call)
            .ok_or_else(|| Fault::no_such("system call", call, ""))?;
        let fields = words.map(field).collect::<Result<Vec<_>, _>>()?;
        if fields.len() != same.params.len() {
            return Err(Fault::Fields {
                call: call.to_owned(),
                has: same.params.len(),
                found: fields.len(),
            });
        }
        sqe[..fields.len()].copy_from_slice(&fields);
        let has = (same.category, same.returns);
        return Ok(Row {
            acts_as: call.to_owned(),
            sqe,
            paths: same.paths,
            behind: same.behind,
            ..Row::new((line, name), numbers, has, same.params.clone())
        });
    }
    let category = category(third)?;
    let returns = returns(next("a return value")?)?;
    let words: Vec<&str> = words.collect();
    if words.len() > REGISTERS {
        return Err(Fault::Parameters(words.len()));
    }
    let position = |name: &str| positions(&words, name);
    let mut params = Vec::new();
    for (word, of) in words.iter().zip(&mut sqe) {
        let (declared, place) = word
            .rsplit_once('^')
            .ok_or_else(|| Fault::syntax("`PARAM^FIELD`", word))?;
        *of = field(place)?;
        params.push(param(declared, &position)?);
    }
    Ok(Row {
        sqe,
        ..Row::new((line, name), numbers, (category, returns), params)
    })
}

fn field(word: &str) -> Result<SqeField, Fault> {
    SqeField::from_word(word).ok_or_else(|| Fault::Word {
        what: "field of a request",
        word: word.to_owned(),
        known: list(SqeField::ALL.iter().map(|one| one.word())),
    })
}
