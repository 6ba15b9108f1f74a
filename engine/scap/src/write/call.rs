//! The parameters of a call as Falco has them: the tables read backwards. A parameter's place in the call says where its
//! value is in lanner's event, and its form how Falco writes it.

use decode::Value;
use decode::sockaddr::{self, SockAddr};
use decode::structs::Struct;
use driver_api::event::{Attachment, Event, Fact, Flags, Part};
use driver_api::table::{Category, Returns, Syscall};
use inspect::{Inspector, Seen};

use super::super::socket::{self, Address};
use super::super::symbols::{Symbols, symbols_of};
use super::super::table::{EventSlot, EventType, Form, Param, What};
use super::process::text;

/// Falco's flag for an open(2) that made the file.
const F_CREATED: u64 = 0x4000;

/// A value of a parameter about which nothing is known. A number has its bytes, because readers take them unasked.
pub(super) fn nothing(param: &Param) -> Vec<u8> {
    if param.place == EventSlot::Nowhere {
        vec![0; param.width]
    } else {
        Vec::new()
    }
}

/// A call whose parameters are written.
pub(crate) struct Caller<'a> {
    event: &'a Event<'a>,
    call: &'static Syscall,
    seen: &'a Seen,
    inspector: &'a Inspector,
}

/// The bytes of a number.
fn number(value: u64, width: usize) -> Vec<u8> {
    value.to_le_bytes()[..width.min(8)].to_vec()
}

/// Seconds and a fraction as nanoseconds.
fn interval(of: &Struct<'_>) -> Option<u64> {
    let mut ns = None;
    of.fields(&mut |field| {
        let Some(value) = plain(&field.value) else {
            return;
        };
        let scale = if field.name.ends_with("nsec") {
            1
        } else if field.name.ends_with("usec") {
            1000
        } else {
            1_000_000_000
        };
        let sum = value.wrapping_mul(scale).wrapping_add(ns.unwrap_or(0));
        ns = Some(sum);
    });
    ns
}

/// A value as a number, with the bits that the program gave.
fn plain(value: &Value<'_>) -> Option<u64> {
    match value {
        Value::Null | Value::Unused => Some(0),
        Value::Unread(address) => Some(*address),
        Value::Number(number) => Some(number.signed().cast_unsigned()),
        Value::Flags(flags) => Some(flags.0),
        Value::Enum(value) => Some(value.0),
        Value::Signals(set) => Some(set.bits),
        Value::Capabilities(set) => Some(set.0),
        Value::Array(array) => plain(&array.iter().next()?),
        Value::Struct(of) => interval(of),
        Value::SockOption(option) => {
            let bytes = option.0.bytes.get(..4)?.try_into().ok()?;
            Some(u32::from_le_bytes(bytes).into())
        }
        Value::Unknown
        | Value::Str(_)
        | Value::Strings(_)
        | Value::Bytes(_)
        | Value::Inline(_)
        | Value::Ip(_)
        | Value::SockAddr(_)
        | Value::Message(_)
        | Value::Messages(_)
        | Value::Bits(_)
        | Value::HwAddr(_)
        | Value::Dirents(_) => None,
    }
}

impl<'a> Caller<'a> {
    pub(crate) fn new(
        event: &'a Event<'a>,
        call: &'static Syscall,
        seen: &'a Seen,
        inspector: &'a Inspector,
    ) -> Self {
        Self {
            event,
            call,
            seen,
            inspector,
        }
    }

    /// The parameter of this call that is the one of the type's call.
    fn at(&self, kind: &EventType, at: u8) -> Option<usize> {
        let What::Call(theirs) = kind.what else {
            return None;
        };
        let name = theirs.params.get(usize::from(at))?.name;
        self.call.param(name).map(|(at, _)| at)
    }

    /// A parameter that is a number, as Falco has it. None: it is none, or lanner does not have it.
    pub(crate) fn number(&self, kind: &EventType, param: &Param) -> Option<u64> {
        match param.place {
            EventSlot::Result => {
                let known = !self.event.has(Flags::NO_RESULT);
                known.then(|| self.event.header().ret.cast_unsigned())
            }
            EventSlot::Full => Some(self.full().unwrap_or(0)),
            EventSlot::Param(at) => self.whole_number(self.at(kind, at)?, param),
            EventSlot::Member {
                param: at,
                element,
                member,
            } => {
                let value = decode::param(self.event, self.call, self.at(kind, at)?)?;
                let value = member_of(value, element, member)?;
                match &param.symbols {
                    Some(symbols) => Some(self.created(param, symbols.falco(plain(&value)?))),
                    None => plain(&value),
                }
            }
            EventSlot::Nowhere if matches!(param.name, "dev" | "ino") => {
                let file = self.event.opened()?;
                let (major, minor) = file.device_numbers();
                // as the kernel encodes it for stat(2): new_encode_dev
                let device = minor & 0xff | major << 8 | (minor & !0xff) << 12;
                Some(match param.name {
                    "dev" => device.into(),
                    _ => file.inode,
                })
            }
            EventSlot::Nowhere | EventSlot::Message(..) | EventSlot::Tuple | EventSlot::Path => {
                None
            }
        }
    }

