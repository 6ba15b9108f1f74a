//! Names of Falco's values (`flags.tbl`), and how these become the kernel's and the other way round.

use std::collections::HashMap;
use std::sync::LazyLock;

use driver_api::table::{Kind, SYMBOL_SETS, SymbolSet};

use super::table::lines;

static SETS: LazyLock<HashMap<&'static str, Set>> = LazyLock::new(|| {
    let mut sets: HashMap<&'static str, Set> = HashMap::new();
    let mut current = "";
    for line in lines(include_str!("flags.tbl")) {
        let mut words = line.split_whitespace();
        if !line.starts_with(' ') {
            current = words.next().unwrap_or_default();
        }
        let set = sets.entry(current).or_insert_with(|| Set {
            name: current,
            values: Vec::new(),
        });
        set.values.extend(words.filter_map(|word| {
            let (name, value) = word.split_once('=')?;
            let value = u64::from_str_radix(value.strip_prefix("0x")?, 16).ok()?;
            Some((name, value))
        }));
    }
    sets
});

/// A set of Falco's values with names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) values: Vec<(&'static str, u64)>,
}

impl Set {
    /// The set with this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        SETS.get(name)
    }
}

/// How Falco's values become the kernel's.
#[derive(Debug)]
pub(crate) struct Symbols {
    /// They are the same.
    same: bool,
    /// The kernel's value is one of several, not the sum of some.
    one: bool,
    pairs: Vec<Pair>,
    /// Falco's value for one that it has no name for.
    other: u64,
}

/// One value as Falco and as the kernel has it.
#[derive(Debug, Clone, Copy)]
struct Pair {
    theirs: u64,
    kernel: u64,
    /// The bits that the kernel's value consists of.
    mask: u64,
}

impl Symbols {
    /// Matches the names of both sets. `missing` gets the names that the kernel's set does not have.
    pub(crate) fn new(
        theirs: &Set,
        ours: &'static SymbolSet,
        one: bool,
        mut missing: impl FnMut(&'static str),
    ) -> Self {
        let mut pairs = Vec::new();
        for (name, value) in &theirs.values {
            match value_of(ours, name).or_else(|| value_of(open_bits()?, name)) {
                Some((kernel, mask)) => pairs.push(Pair {
                    theirs: *value,
                    kernel,
                    mask,
                }),
                None => missing(name),
            }
        }
        let unnamed = theirs
            .values
            .iter()
            .find(|(name, _)| name.ends_with("UNKNOWN"));
        Self {
            one,
            same: pairs.iter().all(|pair| pair.theirs == pair.kernel),
            pairs,
            other: unnamed.map_or(0, |(_, value)| *value),
        }
    }

    /// Falco's value of one of the kernel's.
    pub(crate) fn falco(&self, value: u64) -> u64 {
        if self.same {
            return value;
        }
        let named = self.pairs.iter().fold(0, |all, pair| all | pair.kernel);
        let exact = self.pairs.iter().find(|pair| pair.kernel == value & named);
        // where some bits are a number, each part has a name of its own
        let has_parts = self.pairs.iter().any(|pair| pair.mask != pair.kernel);
        match exact {
            Some(pair) if self.one || !has_parts => pair.theirs,
            _ if self.one => self.other,
            _ => self
                .pairs
                .iter()
                .filter(|pair| pair.mask != 0 && value & pair.mask == pair.kernel)
                .fold(0, |all, pair| all | pair.theirs),
        }
    }

    /// The kernel's value. None: Falco's value stands for any that it has no name for.
    pub(crate) fn kernel(&self, value: u64) -> Option<u64> {
        if self.same {
            return Some(value);
        }
        if let Some(pair) = self.pairs.iter().find(|pair| pair.theirs == value) {
            return Some(pair.kernel);
        }
        if self.one {
            return None;
        }
        let mut rest = value;
        let mut kernel = 0;
        for pair in &self.pairs {
            if pair.theirs != 0 && rest & pair.theirs == pair.theirs {
                rest &= !pair.theirs;
                kernel |= pair.kernel;
            }
        }
        Some(kernel)
    }
}

/// The value of a name in a set, among its single values and among those of its fields, and the bits that it is made of.
fn value_of(set: &SymbolSet, name: &str) -> Option<(u64, u64)> {
    let single = set
        .values
        .iter()
        .map(|(value, known)| (*value, *value, *known));
    let fields = set.fields.iter().flat_map(|(mask, values)| {
        values
            .iter()
            .map(move |(value, known)| (*value, *mask, *known))
    });
    let mut all = single.chain(fields);
    all.find(|(.., known)| *known == name)
        .map(|(value, mask, _)| (value, mask))
}

/// Flags of open(2), which other calls take under other names.
fn open_bits() -> Option<&'static SymbolSet> {
    SYMBOL_SETS
        .iter()
        .copied()
        .find(|set| set.name == "open_bits")
}

/// The set of symbols of a kind, and whether a value is one of it.
pub(crate) fn symbols_of(kind: &Kind) -> Option<(&'static SymbolSet, bool)> {
    match kind {
        Kind::Flags(set, _) => Some((set, false)),
        Kind::Enum(set, _) => Some((set, true)),
        _ => None,
    }
}
