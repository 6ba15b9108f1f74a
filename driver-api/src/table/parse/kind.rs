//! Reads a kind: what a parameter or a structure's field is.

use super::{Fault, list, narrow_number};
use crate::words::{Buffer, Number, Width};

/// What a parameter or field is. Sets, structures and variants are names here.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// A number.
    Number(Number, Width),
    /// `flags(SET)` or `enum(SET)`.
    Symbols(Named, String, Width),
    /// One of [`WORDS`]: the variant's name.
    Word(&'static str),
    /// `path`, relative to that parameter.
    Path(Option<u8>),
    /// Memory with a length.
    Buffer(Buffer, Len),
    /// `struct(NAME)`, and how many bytes there are of it where that is not its size.
    Struct(String, Option<Len>),
    /// An array; the length counts elements.
    Array(Box<Self>, Len),
    /// An array of pointers to structures; the length counts pointers.
    Pointers(String, Len),
    /// A pointer to an array, which that field counts.
    To(Box<Self>, u8, Width),
    /// `chars[N]`.
    Chars(u32),
    /// `raw[N]`.
    Raw(u32),
    /// `by(VARIANT,SELECTOR[,SELECTOR])`.
    By(String, Vec<u8>),
}

/// What has the names of a set of symbols.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Named {
    /// Bits.
    Flags,
    /// Values.
    Enum,
}

/// A length: where it is, and what is added to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Len {
    pub(crate) from: LenFrom,
    /// Bytes to add; none: the size of a long.
    pub(crate) add: Option<u16>,
    /// The parameter that limits a return value.
    pub(crate) most: Option<u8>,
}

/// Where a length is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LenFrom {
    Const(u32),
    Arg(u8),
    At(u8),
    Ret,
}

/// Kinds that are one word and no number: the word, and the variant of `Kind`.
const WORDS: &[(&str, &str)] = &[
    ("str", "Str"),
    ("strv", "Strv"),
    ("msghdr", "Msghdr"),
    ("sigarg", "SigArg"),
    ("rest", "Rest"),
    ("capset", "CapSet"),
    ("ip6", "Ip6"),
    ("ioc", "Ioc"),
    ("none", "None"),
];

/// Kinds with something in parentheses or brackets, for a message.
const FORMS: &str =
    "path by(...) struct(...) to(...) ptrs(...)[...] flags(...) enum(...) chars[...] raw[...]";

/// Finds the index of the parameter or field with a name.
pub(super) type Position<'a> = &'a dyn Fn(&str) -> Result<u8, Fault>;

/// A kind in the parts that it is written in: `WORD[(INSIDE)][*][\[LENGTH\]][@PARAM]`.
struct Parts<'a> {
    whole: &'a str,
    word: &'a str,
    inside: Option<&'a str>,
    pointer: bool,
    len: Option<Len>,
    at: Option<u8>,
}

impl<'a> Parts<'a> {
    fn of(whole: &'a str, position: Position<'_>) -> Result<Self, Fault> {
        let (rest, at) = match whole.split_once('@') {
            Some((before, of)) => (before, Some(position(of)?)),
            None => (whole, None),
        };
        let (rest, len) = match rest.split_once('[') {
            Some((before, after)) => {
                let inside = after
                    .strip_suffix(']')
                    .ok_or_else(|| Fault::syntax("a closing bracket", rest))?;
                (before, Some(Len::parse(inside, position)?))
            }
            None => (rest, None),
        };
        let (rest, pointer) = match rest.strip_suffix('*') {
            Some(before) => (before, true),
            None => (rest, false),
        };
        let (word, inside) = match rest.split_once('(') {
            Some((word, after)) => {
                let inside = after
                    .strip_suffix(')')
                    .ok_or_else(|| Fault::syntax("a closing parenthesis", rest))?;
                (word, Some(inside))
            }
            None => (rest, None),
        };
        Ok(Self {
            whole,
            word,
            inside,
            pointer,
            len,
            at,
        })
    }

    fn len(&self) -> Result<Len, Fault> {
        self.len
            .ok_or_else(|| Fault::syntax("a length in brackets", self.whole))
    }

    fn constant(&self) -> Result<u32, Fault> {
        self.len()?
            .constant()
            .ok_or_else(|| Fault::syntax("a constant length", self.whole))
    }
}

