//! Reads `variants.tbl`.

use super::kind::Kind;
use super::syscalls::written;
use super::{Fault, SymbolSet, TableError, VARIANTS, lines, number, value_of};
use crate::words::{Number, Width, Written};

/// A parameter or field whose meaning other ones decide.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) line: usize,
    pub(crate) name: String,
    /// The bits of the first selector that count.
    pub(crate) mask: u64,
    pub(crate) rows: Vec<VariantRow>,
    pub(crate) other: (Written, Kind),
}

/// What it is for one value of the selectors.
#[derive(Debug)]
pub(crate) struct VariantRow {
    pub(crate) first: u32,
    /// 0 where there is one selector.
    pub(crate) second: u32,
    pub(crate) written: Written,
    pub(crate) kind: Kind,
}

pub(crate) fn variants(text: &str, sets: &[SymbolSet]) -> Result<Vec<Variant>, TableError> {
    let mut reader = Reader {
        sets,
        ..Reader::default()
    };
    for (line, text) in lines(text) {
        reader
            .line(line, text)
            .map_err(|fault| fault.at(VARIANTS, line))?;
    }
    let mut all = reader.all;
    for variant in &mut all {
        variant.rows.sort_by_key(|row| (row.first, row.second));
    }
    Ok(all)
}

/// The variants so far, and what names the values of the lines that follow.
#[derive(Default)]
struct Reader<'a> {
    sets: &'a [SymbolSet],
    all: Vec<Variant>,
    /// The set that names the first selector's values.
    first_set: String,
    /// The set that names the values of the rows: the first selector's, or the second's after `at`.
    set: String,
    /// The first selector's value, after `at`.
    at: Option<u32>,
}

impl Reader<'_> {
    fn line(&mut self, line: usize, text: &str) -> Result<(), Fault> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["variant", name, rest @ ..] => self.begin(line, name, rest),
            _ if self.all.is_empty() => Err(Fault::NoBlock("`variant NAME`")),
            ["at", value, second] => {
                self.at = Some(self.value_of(&self.first_set, value)?);
                self.set = (*second).to_owned();
                Ok(())
            }
            [values @ .., ":", what] if !values.is_empty() => {
                values.iter().try_for_each(|value| self.row(value, what))
            }
            _ => Err(Fault::syntax(
                "`variant NAME`, `at VALUE SET` or `VALUE... : KIND`",
                text.trim(),
            )),
        }
    }

    fn begin(&mut self, line: usize, name: &str, rest: &[&str]) -> Result<(), Fault> {
        let mut new = Variant {
            line,
            name: name.to_owned(),
            mask: u64::from(u32::MAX),
            rows: Vec::new(),
            other: (Written::Always, Kind::Number(Number::Hex, Width::Ulong)),
        };
        self.set = String::new();
        let mut rest = rest.iter();
        while let Some(word) = rest.next() {
            if let Some(mask) = word.strip_prefix('&') {
                new.mask = number(mask)?;
            } else if *word == "else" {
                new.other = kind(rest.next().ok_or(Fault::Ends("a kind after `else`"))?)?;
            } else {
                self.set = (*word).to_owned();
            }
        }
        self.first_set.clone_from(&self.set);
        self.at = None;
        self.all.push(new);
        Ok(())
    }

    fn row(&mut self, name: &str, what: &str) -> Result<(), Fault> {
        let (written, kind) = kind(what)?;
        let value = self.value_of(&self.set, name)?;
        let (first, second) = match self.at {
            Some(first) => (first, value),
            None => (value, 0),
        };
        let Some(variant) = self.all.last_mut() else {
            return Err(Fault::NoBlock("`variant NAME`"));
        };
        let same = |row: &VariantRow| (row.first, row.second) == (first, second);
        if variant.rows.iter().any(same) {
            return Err(Fault::Twice {
                what: "value",
                name: name.to_owned(),
            });
        }
        variant.rows.push(VariantRow {
            first,
            second,
            written,
            kind,
        });
        Ok(())
    }

    fn value_of(&self, set: &str, name: &str) -> Result<u32, Fault> {
        value_of(self.sets, set, name, u32::MAX)
    }
}

fn kind(text: &str) -> Result<(Written, Kind), Fault> {
    let (written, rest) = written(text);
    let no_names = |name: &str| {
        Err(Fault::syntax(
            "$N, the number of an argument, instead of a name",
            name,
        ))
    };
    Ok((written, Kind::parse(rest, &no_names)?))
}
