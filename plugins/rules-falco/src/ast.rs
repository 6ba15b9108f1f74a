//! A condition as it was written: names not looked up yet, macros and lists not filled in.

use std::fmt;

use lanner_plugin::Term;

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

/// `operand operator values`.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub(crate) left: Operand,
    pub(crate) op: Op,
    pub(crate) quantifier: Option<Quantifier>,
    pub(crate) op_place: Place,
    pub(crate) right: Right,
}

/// What a check compares with.
#[derive(Debug, Clone)]
pub(crate) enum Right {
    /// None for `exists`, one for most, any number for `in (...)` and its like.
    Values(Vec<Word>),
    /// `val(field)`, or a transformer.
    Operand(Operand),
}

/// Where a value comes from.
#[derive(Debug, Clone)]
pub(crate) struct Operand {
    pub(crate) term: Term<FieldRef>,
    pub(crate) place: Place,
}

/// `name` or `name[arg]`.
#[derive(Debug, Clone)]
pub(crate) struct FieldRef {
    pub(crate) name: String,
    pub(crate) arg: Option<String>,
    pub(crate) place: Place,
}

impl Check {
    /// Whether it says which event types fit.
    pub(crate) fn is_event_type(&self) -> bool {
        let plain = self.left.plain().filter(|field| field.arg.is_none());
        plain.is_some_and(|field| matches!(field.name.as_str(), "evt.type" | "syscall.type"))
            && matches!(self.op, Op::Eq | Op::Ne | Op::In | Op::Intersects)
            && self.quantifier.is_none()
    }
}

impl Operand {
    pub(crate) fn field(field: FieldRef) -> Self {
        Self {
            place: field.place.clone(),
            term: Term::Field(field),
        }
    }

    /// The field, if it is one without a transformer around it.
    pub(crate) fn plain(&self) -> Option<&FieldRef> {
        match &self.term {
            Term::Field(field) => Some(field),
            _ => None,
        }
    }
}

impl fmt::Display for FieldRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.arg {
            Some(arg) => write!(f, "{}[{arg}]", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_term(f, &self.term)
    }
}

fn write_term(f: &mut fmt::Formatter<'_>, term: &Term<FieldRef>) -> fmt::Result {
    match term {
        Term::Field(field) => write!(f, "{field}"),
        Term::Text(text) => write_quoted(f, &String::from_utf8_lossy(text)),
        Term::Call(transformer, args, option) => {
            write!(f, "{}(", transformer.name())?;
            for (at, arg) in args.iter().enumerate() {
                if at > 0 {
                    f.write_str(", ")?;
                }
                write_term(f, arg)?;
            }
            f.write_str(")")?;
            match option {
                Some(option) => write!(f, "[{option}]"),
                None => Ok(()),
            }
        }
    }
}

/// A text as a condition has it: with quotes where it would not be one word without.
pub(crate) fn write_value(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    let bare =
        !text.is_empty() && !text.contains(|c: char| c.is_control() || "()\"' \\=,".contains(c));
    if bare {
        f.write_str(text)
    } else {
        write_quoted(f, text)
    }
}

fn write_quoted(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Quantifier {
    One,
    Any,
    All,
}

/// An operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

impl Quantifier {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::One => "oneof",
            Self::Any => "anyof",
            Self::All => "allof",
        }
    }
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
