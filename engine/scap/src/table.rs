//! The tables of Falco's event types (`events.tbl`), flags (`flags.tbl`) and codes of system calls (`codes.tbl`), with
//! every name resolved to what it means in lanner's own tables.

use std::collections::HashMap;
use std::sync::LazyLock;

use driver_api::event::{Abi, Part};
use driver_api::table::{Buffer, Kind, Syscall, by_name};

use super::symbols::{Set, Symbols, symbols_of};

/// What Falco says about the calls of a type of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// The word of `evt.category`; `io_read`, `io_write` and `io_other` go by the descriptor.
    pub category: &'static str,
    /// The call reads from its descriptor.
    pub reads: bool,
    /// The call writes to its descriptor.
    pub writes: bool,
}

impl Subject {
    /// Of a word of the table, such as `file<>`.
    fn parse(word: &'static str) -> Self {
        Self {
            category: word.trim_end_matches(['<', '>']),
            reads: word.contains('<'),
            writes: word.contains('>'),
        }
    }
}

/// A type of events.
#[derive(Debug)]
pub(crate) struct EventType {
    /// Its number.
    pub(crate) number: u16,
    /// Whether it reports that a call is entered.
    pub(crate) enter: bool,
    /// Whether the lengths of parameters have 32 bits.
    pub(crate) large: bool,
    pub(crate) subject: Subject,
    pub(crate) what: What,
    pub(crate) params: Vec<Param>,
}

impl EventType {
    /// Whether it says what there is, and not what happens: a container, a user, a group.
    pub(crate) fn is_about_state(&self) -> bool {
        matches!(self.what, What::Container)
            || self.params.iter().any(|param| param.name == "container_id")
    }

    /// A type of events that report nothing.
    fn unused(number: u16) -> Self {
        Self {
            number,
            enter: true,
            large: false,
            subject: Subject::parse("-"),
            what: What::Nothing,
            params: Vec::new(),
        }
    }
}

/// What an event reports.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    /// Nothing that lanner has an event for.
    Nothing,
    Call(&'static Syscall),
    /// The call that a code names.
    Coded,
    /// A thread ended.
    Exit,
    /// A signal was delivered.
    Signal,
    /// What a runtime says about a container.
    Container,
    /// A message, with which lanner says that events are missing.
    Notice,
}

/// A parameter.
#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    /// How Falco's library prints a number.
    pub(crate) show: Show,
    /// Bytes of a number; 0: it is none.
    pub(crate) width: usize,
    pub(crate) place: EventSlot,
    /// Its symbols, if it has some and its place has some.
    pub(crate) symbols: Option<Symbols>,
}

impl Param {
    /// The name of the parameter of this call that it is.
    pub(crate) fn call_name(&self, call: &'static Syscall) -> Option<&'static str> {
        match self.place {
            EventSlot::Param(at) => Some(call.params.get(usize::from(at))?.name),
            EventSlot::Nowhere
            | EventSlot::Result
            | EventSlot::Full
            | EventSlot::Member { .. }
            | EventSlot::Message(..)
            | EventSlot::Tuple
            | EventSlot::Path => None,
        }
    }
}

/// How Falco's library prints a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    Decimal,
    Hex,
    Octal,
    /// One of several values with names. (Without this word, a number is a sum of them.)
    One,
    /// With the name of the error, if it is negative.
    Errno,
    /// With what the descriptor refers to.
    Descriptor,
    /// With a name.
    Process,
    User,
    Group,
    Signal,
    Mode,
}

impl Form {
    /// Whether its bytes are one number.
    pub(crate) fn is_number(self) -> bool {
        match self {
            Self::Unsigned | Self::Signed | Self::Symbols(_) | Self::Interval => true,
            Self::Text
            | Self::Bytes
            | Self::SockAddr
            | Self::Tuple
            | Self::Descriptors
            | Self::Dynamic(_)
            | Self::Other => false,
        }
    }
}

