//! One parameter of an event, typed.

use std::net::Ipv6Addr;

use driver_api::event::{Event, EventKind, Fact, Status};
use driver_api::table::{
    Buffer, Kind, LenFrom, Param, Reading, Syscall, Width, Written, has_narrow_pointers,
};

use super::buffer::{Bytes, HwAddr, Inline, SockOption, Str, Strings, is_cut};
use super::dirents::{Dirents, Form};
use super::forms::{Forms, Style};
use super::message::{Message, Messages};
use super::number::{self, Number, Scalar, pointer};
use super::sets::{Bits, Capabilities, Signals};
use super::sockaddr::{Ip, SockAddr};
use super::structs::{Array, Struct};
use super::symbols::{Enum, Flags};
use super::variant;

/// What a parameter, or a field of a structure, is. Memory is borrowed from the event.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A null pointer where memory was expected.
    Null,
    /// Memory that the event does not have: not written because the call failed, or not readable.
    Unread(u64),
    /// The event does not say what it was ([`Event::lacks`]).
    Unknown,
    /// Without meaning in this call, such as the mode of an open that creates nothing.
    Unused,
    /// A number.
    Number(Number),
    /// Bits with names.
    Flags(Flags),
    /// A value with a name.
    Enum(Enum),
    /// A path, or another string.
    Str(Str<'a>),
    /// Several strings.
    Strings(Strings<'a>),
    /// Bytes that mean nothing to the kernel.
    Bytes(Bytes<'a>),
    /// A socket option.
    SockOption(SockOption<'a>),
    /// A string or bytes in a structure.
    Inline(Inline<'a>),
    /// An IP address in a structure.
    Ip(Ip),
    /// A hardware address.
    HwAddr(HwAddr<'a>),
    /// A socket address.
    SockAddr(SockAddr<'a>),
    /// A `struct msghdr`.
    Message(Message<'a>),
    /// An array of `struct mmsghdr`.
    Messages(Messages<'a>),
    /// Signals.
    Signals(Signals),
    /// Capabilities in a structure.
    Capabilities(Capabilities),
    /// Descriptors, CPUs or nodes.
    Bits(Bits<'a>),
    /// Directory entries.
    Dirents(Dirents<'a>),
    /// A structure.
    Struct(Struct<'a>),
    /// An array, or a single element behind a pointer.
    Array(Array<'a>),
}

impl Value<'_> {
    /// The number that it is for rules. None: it is no number, or rules see its text.
    pub fn scalar(&self) -> Option<Scalar> {
        match self {
            Self::Number(number) => number.scalar(),
            Self::Flags(Flags(bits, _))
            | Self::Enum(Enum(bits, _))
            | Self::Capabilities(Capabilities(bits)) => Some(Scalar::Unsigned(*bits)),
            Self::Null
            | Self::Unread(_)
            | Self::Unknown
            | Self::Unused
            | Self::Str(_)
            | Self::Strings(_)
            | Self::Bytes(_)
            | Self::SockOption(_)
            | Self::Inline(_)
            | Self::Ip(_)
            | Self::HwAddr(_)
            | Self::SockAddr(_)
            | Self::Message(_)
            | Self::Messages(_)
            | Self::Signals(_)
            | Self::Bits(_)
            | Self::Dirents(_)
            | Self::Struct(_)
            | Self::Array(_) => None,
        }
    }

    /// What writes it. Values without a type of their own write themselves, below.
    fn forms(&self) -> &dyn Forms {
        match self {
            Self::Null | Self::Unread(_) | Self::Unknown | Self::Unused => self,
            Self::Number(number) => number,
            Self::Flags(flags) => flags,
            Self::Enum(value) => value,
            Self::Str(string) => string,
            Self::Strings(strings) => strings,
            Self::Bytes(bytes) => bytes,
            Self::SockOption(option) => option,
            Self::Inline(bytes) => bytes,
            Self::Ip(ip) => ip,
            Self::HwAddr(address) => address,
            Self::SockAddr(address) => address,
            Self::Message(message) => message,
            Self::Messages(messages) => messages,
            Self::Signals(signals) => signals,
            Self::Capabilities(capabilities) => capabilities,
            Self::Bits(bits) => bits,
            Self::Dirents(entries) => entries,
            Self::Struct(structure) => structure,
            Self::Array(array) => array,
        }
    }
}

impl Forms for Value<'_> {
    fn text(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("NULL"),
            Self::Unread(address) => pointer(out, *address),
            Self::Unknown => out.push('?'),
            Self::Unused => out.push('0'),
            value => value.forms().text(out),
        }
    }

    fn json(&self, out: &mut String) {
        match self {
            Self::Null | Self::Unread(_) | Self::Unknown => out.push_str("null"),
            Self::Unused => out.push('0'),
            value => value.forms().json(out),
        }
    }

    fn falco(&self, out: &mut String, style: Style) -> bool {
        match self {
            Self::Null | Self::Unread(_) | Self::Unknown => false,
            Self::Unused => {
                out.push('0');
                true
            }
            value => value.forms().falco(out, style),
        }
    }
}

/// What parameter `at` of a call is in this event, where other parameters decide it. None: the call has no such parameter.
pub fn kind(event: &Event<'_>, call: &Syscall, at: usize) -> Option<Kind> {
    let param = call.params.get(at)?;
    Some(variant::meaning(event, call, param).kind)
}

/// Decodes parameter `at` of a call. None: the call has no such parameter.
pub fn param<'a>(event: &Event<'a>, call: &Syscall, at: usize) -> Option<Value<'a>> {
    let param = call.params.get(at)?;
    let kind = variant::meaning(event, call, param).kind;
    if event.lacks(call.register(event.abi(), at)) && !matches!(kind, Kind::None) {
        return Some(Value::Unknown);
    }
    if let Some((of, mask)) = param.only_if
        && variant::raw(event, call, usize::from(of)) & mask == 0
    {
        return Some(Value::Unused);
    }
    let raw = variant::raw(event, call, at);
    let bits = |width: Width| number::of_register(raw, width, variant::is_narrow(event));
    let layout = variant::layout(event);
    match kind {
        Kind::None => None,
        Kind::Number(number, width) => {
            let number = Number::new(bits(width), width, number.reading());
            Some(Value::Number(number))
        }
        Kind::Flags(set, width) => Some(Value::Flags(Flags(bits(width), set.of(layout)))),
        Kind::Enum(set, width) => Some(Value::Enum(Enum(bits(width), set.of(layout)))),
        _ if raw == 0 => Some(Value::Null),
        kind => Some(memory(event, call, at, param, kind).unwrap_or(Value::Unread(raw))),
    }
}

/// What a parameter points to; none: the event does not have it.
fn memory<'a>(
    event: &Event<'a>,
    call: &Syscall,
    at: usize,
    param: &Param,
    kind: Kind,
) -> Option<Value<'a>> {
    let register = call.register(event.abi(), at);
    match kind {
        Kind::Msghdr => {
            let received = param.written == Written::Success;
            return Message::of(event, register, received).map(Value::Message);
        }
        Kind::Buffer(Buffer::Mmsghdr, len) => {
            let received = param.written == Written::Success;
            return Messages::of(event, call, register, len, received).map(Value::Messages);
        }
        _ => {}
    }
    let attached = match (kind, event.argument(register)) {
        // The vectors of a successful exec are facts.
        (Kind::Strv, None) if event.kind() == EventKind::Exec => event.fact(match param.name {
            "envp" => Fact::Env,
            _ => Fact::Argv,
        }),
        (_, attached) => attached,
    }?;
    if attached.status == Status::Fault && attached.bytes.is_empty() {
        return None;
    }
    let (layout, bytes, cut) = (variant::layout(event), attached.bytes, is_cut(&attached));
    Some(match kind {
        Kind::Str | Kind::Path(_) => Value::Str(Str(attached)),
        Kind::Strv => Value::Strings(Strings(attached)),
        Kind::Struct(of, _) => {
            Value::Struct(Struct::new(of, layout, bytes, cut).of_event(event, register))
        }
        Kind::Array(of, len) => {
            let single = matches!(len.from, LenFrom::Const(1));
            Value::Array(Array::new(of, layout, bytes, single, cut)?)
        }
        Kind::Pointers(of, _) => Value::Array(Array::new(of, layout, bytes, false, cut)?),
        Kind::SigArg => Value::Signals(Signals::of_memory(bytes, cut)),
        Kind::Buffer(buffer, _) => match buffer {
            Buffer::Name => Value::Str(Str(attached)),
            Buffer::Bytes | Buffer::Iovec | Buffer::Pages | Buffer::Mmsghdr => {
                Value::Bytes(Bytes(attached))
            }
            Buffer::MsgBuf => Value::Struct(Struct::named("msgbuf", layout, bytes, cut)?),
            Buffer::SockAddr if param.written == Written::Success => {
                Value::SockAddr(SockAddr::of_kernel(event, &attached)?)
            }
            Buffer::SockAddr => Value::SockAddr(SockAddr::parse(bytes)?),
            Buffer::Sigset => Value::Signals(Signals::of_memory(bytes, cut)),
            Buffer::FdSet | Buffer::CpuSet | Buffer::NodeMask => Value::Bits(Bits { bytes, cut }),
            Buffer::HwAddr => Value::HwAddr(HwAddr(bytes)),
            Buffer::SockOption => Value::SockOption(SockOption(attached)),
            Buffer::Dirents64 => Value::Dirents(Dirents::new(bytes, Form::Wide, cut)),
            Buffer::Dirents => {
                let long = Width::Ulong.bytes(variant::is_narrow(event));
                Value::Dirents(Dirents::new(bytes, Form::Old(long), cut))
            }
        },
        Kind::Ioc | Kind::Msghdr => Value::Bytes(Bytes(attached)),
        // no parameter points to these; what a driver attached is shown as it is
        Kind::Number(..)
        | Kind::Flags(..)
        | Kind::Enum(..)
        | Kind::To(..)
        | Kind::Chars(_)
        | Kind::Raw(_)
        | Kind::Rest
        | Kind::CapSet
        | Kind::Ip6
        | Kind::By(..)
        | Kind::None => Value::Bytes(Bytes(attached)),
    })
}

/// What the beginning of these bytes is; none: not all of it was captured, or it is in no structure.
pub(super) fn in_place<'a>(kind: &Kind, layout: usize, bytes: &'a [u8]) -> Option<Value<'a>> {
    let narrow = has_narrow_pointers(layout);
    let size = kind.size(layout);
    let own = size.and_then(|size| bytes.get(..size));
    let bits = |width| number::of_memory(bytes, 0, width, narrow);
    Some(match kind {
        Kind::Number(number, width) => {
            Value::Number(Number::new(bits(*width)?, *width, number.reading()))
        }
        Kind::Flags(set, width) => Value::Flags(Flags(bits(*width)?, set.of(layout))),
        Kind::Enum(set, width) => Value::Enum(Enum(bits(*width)?, set.of(layout))),
        Kind::CapSet => {
            let half = |at| number::of_memory(bytes, at, Width::U32, narrow);
            // version 1 of the structure has one half only
            Value::Capabilities(Capabilities(half(0)? | half(12).unwrap_or(0) << 32))
        }
        Kind::Ip6 => {
            let ip: [u8; 16] = *bytes.first_chunk()?;
            Value::Ip(Ip(Ipv6Addr::from(ip).into()))
        }
        Kind::To(_, _, width) => {
            Value::Number(Number::new(bits(*width)?, *width, Reading::Address))
        }
        Kind::Rest => Value::Inline(Inline(bytes)),
        // a structure can be captured in part
        Kind::Struct(of, None) => {
            let cut = own.is_none();
            Value::Struct(Struct::new(of, layout, own.unwrap_or(bytes), cut))
        }
        Kind::Chars(_) => {
            // a string that ends in what was captured is whole, even if the room behind it is not
            let end = |bytes: &[u8]| bytes.iter().position(|b| *b == 0);
            let all = own.or_else(|| end(bytes).map(|_| bytes))?;
            Value::Inline(Inline(all.get(..end(all).unwrap_or(all.len()))?))
        }
        Kind::Raw(_) => Value::Inline(Inline(own?)),
        Kind::Buffer(Buffer::Sigset, _) => Value::Signals(Signals::of_memory(own?, false)),
        Kind::Buffer(Buffer::SockAddr, _) => Value::SockAddr(SockAddr::parse(own?)?),
        Kind::Buffer(Buffer::HwAddr, _) => Value::HwAddr(HwAddr(own?)),
        Kind::Array(of, _) => Value::Array(Array::new(of, layout, own?, false, false)?),
        // no field of a structure is of these kinds
        Kind::Buffer(
            Buffer::Bytes
            | Buffer::Name
            | Buffer::Iovec
            | Buffer::Mmsghdr
            | Buffer::FdSet
            | Buffer::CpuSet
            | Buffer::NodeMask
            | Buffer::Pages
            | Buffer::MsgBuf
            | Buffer::SockOption
            | Buffer::Dirents
            | Buffer::Dirents64,
            _,
        )
        | Kind::Struct(_, Some(_))
        | Kind::Str
        | Kind::Path(_)
        | Kind::Strv
        | Kind::Msghdr
        | Kind::SigArg
        | Kind::Pointers(..)
        | Kind::By(..)
        | Kind::Ioc
        | Kind::None => return None,
    })
}