    /// Falco's flags of open(2), which also say whether the call made the file.
    fn created(&self, param: &Param, flags: u64) -> u64 {
        let opens = matches!(param.form, Form::Symbols(set) if set.name == "file_flags");
        if opens && self.event.has(Flags::CREATED) {
            flags | F_CREATED
        } else {
            flags
        }
    }

    /// The bytes of a parameter. None: lanner does not have it.
    pub(crate) fn param(&self, kind: &EventType, param: &Param) -> Option<Vec<u8>> {
        if param.form.is_number() {
            return Some(number(self.number(kind, param)?, param.width));
        }
        match param.place {
            EventSlot::Nowhere | EventSlot::Result | EventSlot::Full | EventSlot::Member { .. } => {
                None
            }
            EventSlot::Param(at) => self.whole(self.at(kind, at)?, kind, param),
            EventSlot::Message(at, part) => self.message(self.at(kind, at)?, part, param.form),
            EventSlot::Tuple => self.ends(),
            EventSlot::Path => {
                let path = self.event.fact(Fact::Path)?;
                Some(text(&path.text()))
            }
        }
    }

    /// Whether an event of this type would have a value that this call has.
    pub(crate) fn knows(&self, kind: &EventType) -> bool {
        kind.params.iter().any(|param| match param.place {
            EventSlot::Full => self.full().is_some(),
            _ => self.param(kind, param).is_some(),
        })
    }