/// The form of a parameter's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Unsigned,
    Signed,
    /// A number with names: the set of Falco's values.
    Symbols(&'static Set),
    Text,
    Bytes,
    SockAddr,
    Tuple,
    Descriptors,
    /// Nanoseconds.
    Interval,
    /// A number of one of these forms, and a value of that form, with its bytes.
    Dynamic(&'static [(Form, usize)]),
    /// Anything else.
    Other,
}

/// Where a parameter belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventSlot {
    Nowhere,
    /// The return value.
    Result,
    /// How many bytes of data there are.
    Full,
    /// That parameter of the call.
    Param(u8),
    /// In memory that the parameter points to: element, and the member of that element.
    Member {
        param: u8,
        element: u8,
        member: Option<&'static str>,
    },
    /// A part of the message that the parameter points to.
    Message(u8, Part),
    /// The ends of the socket.
    Tuple,
    /// The path behind the descriptor.
    Path,
}

/// The tables.
#[derive(Debug, Default)]
pub(crate) struct Table {
    types: Vec<EventType>,
    codes: HashMap<u16, &'static Syscall>,
    /// The code of each call, by its index.
    codes_of: HashMap<usize, u16>,
    /// The newest type that reports the return of each call, by its index.
    newest: HashMap<usize, u16>,
    /// What is wrong with the tables.
    pub(crate) faults: Vec<String>,
    /// Names of Falco's that the kernel's set does not have: parameter and name.
    pub(crate) nameless: Vec<(String, &'static str)>,
}

/// The ABI in which an event of a call is written: the first that has the call. A capture does not say which ABI a call
/// was made through.
pub(crate) fn abi_of(call: &Syscall) -> Option<(Abi, u32)> {
    [Abi::X86_64, Abi::I386, Abi::Arm, Abi::Aarch64]
        .into_iter()
        .find_map(|abi| Some((abi, call.number(abi)?)))
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::parse);

pub(crate) fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
}

