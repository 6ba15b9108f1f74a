//! Reads addresses of sockets: in memory (`struct sockaddr`), in facts (`Tuple`) and in /proc/PID/net.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use driver_api::event::Tuple;

use super::descriptor::{Connection, Descriptor, DescriptorKind, Role, Socket};
use super::hash::IdMap;
use super::proc_fs::{self, ProcFs};

const AF_UNSPEC: u16 = 0;
pub(super) const AF_UNIX: u16 = 1;
pub(super) const AF_INET: u16 = 2;
pub(super) const AF_INET6: u16 = 10;
pub(super) const AF_NETLINK: u16 = 16;
/// The most bytes that are read of a file in /proc/PID/net.
const NET_FILE: u64 = 8 << 20;
/// `TCP_LISTEN` in include/net/tcp_states.h.
const LISTEN: u8 = 10;

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
const TCP: u16 = 6;
/// `IPPROTO_UDP`
const UDP: u16 = 17;
/// `IPPROTO_RAW`
const RAW: u16 = 255;
/// `IPPROTO_MPTCP`
const MPTCP: u16 = 262;
/// `IPPROTO_UDPLITE`
const UDP_LITE: u16 = 136;

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
    /// `AF_UNSPEC`: connect(2) takes the connection away.
    None,
}

/// Parses a `struct sockaddr` (ip(7), ipv6(7), unix(7)).
pub(super) fn address(bytes: &[u8]) -> Option<Address<'_>> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = || Some(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?));
    match family {
        AF_INET => {
            let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(Address::Inet(SocketAddr::new(IpAddr::from(ip), port()?)))
        }
        AF_INET6 => {
            let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            Some(Address::Inet(SocketAddr::new(IpAddr::from(ip), port()?)))
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
        AF_UNSPEC => Some(Address::None),
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

/// The sockets of a network namespace by inode.
pub(super) type NetTable = IdMap<u64, Descriptor>;

/// Reads the sockets of the network namespace that a process is in.
pub(super) fn net_table(proc_fs: &ProcFs, pid: u32) -> NetTable {
    let mut table = NetTable::default();
    let files = [
        ("tcp", TCP),
        ("tcp6", TCP),
        ("udp", UDP),
        ("udp6", UDP),
        ("udplite", UDP_LITE),
        ("udplite6", UDP_LITE),
        ("raw", RAW),
        ("raw6", RAW),
    ];
    let mut listening = Vec::new();
    let mut accepted = Vec::new();
    for (file, protocol) in files {
        let text = proc_fs::read(&proc_fs.path(pid, &format!("net/{file}")), NET_FILE);
        for line in text.unwrap_or_default().split(|&b| b == b'\n').skip(1) {
            let Some((inode, local, remote, state)) = inet_line(line) else {
                continue;
            };
            let mut socket = Socket {
                protocol,
                local: Some(local),
                remote: (remote.port() != 0).then_some(remote),
                role: Role::None,
                connection: Connection::None,
                // the kernel has chosen a port from the range
                bound: local.port() != 0 && local.port() < FIRST_EPHEMERAL,
            };
            if state == LISTEN && protocol == TCP {
                socket.role = Role::Server;
                listening.push(local.port());
            } else if socket.remote.is_some() {
                socket.role = Role::Client;
                socket.connection = Connection::Made;
                accepted.push(inode);
            }
            table.insert(inode, Descriptor::socket(DescriptorKind::Ipv4, socket));
        }
    }
    // /proc does not say which side connected. If a socket listens on the local port, it was the other side. If the
    // listening socket is closed, the ports tell: the kernel has chosen that of the side that connected.
    listening.sort_unstable();
    for inode in accepted {
        let Some(mut socket) = table.get(&inode).and_then(|d| d.socket) else {
            continue;
        };
        let is_listening = |port| listening.binary_search(&port).is_ok();
        let ports = socket.local.zip(socket.remote);
        if ports.is_some_and(|(local, remote)| {
            is_listening(local.port())
                || !is_listening(remote.port()) && serves(local.port(), remote.port())
        }) {
            socket.role = Role::Server;
            table.insert(inode, Descriptor::socket(DescriptorKind::Ipv4, socket));
        }
    }
    let text = proc_fs::read(&proc_fs.path(pid, "net/unix"), NET_FILE).unwrap_or_default();
    for line in text.split(|&b| b == b'\n').skip(1) {
        if let Some((inode, name)) = unix_line(line) {
            table.insert(inode, Descriptor::named(DescriptorKind::Unix, name));
        }
    }
    table
}

/// `sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode ...`
fn inet_line(line: &[u8]) -> Option<(u64, SocketAddr, SocketAddr, u8)> {
    let mut words = std::str::from_utf8(line)
        .ok()?
        .split_ascii_whitespace()
        .skip(1);
    let (local, remote) = (hex_address(words.next()?)?, hex_address(words.next()?)?);
    let state = u8::from_str_radix(words.next()?, 16).ok()?;
    Some((words.nth(5)?.parse().ok()?, local, remote, state))
}

/// An address such as `0100007F:0277`: words of four bytes in host order.
fn hex_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        Some(
            u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16)
                .ok()?
                .to_ne_bytes(),
        )
    };
    let ip = match ip.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            IpAddr::from(bytes)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// `Num: RefCount Protocol Flags Type St Inode Path`
fn unix_line(line: &[u8]) -> Option<(u64, &[u8])> {
    let mut words = line.split(|&b| b == b' ').filter(|w| !w.is_empty());
    let inode = words.nth(6)?;
    let number = std::str::from_utf8(inode).ok()?.parse().ok()?;
    let end = inode.as_ptr() as usize - line.as_ptr() as usize + inode.len();
    Some((number, line.get(end + 1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn lines_of_proc_net_are_read() {
        let line = b"   0: 0100007F:1F90 0200000A:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0";
        let (inode, local, remote, state) = inet_line(line).unwrap();
        assert_eq!((inode, state), (4711, 1));
        assert_eq!(local, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(remote, "10.0.0.2:50000".parse().unwrap());
        let v6 = hex_address("00000000000000000000000001000000:0050").unwrap();
        assert_eq!(v6, "[::1]:80".parse().unwrap());
        let unix = b"0000000000000000: 00000002 00000000 00010000 0001 01 22914 /run/a b";
        assert_eq!(unix_line(unix), Some((22914, &b"/run/a b"[..])));
        let unnamed = b"0000000000000000: 00000002 00000000 00010000 0001 01 7";
        assert_eq!(unix_line(unnamed), Some((7, &b""[..])));
        assert_eq!(inet_line(b"\xff"), None);
        assert_eq!(hex_address("\u{e9}\u{e9}\u{e9}\u{e9}:1"), None);
    }
}
