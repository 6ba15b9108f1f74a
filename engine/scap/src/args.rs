//! `evt.args` and `evt.arg` as Falco's library prints them: the parameters of the newest type of events that reports the call, in its
//! order, with its numbers. The tables say which these are.

use std::fmt::Write as _;
use std::net::SocketAddr;

use decode::{errno, symbols};
use driver_api::event::{Event, EventKind, Flags};
use driver_api::table::Syscall;
use inspect::{Descriptor, DescriptorKind, Inspector, Seen};

use super::bytes::{Bytes, text};
use super::lifecycle;
use super::socket::{self, Address};
use super::table::{EventSlot, Form, Param, Show, Subject, Table, What};
use super::value::number;
use super::write::{About, Caller};

/// The most bytes of data that are printed: as many as Falco's drivers capture by default.
const DATA: usize = 80;
/// `AT_FDCWD`
const CWD: i64 = -100;

/// Bits of a mode, in Falco's order (`driver/flags_table.c` in falcosecurity/libs).
const MODE: [(&str, u64); 12] = [
    ("S_IXOTH", 0o1),
    ("S_IWOTH", 0o2),
    ("S_IROTH", 0o4),
    ("S_IXGRP", 0o10),
    ("S_IWGRP", 0o20),
    ("S_IRGRP", 0o40),
    ("S_IXUSR", 0o100),
    ("S_IWUSR", 0o200),
    ("S_IRUSR", 0o400),
    ("S_ISVTX", 0o1000),
    ("S_ISGID", 0o2000),
    ("S_ISUID", 0o4000),
];

/// What Falco says about a call, or about the one that an operation of io_uring does. None: Falco has no type of events for it.
#[must_use]
pub fn subject(call: &Syscall) -> Option<Subject> {
    Table::get().subject(call)
}

/// Whether an event type of Falco has a parameter with this name.
#[must_use]
pub fn has_param(name: &str) -> bool {
    let mut types = Table::get().types().iter();
    types.any(|kind| kind.params.iter().any(|param| param.name == name))
}

/// Appends `name=value` of each parameter, separated by spaces. `absolute` gives the absolute path for a relative one: for
/// the parameter of the call with this name. False: Falco has no type for the call, and nothing was appended.
pub fn args(
    out: &mut String,
    event: &Event<'_>,
    seen: &Seen,
    inspector: &Inspector,
    absolute: &dyn Fn(&'static str) -> Option<String>,
) -> bool {
    if matches!(event.kind(), EventKind::Exit | EventKind::Signal) {
        return lifecycle_args(out, event, seen, inspector);
    }
    let Some(call) = seen.call.filter(|_| !event.has(Flags::NORETURN)) else {
        return false;
    };
    let Some(kind) = Table::get().newest(call) else {
        return false;
    };
    let caller = Caller::new(event, call, seen, inspector);
    let about = seen
        .process
        .and_then(|key| inspector.process(key))
        .map(|process| About::of(process, event.header().tid, inspector, event));
    let printer = Printer { seen, inspector };
    for (at, param) in kind.params.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        let _ = write!(out, "{}=", param.name);
        let value = match param.place {
            EventSlot::Nowhere => about
                .as_ref()
                .filter(|about| about.knows(param.name))
                .and_then(|about| about.param(param.name))
                .or_else(|| caller.param(kind, param)),
            _ => caller.param(kind, param),
        };
        match value {
            Some(value) if !value.is_empty() => printer.value(out, param, &value, DATA),
            _ => out.push_str(nothing(param.form)),
        }
        if param.form == Form::Text
            && let What::Call(theirs) = kind.what
            && let Some(name) = param.call_name(theirs)
            && let Some(path) = absolute(name)
        {
            let _ = write!(out, "({path})");
        }
    }
    true
}

/// The parameters of an event that is no call.
fn lifecycle_args(out: &mut String, event: &Event<'_>, seen: &Seen, inspector: &Inspector) -> bool {
    let Some(kind) = lifecycle::event_type(event.kind()) else {
        return false;
    };
    let printer = Printer { seen, inspector };
    for (at, param) in kind.params.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        let _ = write!(out, "{}=", param.name);
        match lifecycle::value(event, seen, inspector, param.name) {
            Some(value) => {
                let bytes = value.to_le_bytes();
                printer.number(out, param.form, param.show, &bytes[..param.width]);
            }
            None => out.push_str(nothing(param.form)),
        }
    }
    true
}