    /// How many bytes were read or written, or should have been.
    fn full(&self) -> Option<u64> {
        let is_data = |attached: &Attachment<'_>| {
            let part = matches!(attached.part, Part::None | Part::Data);
            part && Fact::from_u8(attached.what).is_none()
        };
        let moved = u64::try_from(self.event.header().ret).ok();
        let writes = self.call.category != Category::IoRead;
        let attached = self.event.attachments().find(is_data);
        attached
            .filter(|_| writes)
            .map(|attached| attached.full)
            .or(moved)
    }

    fn whole_number(&self, at: usize, param: &Param) -> Option<u64> {
        let value = decode::param(self.event, self.call, at)?;
        let Form::Symbols(theirs) = param.form else {
            // of two parameters for one of the kernel's, the string counts
            return match value {
                Value::Str(_) => Some(0),
                value => plain(&value),
            };
        };
        let value = plain(&value)?;
        let kind = self.call.params[at].kind;
        let falco = match (&param.symbols, symbols_of(&kind)) {
            (Some(symbols), _) => symbols.falco(value),
            (None, Some((ours, one))) => Symbols::new(theirs, ours, one, |_| {}).falco(value),
            (None, None) => value,
        };
        Some(self.created(param, falco))
    }

    fn whole(&self, at: usize, kind: &EventType, param: &Param) -> Option<Vec<u8>> {
        let value = decode::param(self.event, self.call, at)?;
        match param.form {
            Form::Unsigned | Form::Signed | Form::Interval | Form::Symbols(_) | Form::Other => None,
            Form::Text => match value {
                Value::Str(string) => Some(text(&string.0.text())),
                _ => None,
            },
            Form::Bytes => match value {
                Value::Null
                | Value::Unread(_)
                | Value::Unknown
                | Value::Unused
                | Value::Number(_)
                | Value::Str(_) => None,
                _ => {
                    let register = self.call.register(self.event.abi(), at);
                    let memory = self.event.argument(register)?;
                    Some(memory.bytes.to_vec())
                }
            },
            Form::SockAddr => match value {
                Value::SockAddr(address) => Some(address_of(&address)?.to_falco()),
                _ => None,
            },
            Form::Tuple => match value {
                Value::SockAddr(address) => self.datagram(&address_of(&address)?),
                _ => None,
            },
            Form::Descriptors => match value {
                Value::Array(array) => {
                    let polled = array.iter().filter_map(|one| {
                        let field = |name| plain(&member_of(one, 0, Some(name))?);
                        // what is asked for at the entry, what happened at the return
                        let events = if kind.enter { "events" } else { "revents" };
                        Some((field("fd")?, field(events)?))
                    });
                    Some(socket::falco_poll_list(polled))
                }
                _ => None,
            },
            Form::Dynamic(forms) => self.dynamic(at, forms, &value),
        }
    }

    /// A value behind the number of its form, the first form that it fits.
    fn dynamic(
        &self,
        at: usize,
        forms: &'static [(Form, usize)],
        value: &Value<'_>,
    ) -> Option<Vec<u8>> {
        let memory = || {
            let register = self.call.register(self.event.abi(), at);
            self.event.argument(register)
        };
        (0_u8..).zip(forms).find_map(|(index, (form, width))| {
            let bytes = match (form, value) {
                (Form::Text, Value::Str(string)) => text(&string.0.text()),
                // a number of 4 bytes is one; anything else is bytes
                (Form::Unsigned, Value::SockOption(option)) if option.0.bytes.len() == *width => {
                    option.0.bytes.to_vec()
                }
                (Form::Bytes, Value::SockOption(option)) if option.0.bytes.len() != 4 => {
                    option.0.bytes.to_vec()
                }
                (Form::Bytes, Value::Struct(_) | Value::Bytes(_) | Value::Array(_)) => {
                    memory()?.bytes.to_vec()
                }
                (Form::Signed | Form::Unsigned, Value::SockOption(_) | Value::Str(_)) => {
                    return None;
                }
                (Form::Signed | Form::Unsigned, value) if forms[0].0 != Form::Bytes => {
                    number(plain(value)?, *width)
                }
                _ => return None,
            };
            Some([&[index][..], &bytes].concat())
        })
    }

    fn message(&self, at: usize, part: Part, form: Form) -> Option<Vec<u8>> {
        let register = self.call.register(self.event.abi(), at);
        let memory = self.event.part(register, part)?;
        if part == Part::Name && form == Form::Tuple {
            return self.datagram(&address_of(&SockAddr::parse(memory.bytes)?)?);
        }
        Some(memory.bytes.to_vec())
    }

    /// This end of the event's socket.
    fn own(&self) -> Option<Address> {
        let descriptor = self.inspector.descriptor(self.seen)?;
        descriptor.socket?.local.map(Address::Inet)
    }

    /// Both ends of a message: from where it came, and where it went.
    fn datagram(&self, other: &Address) -> Option<Vec<u8>> {
        let own = self.own();
        let came = self.call.category == Category::IoRead;
        socket::falco_ends(own.as_ref(), other, came)
    }

    /// Both ends of a connection: the source is the one that connected.
    fn ends(&self) -> Option<Vec<u8>> {
        let accepts = self.call.returns == Returns::Fd;
        let fact = self.event.tuple().and_then(|tuple| inspect::ends(&tuple));
        if let Some((own, other)) = fact {
            return socket::falco_ends(Some(&Address::Inet(own)), &Address::Inet(other), accepts);
        }
        // a connection that was not made, or one of another family
        let unix = [Fact::Peer, Fact::Local]
            .into_iter()
            .find_map(|fact| self.event.fact(fact));
        if let Some(name) = unix {
            return socket::falco_ends(None, &Address::Unix(name.bytes.to_vec()), false);
        }
        let (at, _) = self.call.param("addr")?;
        match decode::param(self.event, self.call, at)? {
            Value::SockAddr(address) => {
                socket::falco_ends(self.own().as_ref(), &address_of(&address)?, accepts)
            }
            _ => None,
        }
    }
}

/// Element and member of an array or a structure.
fn member_of<'a>(value: Value<'a>, element: u8, member: Option<&str>) -> Option<Value<'a>> {
    let value = match value {
        Value::Array(array) => array.iter().nth(element.into())?,
        value => value,
    };
    match (value, member) {
        (Value::Struct(of), Some(name)) => of.field(name),
        (value, None) => Some(value),
        _ => None,
    }
}

fn address_of(address: &SockAddr<'_>) -> Option<Address> {
    let family = |family: u16| u8::try_from(family).ok().map(Address::Family);
    Some(match *address {
        SockAddr::Inet { ip, port } => Address::Inet((ip, port).into()),
        SockAddr::Inet6 { ip, port, .. } => Address::Inet((ip, port).into()),
        SockAddr::Unix(path) => Address::Unix(path.to_vec()),
        SockAddr::Abstract(name) => Address::Unix([b"@", name].concat()),
        SockAddr::Unnamed => family(sockaddr::UNIX)?,
        SockAddr::Netlink { .. } => family(sockaddr::NETLINK)?,
        SockAddr::Packet { .. } => family(sockaddr::PACKET)?,
        SockAddr::Vsock { .. } => family(sockaddr::VSOCK)?,
        SockAddr::Other { family: of, .. } => family(of)?,
    })
}
