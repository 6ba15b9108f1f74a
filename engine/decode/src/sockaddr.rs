//! Socket addresses: `struct sockaddr_*` in the event's bytes, and single IP addresses.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use driver_api::event::{Attachment, Event, Fact, Flags, Status};

use super::buffer::quote;
use super::forms::{Forms, Style};
use super::json::{self, Members};
use super::symbols::{self, Remark, hex, named, write_flags};

/// `AF_UNIX`.
pub const UNIX: u16 = 1;
/// `AF_INET`.
pub const INET: u16 = 2;
/// `AF_INET6`.
pub const INET6: u16 = 10;
/// `AF_NETLINK`.
pub const NETLINK: u16 = 16;
/// `AF_PACKET`.
pub const PACKET: u16 = 17;
/// `AF_VSOCK`.
pub const VSOCK: u16 = 40;

/// A socket address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SockAddr<'a> {
    /// `struct sockaddr_in`.
    Inet {
        /// Address.
        ip: Ipv4Addr,
        /// Host order.
        port: u16,
    },
    /// `struct sockaddr_in6`.
    Inet6 {
        /// Address.
        ip: Ipv6Addr,
        /// Host order.
        port: u16,
        /// Host order.
        flow: u32,
        /// Interface; the structure of 24 bytes (RFC 2133) has none.
        scope: Option<u32>,
    },
    /// `struct sockaddr_un` with a path.
    Unix(&'a [u8]),
    /// `struct sockaddr_un` with a name in the abstract namespace, without its leading NUL.
    Abstract(&'a [u8]),
    /// `struct sockaddr_un` without a name.
    Unnamed,
    /// `struct sockaddr_nl`.
    Netlink {
        /// Port id.
        pid: u32,
        /// Multicast groups.
        groups: u32,
    },
    /// `struct sockaddr_ll`.
    Packet {
        /// `ETH_P_*`, host order.
        protocol: u16,
        /// Interface.
        index: i32,
        /// `ARPHRD_*`.
        hatype: u16,
        /// `PACKET_*`.
        kind: u8,
        /// Length of the address, as the program gave it.
        length: u8,
        /// The link-layer address.
        addr: &'a [u8],
    },
    /// `struct sockaddr_vm` (vsock(7)).
    Vsock {
        /// The virtual machine, `VMADDR_CID_*`.
        cid: u32,
        /// Host order.
        port: u32,
        /// `VMADDR_FLAG_*`.
        flags: u8,
    },
    /// Another family, or an address that is too short for its family.
    Other {
        /// `AF_*`.
        family: u16,
        /// The bytes after the family.
        data: &'a [u8],
    },
}

/// Bytes of `struct sockaddr`: hardly any program has room for less.
const SMALLEST_ROOM: usize = 16;

/// How many bytes two names have in common.
fn common(name: &[u8], other: &[u8]) -> usize {
    name.iter()
        .zip(other)
        .take_while(|(one, other)| one == other)
        .count()
}

/// How many bytes of a Unix socket's name are certainly in the program's buffer (unix(7)). A path ends with its only NUL,
/// so if it does not, its end is elsewhere. An abstract name has no end that shows.
fn certain_name(name: &[u8]) -> usize {
    match name {
        [] => 0,
        [0, ..] => name.len().min(SMALLEST_ROOM - 2),
        _ => name.iter().position(|byte| *byte == 0).unwrap_or(0),
    }
}

/// `N` bytes at an offset.
pub(super) fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

impl<'a> SockAddr<'a> {
    /// Reads an address; none if it is too short for a family.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let family = u16::from_ne_bytes(bytes_at(bytes, 0)?);
        let data = bytes.get(2..).unwrap_or_default();
        let known = match family {
            UNIX => Some(Self::unix(data)),
            INET => Self::inet(bytes),
            INET6 => Self::inet6(bytes),
            NETLINK => Self::netlink(bytes),
            PACKET => Self::packet(bytes),
            VSOCK => Self::vsock(bytes),
            _ => None,
        };
        Some(known.unwrap_or(Self::Other { family, data }))
    }

    /// Reads an address that the kernel wrote. The kernel cuts it off at the end of the program's buffer, and says how
    /// long it would have been. A driver that has not seen the size of the buffer captures that many bytes, so the end
    /// may be memory behind the buffer. Of a Unix socket's address only what is certain is taken.
    pub(super) fn of_kernel(event: &Event<'_>, attached: &Attachment<'a>) -> Option<Self> {
        let bytes = attached.bytes;
        let Some((family, name)) = bytes.split_first_chunk() else {
            return Self::parse(bytes);
        };
        let is_seen = event.has(Flags::ROOM_SEEN) || attached.status != Status::Whole;
        if is_seen || u16::from_ne_bytes(*family) != UNIX {
            return Self::parse(bytes);
        }
        let certain = [Fact::Local, Fact::Peer]
            .into_iter()
            .filter_map(|fact| Some(common(name, event.fact(fact)?.bytes)))
            .max()
            .filter(|common| *common > 0)
            .unwrap_or_else(|| certain_name(name));
        Self::parse(bytes.get(..2 + certain)?)
    }

    /// `AF_*`.
    pub fn family(&self) -> u16 {
        match self {
            Self::Inet { .. } => INET,
            Self::Inet6 { .. } => INET6,
            Self::Unix(_) | Self::Abstract(_) | Self::Unnamed => UNIX,
            Self::Netlink { .. } => NETLINK,
            Self::Packet { .. } => PACKET,
            Self::Vsock { .. } => VSOCK,
            Self::Other { family, .. } => *family,
        }
    }

    fn unix(data: &'a [u8]) -> Self {
        match data {
            [] => Self::Unnamed,
            [0, name @ ..] => Self::Abstract(name),
            _ => Self::Unix(data.split(|&b| b == 0).next().unwrap_or_default()),
        }
    }

    fn inet(bytes: &[u8]) -> Option<Self> {
        bytes.get(..16)?;
        Some(Self::Inet {
            port: u16::from_be_bytes(bytes_at(bytes, 2)?),
            ip: Ipv4Addr::from(bytes_at::<4>(bytes, 4)?),
        })
    }

    fn inet6(bytes: &[u8]) -> Option<Self> {
        Some(Self::Inet6 {
            port: u16::from_be_bytes(bytes_at(bytes, 2)?),
            flow: u32::from_be_bytes(bytes_at(bytes, 4)?),
            ip: Ipv6Addr::from(bytes_at::<16>(bytes, 8)?),
            scope: bytes_at(bytes, 24).map(u32::from_ne_bytes),
        })
    }

    fn netlink(bytes: &[u8]) -> Option<Self> {
        Some(Self::Netlink {
            pid: u32::from_ne_bytes(bytes_at(bytes, 4)?),
            groups: u32::from_ne_bytes(bytes_at(bytes, 8)?),
        })
    }

    fn vsock(bytes: &[u8]) -> Option<Self> {
        bytes.get(..16)?;
        Some(Self::Vsock {
            port: u32::from_ne_bytes(bytes_at(bytes, 4)?),
            cid: u32::from_ne_bytes(bytes_at(bytes, 8)?),
            flags: *bytes.get(12)?,
        })
    }

    fn packet(bytes: &'a [u8]) -> Option<Self> {
        let room = bytes.get(12..20)?;
        let length = *bytes.get(11)?;
        Some(Self::Packet {
            protocol: u16::from_be_bytes(bytes_at(bytes, 2)?),
            index: i32::from_ne_bytes(bytes_at(bytes, 4)?),
            hatype: u16::from_ne_bytes(bytes_at(bytes, 8)?),
            kind: *bytes.get(10)?,
            length,
            addr: room.get(..usize::from(length)).unwrap_or(room),
        })
    }
}

