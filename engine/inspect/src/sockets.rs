//! Reads addresses of sockets: in memory (`struct sockaddr`) and in facts (`Tuple`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use driver_api::event::Tuple;

use super::descriptor::{Descriptor, DescriptorKind};

const AF_UNSPEC: u16 = 0;
pub(super) const AF_UNIX: u16 = 1;
pub(super) const AF_INET: u16 = 2;
pub(super) const AF_INET6: u16 = 10;
pub(super) const AF_NETLINK: u16 = 16;

/// The most protocols that netlink can have: `MAX_LINKS` (include/uapi/linux/netlink.h).
pub(super) const MAX_LINKS: u16 = 32;

/// The kind of a socket of this address family.
pub(super) fn kind_of_family(family: u16) -> DescriptorKind {
    match family {
        AF_UNIX => DescriptorKind::Unix,
        AF_INET => DescriptorKind::Ipv4,
        AF_INET6 => DescriptorKind::Ipv6,
        AF_NETLINK => DescriptorKind::Netlink,
        _ => DescriptorKind::Other,
    }
}

/// `IPPROTO_TCP`
pub(super) const TCP: u16 = 6;
/// `IPPROTO_UDP`
pub(super) const UDP: u16 = 17;
/// `IPPROTO_RAW`
pub(super) const RAW: u16 = 255;
/// `IPPROTO_MPTCP`
pub(super) const MPTCP: u16 = 262;
/// `IPPROTO_UDPLITE`
pub(super) const UDP_LITE: u16 = 136;

/// `IPPROTO_ICMP`
pub(super) const ICMP: u16 = 1;
/// `IPPROTO_ICMPV6`
pub(super) const ICMP6: u16 = 58;
/// `IPPROTO_SCTP`
pub(super) const SCTP: u16 = 132;

/// The protocol of a socket of an internet family, from the arguments of socket(2). That of a raw socket is `IPPROTO_RAW`.
pub(super) fn protocol_of(socket_type: u64, protocol: u64) -> u16 {
    match (socket_type & 0xf, u16::try_from(protocol).unwrap_or(0)) {
        (3, _) => RAW,
        (1, 0) => TCP,
        (2, 0) => UDP,
        (_, protocol) => protocol,
    }
}

/// Whether sockets of a protocol carry streams: their messages go to the other end, whatever address a call passes.
pub(super) fn is_stream(protocol: u16) -> bool {
    matches!(protocol, TCP | MPTCP)
}

/// Local ports that the kernel gives to sockets begin here, unless the host is configured otherwise (ip(7),
/// `ip_local_port_range`).
pub(super) const FIRST_EPHEMERAL: u16 = 32768;

/// The address in a `struct sockaddr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Address<'a> {
    Inet(SocketAddr),
    /// A path, or an abstract name, which begins with NUL. Empty: unnamed.
    Unix(&'a [u8]),
    /// `AF_UNSPEC`: connect(2) takes the connection away. To other calls on an IPv4 socket, it is this address of
    /// `AF_INET`.
    Unspecified(Option<SocketAddr>),
}

impl Address<'_> {
    /// What the address means to a call on this socket, other than connect(2) (udp_sendmsg() and __inet_bind() in
    /// net/ipv4).
    pub(super) fn on(self, socket: Option<&Descriptor>) -> Self {
        let is_v4 = socket.is_none_or(|socket| match socket.kind {
            DescriptorKind::Ipv4 | DescriptorKind::Ipv6 => {
                socket.socket.is_none_or(|socket| !socket.is_v6)
            }
            kind => kind == DescriptorKind::Other,
        });
        match self {
            Self::Unspecified(Some(address)) if is_v4 => Self::Inet(address),
            Self::Inet(_) | Self::Unix(_) | Self::Unspecified(_) => self,
        }
    }
}

/// The address in a `struct sockaddr_in`, whatever its family.
fn inet(bytes: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
    Some(SocketAddr::new(IpAddr::from(ip), port))
}