impl Table {
    pub(crate) fn get() -> &'static Self {
        &TABLE
    }

    /// The type with this number.
    pub(crate) fn event(&self, number: u16) -> Option<&EventType> {
        self.types.get(usize::from(number))
    }

    /// The call with this code.
    pub(crate) fn call(&self, code: u16) -> Option<&'static Syscall> {
        self.codes.get(&code).copied()
    }

    /// The newest type of the events that report the return of a call. None: Falco has none for this call.
    pub(crate) fn newest(&self, call: &Syscall) -> Option<&EventType> {
        self.event(*self.newest.get(&call.index())?)
    }

    /// What Falco says about a call. A call that Falco has no type for is an event of the type for all of these.
    pub(crate) fn subject(&self, call: &Syscall) -> Option<Subject> {
        let theirs = if call.is_operation() {
            by_name(call.acts_as)?
        } else {
            call.event_type()
        };
        Some(self.newest(theirs)?.subject)
    }

    /// The types that report this, in the order of their numbers.
    pub(crate) fn all(&self, what: impl Fn(What) -> bool) -> impl Iterator<Item = &EventType> {
        self.types.iter().filter(move |kind| what(kind.what))
    }

    /// The code of a call.
    pub(crate) fn code(&self, call: &Syscall) -> Option<u16> {
        self.codes_of.get(&call.index()).copied()
    }

    /// All types, in the order of their numbers.
    pub(crate) fn types(&self) -> &[EventType] {
        &self.types
    }

    fn parse() -> Self {
        let mut table = Self::default();
        for line in lines(include_str!("codes.tbl")) {
            let parsed = line
                .split_once(' ')
                .and_then(|(code, name)| Some((code.parse().ok()?, by_name(name.trim())?)));
            match parsed {
                Some((code, call)) => {
                    table.codes.insert(code, call);
                    table.codes_of.insert(call.index(), code);
                }
                None => table.faults.push(line.to_owned()),
            }
        }
        for (number, line) in (0..).zip(lines(include_str!("events.tbl"))) {
            match table.event_type(line) {
                Some(parsed) => {
                    if let (What::Call(call), false) = (parsed.what, parsed.enter) {
                        table.newest.insert(call.index(), number);
                    }
                    table.types.push(parsed);
                }
                None => {
                    table.faults.push(line.to_owned());
                    // the types after it keep their numbers
                    table.types.push(EventType::unused(number));
                }
            }
        }
        table
    }

    fn event_type(&mut self, line: &'static str) -> Option<EventType> {
        let mut words = line.split_whitespace();
        let number: u16 = words.next()?.parse().ok()?;
        let (name, half) = words.next()?.rsplit_once('.')?;
        let subject = Subject::parse(words.next()?);
        let what = match words.next()? {
            "-" => What::Nothing,
            "?" => What::Coded,
            "!exit" => What::Exit,
            "!signal" => What::Signal,
            "!container" => What::Container,
            "!notice" => What::Notice,
            call => What::Call(by_name(call)?),
        };
        let params = words
            .map(|word| self.param(name, what, word))
            .collect::<Option<Vec<Param>>>()?;
        (usize::from(number) == self.types.len()).then_some(EventType {
            number,
            enter: half.starts_with('e'),
            large: half.ends_with('+'),
            subject,
            what,
            params,
        })
    }

    fn param(&mut self, event: &str, what: What, word: &'static str) -> Option<Param> {
        let (name, rest) = word.split_once(':')?;
        let (form, place) = match rest.split_once('>') {
            Some((form, place)) => (form, Some(place)),
            None => (rest, None),
        };
        let (show, (form, width)) = (show_of(form), form_of(form)?);
        let place = match what {
            What::Call(call) => resolve(call, name, place)?,
            _ => EventSlot::Nowhere,
        };
        let kind = match what {
            What::Call(call) => kind_at(call, place),
            _ => None,
        };
        let symbols = match (form, kind.as_ref().and_then(symbols_of)) {
            (Form::Symbols(theirs), Some((ours, one))) => {
                Some(Symbols::new(theirs, ours, one, |missing| {
                    self.nameless.push((format!("{event}.{name}"), missing));
                }))
            }
            _ => None,
        };
        Some(Param {
            name,
            form,
            show,
            width,
            place,
            symbols,
        })
    }
}

/// The forms that a value of each dynamic set has, by its number, and its bytes.
const DYNAMIC: &[(&str, &[(Form, usize)])] = &[
    (
        "sockopt",
        &[
            (Form::Bytes, 0),
            (Form::Signed, 8),
            (Form::Unsigned, 4),
            (Form::Unsigned, 8),
            (Form::Interval, 8),
        ],
    ),
    ("ptrace", &[(Form::Unsigned, 8), (Form::Unsigned, 1)]),
    ("bpf", &[(Form::Signed, 8), (Form::Signed, 8)]),
    ("keyctl", &[(Form::Signed, 8), (Form::Text, 0)]),
];

/// How a number with this word is printed.
fn show_of(word: &str) -> Show {
    match word {
        "err" => Show::Errno,
        "fd" => Show::Descriptor,
        "pid" => Show::Process,
        "uid" => Show::User,
        "gid" => Show::Group,
        "sig" => Show::Signal,
        "mode" => Show::Mode,
        "o32" => Show::Octal,
        "x8" | "x32" | "x64" | "xi32" | "dyn(ptrace)" => Show::Hex,
        word if word.starts_with("enum") => Show::One,
        _ => Show::Decimal,
    }
}