impl Kind {
    /// Reads a kind.
    pub(super) fn parse(text: &str, position: Position<'_>) -> Result<Self, Fault> {
        let parts = Parts::of(text, position)?;
        let kind = match (parts.word, parts.inside) {
            ("path", None) => return Ok(Self::Path(parts.at)),
            ("by", Some(inside)) => {
                let mut words = inside.split(',');
                let name = words.next().unwrap_or_default().to_owned();
                let selectors = words.map(position).collect::<Result<_, _>>()?;
                return Ok(Self::By(name, selectors));
            }
            ("ptrs", Some(name)) => return Ok(Self::Pointers(name.to_owned(), parts.len()?)),
            ("to", Some(inside)) => return to(inside, position),
            ("chars", None) => return Ok(Self::Chars(parts.constant()?)),
            ("raw", None) => return Ok(Self::Raw(parts.constant()?)),
            ("struct", Some(name)) if !parts.pointer => {
                return Ok(Self::Struct(name.to_owned(), parts.len));
            }
            ("struct", Some(name)) => Self::Struct(name.to_owned(), None),
            ("flags", Some(inside)) => symbols(Named::Flags, inside)?,
            ("enum", Some(inside)) => symbols(Named::Enum, inside)?,
            (word, inside) => match (Number::from_word(word), Buffer::from_word(word), inside) {
                (Some(number), _, None) => Self::Number(number, number.width()),
                (Some(number), _, Some(inside)) => Self::Number(number, width(inside)?),
                (None, Some(buffer), None) => return Ok(Self::Buffer(buffer, parts.len()?)),
                _ => plain(&parts)?,
            },
        };
        Ok(match (parts.pointer, parts.len) {
            (false, None) => kind,
            (_, len) => Self::Array(Box::new(kind), len.unwrap_or(Len::ONE)),
        })
    }
}

/// Reads `KIND,COUNT` or `KIND,COUNT,WIDTH`.
fn to(inside: &str, position: Position<'_>) -> Result<Kind, Fault> {
    let words: Vec<&str> = inside.rsplitn(3, ',').collect();
    let (kind, count, of) = match words.as_slice() {
        [of, count, kind] if Width::from_word(of).is_some() => (*kind, *count, width(of)?),
        _ => match inside.rsplit_once(',') {
            Some((kind, count)) => (kind, count, Width::Ulong),
            None => return Err(Fault::syntax("`to(KIND,COUNT[,WIDTH])`", inside)),
        },
    };
    Ok(Kind::To(
        Box::new(Kind::parse(kind, position)?),
        position(count)?,
        of,
    ))
}

fn symbols(named: Named, inside: &str) -> Result<Kind, Fault> {
    Ok(match inside.split_once(',') {
        Some((set, of)) => Kind::Symbols(named, set.to_owned(), width(of)?),
        None => Kind::Symbols(named, inside.to_owned(), Width::U32),
    })
}

fn plain(parts: &Parts<'_>) -> Result<Kind, Fault> {
    let found = WORDS.iter().find(|(word, _)| *word == parts.word);
    match (found, parts.inside) {
        (Some((_, variant)), None) => Ok(Kind::Word(variant)),
        _ => Err(Fault::Word {
            what: "kind",
            word: parts.whole.to_owned(),
            known: format!(
                "{} {} {} {FORMS}",
                list(Number::ALL.iter().map(|one| one.word())),
                list(Buffer::ALL.iter().map(|one| one.word())),
                list(WORDS.iter().map(|(word, _)| *word)),
            ),
        }),
    }
}

fn width(word: &str) -> Result<Width, Fault> {
    Width::from_word(word).ok_or_else(|| Fault::Word {
        what: "width of a number",
        word: word.to_owned(),
        known: list(Width::ALL.iter().map(|one| one.word())),
    })
}

impl Len {
    const ONE: Self = Self {
        from: LenFrom::Const(1),
        add: Some(0),
        most: None,
    };

    /// The length, if it is a constant.
    pub(super) fn constant(self) -> Option<u32> {
        match self.from {
            LenFrom::Const(n) => Some(n),
            LenFrom::Arg(_) | LenFrom::At(_) | LenFrom::Ret => None,
        }
    }

    /// Reads `NAME`, `*NAME`, `ret`, `ret<NAME`, a number, or `$N`, with `+N` or `+long` after it.
    fn parse(text: &str, position: Position<'_>) -> Result<Self, Fault> {
        let (text, add) = match text.split_once('+') {
            Some((text, "long")) => (text, None),
            Some((text, n)) => (text, Some(narrow_number(n, u16::MAX)?)),
            None => (text, Some(0)),
        };
        let index = |name: &str| match name.strip_prefix('$') {
            Some(at) => narrow_number(at, u8::MAX),
            None => position(name),
        };
        let (text, most) = match text.split_once('<') {
            Some(("ret", most)) => ("ret", Some(index(most)?)),
            Some(_) => return Err(Fault::syntax("`ret<NAME`", text)),
            None => (text, None),
        };
        let from = match (text, text.strip_prefix('*')) {
            ("ret", _) => LenFrom::Ret,
            (_, Some(of)) => LenFrom::At(index(of)?),
            _ if text.bytes().all(|b| b.is_ascii_digit()) => {
                LenFrom::Const(narrow_number(text, u32::MAX)?)
            }
            _ => LenFrom::Arg(index(text)?),
        };
        Ok(Self { from, add, most })
    }
}
