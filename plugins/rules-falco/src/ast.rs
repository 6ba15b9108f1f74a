//! A condition as written: names are not looked up yet, macros and lists not filled in.

use std::fmt;

use lanner_plugin::Term;

use crate::operators::Op;
use crate::source::Location;

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
    pub(crate) op_place: Location,
    pub(crate) right: Right,
}

/// The right side of a check.
#[derive(Debug, Clone)]
pub(crate) enum Right {
    /// None for `exists`, one for most operators, any number for `in (...)` and other list operators.
    Values(Vec<Word>),
    /// `val(field)`, or a transformer.
    Operand(Operand),
}

/// A field or a transformer.
#[derive(Debug, Clone)]
pub(crate) struct Operand {
    pub(crate) term: Term<FieldRef>,
    pub(crate) place: Location,
}

/// `name` or `name[arg]`.
#[derive(Debug, Clone)]
pub(crate) struct FieldRef {
    pub(crate) name: String,
    pub(crate) arg: Option<String>,
    pub(crate) place: Location,
}

impl Check {
    /// Whether it compares the event type.
    pub(crate) fn is_event_type(&self) -> bool {
        let plain = self.left.plain().filter(|field| field.arg.is_none());
        plain.is_some_and(|field| matches!(field.name.as_str(), "evt.type" | "syscall.type"))
            && self.op.tests_equality()
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

    /// The field, if there is no transformer around it.
    pub(crate) fn plain(&self) -> Option<&FieldRef> {
        match &self.term {
            Term::Field(field) => Some(field),
            Term::Text(_) | Term::List(_) | Term::Call(..) => None,
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
        Term::Text(text) => write_quoted(f, text),
        Term::List(elements) => write_terms(f, elements),
        Term::Call(transformer, args, option) => {
            f.write_str(transformer.name())?;
            write_terms(f, args)?;
            match option {
                Some(option) => write!(f, "[{option}]"),
                None => Ok(()),
            }
        }
    }
}

fn write_terms(f: &mut fmt::Formatter<'_>, terms: &[Term<FieldRef>]) -> fmt::Result {
    f.write_str("(")?;
    for (at, term) in terms.iter().enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        write_term(f, term)?;
    }
    f.write_str(")")
}

/// Writes a value as in a condition: in quotes if it would not be one word without them.
pub(crate) fn write_value(f: &mut impl fmt::Write, word: &Word) -> fmt::Result {
    let text = &word.text;
    let bare = word.raw.is_none()
        && !text.is_empty()
        && !text.contains(|c: char| c.is_control() || "()\"' \\=,".contains(c));
    if bare {
        f.write_str(text)
    } else {
        write_quoted(f, word.bytes())
    }
}

fn write_quoted(f: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    f.write_char('"')?;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    f.write_char('"')
}

/// A text in a condition.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    /// The text. What is not UTF-8 is replaced.
    pub(crate) text: String,
    /// Its bytes, if they are not UTF-8.
    pub(crate) raw: Option<Box<[u8]>>,
    pub(crate) place: Location,
}

impl Word {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.text.as_bytes())
    }
}

/// Whether exactly one, at least one, or all of several constants have to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Quantifier {
    One,
    Any,
    All,
}

impl Quantifier {
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        let all = [Self::One, Self::Any, Self::All];
        all.into_iter().find(|quantifier| quantifier.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::One => "oneof",
            Self::Any => "anyof",
            Self::All => "allof",
        }
    }
}
