//! Reads `symbols.tbl`.

use super::{lines, number};

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
    /// Bits that are permissions.
    pub(crate) mode: u64,
    pub(crate) values: Vec<(u64, String)>,
    /// The same on arm and aarch64; empty: no other ones.
    pub(crate) arm: Vec<(u64, String)>,
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
                        mode: 0,
                        values: Vec::new(),
                        arm: Vec::new(),
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
            ["mode", mask] => set.mode = number(mask).map_err(fault)?,
            ["arm", name, value] => {
                if set.arm.is_empty() {
                    set.arm.clone_from(&set.values);
                }
                let found = set.arm.iter_mut().find(|(_, of)| of == name);
                let Some(found) = found else {
                    return Err(fault(format!("{name} does not stand before this")));
                };
                found.0 = number(value).map_err(fault)?;
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
