//! Socket addresses: `struct sockaddr_*` in the caller's bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

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
        /// Interface; a structure of 24 bytes has none.
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
        /// Length of the address as the program gave it.
        length: u8,
        /// The link-layer address.
        addr: &'a [u8],
    },
    /// Another family, or too short for its own.
    Other {
        /// `AF_*`.
        family: u16,
        /// What follows the family.
        data: &'a [u8],
    },
}

/// `N` bytes at an offset.
pub(super) fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

impl<'a> SockAddr<'a> {
    /// Reads an address; none if there is not even a family.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let family = u16::from_ne_bytes(bytes_at(bytes, 0)?);
        let data = bytes.get(2..).unwrap_or_default();
        let known = match family {
            UNIX => Some(Self::unix(data)),
            INET => Self::inet(bytes),
            INET6 => Self::inet6(bytes),
            NETLINK => Self::netlink(bytes),
            PACKET => Self::packet(bytes),
            _ => None,
        };
        Some(known.unwrap_or(Self::Other { family, data }))
    }

    /// `AF_*`.
    pub fn family(&self) -> u16 {
        match self {
            Self::Inet { .. } => INET,
            Self::Inet6 { .. } => INET6,
            Self::Unix(_) | Self::Abstract(_) | Self::Unnamed => UNIX,
            Self::Netlink { .. } => NETLINK,
            Self::Packet { .. } => PACKET,
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
