//! The way from a file to its socket, and the two ends of a socket.

use std::net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};

use super::files::file_of;
use super::offset;
use super::peek::{Peek, is_pointer, pointers, u16_at, u64_at};
use crate::layout::{Offsets, have};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const AF_UNIX: u16 = 1;
/// Offsets in `struct sock_common`, whose first members are the same on every kernel since 3.13.
const DADDR: usize = 0;
const SADDR: usize = 4;
const DPORT: usize = 12;
const NUM: usize = 14;
const FAMILY: usize = 16;
/// Bytes of a sock that are searched.
const SOCK: usize = 2048;

/// Finds `file->private_data`, `socket->file`, `socket->sk` and the protocol, by a real connection.
pub(super) fn internet(peek: &mut Peek, off: &mut Offsets, task: u64) -> Option<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .or_else(|_| TcpListener::bind(("0.0.0.0", 0)))
        .ok()?;
    let local = listener.local_addr().ok()?;
    let client = TcpStream::connect(local);
    let udp = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    // without a loopback device there is no connection: the listener has to do
    let (fd, port, remote) = match &client {
        Ok(client) => (
            client.as_raw_fd(),
            client.local_addr().ok()?.port(),
            local.port(),
        ),
        Err(_) => (listener.as_raw_fd(), local.port(), 0),
    };
    let file = file_of(peek, off, task, fd)?;
    let bytes = peek.read(file, 512)?;
    let (private, back, sk) = pointers(&bytes).find_map(|(at, socket)| {
        let bytes = peek.read(socket, 128)?;
        let back = (0..120)
            .step_by(8)
            .find(|&o| u64_at(&bytes, o) == Some(file))?;
        let sk = u64_at(&bytes, back + 8).filter(|&sk| is_pointer(sk))?;
        Some((at, back, sk))
    })?;
    let sock = peek.read(sk, SOCK / 2)?;
    let ends_match = u16_at(&sock, FAMILY)? == AF_INET
        && u16_at(&sock, NUM)? == port
        && u16_at(&sock, DPORT)? == remote.to_be()
        && (remote == 0
            || (sock[DADDR..DADDR + 4] == [127, 0, 0, 1]
                && sock[SADDR..SADDR + 4] == [127, 0, 0, 1]));
    if !ends_match {
        return None;
    }
    off.file_private = offset(private);
    off.socket_file = offset(back);
    let datagram = sock_of(peek, off, task, udp.as_raw_fd(), SOCK / 2)?.1;
    let (at, size) = protocol(&sock, &datagram)?;
    off.sock_protocol = at;
    off.sock_protocol_size = size;
    off.have |= have::SOCKET;
    Some(())
}

/// Finds the protocol, and the size of its field. Type and protocol are next to each other: since Linux 5.6 two 16-bit
/// numbers, in either order; before that a byte for the protocol and then the type (include/net/sock.h).
fn protocol(stream: &[u8], datagram: &[u8]) -> Option<(u32, u32)> {
    const TCP: u16 = 6;
    const UDP: u16 = 17;
    let known = [
        (stream, libc::SOCK_STREAM, TCP),
        (datagram, libc::SOCK_DGRAM, UDP),
    ];
    (32..stream.len()).step_by(2).find_map(|at| {
        let all = |test: &dyn Fn(&[u8], u16, u16) -> bool| {
            known.iter().all(|(sock, kind, protocol)| {
                u16::try_from(*kind).is_ok_and(|kind| test(sock, kind, *protocol))
            })
        };
        let two = |first: usize, second: usize| {
            all(&|sock, kind, protocol| {
                u16_at(sock, at + first) == Some(kind)
                    && u16_at(sock, at + second) == Some(protocol)
            })
        };
        let byte = all(&|sock, kind, protocol| {
            sock.get(at + 1).is_some_and(|&b| u16::from(b) == protocol)
                && u16_at(sock, at + 2) == Some(kind)
        });
        if two(0, 2) {
            Some((offset(at + 2), 2))
        } else if two(2, 0) {
            Some((offset(at), 2))
        } else {
            byte.then_some((offset(at + 1), 1))
        }
    })
}