/// Whether the end of a thread has a parameter with this name or number. No driver delivers signals, which captures of Falco have.
#[must_use]
pub fn is_in_lifecycle(name: &str) -> bool {
    lifecycle::event_type(EventKind::Exit).is_some_and(|kind| match name.parse::<usize>() {
        Ok(at) => at < kind.params.len(),
        Err(_) => kind.params.iter().any(|param| param.name == name),
    })
}

/// A parameter of an event that is no call, by its name or its number, and appends what its number means, if Falco has that, else the
/// number. None: there is none, or its value is not known.
pub fn lifecycle_arg(
    out: &mut String,
    event: &Event<'_>,
    seen: &Seen,
    inspector: &Inspector,
    name: &str,
) -> Option<i64> {
    let params = &lifecycle::event_type(event.kind())?.params;
    let param = match name.parse::<usize>() {
        Ok(at) => params.get(at),
        Err(_) => params.iter().find(|param| param.name == name),
    }?;
    let value = lifecycle::value(event, seen, inspector, param.name)?;
    let start = out.len();
    let printer = Printer { seen, inspector };
    let bytes = value.to_le_bytes();
    printer.number(out, param.form, param.show, &bytes[..param.width]);
    keep_meaning(out, start);
    Some(value)
}

/// What Falco shows of one parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The event does not have its value.
    Nothing,
    /// The text was appended.
    Appended,
    /// The text behind this parameter of the call. If it is a path, Falco makes it absolute.
    Text(&'static str),
    /// What this descriptor refers to.
    Descriptor(i32),
    /// The name of the process, user or group whose id it is.
    Name,
}

/// The index of a parameter that Falco has for a call, by its name. The result is the first one.
#[must_use]
pub fn arg_named(call: &'static Syscall, name: &str) -> Option<u8> {
    let params = &Table::get().newest(call)?.params;
    let at = params.iter().position(|param| param.name == name)?;
    u8::try_from(at).ok()
}

/// Whether the values of this parameter are in lanner's events of the call. Facts about processes are not.
#[must_use]
pub fn is_in_call(call: &'static Syscall, at: u8) -> bool {
    let kind = Table::get().newest(call);
    let param = kind.and_then(|kind| kind.params.get(usize::from(at)));
    param.is_some_and(|param| param.place != EventSlot::Nowhere)
}

/// How many parameters Falco has for a call, the result included. 0: it has no type for the call.
#[must_use]
pub fn arg_count(call: &'static Syscall) -> usize {
    Table::get()
        .newest(call)
        .map_or(0, |kind| kind.params.len())
}

/// Appends the parameter with this index: what its number means, if Falco has that, else the number.
pub fn arg(
    out: &mut String,
    event: &Event<'_>,
    seen: &Seen,
    inspector: &Inspector,
    at: u8,
) -> Shown {
    let Some(call) = seen.call.filter(|_| !event.has(Flags::NORETURN)) else {
        return Shown::Nothing;
    };
    let kind = Table::get().newest(call);
    let Some((kind, param)) = kind.and_then(|kind| Some((kind, kind.params.get(usize::from(at))?)))
    else {
        return Shown::Nothing;
    };
    let caller = Caller::new(event, call, seen, inspector);
    let printer = Printer { seen, inspector };
    let start = out.len();
    if matches!(param.show, Show::User | Show::Group | Show::Process) {
        return Shown::Name;
    }
    if param.form.is_number()
        && let Some(bits) = caller.number(kind, param)
    {
        let descriptor = bits.cast_signed();
        if param.show == Show::Descriptor
            && let Ok(fd) = i32::try_from(descriptor)
            && printer.find(descriptor).is_some()
        {
            return Shown::Descriptor(fd);
        }
        printer.number(
            out,
            param.form,
            param.show,
            &bits.to_le_bytes()[..param.width],
        );
        keep_meaning(out, start);
        return Shown::Appended;
    }
    if param.form == Form::Text
        && let What::Call(theirs) = kind.what
        && let Some(name) = param.call_name(theirs)
    {
        return Shown::Text(name);
    }
    let value = match param.place {
        EventSlot::Nowhere => {
            let process = seen.process.and_then(|key| inspector.process(key));
            process.and_then(|process| {
                let about = About::of(process, event.header().tid, inspector, event);
                about.knows(param.name).then(|| about.param(param.name))?
            })
        }
        _ => caller.param(kind, param),
    };
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Shown::Nothing;
    };
    // Falco has the family of such an address alone, and the event has all of it
    if param.form == Form::SockAddr && matches!(socket::sockaddr(&value), Some(Address::Family(_)))
    {
        return Shown::Nothing;
    }
    printer.value(out, param, &value, usize::MAX);
    if param.form.is_number() {
        keep_meaning(out, start);
    }
    Shown::Appended
}

