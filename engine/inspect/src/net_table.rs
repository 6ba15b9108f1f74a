//! Sockets that were made before lanner looked: what /proc/PID/net says about them, by inode, and what the kernel says
//! about one that is in none of these files, because it is neither bound nor connected.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::descriptor::{Connection, Descriptor, DescriptorKind, Role, Socket};
use super::hash::IdMap;
use super::proc_fs::{self, ProcFs};
use super::sockets::{
    FIRST_EPHEMERAL, ICMP, ICMP6, MPTCP, RAW, SCTP, TCP, UDP, UDP_LITE, accepted, serves, undecided,
};
use super::unix_peers;

/// The most bytes that are read of a file in /proc/PID/net.
const NET_FILE: u64 = 8 << 20;
/// `TCP_LISTEN` in include/net/tcp_states.h.
const LISTEN: u8 = 10;
/// `SO_ACCEPTCON`, which /proc/net/unix shows for a socket that listens.
const ACCEPTS: u32 = 1 << 16;
/// `SOCK_DGRAM`
const DATAGRAM: u32 = 2;

/// Sockets by inode. Descriptors of the same socket share what is known of it.
pub(super) type NetTable = IdMap<u64, Arc<Descriptor>>;

/// The files of /proc/PID/net that have the internet sockets of a protocol.
const FILES: [(&str, u16); 8] = [
    ("tcp", TCP),
    ("tcp6", TCP),
    ("udp", UDP),
    ("udp6", UDP),
    ("udplite", UDP_LITE),
    ("udplite6", UDP_LITE),
    ("raw", RAW),
    ("raw6", RAW),
];

/// Reads the sockets of the network namespace that a process is in.
pub(super) fn all(proc_fs: &ProcFs, pid: u32) -> NetTable {
    let mut table = inet(proc_fs, pid, |_| true);
    table.extend(unix(proc_fs, pid));
    table.extend(netlink(proc_fs, pid));
    table
        .into_iter()
        .map(|(inode, socket)| (inode, Arc::new(socket)))
        .collect()
}

/// Reads one socket, behind a descriptor of a process.
pub(super) fn one(proc_fs: &ProcFs, pid: u32, fd: i32, inode: u64) -> Descriptor {
    let unlisted = unlisted(proc_fs, pid, fd);
    let mut table = match (unlisted.kind, unlisted.socket) {
        (DescriptorKind::Unix, _) => unix(proc_fs, pid),
        (DescriptorKind::Netlink, _) => netlink(proc_fs, pid),
        (_, Some(socket)) => inet(proc_fs, pid, |protocol| protocol == socket.protocol),
        // the kernel has not said what it is
        (DescriptorKind::Other, None) if unlisted.name.is_empty() => {
            let mut table = inet(proc_fs, pid, |_| true);
            table.extend(unix(proc_fs, pid));
            table
        }
        _ => IdMap::default(),
    };
    table.remove(&inode).unwrap_or(unlisted)
}

