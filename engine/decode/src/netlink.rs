//! Netlink messages (netlink(7)): headers, and attributes as `netlink.tbl` describes them.
//!
//! The bytes are the program's, or come from another program. A length that says more than there is means what there
//! is, a length that does not hold its own header ends the list, and nesting ends at [`DEPTH`]; what is not
//! understood is shown as bytes. So each byte is shown once, and the text is not much longer than the bytes.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use driver_api::table::{
    Kind, NETLINK_ERROR, NetlinkAttributes, NetlinkProtocol, NetlinkRow, NetlinkValue, SymbolSet,
    Width,
};

use super::buffer::{HwAddr, quote};
use super::errno;
use super::forms::Forms as _;
use super::number;
use super::sockaddr::bytes_at;
use super::structs::Struct;
use super::symbols::{self, Remark, hex, write_enum, write_flags};
use super::value::{Value, in_place};

/// Attributes in attributes, and messages in errors, are followed this far.
const DEPTH: u8 = 12;
/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of `struct nlattr`.
const ATTRIBUTE: usize = 4;
/// `NLMSG_ERROR`
const ERROR: u16 = 2;
/// `NLMSG_DONE`
const DONE: u16 = 3;
/// `NLMSG_MIN_TYPE`: the types below are the same in all protocols.
const FIRST_TYPE: u16 = 16;
/// `NLM_F_REQUEST`
const REQUEST: u16 = 1;
/// `NLM_F_CAPPED`
const CAPPED: u16 = 0x100;
/// `NLA_F_NESTED`
const NESTED: u16 = 0x8000;
/// `NLA_F_NET_BYTEORDER`
const NETWORK_ORDER: u16 = 0x4000;
/// `MAX_ADDR_LEN`
const HARDWARE_ADDRESS: usize = 32;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Whether the data of this protocol are messages with headers.
pub(super) fn has_headers(protocol: u16) -> bool {
    NetlinkProtocol::with_number(protocol).is_none_or(|of| of.types.is_some())
}

/// Appends the messages in a buffer. `cut`: more was there than was captured.
pub(super) fn text(out: &mut String, protocol: u16, layout: usize, bytes: &[u8], cut: bool) {
    let reader = Reader {
        protocol: NetlinkProtocol::with_number(protocol),
        layout,
    };
    reader.messages(out, bytes);
    if cut {
        out.push_str("...");
    }
}

/// The header of a message.
#[derive(Clone, Copy)]
struct Header {
    len: u32,
    kind: u16,
    flags: u16,
    seq: u32,
    pid: u32,
}

impl Header {
    fn of(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            len: u32::from_ne_bytes(bytes_at(bytes, 0)?),
            kind: u16::from_ne_bytes(bytes_at(bytes, 4)?),
            flags: u16::from_ne_bytes(bytes_at(bytes, 6)?),
            seq: u32::from_ne_bytes(bytes_at(bytes, 8)?),
            pid: u32::from_ne_bytes(bytes_at(bytes, 12)?),
        })
    }
}

/// What surrounds attributes: their message, and the attributes that they are in.
#[derive(Clone, Copy)]
struct Scope {
    /// The first byte behind the header: an address family, in most protocols.
    family: u8,
    /// How many attributes, and messages in errors, are around.
    depth: u8,
}

impl Scope {
    fn inside(self) -> Self {
        Self {
            depth: self.depth + 1,
            ..self
        }
    }
}

/// Appends items that begin with their length, as strace writes an array; one alone is no array. `least`: the bytes of
/// their header.
fn items<'a>(
    out: &mut String,
    bytes: &'a [u8],
    least: usize,
    length: impl Fn(&[u8]) -> Option<usize>,
    mut each: impl FnMut(&mut String, &'a [u8]),
) {
    let mut rest = bytes;
    let mut several = false;
    loop {
        let Some(said) = length(rest) else {
            quote(out, rest);
            break;
        };
        // one that does not hold its own header is the last
        let next = (said >= least)
            .then(|| said.checked_next_multiple_of(4))
            .flatten()
            .and_then(|end| rest.get(end..))
            .filter(|next| !next.is_empty());
        if next.is_some() && !several {
            out.push('[');
            several = true;
        }
        each(out, rest.get(..said.max(least)).unwrap_or(rest));
        let Some(next) = next else { break };
        out.push_str(", ");
        rest = next;
    }
    if several {
        out.push(']');
    }
}

struct Reader {
    /// None: nothing is known of its messages.
    protocol: Option<&'static NetlinkProtocol>,
    /// Index of the structures' layout.
    layout: usize,
}

impl Reader {
    fn messages(&self, out: &mut String, bytes: &[u8]) {
        let length = |rest: &[u8]| Some(Header::of(rest)?.len as usize);
        items(out, bytes, HEADER, length, |out, one| {
            self.message(out, one, 0);
        });
    }

