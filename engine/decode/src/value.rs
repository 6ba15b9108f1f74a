//! One parameter of an event, typed.

use std::net::IpAddr;

use driver_api::event::{Attachment, Encoding, Event, Fact, Kind as EventKind, Part, Status};
use driver_api::table::{Buffer, Kind, Len, LenFrom, Param, SymbolSet, Syscall, Written};

use super::dirents::{Dirents, Form};
use super::sockaddr::SockAddr;
use super::structs::{Array, Struct};
use super::{number, variant};

/// What a parameter, or a field of a structure, is. Memory is borrowed from the event.
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
    /// Permission bits and a file's type.
    FileType(u32),
    /// A signal.
    Signal(i32),
    /// A device number.
    Dev(u64),
    /// A key of System V IPC.
    IpcKey(u32),
    /// A resource limit, and the name of the one that is none.
    Limit(u64, &'static str),
    /// A priority of input and output.
    Ioprio(u32),
    /// A wait status.
    Wstatus(u32),
    /// Bits of `1 << CAP_*`.
    Capabilities(u64),
    /// An address of the internet.
    Ip(IpAddr),
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
    /// A socket option.
    Option(Attachment<'a>),
    /// A string in a structure.
    Text(&'a [u8]),
    /// Bytes in a structure.
    Raw(&'a [u8]),
    /// A socket address.
    SockAddr(SockAddr<'a>),
    /// A `struct msghdr`.
    Message(Message<'a>),
    /// An array of `struct mmsghdr`.
    Messages(Messages<'a>),
    /// Signals, number 1 in the lowest bit.
    Signals(u64),
    /// Descriptors, CPUs or nodes.
    Bits(Bits<'a>),
    /// Entries of a directory.
    Dirents(Dirents<'a>),
    /// A structure.
    Struct(Struct<'a>),
    /// Several of a kind, or one behind a pointer.
    Array(Array<'a>),
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
    /// Its control messages have 32-bit lengths.
    pub narrow: bool,
}

/// The messages of an array of `struct mmsghdr`.
#[derive(Debug, Clone, Copy)]
pub struct Messages<'a> {
    event: Event<'a>,
    register: usize,
    /// Messages that were sent or received, or that were to be.
    pub count: u64,
}

impl<'a> Messages<'a> {
    /// The messages that were captured, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Message<'a>> + use<'a> {
        let (event, register) = (self.event, self.register);
        (0_u8..64).map_while(move |index| {
            message(&event, register, index).and_then(|value| match value {
                Value::Message(message) => Some(message),
                _ => None,
            })
        })
    }

    /// The gathered bytes of the first one.
    pub fn data(&self) -> Option<Attachment<'a>> {
        self.iter().next()?.data
    }
}

/// Bits, the lowest first.
#[derive(Debug, Clone, Copy)]
pub struct Bits<'a> {
    bytes: &'a [u8],
    /// There are more than were captured.
    pub cut: bool,
}

impl<'a> Bits<'a> {
    /// Places of the bits that are set.
    pub fn iter(&self) -> impl Iterator<Item = usize> + use<'a> {
        self.bytes.iter().enumerate().flat_map(|(at, byte)| {
            (0..8)
                .filter(move |bit| byte & 1 << bit != 0)
                .map(move |bit| at * 8 + bit)
        })
    }
}

/// The first 64 bits.
pub(super) fn bits(bytes: &[u8]) -> u64 {
    let mut all = [0; 8];
    let len = bytes.len().min(8);
    all[..len].copy_from_slice(&bytes[..len]);
    u64::from_ne_bytes(all)
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
    let kind = variant::meaning(event, call, param).kind;
    if matches!(kind, Kind::None) {
        return None;
    }
    if let Some(width) = kind.width() {
        let number = number::of_register(raw, width, variant::is_narrow(event));
        return number::meaning(&kind, number, variant::layout(event));
    }
    Some(match raw {
        0 => Value::Null,
        _ => memory(event, call, at, param, kind).unwrap_or(Value::Unread(raw)),
    })
}

fn memory<'a>(
    event: &Event<'a>,
    call: &Syscall,
    at: usize,
    param: &Param,
    kind: Kind,
) -> Option<Value<'a>> {
    let register = call.register(event.abi(), at);
    match kind {
        Kind::Msghdr => return message(event, register, 0),
        Kind::Buffer(Buffer::Mmsghdr, len) => return messages(event, call, register, len),
        _ => {}
    }
    let attached = match (kind, event.argument(register)) {
        // A successful exec is told by its facts.
        (Kind::Strv, None) if event.kind() == EventKind::Exec => event.fact(match param.name {
            "envp" => Fact::Env,
            _ => Fact::Argv,
        }),
        (_, attached) => attached,
    }?;
    if attached.status == Status::Fault && attached.bytes.is_empty() {
        return None;
    }
    let (layout, bytes, cut) = (variant::layout(event), attached.bytes, cut(&attached));
    Some(match kind {
        Kind::Str | Kind::Path(_) => Value::Str(attached),
        Kind::Strv => Value::Strings(attached),
        Kind::Buffer(Buffer::SockAddr, _) => Value::SockAddr(SockAddr::parse(bytes)?),
        Kind::Struct(of, _) => Value::Struct(Struct::new(of, layout, bytes)),
        Kind::Array(of, len) => {
            let single = matches!(len.from, LenFrom::Const(1));
            Value::Array(Array::new(of, layout, bytes, single, cut))
        }
        Kind::Pointers(of, _) => Value::Array(Array::new(of, layout, bytes, false, cut)),
        Kind::Buffer(Buffer::Sigset, _) | Kind::SigArg => Value::Signals(bits(bytes)),
        Kind::Buffer(Buffer::FdSet | Buffer::CpuSet | Buffer::NodeMask, _) => {
            Value::Bits(Bits { bytes, cut })
        }
        Kind::Buffer(Buffer::SockOption, _) => Value::Option(attached),
        Kind::Buffer(Buffer::Dirents64, _) => Value::Dirents(Dirents::new(bytes, Form::Wide, cut)),
        Kind::Buffer(Buffer::Dirents, _) => {
            let long = if variant::is_narrow(event) { 4 } else { 8 };
            Value::Dirents(Dirents::new(bytes, Form::Old(long), cut))
        }
        _ => Value::Bytes(attached),
    })
}

fn message<'a>(event: &Event<'a>, register: usize, index: u8) -> Option<Value<'a>> {
    let part = |part| {
        event
            .parts(register)
            .find(|a| a.index == index && a.part == part)
    };
    let (name, data, control) = (part(Part::Name), part(Part::Data), part(Part::Control));
    if name.is_none() && data.is_none() && control.is_none() {
        return None;
    }
    Some(Value::Message(Message {
        name: name.and_then(|name| SockAddr::parse(name.bytes)),
        data,
        control,
        narrow: variant::is_narrow(event),
    }))
}

fn messages<'a>(event: &Event<'a>, call: &Syscall, register: usize, len: Len) -> Option<Value<'a>> {
    event.parts(register).next()?;
    let asked = match len.from {
        LenFrom::Arg(of) => variant::raw(event, call, usize::from(of)) & 0xffff_ffff,
        _ => 0,
    };
    Some(Value::Messages(Messages {
        event: *event,
        register,
        count: match u64::try_from(event.header().ret) {
            Ok(count) if !event.has(driver_api::event::Flags::NO_RESULT) => count,
            _ => asked,
        },
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
    let written = call.params.get(at).map_or(Written::Always, |param| {
        variant::meaning(event, call, param).written
    });
    let register = call.register(event.abi(), at);
    let here = || {
        event
            .attachments()
            .any(|a| usize::from(a.what) == register && a.status == Status::Whole)
    };
    let mut worst = match value {
        // Fetched, and too short to be what it should: an address of no bytes.
        Value::Unread(_) if here() => None,
        // What a failed call did not write is not missing.
        Value::Unread(_) if written == Written::Always => Some(Short::Incomplete),
        // Nor is what a call that was seen at its entry has not written yet.
        Value::Unread(_) if event.has(driver_api::event::Flags::NO_RESULT) => None,
        Value::Unread(_) if written == Written::Success && event.header().ret >= 0 => {
            Some(Short::Incomplete)
        }
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