/// Makes `NAME` of `5(NAME)`.
fn keep_meaning(out: &mut String, start: usize) {
    if let Some(bracket) = out[start..].find('(')
        && out.ends_with(')')
    {
        out.pop();
        out.drain(start..=start + bracket);
    }
}

/// What is printed for a value that an event does not have.
fn nothing(form: Form) -> &'static str {
    match form {
        Form::Bytes | Form::Tuple | Form::Descriptors | Form::Dynamic(_) | Form::Other => "NULL",
        Form::Unsigned
        | Form::Signed
        | Form::Symbols(_)
        | Form::Text
        | Form::SockAddr
        | Form::Interval => "<NA>",
    }
}

struct Printer<'a> {
    seen: &'a Seen,
    inspector: &'a Inspector,
}

impl Printer<'_> {
    /// `most`: how many bytes of data are printed.
    fn value(&self, out: &mut String, param: &Param, value: &[u8], most: usize) {
        match param.form {
            Form::Unsigned | Form::Signed | Form::Symbols(_) | Form::Interval => {
                self.number(out, param.form, param.show, value);
            }
            Form::Text => out.push_str(&String::from_utf8_lossy(text(value))),
            Form::Bytes | Form::Other => data(out, value, most),
            Form::SockAddr => match socket::sockaddr(value) {
                Some(address) => self::address(out, &address),
                None => out.push_str("<NA>"),
            },
            Form::Tuple => match socket::ends(value) {
                Some((source, target)) => ends(out, &source, &target),
                None => out.push_str("NULL"),
            },
            Form::Descriptors => self.polled(out, value),
            Form::Dynamic(forms) => {
                let form = value.split_first().and_then(|(index, rest)| {
                    let (form, _) = forms.get(usize::from(*index))?;
                    Some((*form, rest))
                });
                match form {
                    Some((Form::Text, rest)) => {
                        out.push_str(&String::from_utf8_lossy(text(rest)));
                    }
                    Some((Form::Bytes, rest)) => data(out, rest, most),
                    Some((form, rest)) => self.number(out, form, param.show, rest),
                    None => out.push_str("NULL"),
                }
            }
        }
    }

    fn number(&self, out: &mut String, form: Form, show: Show, value: &[u8]) {
        let Some(bits) = number(form, value) else {
            out.push_str("<NA>");
            return;
        };
        let signed = bits.cast_signed();
        let _ = match (form, show) {
            (Form::Symbols(set), _) => {
                let _ = write!(out, "{bits}");
                return names(out, &set.values, bits, show != Show::One);
            }
            (Form::Interval, _) if bits == u64::MAX => write!(out, "none"),
            (Form::Interval, _) => {
                let _ = write!(out, "{bits}(");
                general(out, bits as f64 / 1e9);
                write!(out, "s)")
            }
            (_, Show::Hex) => write!(out, "{bits:X}"),
            (_, Show::Octal) => write!(out, "{bits:o}"),
            (_, Show::Mode) => {
                let _ = write!(out, "{bits:o}");
                return names(out, &MODE, bits, true);
            }
            (_, Show::Errno) => {
                let _ = write!(out, "{signed}");
                return error(out, signed);
            }
            (_, Show::Descriptor) => return self.descriptor(out, signed),
            (_, Show::Process) => {
                let _ = write!(out, "{signed}");
                let process = u32::try_from(signed).ok();
                let process = process.and_then(|pid| self.inspector.process_by_pid(pid));
                return in_brackets(out, process.map(|process| &*process.name));
            }
            (_, Show::User | Show::Group) if bits == u64::from(u32::MAX) => {
                write!(out, "-1(<NONE>)")
            }
            (_, Show::User) => {
                let user = u32::try_from(bits).ok();
                let user = user.and_then(|uid| self.inspector.users().user(uid));
                let _ = write!(out, "{bits}");
                return in_brackets(out, Some(user.map_or(b"<NA>", |user| &*user.name)));
            }
            (_, Show::Group) => {
                let group = u32::try_from(bits).ok();
                let group = group.and_then(|gid| self.inspector.users().group(gid));
                let _ = write!(out, "{bits}");
                return in_brackets(out, Some(group.unwrap_or(b"<NA>")));
            }
            (_, Show::Signal) => {
                let _ = write!(out, "{bits}");
                return in_brackets(out, symbols::signal(bits).map(str::as_bytes));
            }
            (Form::Signed, Show::Decimal | Show::One) => write!(out, "{signed}"),
            (_, Show::Decimal | Show::One) => write!(out, "{bits}"),
        };
    }

    /// A descriptor, with what it refers to.
    fn descriptor(&self, out: &mut String, fd: i64) {
        let _ = write!(out, "{fd}");
        if fd == CWD {
            out.push_str("(AT_FDCWD)");
        } else if fd < 0 {
            error(out, fd);
        } else if let Some(descriptor) = self.find(fd) {
            let _ = write!(
                out,
                "(<{}{}>",
                descriptor.kind.letter(),
                protocol(descriptor)
            );
            out.push_str(&String::from_utf8_lossy(&descriptor.name));
            out.push(')');
        }
    }

    fn find(&self, fd: i64) -> Option<&Descriptor> {
        let fd = i32::try_from(fd).ok()?;
        if self.seen.fd == Some(fd) {
            return self.inspector.descriptor(self.seen);
        }
        self.inspector
            .descriptor_of(self.seen.process?, self.seen.tid, fd)
    }

    /// Descriptors with their events.
    fn polled(&self, out: &mut String, value: &[u8]) {
        let mut from = Bytes::new(value);
        let count = from.u16().unwrap_or(0);
        for at in 0..count {
            let (Some(fd), Some(events)) = (from.i64(), from.u16()) else {
                return;
            };
            let letter = self.find(fd).map_or("?", |found| found.kind.letter());
            let between = if at > 0 { " " } else { "" };
            let _ = write!(out, "{between}{fd}:{letter}{events:x}");
        }
    }
}

