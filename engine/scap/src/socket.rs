//! Socket addresses and lists of descriptors, in Falco's bytes and in the kernel's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use driver_api::event::Tuple;
use driver_api::table::SYMBOL_SETS;

use super::bytes::{Bytes, text};
use super::lists::address;
use super::symbols::{Set, Symbols};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// One end of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Inet(SocketAddr),
    /// A path. Empty: none.
    Unix(Vec<u8>),
    /// A family alone: Falco writes no address of this family, or the program gave none.
    Family(u8),
}

impl Address {
    /// Whether it says nothing.
    pub(crate) fn is_unspecified(&self) -> bool {
        match self {
            Self::Inet(end) => end.ip().is_unspecified() && end.port() == 0,
            Self::Unix(path) => path.is_empty(),
            Self::Family(_) => true,
        }
    }

    /// As a `struct sockaddr` (ip(7), ipv6(7), unix(7)).
    pub(crate) fn to_sockaddr(&self) -> Vec<u8> {
        match self {
            Self::Family(family) => u16::from(*family).to_ne_bytes().to_vec(),
            Self::Unix(path) => {
                let mut bytes = AF_UNIX.to_ne_bytes().to_vec();
                match path.strip_prefix(b"@") {
                    Some(name) => {
                        bytes.push(0);
                        bytes.extend_from_slice(name);
                    }
                    None => bytes.extend_from_slice(path),
                }
                bytes
            }
            Self::Inet(end) => {
                let mut bytes = match end {
                    SocketAddr::V4(_) => AF_INET,
                    SocketAddr::V6(_) => AF_INET6,
                }
                .to_ne_bytes()
                .to_vec();
                bytes.extend(end.port().to_be_bytes());
                match end.ip() {
                    IpAddr::V4(ip) => {
                        bytes.extend(ip.octets());
                        bytes.extend([0; 8]);
                    }
                    IpAddr::V6(ip) => {
                        // flow and scope, which Falco does not write
                        bytes.extend([0; 4]);
                        bytes.extend(ip.octets());
                        bytes.extend([0; 4]);
                    }
                }
                bytes
            }
        }
    }
}

impl Address {
    /// As Falco writes it: the family in one byte, address, port.
    pub(crate) fn to_falco(&self) -> Vec<u8> {
        let mut out = vec![self.family()];
        self.append(&mut out);
        out
    }

    fn family(&self) -> u8 {
        let family = match self {
            Self::Unix(_) => AF_UNIX,
            Self::Inet(SocketAddr::V4(_)) => AF_INET,
            Self::Inet(SocketAddr::V6(_)) => AF_INET6,
            Self::Family(family) => return *family,
        };
        family as u8
    }

    fn append(&self, out: &mut Vec<u8>) {
        match self {
            Self::Unix(path) => {
                out.extend_from_slice(path);
                out.push(0);
            }
            Self::Inet(end) => {
                match end.ip() {
                    IpAddr::V4(ip) => out.extend(ip.octets()),
                    IpAddr::V6(ip) => out.extend(ip.octets()),
                }
                out.extend(end.port().to_le_bytes());
            }
            Self::Family(_) => {}
        }
    }
}