/// The address and the bytes of the sock of a descriptor, found in the way of the programs.
fn sock_of(
    peek: &mut Peek,
    off: &Offsets,
    task: u64,
    fd: i32,
    len: usize,
) -> Option<(u64, Vec<u8>)> {
    let file = file_of(peek, off, task, fd)?;
    let socket = peek
        .read_u64(file + u64::from(off.file_private))
        .filter(|&s| is_pointer(s))?;
    if peek.read_u64(socket + u64::from(off.socket_file))? != file {
        return None;
    }
    let sk = peek
        .read_u64(socket + u64::from(off.socket_file) + 8)
        .filter(|&sk| is_pointer(sk))?;
    Some((sk, peek.read(sk, len)?))
}

/// Finds the two IPv6 addresses in a sock, by one socket that has only the local address and one that has both. The remote
/// address comes first.
pub(super) fn internet6(peek: &mut Peek, off: &mut Offsets, task: u64) -> Option<()> {
    let ours = Ipv6Addr::LOCALHOST;
    let receiver = UdpSocket::bind((ours, 0)).ok()?;
    let sender = UdpSocket::bind((ours, 0)).ok()?;
    sender.connect(receiver.local_addr().ok()?).ok()?;
    let (here, there) = (ours.octets(), [0; 16]);
    let one = sock_of(peek, off, task, receiver.as_raw_fd(), 256)?.1;
    let both = sock_of(peek, off, task, sender.as_raw_fd(), 256)?.1;
    if u16_at(&one, FAMILY)? != AF_INET6 {
        return None;
    }
    let pair = |sock: &[u8], at: usize, remote: [u8; 16]| {
        sock[at..at + 16] == remote && sock[at + 16..at + 32] == here
    };
    let at = (24..=224)
        .step_by(4)
        .find(|&at| pair(&one, at, there) && pair(&both, at, here))?;
    off.sock_v6 = offset(at);
    off.have |= have::V6;
    Some(())
}

/// Finds `unix_sock->addr` and `unix_sock->peer`, by a connection to an abstract name, which leaves nothing in the file
/// system.
pub(super) fn unix(peek: &mut Peek, off: &mut Offsets, task: u64) -> Option<()> {
    let name = format!("lanner-offsets-{:x}", peek.magic);
    let address = UnixAddr::from_abstract_name(&name).ok()?;
    let listener = UnixListener::bind_addr(&address).ok()?;
    let client = UnixStream::connect_addr(&address).ok()?;
    let (server, _) = listener.accept().ok()?;
    let (near, near_bytes) = sock_of(peek, off, task, client.as_raw_fd(), SOCK)?;
    let (far, far_bytes) = sock_of(peek, off, task, server.as_raw_fd(), SOCK)?;
    let mut full = AF_UNIX.to_ne_bytes().to_vec();
    full.push(0);
    full.extend_from_slice(name.as_bytes());
    let peer = pointers(&near_bytes)
        .find(|&(at, to)| to == far && u64_at(&far_bytes, at) == Some(near))?
        .0;
    let (addr, text) = pointers(&far_bytes).find_map(|(at, address)| {
        let bytes = peek.read(address, 32 + full.len())?;
        let text = bytes
            .windows(full.len())
            .step_by(4)
            .position(|w| w == full)?
            * 4;
        let len = u32::from_ne_bytes(bytes.get(4..8)?.try_into().ok()?);
        (text >= 8 && len as usize == full.len()).then_some((at, text))
    })?;
    off.unix_peer = offset(peer);
    off.unix_addr = offset(addr);
    off.address_name = offset(text);
    off.have |= have::UNIX;
    Some(())
}
