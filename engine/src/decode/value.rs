//! One parameter of an event, typed.

use driver_api::event::{Attachment, Encoding, Event, Fact, Kind as EventKind, Part, Status};
use driver_api::table::{Kind, Len, Param, SymbolSet, Syscall};

use super::sockaddr::{SockAddr, bytes_at};
use super::structs::Struct;
use super::variant;

/// What a parameter is. Memory is borrowed from the event.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A null pointer where memory was expected.
    Null,
    /// Memory that the event does not have: not written because the call failed, or not readable.
    Unread(u64),
    /// Without meaning in this call, such as the mode of an open that creates nothing.
    Unused,
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    Uint(u64),
    /// A directory's descriptor or `AT_FDCWD`.
    DirFd(i32),
    /// A user or group id, all ones: unchanged.
    Id(u32),
    /// A number best read in base 16.
    Hex(u64),
    /// An address that is not followed.
    Ptr(u64),
    /// Permission bits.
    Mode(u32),
    /// A signal.
    Signal(i32),
    /// Bits with names.
    Flags(u64, &'static SymbolSet),
    /// A value with a name.
    Enum(u64, &'static SymbolSet),
    /// A path or string.
    Str(Attachment<'a>),
    /// Strings.
    Strings(Attachment<'a>),
    /// A buffer.
    Bytes(Attachment<'a>),
    /// A socket address.
    SockAddr(SockAddr<'a>),
    /// A `struct msghdr`.
    Message(Message<'a>),
    /// A structure.
    Struct(Struct<'a>),
    /// Scalars behind a pointer.
    Numbers(Numbers<'a>),
}

/// The captured parts of a `struct msghdr`.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// `msg_name`.
    pub name: Option<SockAddr<'a>>,
    /// The gathered bytes of `msg_iov`.
    pub data: Option<Attachment<'a>>,
    /// `msg_control`.
    pub control: Option<Attachment<'a>>,
}

/// Scalars behind a pointer.
#[derive(Debug, Clone, Copy)]
pub struct Numbers<'a> {
    bytes: &'a [u8],
    kind: &'static Kind,
    /// The table says that it is one number, not an array.
    pub single: bool,
}

impl Numbers<'_> {
    /// The numbers.
    pub fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        let wide = matches!(
            self.kind,
            Kind::I64 | Kind::U64 | Kind::Size | Kind::Off | Kind::Ptr | Kind::Hex
        );
        let unsigned = matches!(self.kind, Kind::U32 | Kind::Size32);
        self.bytes
            .chunks_exact(if wide { 8 } else { 4 })
            .filter_map(move |chunk| {
                if wide {
                    bytes_at(chunk, 0).map(i64::from_ne_bytes)
                } else if unsigned {
                    bytes_at(chunk, 0).map(|b| i64::from(u32::from_ne_bytes(b)))
                } else {
                    bytes_at(chunk, 0).map(|b| i64::from(i32::from_ne_bytes(b)))
                }
            })
    }
}

/// The low half of a register; the kernel's parameters of type int are no wider.
fn low(raw: u64) -> u32 {
    u32::try_from(raw & 0xffff_ffff).unwrap_or_default()
}

fn int(raw: u64) -> i32 {
    low(raw).cast_signed()
}

/// Decodes parameter `at` of a call. None: the call has no such parameter.
pub fn param<'a>(event: &Event<'a>, call: &Syscall, at: usize) -> Option<Value<'a>> {
    let param = call.params.get(at)?;
    if let Some((of, mask)) = param.only_if
        && variant::raw(event, call, usize::from(of)) & mask == 0
    {
        return Some(Value::Unused);
    }
    let raw = variant::raw(event, call, at);
    let wide = variant::wide_flags(call);
    Some(match variant::kind(event, call, at, param) {
        Kind::Fd | Kind::I32 | Kind::Pid => Value::Int(i64::from(int(raw))),
        Kind::DirFd => Value::DirFd(int(raw)),
        Kind::U32 | Kind::Size32 => Value::Uint(u64::from(low(raw))),
        Kind::I64 | Kind::Off => Value::Int(raw.cast_signed()),
        Kind::U64 | Kind::Size => Value::Uint(raw),
        Kind::Mode | Kind::Chmod => Value::Mode(low(raw)),
        Kind::Uid | Kind::Gid => Value::Id(low(raw)),
        Kind::Signal => Value::Signal(int(raw)),
        Kind::Ptr => Value::Ptr(raw),
        Kind::Hex => Value::Hex(raw),
        Kind::Flags(set) if wide => Value::Flags(raw, set),
        Kind::Flags(set) => Value::Flags(u64::from(low(raw)), set),
        Kind::Enum(set) if set.name == "eth_proto" => Value::Enum(u64::from(net_short(raw)), set),
        Kind::Enum(set) => Value::Enum(u64::from(low(raw)), set),
        _ if raw == 0 => Value::Null,
        kind => memory(event, call, at, param, kind).unwrap_or(Value::Unread(raw)),
    })
}

fn memory<'a>(
    event: &Event<'a>,
    call: &Syscall,
    at: usize,
    param: &Param,
    kind: Kind,
) -> Option<Value<'a>> {
    let register = variant::register(event, call, at);
    if matches!(kind, Kind::Msghdr) {
        return message(event, register);
    }
    let attached = event.argument(register);
    let attached = match (kind, attached) {
        // A successful exec is told by its facts.
        (Kind::Strv, None) if event.kind() == EventKind::Exec => event.fact(match param.name {
            "envp" => Fact::Env,
            _ => Fact::Argv,
        }),
        _ => attached,
    }?;
    if attached.status == Status::Fault && attached.bytes.is_empty() {
        return None;
    }
    Some(match kind {
        Kind::Str | Kind::Path(_) => Value::Str(attached),
        Kind::Strv => Value::Strings(attached),
        Kind::SockAddr(_) => Value::SockAddr(SockAddr::parse(attached.bytes)?),
        Kind::Struct(name, _) => Value::Struct(Struct::parse(name, attached.bytes)),
        Kind::Array(kind, len) => Value::Numbers(Numbers {
            bytes: attached.bytes,
            kind,
            single: matches!(len, Len::Const(1)),
        }),
        _ => Value::Bytes(attached),
    })
}