/// Parses a `struct sockaddr` (ip(7), ipv6(7), unix(7)).
pub(super) fn address(bytes: &[u8]) -> Option<Address<'_>> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    match family {
        AF_INET => inet(bytes).map(Address::Inet),
        AF_INET6 => {
            let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
            Some(Address::Inet(SocketAddr::new(IpAddr::from(ip), port)))
        }
        AF_UNIX => {
            let name = bytes.get(2..)?;
            if name.first() == Some(&0) {
                return Some(Address::Unix(name));
            }
            Some(Address::Unix(
                name.split(|&b| b == 0).next().unwrap_or_default(),
            ))
        }
        AF_UNSPEC => Some(Address::Unspecified(inet(bytes))),
        _ => None,
    }
}

/// Makes the name of a Unix socket printable: an abstract name begins with `@`, as in /proc/net/unix.
pub(super) fn show_unix_name(name: &mut Vec<u8>) {
    if name.first() == Some(&0) {
        name[0] = b'@';
        if name.len() == 1 {
            name.clear();
        }
    }
}

/// The local and the remote end. None: they are not internet addresses.
pub fn ends(tuple: &Tuple) -> Option<(SocketAddr, SocketAddr)> {
    let ip = |bytes: &[u8; 16]| match tuple.family {
        AF_INET => Some(IpAddr::V4(Ipv4Addr::new(
            bytes[0], bytes[1], bytes[2], bytes[3],
        ))),
        AF_INET6 => Some(IpAddr::V6(Ipv6Addr::from(*bytes))),
        _ => None,
    };
    Some((
        SocketAddr::new(ip(&tuple.local)?, tuple.local_port),
        SocketAddr::new(ip(&tuple.remote)?, tuple.remote_port),
    ))
}

/// Whether the ports of two ends say that the local end is the server.
pub(super) fn serves(local: u16, remote: u16) -> bool {
    local < FIRST_EPHEMERAL && remote >= FIRST_EPHEMERAL
}

/// Whether the local end is the server, where nothing but the ports says which end of a TCP connection connected.
///
/// If the kernel has chosen both ports, connect(2) prefers those that are as even as the first one of the range, and
/// bind(2) the others (net/ipv4/inet_hashtables.c and inet_connection_sock.c, since Linux 4.4).
pub(super) fn accepted(local: u16, remote: u16) -> bool {
    let both_chosen = local >= FIRST_EPHEMERAL && remote >= FIRST_EPHEMERAL;
    let is_even = |port: u16| (port ^ FIRST_EPHEMERAL) & 1 == 0;
    serves(local, remote) || both_chosen && !is_even(local) && is_even(remote)
}

/// Whether the kernel has chosen both ports of a TCP connection, and they do not say which end connected: both are even, or
/// both are odd.
pub(super) fn undecided(local: u16, remote: u16) -> bool {
    local >= FIRST_EPHEMERAL && remote >= FIRST_EPHEMERAL && (local ^ remote) & 1 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_say_which_end_connected() {
        for (local, remote, expected) in [
            (80, 40000, true),
            (40000, 80, false),
            (80, 443, false),
            // listen(2) without bind(2) has chosen 40001, connect(2) 40002
            (40001, 40002, true),
            (40002, 40001, false),
            (40000, 40002, false),
            (40001, 40003, false),
        ] {
            assert_eq!(accepted(local, remote), expected, "{local} {remote}");
        }
    }

    #[test]
    fn addresses_are_read_from_memory() {
        let mut inet = vec![2, 0, 0x1f, 0x90, 127, 0, 0, 1];
        inet.extend_from_slice(&[0; 8]);
        assert_eq!(
            address(&inet),
            Some(Address::Inet("127.0.0.1:8080".parse().unwrap()))
        );
        assert_eq!(
            address(b"\x01\0/run/x\0garbage"),
            Some(Address::Unix(b"/run/x"))
        );
        assert_eq!(address(b"\x01\0\0abs"), Some(Address::Unix(b"\0abs")));
        for length in 0..8 {
            assert_eq!(address(&inet[..length]), None);
        }
    }
}