    /// Appends one message; the bytes end where it does.
    fn message(&self, out: &mut String, bytes: &[u8], depth: u8) {
        let Some(header) = Header::of(bytes) else {
            return quote(out, bytes);
        };
        let end = (header.len as usize).min(bytes.len());
        let payload = bytes.get(HEADER..end).unwrap_or_default();
        if payload.is_empty() {
            return self.header(out, &header);
        }
        out.push('[');
        self.header(out, &header);
        out.push_str(", ");
        let scope = Scope {
            family: payload.first().copied().unwrap_or_default(),
            depth,
        };
        self.payload(out, &header, payload, scope);
        out.push(']');
    }

    fn header(&self, out: &mut String, header: &Header) {
        let _ = write!(out, "{{nlmsg_len={}, nlmsg_type=", header.len);
        self.message_type(out, header.kind);
        out.push_str(", nlmsg_flags=");
        if let Some(set) = symbols::set(self.flags(header.kind)) {
            write_flags(out, set, header.flags.into(), Remark::With);
        }
        let (seq, pid) = (header.seq, header.pid.cast_signed());
        let _ = write!(out, ", nlmsg_seq={seq}, nlmsg_pid={pid}}}");
    }

    /// The set of a type's names, and the number in it.
    fn type_set(&self, kind: u16) -> (Option<&'static SymbolSet>, u16) {
        let [high, low] = kind.to_be_bytes();
        match self.protocol {
            _ if kind < FIRST_TYPE => (symbols::set("netlink_control"), kind),
            Some(NetlinkProtocol {
                types: Some(types), ..
            }) if symbols::name(types, kind.into()).is_some() => (Some(types), kind),
            Some(of) if of.subsystems.is_some() => (of.names_of(high), low.into()),
            Some(of) => (of.types, kind),
            None => (symbols::set("netlink_control"), kind),
        }
    }

    fn message_type(&self, out: &mut String, kind: u16) {
        let (set, number) = self.type_set(kind);
        let subsystems = self.protocol.and_then(|of| of.subsystems);
        if let Some(subsystems) = subsystems
            && kind >= FIRST_TYPE
            && set.is_none_or(|set| number != kind || symbols::name(set, kind.into()).is_none())
        {
            write_enum(out, subsystems, u64::from(kind >> 8), Remark::With);
            out.push_str("<<8|");
        }
        match set {
            Some(set) => write_enum(out, set, number.into(), Remark::With),
            None => hex(out, number.into()),
        }
    }