/// Fields of `struct sockaddr_nl` as strace prints them.
fn netlink_text(out: &mut String, pid: u32, groups: u32) {
    let _ = write!(out, ", nl_pid={pid}, nl_groups=");
    if groups == 0 {
        out.push_str("00000000");
    } else {
        let _ = write!(out, "{groups:#08x}");
    }
}

/// The address of `struct sockaddr_ll` as strace prints it; nothing if it is empty.
fn link_layer_text(out: &mut String, addr: &[u8]) {
    for (at, byte) in addr.iter().enumerate() {
        out.push_str(if at == 0 { ", sll_addr=[" } else { ", " });
        if *byte == 0 {
            out.push('0');
        }
        hex(out, u64::from(*byte));
    }
    if !addr.is_empty() {
        out.push(']');
    }
}

/// Fields of `struct sockaddr_vm` as strace prints them.
fn vsock_text(out: &mut String, cid: u32, port: u32, flags: u8) {
    out.push_str(", svm_cid=");
    named(out, "vsock_cid", u64::from(cid));
    out.push_str(", svm_port=");
    named(out, "vsock_port", u64::from(port));
    out.push_str(", svm_flags=");
    if let Some(set) = symbols::set("vsock_flags") {
        write_flags(out, set, u64::from(flags), Remark::With);
    }
}

