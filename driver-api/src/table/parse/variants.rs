//! Reads `variants.tbl`.

use super::kind::Kind;
use super::syscalls::written;
use super::{SymbolSet, lines, number};

/// A parameter or field whose meaning others decide.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) line: usize,
    pub(crate) name: String,
    /// The bits of the first selector that count.
    pub(crate) mask: u64,
    pub(crate) rows: Vec<VariantRow>,
    pub(crate) other: (&'static str, Kind),
}

/// What it is for one value of the selectors.
#[derive(Debug)]
pub(crate) struct VariantRow {
    pub(crate) first: u32,
    /// 0 where there is one selector.
    pub(crate) second: u32,
    pub(crate) written: &'static str,
    pub(crate) kind: Kind,
}

pub(crate) fn variants(text: &str, sets: &[SymbolSet]) -> Result<Vec<Variant>, String> {
    let mut all: Vec<Variant> = Vec::new();
    // the set that names the values on the left, and the first selector's value below `at`
    let (mut set, mut at): (String, Option<u32>) = (String::new(), None);
    let mut first_set = String::new();
    for (line, text) in lines(text) {
        let fault = |what: String| format!("{line}: {what}");
        let words: Vec<&str> = text.split_whitespace().collect();
        if let ["variant", name, rest @ ..] = words.as_slice() {
            let mut new = Variant {
                line,
                name: (*name).to_owned(),
                mask: u64::from(u32::MAX),
                rows: Vec::new(),
                other: ("Always", Kind::Plain("hex".to_owned())),
            };
            set = String::new();
            let mut rest = rest.iter();
            while let Some(word) = rest.next() {
                if let Some(mask) = word.strip_prefix('&') {
                    new.mask = number(mask).map_err(fault)?;
                } else if *word == "else" {
                    new.other = kind(rest.next().copied().unwrap_or_default()).map_err(fault)?;
                } else {
                    set = (*word).to_owned();
                }
            }
            first_set.clone_from(&set);
            at = None;
            all.push(new);
            continue;
        }
        let variant = all
            .last_mut()
            .ok_or_else(|| fault("a line before the first variant".to_owned()))?;
        match words.as_slice() {
            ["at", value, second] => {
                at = Some(value_of(sets, &first_set, value).map_err(fault)?);
                set = (*second).to_owned();
            }
            [values @ .., ":", what] if !values.is_empty() => {
                for value in values {
                    let (written, kind) = kind(what).map_err(fault)?;
                    let value = value_of(sets, &set, value).map_err(fault)?;
                    let (first, second) = match at {
                        Some(first) => (first, value),
                        None => (value, 0),
                    };
                    if variant
                        .rows
                        .iter()
                        .any(|r| (r.first, r.second) == (first, second))
                    {
                        return Err(fault(format!(
                            "the value {value:#x} stands here a second time"
                        )));
                    }
                    variant.rows.push(VariantRow {
                        first,
                        second,
                        written,
                        kind,
                    });
                }
            }
            _ => return Err(fault(format!("expected `VALUE... : KIND`, found {text:?}"))),
        }
    }
    all.iter_mut()
        .for_each(|variant| variant.rows.sort_by_key(|r| (r.first, r.second)));
    Ok(all)
}

fn kind(text: &str) -> Result<(&'static str, Kind), String> {
    let (written, rest) = written(text);
    let nobody = |name: &str| Err(format!("{name:?} cannot be named here: $N is argument N"));
    Ok((written, Kind::parse(rest, &nobody)?))
}

fn value_of(sets: &[SymbolSet], set: &str, name: &str) -> Result<u32, String> {
    let value = if name.starts_with(|c: char| c.is_ascii_digit()) {
        number(name)?
    } else {
        sets.iter()
            .find(|s| s.name == set)
            .ok_or_else(|| format!("there is no set of symbols {set:?}"))?
            .values
            .iter()
            .find(|(_, n)| n == name)
            .ok_or_else(|| format!("the set {set} has no {name}"))?
            .0
    };
    u32::try_from(value).map_err(|_| format!("{name} is wider than 32 bits"))
}