/// What the kernel calls the protocol of a socket. /proc/PID/net does not list sockets that are neither bound nor
/// connected.
pub(super) fn unlisted(proc_fs: &ProcFs, pid: u32, fd: i32) -> Descriptor {
    let name = proc_fs.socket_protocol(pid, fd).unwrap_or_default();
    // `name` in struct proto of each protocol
    let (kind, protocol) = match &name[..] {
        b"TCP" => (DescriptorKind::Ipv4, TCP),
        b"TCPv6" => (DescriptorKind::Ipv6, TCP),
        b"MPTCP" => (DescriptorKind::Ipv4, MPTCP),
        b"MPTCPv6" => (DescriptorKind::Ipv6, MPTCP),
        b"UDP" => (DescriptorKind::Ipv4, UDP),
        b"UDPv6" => (DescriptorKind::Ipv6, UDP),
        b"UDP-Lite" => (DescriptorKind::Ipv4, UDP_LITE),
        b"UDPLITEv6" => (DescriptorKind::Ipv6, UDP_LITE),
        b"RAW" => (DescriptorKind::Ipv4, RAW),
        b"RAWv6" => (DescriptorKind::Ipv6, RAW),
        b"PING" => (DescriptorKind::Ipv4, ICMP),
        b"PINGv6" => (DescriptorKind::Ipv6, ICMP6),
        b"SCTP" => (DescriptorKind::Ipv4, SCTP),
        b"SCTPv6" => (DescriptorKind::Ipv6, SCTP),
        b"UNIX" | b"UNIX-STREAM" => return Descriptor::bare(DescriptorKind::Unix),
        b"NETLINK" => return Descriptor::bare(DescriptorKind::Netlink),
        _ => return Descriptor::bare(DescriptorKind::Other),
    };
    let socket = Socket {
        protocol,
        is_v6: kind == DescriptorKind::Ipv6,
        ..Socket::default()
    };
    Descriptor::socket(kind, socket)
}

/// How many connections have an end. The sockets that a server has accepted share its end.
#[derive(Debug, Default)]
struct Ends {
    local: HashMap<(u16, SocketAddr), u32>,
    remote: HashMap<(u16, SocketAddr), u32>,
}

impl Ends {
    fn add(&mut self, socket: &Socket) {
        for (end, all) in [
            (socket.local, &mut self.local),
            (socket.remote, &mut self.remote),
        ] {
            if let Some(end) = end {
                *all.entry((socket.protocol, canonical(end))).or_default() += 1;
            }
        }
    }

    /// Whether more connections have the local end of a socket than its remote end.
    fn serves(&self, socket: &Socket) -> bool {
        let count = |all: &HashMap<_, u32>, end: Option<SocketAddr>| {
            let end = end.map(|end| (socket.protocol, canonical(end)));
            end.and_then(|end| all.get(&end)).copied().unwrap_or(0)
        };
        count(&self.local, socket.local) > count(&self.remote, socket.remote)
    }
}

fn canonical(end: SocketAddr) -> SocketAddr {
    SocketAddr::new(end.ip().to_canonical(), end.port())
}

/// The internet sockets of the protocols that are asked for.
fn inet(proc_fs: &ProcFs, pid: u32, wanted: impl Fn(u16) -> bool) -> IdMap<u64, Descriptor> {
    let mut table = IdMap::default();
    let mut connections = Connections::default();
    for (file, protocol) in FILES.into_iter().filter(|(_, protocol)| wanted(*protocol)) {
        let kind = if file.ends_with('6') {
            DescriptorKind::Ipv6
        } else {
            DescriptorKind::Ipv4
        };
        let text = proc_fs::read(&proc_fs.path(pid, &format!("net/{file}")), NET_FILE);
        for line in text.unwrap_or_default().split(|&b| b == b'\n').skip(1) {
            let Some(line) = inet_line(line) else {
                continue;
            };
            let socket = line.socket(protocol, kind);
            connections.add(&line, &socket);
            table.insert(line.inode, Descriptor::socket(kind, socket));
        }
    }
    connections.mark_accepted(&mut table);
    table
}

/// What the sockets of a network namespace say about which side of a connection has connected. /proc does not say it.
#[derive(Debug, Default)]
struct Connections {
    /// The local ports of sockets that listen.
    listening: HashSet<u16>,
    /// The inodes of sockets that are connected.
    connected: Vec<u64>,
    ends: Ends,
}

impl Connections {
    fn add(&mut self, line: &InetLine, socket: &Socket) {
        if line.listens(socket.protocol) {
            self.listening.insert(line.local.port());
        } else if socket.connection == Connection::Made {
            self.connected.push(line.inode);
            self.ends.add(socket);
        }
    }