impl Forms for SockAddr<'_> {
    fn text(&self, out: &mut String) {
        out.push_str("{sa_family=");
        named(out, "sock_domain", u64::from(self.family()));
        match self {
            Self::Inet { ip, port } => {
                let _ = write!(
                    out,
                    ", sin_port=htons({port}), sin_addr=inet_addr(\"{ip}\")"
                );
            }
            Self::Inet6 {
                ip,
                port,
                flow,
                scope,
            } => {
                let _ = write!(
                    out,
                    ", sin6_port=htons({port}), sin6_flowinfo=htonl({flow}), \
                     inet_pton(AF_INET6, \"{ip}\", &sin6_addr)"
                );
                if let Some(scope) = scope {
                    let _ = write!(out, ", sin6_scope_id={scope}");
                }
            }
            Self::Unix(path) => {
                out.push_str(", sun_path=");
                quote(out, path);
            }
            Self::Abstract(name) => {
                out.push_str(", sun_path=@");
                quote(out, name);
            }
            Self::Unnamed => {}
            Self::Netlink { pid, groups } => netlink_text(out, *pid, *groups),
            Self::Packet {
                protocol,
                index,
                hatype,
                kind,
                length,
                addr,
            } => {
                out.push_str(", sll_protocol=htons(");
                named(out, "eth_proto", u64::from(*protocol));
                let _ = write!(out, "), sll_ifindex={index}, sll_hatype=");
                named(out, "arphrd", u64::from(*hatype));
                out.push_str(", sll_pkttype=");
                named(out, "packet_type", u64::from(*kind));
                let _ = write!(out, ", sll_halen={length}");
                link_layer_text(out, addr);
            }
            Self::Vsock { cid, port, flags } => vsock_text(out, *cid, *port, *flags),
            Self::Other { data: [], .. } => {}
            Self::Other { data, .. } => {
                out.push_str(", sa_data=");
                quote(out, data);
            }
        }
        out.push('}');
    }

    fn json(&self, out: &mut String) {
        let mut inside = Members::object(out);
        json::family(inside.key("family"), self.family());
        match self {
            Self::Inet { ip, port } => {
                inside.word("ip", &ip.to_string());
                inside.number("port", port);
            }
            Self::Inet6 {
                ip,
                port,
                flow,
                scope,
            } => {
                inside.word("ip", &ip.to_string());
                inside.number("port", port);
                if *flow != 0 {
                    inside.number("flowinfo", flow);
                }
                if let Some(scope) = scope.filter(|scope| *scope != 0) {
                    inside.number("scope_id", scope);
                }
            }
            Self::Unix(path) => json::string(inside.key("path"), path),
            Self::Abstract(name) => json::string(inside.key("abstract"), name),
            Self::Unnamed => {}
            Self::Netlink { pid, groups } => {
                inside.number("pid", pid);
                inside.number("groups", groups);
            }
            Self::Packet {
                protocol,
                index,
                hatype,
                kind,
                addr,
                ..
            } => {
                json::named(inside.key("protocol"), "eth_proto", u64::from(*protocol));
                inside.number("ifindex", index);
                json::named(inside.key("hatype"), "arphrd", u64::from(*hatype));
                json::named(inside.key("pkttype"), "packet_type", u64::from(*kind));
                let bytes: Vec<String> = addr.iter().map(|byte| format!("{byte:02x}")).collect();
                inside.word("addr", &bytes.join(":"));
            }
            Self::Vsock { cid, port, flags } => {
                inside.number("cid", cid);
                inside.number("port", port);
                if *flags != 0 {
                    inside.number("flags", flags);
                }
            }
            Self::Other { data, .. } => json::string(inside.key("data"), data),
        }
        inside.end();
    }

    fn falco(&self, out: &mut String, _style: Style) -> bool {
        let _ = match self {
            Self::Inet { ip, port } => write!(out, "{ip}:{port}"),
            Self::Inet6 { ip, port, .. } => write!(out, "{ip}:{port}"),
            Self::Unix(path) => write!(out, "{}", String::from_utf8_lossy(path)),
            Self::Abstract(name) => write!(out, "@{}", String::from_utf8_lossy(name)),
            Self::Unnamed => Ok(()),
            Self::Netlink { pid, groups } => write!(out, "netlink:{pid}:{groups:#x}"),
            Self::Packet {
                protocol, index, ..
            } => write!(out, "packet:{index}:{protocol:#x}"),
            Self::Vsock { cid, port, .. } => write!(out, "vsock:{cid}:{port}"),
            Self::Other { family, .. } => write!(out, "family {family}"),
        };
        true
    }
}

/// An IP address on its own, in a structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ip(pub IpAddr);

impl Forms for Ip {
    fn text(&self, out: &mut String) {
        let _ = write!(out, "inet_addr(\"{}\")", self.0);
    }

    fn json(&self, out: &mut String) {
        let _ = write!(out, "\"{}\"", self.0);
    }
}
