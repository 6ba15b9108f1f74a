//! Reads `multiplexed.tbl`.

use super::{Fault, MULTIPLEXED, SymbolSet, TableError, lines, narrow_number};

/// A call that is made through another one.
#[derive(Debug)]
pub(crate) struct Multiplexed {
    pub(crate) line: usize,
    /// The call that it is made through.
    pub(crate) through: String,
    /// Which of its calls this is.
    pub(crate) value: u32,
    /// Whether there is a version; none: it does not matter.
    pub(crate) version: Option<bool>,
    /// The call that it is.
    pub(crate) call: String,
    /// The register that points to the words.
    pub(crate) base: u8,
    /// How many words there are to read.
    pub(crate) words: u8,
    /// Where each register comes from: a register, or after these six a word.
    pub(crate) sources: Vec<u8>,
}

/// What the lines after `through` have in common.
struct Block<'a> {
    through: String,
    set: &'a SymbolSet,
    base: u8,
    /// As in [`Multiplexed`], for a line without `@version`.
    version: Option<bool>,
}

/// Registers that have arguments.
const REGISTERS: u8 = 6;

pub(crate) fn multiplexed(text: &str, sets: &[SymbolSet]) -> Result<Vec<Multiplexed>, TableError> {
    let mut all: Vec<Multiplexed> = Vec::new();
    let mut block: Option<Block<'_>> = None;
    for (line, text) in lines(text) {
        let at = |fault: Fault| fault.at(MULTIPLEXED, line);
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["through", name, set, base, versions @ ..]
                if matches!(versions, [] | ["versions"]) =>
            {
                let found = sets.iter().find(|of| of.name == *set);
                let found = found
                    .ok_or_else(|| at(Fault::no_such("set of symbols", set, "symbols.tbl")))?;
                let base = narrow_number(base, u8::MAX).map_err(at)?;
                block = Some(Block {
                    through: (*name).to_owned(),
                    set: found,
                    base,
                    version: if versions.is_empty() {
                        Some(false)
                    } else {
                        None
                    },
                });
            }
            [value, ":", call, sources @ ..] => {
                let block = block
                    .as_ref()
                    .ok_or_else(|| at(Fault::NoBlock("`through NAME SET REGISTER`")))?;
                let row = Multiplexed::read(line, block, value, call, sources);
                all.push(row.map_err(at)?);
            }
            _ => {
                let forms = "`through NAME SET REGISTER` or `VALUE : CALL SOURCE...`";
                return Err(at(Fault::syntax(forms, text.trim())));
            }
        }
    }
    // a row without a version leaves to another row what that row is for
    for at in 0..all.len() {
        let has_other = all.iter().any(|row| {
            row.version == Some(true)
                && (&row.through, row.value) == (&all[at].through, all[at].value)
        });
        if all[at].version.is_none() && has_other {
            all[at].version = Some(false);
        }
    }
    Ok(all)
}

impl Multiplexed {
    fn read(
        line: usize,
        block: &Block<'_>,
        value: &str,
        call: &str,
        sources: &[&str],
    ) -> Result<Self, Fault> {
        let (name, version) = match value.strip_suffix("@version") {
            Some(name) => (name, Some(true)),
            None => (value, block.version),
        };
        let set = block.set;
        let within = format!("the set {}", set.name);
        let (value, _) = set
            .values
            .iter()
            .find(|(_, of)| of == name)
            .ok_or_else(|| Fault::no_such("symbol", name, &within))?;
        let mut words = 0;
        let sources = sources.iter().map(|source| match source.strip_prefix('*') {
            Some(word) => {
                let word = narrow_number(word, REGISTERS - 1)?;
                words = words.max(word + 1);
                Ok(REGISTERS + word)
            }
            None => narrow_number(source, REGISTERS - 1),
        });
        let sources = sources.collect::<Result<_, Fault>>()?;
        Ok(Self {
            line,
            through: block.through.clone(),
            value: u32::try_from(*value).map_err(|_| Fault::Large {
                found: name.to_owned(),
                most: u32::MAX.into(),
            })?,
            version,
            call: call.to_owned(),
            base: block.base,
            words,
            sources,
        })
    }
}