    /// Gives the sockets that were accepted their role.
    fn mark_accepted(&self, table: &mut IdMap<u64, Descriptor>) {
        for inode in &self.connected {
            let known = table.get(inode);
            let Some((kind, mut socket)) =
                known.and_then(|known| Some((known.kind, known.socket?)))
            else {
                continue;
            };
            if self.was_accepted(&socket) {
                socket.role = Role::Server;
                table.insert(*inode, Descriptor::socket(kind, socket));
            }
        }
    }

    /// If a socket listens on the local port, the other side has connected. If the listening socket is closed, the ports
    /// tell; and where they do not, which end has several connections.
    fn was_accepted(&self, socket: &Socket) -> bool {
        let Some((local, remote)) = socket.local.zip(socket.remote) else {
            return false;
        };
        let (local, remote) = (local.port(), remote.port());
        // the kernel chooses the ports of other sockets without a preference
        let looks_accepted = if socket.protocol == TCP {
            accepted
        } else {
            serves
        };
        self.listening.contains(&local)
            || !self.listening.contains(&remote)
                && (looks_accepted(local, remote)
                    || undecided(local, remote) && self.ends.serves(socket))
    }
}

/// The Unix sockets. As after connect(2), a socket that has connected has the name of its peer.
fn unix(proc_fs: &ProcFs, pid: u32) -> IdMap<u64, Descriptor> {
    let text = proc_fs::read(&proc_fs.path(pid, "net/unix"), NET_FILE).unwrap_or_default();
    let lines: IdMap<u64, UnixLine<'_>> = text
        .split(|&b| b == b'\n')
        .skip(1)
        .filter_map(unix_line)
        .collect();
    let listening: HashSet<&[u8]> = lines
        .values()
        .filter(|line| line.flags & ACCEPTS != 0)
        .map(|line| line.name)
        .collect();
    let peers = if lines.is_empty() {
        IdMap::default()
    } else {
        unix_peers::read(proc_fs, pid)
    };
    let mut table = IdMap::default();
    for (inode, own) in &lines {
        let peer = peers.get(inode).and_then(|peer| lines.get(peer));
        let peer = peer.filter(|peer| !peer.name.is_empty());
        let has_connected = |peer: &UnixLine<'_>| {
            own.name.is_empty()
                || own.kind == DATAGRAM
                || listening.contains(peer.name) && !listening.contains(own.name)
        };
        let name = match peer {
            Some(peer) if has_connected(peer) => peer.name,
            _ => own.name,
        };
        table.insert(*inode, Descriptor::named(DescriptorKind::Unix, name));
    }
    table
}

/// The netlink sockets.
fn netlink(proc_fs: &ProcFs, pid: u32) -> IdMap<u64, Descriptor> {
    let text = proc_fs::read(&proc_fs.path(pid, "net/netlink"), NET_FILE).unwrap_or_default();
    let lines = text.split(|&b| b == b'\n').skip(1);
    lines.filter_map(netlink_line).collect()
}

/// `sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode`; Eth is the protocol.
fn netlink_line(line: &[u8]) -> Option<(u64, Descriptor)> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let mut socket = Descriptor::bare(DescriptorKind::Netlink);
    socket.netlink = words.nth(1)?.parse().ok();
    Some((words.nth(7)?.parse().ok()?, socket))
}

/// A line of /proc/net/tcp and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct InetLine {
    inode: u64,
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
}

impl InetLine {
    fn listens(&self, protocol: u16) -> bool {
        self.state == LISTEN && protocol == TCP
    }

    fn socket(&self, protocol: u16, kind: DescriptorKind) -> Socket {
        let port = self.local.port();
        let mut socket = Socket {
            protocol,
            local: Some(self.local),
            remote: (self.remote.port() != 0).then_some(self.remote),
            role: Role::None,
            connection: Connection::None,
            // the kernel has chosen a port from the range
            bound: port != 0 && port < FIRST_EPHEMERAL,
            is_v6: kind == DescriptorKind::Ipv6,
        };
        if self.listens(protocol) {
            socket.role = Role::Server;
        } else if socket.remote.is_some() {
            socket.role = Role::Client;
            socket.connection = Connection::Made;
        } else if socket.bound {
            // as after bind(2)
            socket.role = Role::Server;
        }
        socket
    }
}

