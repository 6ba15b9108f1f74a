//! Reads `symbols.tbl` and `ioctls.tbl`.

use super::{Fault, TableError, lines, number};

/// A set of `symbols.tbl`.
#[derive(Debug)]
pub(crate) struct SymbolSet {
    pub(crate) name: String,
    /// What strace prints for a value without a name.
    pub(crate) unknown: String,
    /// Bits that together are a number, with the names of its values.
    pub(crate) fields: Vec<(u64, Vec<(u64, String)>)>,
    /// How many of the fields are printed before the bits.
    pub(crate) leading: usize,
    /// Bits that are permissions.
    pub(crate) mode: u64,
    pub(crate) values: Vec<(u64, String)>,
    /// The values on arm and aarch64; empty: the same.
    pub(crate) arm: Vec<(u64, String)>,
}

/// Reads the sets of a table, `file`.
pub(crate) fn symbols(file: &'static str, text: &str) -> Result<Vec<SymbolSet>, TableError> {
    let mut sets: Vec<SymbolSet> = Vec::new();
    for (line, text) in lines(text) {
        let read = if text.starts_with(char::is_whitespace) {
            match sets.last_mut() {
                Some(set) => set.add(text),
                None => Err(Fault::NoBlock("`set NAME [UNKNOWN]`")),
            }
        } else {
            SymbolSet::begin(text).map(|set| sets.push(set))
        };
        read.map_err(|fault| fault.at(file, line))?;
    }
    Ok(sets)
}

impl SymbolSet {
    fn begin(text: &str) -> Result<Self, Fault> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["set", name, unknown @ ..] if unknown.len() < 2 => Ok(Self {
                name: (*name).to_owned(),
                unknown: unknown.concat(),
                fields: Vec::new(),
                leading: 0,
                mode: 0,
                values: Vec::new(),
                arm: Vec::new(),
            }),
            _ => Err(Fault::syntax("`set NAME [UNKNOWN]`", text)),
        }
    }

    /// Reads a line of the set.
    fn add(&mut self, text: &str) -> Result<(), Fault> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["field", mask, values @ ..] => {
                let values = values.iter().map(|pair| {
                    let (name, value) = pair
                        .split_once('=')
                        .ok_or_else(|| Fault::syntax("`NAME=VALUE`", pair))?;
                    Ok((number(value)?, name.to_owned()))
                });
                let values = values.collect::<Result<_, Fault>>()?;
                self.fields.push((number(mask)?, values));
                if self.values.is_empty() {
                    self.leading = self.fields.len();
                }
            }
            ["mode", mask] => self.mode = number(mask)?,
            ["arm", name, value] => {
                if self.arm.is_empty() {
                    self.arm.clone_from(&self.values);
                }
                let found = self.arm.iter_mut().find(|(_, of)| of == name);
                let within = format!("the lines of set {} above", self.name);
                found
                    .ok_or_else(|| Fault::no_such("symbol", name, &within))?
                    .0 = number(value)?;
            }
            [name, value] => self.values.push((number(value)?, (*name).to_owned())),
            _ => {
                return Err(Fault::syntax(
                    "`NAME VALUE`, `field MASK NAME=VALUE...`, `mode MASK` or `arm NAME VALUE`",
                    text.trim(),
                ));
            }
        }
        Ok(())
    }
}