fn message<'a>(event: &Event<'a>, register: usize) -> Option<Value<'a>> {
    let part = |part| event.part(register, part);
    let (name, data, control) = (part(Part::Name), part(Part::Data), part(Part::Control));
    if name.is_none() && data.is_none() && control.is_none() {
        return None;
    }
    Some(Value::Message(Message {
        name: name.and_then(|name| SockAddr::parse(name.bytes)),
        data,
        control,
    }))
}

/// How the memory of a parameter fell short: it is cut at a limit, or could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    Truncated,
    Incomplete,
}

impl Short {
    /// How memory of this status fell short.
    pub(super) fn of(status: Status) -> Option<Self> {
        match status {
            Status::Whole => None,
            Status::Truncated => Some(Self::Truncated),
            Status::Fault => Some(Self::Incomplete),
        }
    }

    fn worse(so_far: Option<Self>, status: Status) -> Option<Self> {
        match (so_far, Self::of(status)) {
            (Some(Self::Incomplete), _) | (_, None) => so_far,
            (_, here) => here,
        }
    }
}

/// Whether and how a parameter's memory fell short.
pub(super) fn shortfall(
    event: &Event<'_>,
    call: &Syscall,
    at: usize,
    value: &Value<'_>,
) -> Option<Short> {
    let output = call.params.get(at).is_some_and(|param| param.output);
    let register = variant::register(event, call, at);
    let here = || {
        event
            .attachments()
            .any(|a| usize::from(a.what) == register && a.status == Status::Whole)
    };
    let mut worst = match value {
        // Fetched, and too short to be what it should: an address of no bytes.
        Value::Unread(_) if here() => None,
        // What a failed call did not write is not missing.
        Value::Unread(_) if !output => Some(Short::Incomplete),
        Value::Unread(_) if event.header().ret >= 0 => Some(Short::Incomplete),
        _ => None,
    };
    let followed = !matches!(
        value,
        Value::Unread(_) | Value::Null | Value::Int(_) | Value::Uint(_)
    );
    if followed {
        for attached in event.attachments() {
            if usize::from(attached.what) != register {
                continue;
            }
            worst = Short::worse(worst, attached.status);
        }
    }
    // Strings that come from a fact.
    if let Value::Strings(attached) = value {
        worst = Short::worse(worst, attached.status);
    }
    worst
}

/// Whether there is more than the attachment holds.
pub(super) fn cut(attached: &Attachment<'_>) -> bool {
    attached.status != Status::Whole
        || (attached.encoding == Encoding::Raw && attached.full > attached.bytes.len() as u64)
}

/// A 16-bit number in network order, in the low bytes of a register.
fn net_short(raw: u64) -> u16 {
    u16::from_be(u16::try_from(raw & 0xffff).unwrap_or_default())
}