/// Both ends as Falco writes them: source, then target. `came`: the other end is the source.
pub(crate) fn falco_ends(own: Option<&Address>, other: &Address, came: bool) -> Option<Vec<u8>> {
    let mut out = vec![other.family()];
    match other {
        // the kernel's addresses of both ends, which mean nothing outside it
        Address::Unix(_) => {
            out.extend([0; 16]);
            other.append(&mut out);
        }
        Address::Inet(end) => {
            let any: SocketAddr = match end.ip() {
                IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let any = Address::Inet(any);
            let own = own
                .filter(|own| own.family() == other.family())
                .unwrap_or(&any);
            let (source, target) = if came { (other, own) } else { (own, other) };
            source.append(&mut out);
            target.append(&mut out);
        }
        Address::Family(_) => return None,
    }
    Some(out)
}

/// A list of polled descriptors, each with its events, as Falco writes it.
pub(crate) fn falco_poll_list(polled: impl Iterator<Item = (u64, u64)>) -> Vec<u8> {
    let mut out = vec![0, 0];
    let mut count = 0_u16;
    for (fd, events) in polled {
        let events = POLL.as_ref().map_or(0, |symbols| symbols.falco(events));
        out.extend(fd.to_le_bytes());
        out.extend(u16::try_from(events & 0xffff).unwrap_or(0).to_le_bytes());
        count += 1;
    }
    out[..2].copy_from_slice(&count.to_le_bytes());
    out
}

/// An address as Falco writes it: the family in one byte, address, port; perhaps the family alone.
pub(crate) fn sockaddr(value: &[u8]) -> Option<Address> {
    let mut from = Bytes::new(value);
    let alone = from.u8()?;
    let family = u16::from(alone);
    if from.left() == 0 {
        return Some(Address::Family(alone));
    }
    match family {
        AF_INET | AF_INET6 => {
            let ip = address(&mut from, family == AF_INET6)?;
            Some(Address::Inet((ip, from.u16()?).into()))
        }
        AF_UNIX => Some(Address::Unix(unix_name(from.take(from.left())?))),
        _ => Some(Address::Family(alone)),
    }
}

/// Both ends as Falco writes them: the family in one byte, then source and target.
pub(crate) fn ends(value: &[u8]) -> Option<(Address, Address)> {
    let mut from = Bytes::new(value);
    let family = u16::from(from.u8()?);
    match family {
        AF_INET | AF_INET6 => {
            let wide = family == AF_INET6;
            let mut end = || -> Option<Address> {
                let ip = address(&mut from, wide)?;
                Some(Address::Inet((ip, from.u16()?).into()))
            };
            Some((end()?, end()?))
        }
        AF_UNIX => {
            // the kernel's addresses of both ends, which mean nothing outside it
            from.take(16)?;
            let path = unix_name(from.take(from.left())?);
            Some((Address::Unix(Vec::new()), Address::Unix(path)))
        }
        _ => None,
    }
}

/// A name, with `@` for the NUL at the beginning of an abstract one.
fn unix_name(bytes: &[u8]) -> Vec<u8> {
    match bytes.strip_prefix(b"\0") {
        Some(name) if !text(name).is_empty() => [b"@", text(name)].concat(),
        _ => text(bytes).to_vec(),
    }
}

/// The fact with both ends. None: they are not of the internet.
pub(crate) fn tuple(own: &Address, other: &Address) -> Option<Tuple> {
    let (Address::Inet(own), Address::Inet(other)) = (own, other) else {
        return None;
    };
    let bytes = |ip: IpAddr| {
        let mut bytes = [0; 16];
        match ip {
            IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => bytes = ip.octets(),
        }
        bytes
    };
    Some(Tuple {
        family: if own.is_ipv4() { AF_INET } else { AF_INET6 },
        protocol: 0,
        local_port: own.port(),
        remote_port: other.port(),
        local: bytes(own.ip()),
        remote: bytes(other.ip()),
    })
}

/// The array of `struct pollfd` (poll(2)) for a list of descriptors. Falco has one set of events for each: those that were
/// asked for when the call was entered, those that happened when it returned.
pub(crate) fn poll_list(value: &[u8]) -> Vec<u8> {
    let mut from = Bytes::new(value);
    let mut list = Vec::new();
    let count = from.u16().unwrap_or(0);
    for _ in 0..count {
        let (Some(fd), Some(events)) = (from.i64(), from.u16()) else {
            break;
        };
        let events = match &*POLL {
            Some(symbols) => symbols.kernel(events.into()).unwrap_or(0),
            None => 0,
        };
        let events = u16::try_from(events).unwrap_or(0).to_le_bytes();
        list.extend(i32::try_from(fd).unwrap_or(-1).to_le_bytes());
        list.extend([0, 0]);
        list.extend(events);
    }
    list
}

static POLL: LazyLock<Option<Symbols>> = LazyLock::new(|| {
    let theirs = Set::named("poll_flags")?;
    let ours = SYMBOL_SETS.iter().copied().find(|set| set.name == "poll")?;
    Some(Symbols::new(theirs, ours, false, |_| {}))
});
