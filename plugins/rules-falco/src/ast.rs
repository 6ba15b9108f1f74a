//! A condition as it was written: names not looked up yet, macros and lists not filled in.

use crate::source::Place;

/// A condition.
#[derive(Debug, Clone)]
pub(crate) enum Expr {
    Or(Vec<Expr>),
    And(Vec<Expr>),
    Not(Box<Expr>),
    Macro(Word),
    Check(Check),
}

/// `field operator values`.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub(crate) field: FieldRef,
    pub(crate) op: Op,
    pub(crate) quantifier: Option<Quantifier>,
    pub(crate) op_place: Place,
    /// None for `exists`, one for most, any number for `in (...)` and its like.
    pub(crate) values: Vec<Word>,
}

/// `name` or `name[arg]`.
#[derive(Debug, Clone)]
pub(crate) struct FieldRef {
    pub(crate) name: String,
    pub(crate) arg: Option<String>,
    pub(crate) place: Place,
}

/// A text in a condition.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    pub(crate) text: String,
    /// A quoted text is never the name of a list.
    pub(crate) quoted: bool,
    pub(crate) place: Place,
}

/// Whether one, at least one, or all of several values have to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quantifier {
    One,
    Any,
    All,
}

/// An operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Exists,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Contains,
    Icontains,
    Bcontains,
    StartsWith,
    BstartsWith,
    EndsWith,
    Glob,
    Iglob,
    Regex,
    In,
    Intersects,
    Pmatch,
}

impl Op {
    /// Every operator under the names that it has.
    pub(crate) const NAMES: &'static [(&'static str, Self)] = &[
        ("exists", Self::Exists),
        ("=", Self::Eq),
        ("==", Self::Eq),
        ("!=", Self::Ne),
        ("<", Self::Lt),
        ("<=", Self::Le),
        (">", Self::Gt),
        (">=", Self::Ge),
        ("contains", Self::Contains),
        ("icontains", Self::Icontains),
        ("bcontains", Self::Bcontains),
        ("startswith", Self::StartsWith),
        ("bstartswith", Self::BstartsWith),
        ("endswith", Self::EndsWith),
        ("glob", Self::Glob),
        ("iglob", Self::Iglob),
        ("regex", Self::Regex),
        ("in", Self::In),
        ("intersects", Self::Intersects),
        ("pmatch", Self::Pmatch),
    ];

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name)?;
        Some(found.1)
    }

    pub(crate) fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(_, op)| *op == self);
        found.map_or("?", |(name, _)| name)
    }

    /// Whether it takes `(a, b, c)`.
    pub(crate) fn takes_list(self) -> bool {
        matches!(self, Self::In | Self::Intersects | Self::Pmatch)
    }

    /// Whether `oneof`, `anyof` or `allof` may follow.
    pub(crate) fn takes_quantifier(self) -> bool {
        matches!(
            self,
            Self::Eq
                | Self::Ne
                | Self::Contains
                | Self::Icontains
                | Self::Bcontains
                | Self::StartsWith
                | Self::BstartsWith
                | Self::EndsWith
                | Self::Glob
                | Self::Iglob
                | Self::Regex
        )
    }
}