/// The form with this word, and the bytes of a number; 0: it is none.
fn form_of(word: &'static str) -> Option<(Form, usize)> {
    if let Some((sort, set)) = word.strip_suffix(')').and_then(|word| word.split_once('(')) {
        let symbols = |width| Some((Form::Symbols(Set::named(set)?), width));
        return match sort {
            "flags" | "enum" => symbols(4),
            "flags16" | "enum16" => symbols(2),
            "flags8" | "enum8" => symbols(1),
            "dyn" => {
                let (_, forms) = DYNAMIC.iter().find(|(name, _)| *name == set)?;
                Some((Form::Dynamic(forms), 0))
            }
            _ => None,
        };
    }
    Some(match word {
        "u8" | "x8" | "sig" => (Form::Unsigned, 1),
        "u16" | "code" | "port" => (Form::Unsigned, 2),
        "u32" | "x32" | "o32" | "uid" | "gid" | "mode" | "sigset" => (Form::Unsigned, 4),
        "u64" | "x64" | "abstime" => (Form::Unsigned, 8),
        "i8" => (Form::Signed, 1),
        "i16" => (Form::Signed, 2),
        "i32" | "xi32" => (Form::Signed, 4),
        "i64" | "err" | "fd" | "pid" => (Form::Signed, 8),
        "reltime" => (Form::Interval, 8),
        "str" | "path" => (Form::Text, 0),
        "bytes" => (Form::Bytes, 0),
        "addr" => (Form::SockAddr, 0),
        "tuple" => (Form::Tuple, 0),
        "fdlist" => (Form::Descriptors, 0),
        "ip4" | "ip6" | "strs" | "pairs" => (Form::Other, 0),
        _ => return None,
    })
}

/// Where a parameter with this name belongs in a call. Calls that make a process or give it a program have parameters
/// that are facts about the process; these have no place of their own.
fn resolve(call: &'static Syscall, name: &str, place: Option<&'static str>) -> Option<EventSlot> {
    let index = |name: &str| u8::try_from(call.param(name)?.0).ok();
    let Some(place) = place else {
        return Some(index(name).map_or(EventSlot::Nowhere, EventSlot::Param));
    };
    Some(match place {
        "-" => EventSlot::Nowhere,
        "=" => EventSlot::Result,
        "#" => EventSlot::Full,
        "@tuple" => EventSlot::Tuple,
        "@path" => EventSlot::Path,
        _ => {
            let Some((param, inner)) = place.split_once('.') else {
                return Some(EventSlot::Param(index(place)?));
            };
            let at = index(param)?;
            if let Kind::Msghdr | Kind::Buffer(Buffer::Mmsghdr, _) =
                call.params[usize::from(at)].kind
            {
                let part = match inner {
                    "name" => Part::Name,
                    "data" => Part::Data,
                    "control" => Part::Control,
                    _ => return None,
                };
                return Some(EventSlot::Message(at, part));
            }
            let (element, member) = match inner.split_once('.') {
                Some((element, member)) => (element.parse().ok()?, Some(member)),
                None => match inner.parse() {
                    Ok(element) => (element, None),
                    Err(_) => (0, Some(inner)),
                },
            };
            let member = match member {
                Some(member) => Some(member_of(&call.params[usize::from(at)].kind, member)?.0),
                None => None,
            };
            EventSlot::Member {
                param: at,
                element,
                member,
            }
        }
    })
}

/// The member with this name of the structure that a parameter points to: its name, offset and kind. The layout is that of
/// x86.
pub(crate) fn member_of(kind: &Kind, name: &str) -> Option<(&'static str, usize, Kind)> {
    match kind {
        Kind::Struct(of, _) => {
            let field = of.layouts[0].fields.iter().find(|f| f.name == name)?;
            Some((field.name, field.offset as usize, field.kind))
        }
        Kind::Array(of, _) => member_of(of, name),
        _ => None,
    }
}

/// What a place holds.
fn kind_at(call: &'static Syscall, place: EventSlot) -> Option<Kind> {
    match place {
        EventSlot::Param(at) => Some(call.params.get(usize::from(at))?.kind),
        EventSlot::Member {
            param,
            member: Some(member),
            ..
        } => member_of(&call.params.get(usize::from(param))?.kind, member).map(|(.., kind)| kind),
        EventSlot::Nowhere
        | EventSlot::Result
        | EventSlot::Full
        | EventSlot::Member { member: None, .. }
        | EventSlot::Message(..)
        | EventSlot::Tuple
        | EventSlot::Path => None,
    }
}