    /// The set that names the flags of a type: the verb in its name says what they mean (include/uapi/linux/netlink.h).
    fn flags(&self, kind: u16) -> &'static str {
        if kind < FIRST_TYPE {
            return if kind == ERROR {
                "netlink_flags_error"
            } else {
                "netlink_flags"
            };
        }
        if self.protocol.is_some_and(|of| of.asks) {
            return "netlink_flags_get";
        }
        let (set, number) = self.type_set(kind);
        let name = set
            .and_then(|set| symbols::name(set, number.into()))
            .unwrap_or_default();
        let verb = |words: &[&str]| {
            name.split('_')
                .any(|part| words.iter().any(|word| part.starts_with(word)))
        };
        if verb(&["GET"]) {
            "netlink_flags_get"
        } else if verb(&["NEW"]) {
            "netlink_flags_new"
        } else if verb(&["DEL"]) {
            "netlink_flags_delete"
        } else {
            "netlink_flags"
        }
    }

    fn payload(&self, out: &mut String, header: &Header, bytes: &[u8], scope: Scope) {
        if header.kind == ERROR {
            return self.error(out, header, bytes, scope);
        }
        if header.kind < FIRST_TYPE {
            return match <[u8; 4]>::try_from(bytes) {
                Ok(number) if header.kind == DONE => {
                    let _ = write!(out, "{}", i32::from_ne_bytes(number));
                }
                _ => quote(out, bytes),
            };
        }
        let rows = self.protocol.map_or(&[][..], |of| of.rows);
        let request = header.flags & REQUEST != 0;
        let Some(row) = rows.iter().find(|row| {
            of_type(row, header.kind)
                && row.family.is_none_or(|family| family == scope.family)
                && row.request.is_none_or(|only| only == request)
        }) else {
            return quote(out, bytes);
        };
        if self.one_of(out, row.values, bytes, scope) {
            return;
        }
        // the program gave less than the structure has
        match row.values.first() {
            Some(
                NetlinkValue::Plain(Kind::Struct(of, None))
                | NetlinkValue::Then(Kind::Struct(of, None), _),
            ) if of.layouts[self.layout]
                .fields
                .first()
                .and_then(|first| first.kind.size(self.layout))
                .is_some_and(|size| size <= bytes.len()) =>
            {
                Struct::new(of, self.layout, bytes, true).text(out);
            }
            _ => quote(out, bytes),
        }
    }

    /// Appends the answer to a message that failed (`struct nlmsgerr`).
    fn error(&self, out: &mut String, header: &Header, bytes: &[u8], scope: Scope) {
        let said = bytes_at(bytes, 0).map(i32::from_ne_bytes);
        let (Some(said), Some(message)) = (said, bytes.get(4..)) else {
            return quote(out, bytes);
        };
        let (Some(failed), true) = (Header::of(message), scope.depth < DEPTH) else {
            return quote(out, bytes);
        };
        let whole = (failed.len as usize).max(HEADER);
        let end = if header.flags & CAPPED == 0 {
            whole
        } else {
            HEADER
        };
        let (message, behind) = message.split_at(end.min(message.len()));
        if !behind.is_empty() {
            out.push('[');
        }
        out.push_str("{error=");
        let name = u32::try_from(-i64::from(said))
            .ok()
            .and_then(|errno| errno::name(errno));
        match name {
            Some(name) => {
                let _ = write!(out, "-{name}");
            }
            None => {
                let _ = write!(out, "{said}");
            }
        }
        out.push_str(", msg=");
        self.message(out, message, scope.depth + 1);
        out.push('}');
        if !behind.is_empty() {
            out.push_str(", ");
            self.attributes(out, NETLINK_ERROR, behind, scope.inside());
            out.push(']');
        }
    }

    fn attributes(
        &self,
        out: &mut String,
        space: &'static NetlinkAttributes,
        bytes: &[u8],
        scope: Scope,
    ) {
        let is_opaque = space.types.is_none() && space.rows.is_empty();
        if is_opaque || scope.depth >= DEPTH {
            return quote(out, bytes);
        }
        // the values that later ones depend on; a space has few
        let mut before: [Option<(u16, &[u8])>; 4] = [None; 4];
        let length = |rest: &[u8]| {
            Some(usize::from(u16::from_ne_bytes(bytes_at(rest, 0)?)))
                .filter(|_| rest.len() >= ATTRIBUTE)
        };
        items(out, bytes, ATTRIBUTE, length, |out, one| {
            let said = bytes_at(one, 0).map_or(0, u16::from_ne_bytes);
            let kind = bytes_at(one, 2).map_or(0, u16::from_ne_bytes);
            let number = kind & !(NESTED | NETWORK_ORDER);
            let end = usize::from(said).min(one.len());
            let value = one.get(ATTRIBUTE..end).unwrap_or_default();
            if !value.is_empty() {
                out.push('[');
            }
            let _ = write!(out, "{{nla_len={said}, nla_type=");
            for (bit, name) in [
                (NESTED, "NLA_F_NESTED|"),
                (NETWORK_ORDER, "NLA_F_NET_BYTEORDER|"),
            ] {
                if kind & bit != 0 {
                    out.push_str(name);
                }
            }
            match space.types {
                Some(set) => write_enum(out, set, number.into(), Remark::With),
                None => hex(out, number.into()),
            }
            out.push('}');
            if value.is_empty() {
                return;
            }
            out.push_str(", ");
            let row = space.rows.iter().find(|row| {
                of_type(row, number)
                    && row.family.is_none_or(|family| family == scope.family)
                    && row.behind.is_none_or(|(of, text)| {
                        before.iter().flatten().any(|(kind, value)| {
                            *kind == of && without_nul(value) == text.as_bytes()
                        })
                    })
            });
            if !row.is_some_and(|row| self.one_of(out, row.values, value, scope)) {
                quote(out, value);
            }
            out.push(']');
            let wanted = |row: &NetlinkRow| row.behind.is_some_and(|(of, _)| of == number);
            if space.rows.iter().any(wanted) {
                let free = before
                    .iter_mut()
                    .find(|slot| slot.is_none_or(|(of, _)| of == number));
                if let Some(slot) = free {
                    *slot = Some((number, value));
                }
            }
        });
    }

    /// Appends the first of the values for which there are enough bytes. False: nothing was appended.
    fn one_of(
        &self,
        out: &mut String,
        values: &[NetlinkValue],
        bytes: &[u8],
        scope: Scope,
    ) -> bool {
        values
            .iter()
            .any(|value| self.value(out, value, bytes, scope).is_some())
    }

    fn value(
        &self,
        out: &mut String,
        value: &NetlinkValue,
        bytes: &[u8],
        scope: Scope,
    ) -> Option<()> {
        match value {
            NetlinkValue::Plain(kind) => self.plain(out, kind, bytes)?,
            NetlinkValue::Bytes => quote(out, bytes),
            NetlinkValue::Str => {
                quote(out, without_nul(bytes));
                if bytes.last() != Some(&0) {
                    out.push_str("...");
                }
            }
            NetlinkValue::HwAddr if bytes.len() > HARDWARE_ADDRESS => return None,
            NetlinkValue::HwAddr => HwAddr(bytes).text(out),
            NetlinkValue::Ip => match (scope.family, bytes.len()) {
                (AF_INET, 4..) | (_, 4) => {
                    let ip = Ipv4Addr::from(bytes_at::<4>(bytes, 0)?);
                    let _ = write!(out, "inet_addr(\"{ip}\")");
                }
                (AF_INET6, 16..) | (_, 16) => ip6(out, bytes)?,
                _ => return None,
            },
            NetlinkValue::Uint(set) => {
                let number = any_width(bytes)?;
                match set {
                    Some(set) => write_enum(out, set, number, Remark::With),
                    None => {
                        let _ = write!(out, "{number}");
                    }
                }
            }
            NetlinkValue::Xint => match bytes.len() {
                1 | 2 | 4 | 8 => hex(out, any_width(bytes)?),
                _ => return None,
            },
            NetlinkValue::Nest(space) => self.attributes(out, space, bytes, scope.inside()),
            NetlinkValue::List(kind, names) => self.list(out, kind, *names, bytes)?,
            NetlinkValue::Then(kind, space) => {
                let size = kind.size(self.layout)?;
                self.plain(out, kind, bytes)?;
                let behind = bytes.get(size.next_multiple_of(4)..).unwrap_or_default();
                if !behind.is_empty() {
                    out.push_str(", ");
                    self.attributes(out, space, behind, scope);
                }
            }
            NetlinkValue::Hops(kind, space) => {
                let size = kind.size(self.layout)?;
                bytes.get(..size)?;
                let length = |rest: &[u8]| {
                    Some(usize::from(u16::from_ne_bytes(bytes_at(rest, 0)?)))
                        .filter(|_| rest.len() >= size)
                };
                items(out, bytes, size, length, |out, one| {
                    let behind = one.get(size..).unwrap_or_default();
                    if behind.is_empty() {
                        let _ = self.plain(out, kind, one);
                        return;
                    }
                    out.push('[');
                    let _ = self.plain(out, kind, one);
                    out.push_str(", ");
                    self.attributes(out, space, behind, scope.inside());
                    out.push(']');
                });
            }
        }
        Some(())
    }

    /// Appends what a structure could have; none: there are too few bytes.
    fn plain(&self, out: &mut String, kind: &Kind, bytes: &[u8]) -> Option<()> {
        let own = bytes.get(..kind.size(self.layout)?)?;
        match kind {
            Kind::Ip6 => ip6(out, own)?,
            Kind::Enum(set, Width::Be16) if set.name == "eth_proto" => {
                let number = number::of_memory(own, 0, Width::Be16, false)?;
                out.push_str("htons(");
                write_enum(out, set, number, Remark::With);
                out.push(')');
            }
            Kind::Struct(of, None) if of.has_rest(self.layout) => {
                Struct::new(of, self.layout, bytes, false).text(out);
            }
            _ => in_place(kind, self.layout, own)?.text(out),
        }
        Some(())
    }

    fn list(
        &self,
        out: &mut String,
        kind: &Kind,
        names: Option<&'static SymbolSet>,
        bytes: &[u8],
    ) -> Option<()> {
        let size = kind.size(self.layout)?.max(1);
        bytes.get(..size)?;
        let values = bytes
            .chunks_exact(size)
            .filter_map(|chunk| in_place(kind, self.layout, chunk));
        super::forms::list(
            out,
            values.enumerate(),
            |out, (at, value): (usize, Value<'_>)| {
                if let Some(names) = names {
                    out.push('[');
                    write_enum(out, names, at as u64, Remark::With);
                    out.push_str("]=");
                }
                value.text(out);
            },
        );
        Some(())
    }
}

/// Whether a row is about this type.
fn of_type(row: &NetlinkRow, kind: u16) -> bool {
    match row.subsystem {
        Some(high) => kind.to_be_bytes()[0] == high,
        None => row.types.is_empty() || row.types.contains(&kind),
    }
}

fn ip6(out: &mut String, bytes: &[u8]) -> Option<()> {
    let ip = Ipv6Addr::from(bytes_at::<16>(bytes, 0)?);
    let _ = write!(out, "inet_pton(AF_INET6, \"{ip}\")");
    Some(())
}

fn without_nul(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(&[0]).unwrap_or(bytes)
}

/// A number of 1 to 8 bytes.
fn any_width(bytes: &[u8]) -> Option<u64> {
    let mut whole = [0; 8];
    let at = if cfg!(target_endian = "big") {
        8_usize.checked_sub(bytes.len())?
    } else {
        0
    };
    whole.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
    Some(u64::from_ne_bytes(whole))
}
