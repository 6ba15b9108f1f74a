//! Reads a kind: what a parameter or a structure's field is.

use super::number;

/// What a parameter or field is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// One of the words without anything behind them.
    Plain(String),
    /// `flags(SET)` or `enum(SET)`.
    Symbols(String, String),
    /// A kind in a number of another width.
    As(String, Box<Kind>),
    /// `path`, relative to that parameter.
    Path(Option<u8>),
    /// One of the words with a length behind them.
    Sized(String, Len),
    /// `struct(NAME)`, and how many bytes there are of it where that is not its size.
    Struct(String, Option<Len>),
    /// An array of so many.
    Array(Box<Kind>, Len),
    /// An array of so many pointers to structures.
    Pointers(String, Len),
    /// `chars[N]` or `raw[N]`.
    Inline(String, u32),
    /// `by(VARIANT,SELECTOR[,SELECTOR])`.
    By(String, Vec<u8>),
}

/// A length: where it is, and what is added to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Len {
    pub(crate) from: LenFrom,
    /// Bytes to add; none: as many as a long has.
    pub(crate) add: Option<u16>,
}

/// Where a length is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LenFrom {
    Const(u32),
    Arg(u8),
    At(u8),
    Ret,
}

/// Kinds that are one word, and numbers.
const NUMBERS: &[&str] = &[
    "fd", "dirfd", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "long", "ulong", "size",
    "size32", "off", "loff", "offpair", "mode", "chmod", "filetype", "uid", "gid", "pid", "signal",
    "ptr", "hex", "dev", "be16", "be32", "ipckey", "limit", "ioprio", "wstatus", "capset", "ip4",
    "ip6",
];
/// Other kinds that are one word.
const WORDS: &[&str] = &["str", "strv", "msghdr", "sigarg", "rest", "none", "ioc"];
/// Kinds that need a length.
const SIZED: &[&str] = &[
    "bytes",
    "sockaddr",
    "iovec",
    "mmsghdr",
    "sigset",
    "fdset",
    "cpuset",
    "nodemask",
    "pages",
    "msgbuf",
    "opt",
    "dirents",
    "dirents64",
];
/// Widths that a number can be given.
const WIDTHS: &[&str] = &[
    "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "long", "ulong", "be16", "be32", "loff",
];

/// Finds the place of the parameter or field of a name.
pub(super) type Position<'a> = &'a dyn Fn(&str) -> Result<u8, String>;

impl Kind {
    /// Reads `NAME[(...)][*][\[LENGTH\]][@PARAM]`.
    pub(super) fn parse(text: &str, position: Position<'_>) -> Result<Self, String> {
        let (rest, at) = match text.split_once('@') {
            Some((before, of)) => (before, Some(position(of)?)),
            None => (text, None),
        };
        let (rest, len) = match rest.split_once('[') {
            Some((before, after)) => {
                let inside = after
                    .strip_suffix(']')
                    .ok_or_else(|| format!("{rest:?} lacks a closing bracket"))?;
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
                    .ok_or_else(|| format!("{rest:?} lacks a closing parenthesis"))?;
                (word, Some(inside))
            }
            None => (rest, None),
        };
        let kind = match (word, inside) {
            ("path", None) => return Ok(Self::Path(at)),
            ("by", Some(inside)) => {
                let mut words = inside.split(',');
                let name = words.next().unwrap_or_default().to_owned();
                return Ok(Self::By(
                    name,
                    words.map(position).collect::<Result<_, _>>()?,
                ));
            }
            ("ptrs", Some(name)) => {
                let len = len.ok_or_else(|| format!("{text:?} needs a count in brackets"))?;
                return Ok(Self::Pointers(name.to_owned(), len));
            }
            ("struct", Some(name)) if !pointer => {
                return Ok(Self::Struct(name.to_owned(), len));
            }
            ("struct", Some(name)) => Self::Struct(name.to_owned(), None),
            ("flags" | "enum", Some(inside)) => match inside.split_once(',') {
                Some((set, width)) => Self::Symbols(word.to_owned(), set.to_owned()).wide(width)?,
                None => Self::Symbols(word.to_owned(), inside.to_owned()),
            },
            ("chars" | "raw", None) => {
                return match len {
                    Some(Len {
                        from: LenFrom::Const(n),
                        ..
                    }) => Ok(Self::Inline(word.to_owned(), n)),
                    _ => Err(format!("{text:?} needs a constant length")),
                };
            }
            (word, None) if SIZED.contains(&word) => {
                let len = len.ok_or_else(|| format!("{text:?} needs a length in brackets"))?;
                return Ok(Self::Sized(word.to_owned(), len));
            }
            (word, Some(width)) if NUMBERS.contains(&word) => {
                Self::Plain(word.to_owned()).wide(width)?
            }
            (word, None) if NUMBERS.contains(&word) || WORDS.contains(&word) => {
                Self::Plain(word.to_owned())
            }
            _ => return Err(format!("{text:?} is no kind")),
        };
        Ok(match (pointer, len) {
            (false, None) => kind,
            (_, len) => Self::Array(Box::new(kind), len.unwrap_or(Len::ONE)),
        })
    }

    fn wide(self, width: &str) -> Result<Self, String> {
        if WIDTHS.contains(&width) {
            Ok(Self::As(width.to_owned(), Box::new(self)))
        } else {
            Err(format!("{width:?} is no width of a number"))
        }
    }
}

impl Len {
    const ONE: Self = Self {
        from: LenFrom::Const(1),
        add: Some(0),
    };

    /// `NAME`, `*NAME`, `ret`, a number, or `$N`, with `+N` or `+long` behind it.
    fn parse(text: &str, position: Position<'_>) -> Result<Self, String> {
        let (text, add) = match text.split_once('+') {
            Some((text, "long")) => (text, None),
            Some((text, n)) => (
                text,
                Some(u16::try_from(number(n)?).map_err(|_| format!("{n} is too much"))?),
            ),
            None => (text, Some(0)),
        };
        let place = |name: &str| match name.strip_prefix('$') {
            Some(at) => number(at).and_then(|at| u8::try_from(at).map_err(|_| format!("${at}"))),
            None => position(name),
        };
        let from = match (text, text.strip_prefix('*')) {
            ("ret", _) => LenFrom::Ret,
            (_, Some(of)) => LenFrom::At(place(of)?),
            _ if text.bytes().all(|b| b.is_ascii_digit()) => LenFrom::Const(
                u32::try_from(number(text)?).map_err(|_| format!("{text} is too long"))?,
            ),
            _ => LenFrom::Arg(place(text)?),
        };
        Ok(Self { from, add })
    }
}