/// The letter of a socket's protocol, as in `<4t>`.
#[must_use]
pub fn protocol(descriptor: &Descriptor) -> &'static str {
    if !matches!(descriptor.kind, DescriptorKind::Ipv4 | DescriptorKind::Ipv6) {
        return "";
    }
    match descriptor.socket.map(|socket| socket.protocol) {
        Some(6) => "t",
        Some(17) => "u",
        Some(1) => "i",
        Some(255) => "r",
        _ => "",
    }
}

fn in_brackets(out: &mut String, name: Option<&[u8]>) {
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        let _ = write!(out, "({})", String::from_utf8_lossy(name));
    }
}

/// The name of an error behind its negative number.
fn error(out: &mut String, value: i64) {
    let name = errno::of(value).and_then(errno::name);
    in_brackets(out, name.map(str::as_bytes));
}

/// Names of values, as the library finds them. `several`: the number is a sum of them.
fn names(out: &mut String, values: &[(&str, u64)], number: u64, several: bool) {
    let mut left = number;
    let mut before = "(";
    for (name, value) in values {
        let fits = if several {
            (*value == 0 && number == 0) || (*value != 0 && left & value == *value)
        } else {
            *value == number
        };
        if fits {
            out.push_str(before);
            out.push_str(name);
            before = "|";
            left &= !value;
            if several && *value == number {
                break;
            }
        }
    }
    if before == "|" {
        out.push(')');
    }
}

/// Data: what cannot be printed is a dot.
fn data(out: &mut String, value: &[u8], most: usize) {
    let shown = value.iter().take(most).map(|byte| {
        let printable = byte.is_ascii_graphic() || *byte == b' ';
        if printable { char::from(*byte) } else { '.' }
    });
    out.extend(shown);
}

fn end(out: &mut String, end: SocketAddr) {
    let _ = write!(out, "{}:{}", end.ip(), end.port());
}

fn address(out: &mut String, address: &Address) {
    match address {
        Address::Inet(address) => end(out, *address),
        Address::Unix(path) => out.push_str(&String::from_utf8_lossy(path)),
        Address::Family(family) => {
            let _ = write!(out, "family {family}");
        }
    }
}

fn ends(out: &mut String, source: &Address, target: &Address) {
    match (source, target) {
        (Address::Inet(source), Address::Inet(target)) => {
            end(out, *source);
            out.push_str("->");
            end(out, *target);
        }
        // the kernel's addresses of both ends, which lanner does not have
        (_, Address::Unix(_)) => {
            out.push_str("0->0 ");
            address(out, target);
        }
        (_, other) => address(out, other),
    }
}

/// A number as printf(3) writes it for `%g`.
fn general(out: &mut String, value: f64) {
    const DIGITS: i32 = 6;
    if value == 0.0 {
        out.push('0');
        return;
    }
    let scientific = format!("{value:.5e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    if (-4..DIGITS).contains(&exponent) {
        let decimals = usize::try_from(DIGITS - 1 - exponent).unwrap_or(0);
        out.push_str(&trimmed(&format!("{value:.decimals$}")));
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{}e{sign}{:02}", trimmed(digits), exponent.abs());
    }
}