/// `sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode ...`
fn inet_line(line: &[u8]) -> Option<InetLine> {
    let mut words = std::str::from_utf8(line)
        .ok()?
        .split_ascii_whitespace()
        .skip(1);
    let (local, remote) = (hex_address(words.next()?)?, hex_address(words.next()?)?);
    let state = u8::from_str_radix(words.next()?, 16).ok()?;
    let inode = words.nth(5)?.parse().ok()?;
    Some(InetLine {
        inode,
        local,
        remote,
        state,
    })
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

/// A line of /proc/net/unix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct UnixLine<'a> {
    flags: u32,
    /// `SOCK_*`
    kind: u32,
    name: &'a [u8],
}

/// `Num: RefCount Protocol Flags Type St Inode Path`
fn unix_line(line: &[u8]) -> Option<(u64, UnixLine<'_>)> {
    let mut words = line.split(|&b| b == b' ').filter(|w| !w.is_empty());
    let mut hex = |at| u32::from_str_radix(std::str::from_utf8(words.nth(at)?).ok()?, 16).ok();
    let (flags, kind) = (hex(3)?, hex(0)?);
    let inode = words.nth(1)?;
    let number = std::str::from_utf8(inode).ok()?.parse().ok()?;
    let end = inode.as_ptr() as usize - line.as_ptr() as usize + inode.len();
    let name = line.get(end + 1..).unwrap_or_default();
    Some((number, UnixLine { flags, kind, name }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_with_several_connections_is_a_server() {
        let socket = |local: &str, remote: &str| Socket {
            protocol: TCP,
            local: Some(local.parse().unwrap()),
            remote: Some(remote.parse().unwrap()),
            ..Socket::default()
        };
        let accepted = [
            socket("127.0.0.1:40000", "127.0.0.1:40002"),
            socket("127.0.0.1:40000", "127.0.0.1:40004"),
        ];
        let connected = socket("127.0.0.1:40002", "127.0.0.1:40000");
        let mut ends = Ends::default();
        for one in accepted.iter().chain([&connected]) {
            ends.add(one);
        }
        assert!(accepted.iter().all(|one| ends.serves(one)));
        assert!(!ends.serves(&connected));
        assert!(undecided(40000, 40002) && !undecided(40000, 40001) && !undecided(80, 40000));
    }

    #[test]
    fn lines_of_proc_net_are_read() {
        let line = b"   0: 0100007F:1F90 0200000A:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0";
        let read = InetLine {
            inode: 4711,
            local: "127.0.0.1:8080".parse().unwrap(),
            remote: "10.0.0.2:50000".parse().unwrap(),
            state: 1,
        };
        assert_eq!(inet_line(line), Some(read));
        let v6 = hex_address("00000000000000000000000001000000:0050").unwrap();
        assert_eq!(v6, "[::1]:80".parse().unwrap());
        let named = |flags, name| UnixLine {
            flags,
            kind: 1,
            name,
        };
        let unix = b"0000000000000000: 00000002 00000000 00010000 0001 01 22914 /run/a b";
        assert_eq!(unix_line(unix), Some((22914, named(ACCEPTS, b"/run/a b"))));
        let unnamed = b"0000000000000000: 00000002 00000000 00000000 0001 01 7";
        assert_eq!(unix_line(unnamed), Some((7, named(0, b""))));
        assert_eq!(unix_line(b"0000000000000000: 00000002 00000000"), None);
        assert_eq!(inet_line(b"\xff"), None);
        assert_eq!(hex_address("\u{e9}\u{e9}\u{e9}\u{e9}:1"), None);
    }
}
