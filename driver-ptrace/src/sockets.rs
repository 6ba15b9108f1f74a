//! Both ends of a tracee's socket: asked of a duplicate of its descriptor, or looked up by its inode, with sock_diag(7) or
//! in /proc/TID/net.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use driver_api::event::{EventBuilder, Fact, Tuple};
use zerocopy::IntoBytes;

use crate::facts::attach_raw;
use crate::unix_diag;

/// Attaches both ends of a socket, and the names of Unix sockets.
pub(crate) fn tuple(event: &mut EventBuilder, what: u8, tgid: u32, tid: u32, fd: i64) {
    let Ok(fd) = i32::try_from(fd) else { return };
    let Some((tuple, local, peer)) = duplicate(tgid, fd)
        .and_then(|socket| ends(&socket))
        .or_else(|| by_inode(tid, fd))
    else {
        return;
    };
    let tuple = if incomplete(&tuple) {
        by_inode(tid, fd).map_or(tuple, |(found, ..)| found)
    } else {
        tuple
    };
    attach_raw(event, what, tuple.as_bytes());
    for (fact, name) in [(Fact::Local, local), (Fact::Peer, peer)] {
        if !name.is_empty() {
            attach_raw(event, fact as u8, &name);
        }
    }
}

/// Whether the peer is missing: getpeername(2) does not give that of a connection that is still being made.
fn incomplete(tuple: &Tuple) -> bool {
    matches!(i32::from(tuple.family), libc::AF_INET | libc::AF_INET6) && tuple.remote_port == 0
}

/// A duplicate of the tracee's descriptor. Needs Linux 5.6, and no profile that forbids it.
fn duplicate(tgid: u32, fd: i32) -> Option<OwnedFd> {
    // SAFETY: both calls take numbers and return a new descriptor, which is then ours, or an error.
    unsafe {
        let pidfd = libc::syscall(libc::SYS_pidfd_open, tgid, 0);
        let pidfd = OwnedFd::from_raw_fd(i32::try_from(pidfd).ok().filter(|fd| *fd >= 0)?);
        let got = libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0);
        i32::try_from(got)
            .ok()
            .filter(|fd| *fd >= 0)
            .map(|fd| OwnedFd::from_raw_fd(fd))
    }
}

/// A tuple, and the names of both ends of a Unix socket.
type Ends = (Tuple, Vec<u8>, Vec<u8>);

fn ends(socket: &OwnedFd) -> Option<Ends> {
    let local = name(socket, libc::getsockname)?;
    let remote = name(socket, libc::getpeername).unwrap_or_default();
    let mut tuple = Tuple {
        family: u16::from_ne_bytes([*local.first()?, *local.get(1)?]),
        ..Tuple::default()
    };
    tuple.protocol = protocol(socket);
    let (mut from, mut to) = (Vec::new(), Vec::new());
    match i32::from(tuple.family) {
        libc::AF_UNIX => {
            [from, to] = [local, remote]
                .map(|end| unix_diag::name(end.get(2..).unwrap_or_default()).to_vec());
        }
        libc::AF_INET | libc::AF_INET6 => {
            (tuple.local_port, tuple.local) = inet(&local);
            (tuple.remote_port, tuple.remote) = inet(&remote);
        }
        _ => {}
    }
    Some((tuple, from, to))
}

type Getter = unsafe extern "C" fn(i32, *mut libc::sockaddr, *mut libc::socklen_t) -> i32;

fn name(socket: &OwnedFd, get: Getter) -> Option<Vec<u8>> {
    let mut bytes = vec![0_u8; 128];
    let mut len = 128;
    // SAFETY: `get` is one of libc's functions; the kernel writes at most `len` bytes, and `bytes` has as many.
    let error = unsafe { get(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), &raw mut len) };
    bytes.truncate(len as usize);
    (error == 0 && bytes.len() >= 2).then_some(bytes)
}

fn protocol(socket: &OwnedFd) -> u16 {
    let mut protocol: i32 = 0;
    let mut len = 4;
    // SAFETY: the kernel writes one int, for which there is room.
    unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PROTOCOL,
            (&raw mut protocol).cast(),
            &raw mut len,
        );
    }
    u16::try_from(protocol).unwrap_or(0)
}

fn inet(address: &[u8]) -> (u16, [u8; 16]) {
    let mut bytes = [0; 16];
    let port = address
        .get(2..4)
        .map_or(0, |port| u16::from_be_bytes([port[0], port[1]]));
    if address.len() >= 28 {
        bytes.copy_from_slice(&address[8..24]);
    } else if address.len() >= 8 {
        bytes[..4].copy_from_slice(&address[4..8]);
    }
    (port, bytes)
}

/// Looks the socket up by its inode, in the tracee's network namespace.
fn by_inode(tid: u32, fd: i32) -> Option<Ends> {
    let link = fs::read_link(format!("/proc/{tid}/fd/{fd}")).ok()?;
    let inode = link
        .to_str()?
        .strip_prefix("socket:[")?
        .strip_suffix(']')?
        .to_owned();
    let unix = Tuple {
        family: u16::try_from(libc::AF_UNIX).unwrap_or(0),
        ..Tuple::default()
    };
    if shares_network(tid)
        && let Some((local, peer)) = inode.parse().ok().and_then(unix_diag::names)
    {
        return Some((unix, local, peer));
    }
    let tables = [
        ("tcp", libc::AF_INET, libc::IPPROTO_TCP),
        ("tcp6", libc::AF_INET6, libc::IPPROTO_TCP),
        ("udp", libc::AF_INET, libc::IPPROTO_UDP),
        ("udp6", libc::AF_INET6, libc::IPPROTO_UDP),
    ];
    for (table, family, protocol) in tables {
        let Ok(file) = fs::File::open(format!("/proc/{tid}/net/{table}")) else {
            continue;
        };
        for line in BufReader::new(file).lines().skip(1).map_while(Result::ok) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.get(9) == Some(&inode.as_str()) {
                let (local, local_port) = hex_address(words[1])?;
                let (remote, remote_port) = hex_address(words[2])?;
                let tuple = Tuple {
                    family: u16::try_from(family).unwrap_or(0),
                    protocol: u16::try_from(protocol).unwrap_or(0),
                    local_port,
                    remote_port,
                    local,
                    remote,
                };
                return Some((tuple, Vec::new(), Vec::new()));
            }
        }
    }
    // the table has no peers
    let table = fs::read_to_string(format!("/proc/{tid}/net/unix")).ok()?;
    let line = table
        .lines()
        .find(|line| line.split_whitespace().nth(6) == Some(&inode))?;
    let name = line.split_whitespace().nth(7).unwrap_or_default();
    let name = if let Some(hidden) = name.strip_prefix('@') {
        format!("\0{hidden}")
    } else {
        name.to_owned()
    };
    Some((unix, name.into_bytes(), Vec::new()))
}

/// Whether a thread has lanner's network namespace. Where the kernel has no network namespaces, there are no links.
fn shares_network(tid: u32) -> bool {
    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/net")).ok();
    namespace("self") == namespace(&tid.to_string())
}

/// Parses an address like "0100007F:1F90": words in host order, the port as a number.
fn hex_address(text: &str) -> Option<([u8; 16], u16)> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = [0; 16];
    for (at, word) in bytes.chunks_mut(4).enumerate() {
        if let Some(digits) = address.get(at * 8..at * 8 + 8) {
            word.copy_from_slice(&u32::from_str_radix(digits, 16).ok()?.to_ne_bytes());
        }
    }
    Some((bytes, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::Error;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
    use std::process;

    use super::*;

    fn inode_of(socket: &impl AsRawFd) -> u32 {
        let inode = fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd()));
        inode.map_or(0, |inode| inode.ino() as u32)
    }

    /// Whether a lookup by inode gives what the kernel says about a descriptor.
    fn assert_same(what: &str, socket: impl Into<OwnedFd>, has_peer: bool) -> Result<(), Error> {
        let socket = socket.into();
        let asked = ends(&socket).ok_or_else(Error::last_os_error)?;
        assert_eq!(!asked.2.is_empty(), has_peer, "{what}");
        assert_eq!(
            by_inode(process::id(), socket.as_raw_fd()),
            Some(asked),
            "{what}"
        );
        Ok(())
    }

    #[test]
    fn a_unix_socket_is_found_by_its_inode_with_both_ends() -> Result<(), Error> {
        let place = tempfile::tempdir()?;
        let path = place.path().join("listener");
        let by_path = UnixListener::bind(&path)?;
        if unix_diag::names(inode_of(&by_path)).is_none() {
            test_support::skipped("the kernel lacks CONFIG_UNIX_DIAG");
            return Ok(());
        }
        let abstract_name = SocketAddr::from_abstract_name(format!("a\0b @{}", process::id()))?;
        let by_name = UnixListener::bind_addr(&abstract_name)?;
        let waiting = UnixStream::connect(&path)?;
        assert_same(
            "a connection that waits to be accepted",
            waiting.try_clone()?,
            true,
        )?;
        let accepted = by_path.accept()?.0;
        assert_same("a connection that was accepted", waiting, true)?;
        assert_same("the listener's end", accepted, false)?;
        assert_same(
            "an abstract name",
            UnixStream::connect_addr(&abstract_name)?,
            true,
        )?;
        assert_same("a listener", by_name, false)?;
        assert_same("a pair", UnixStream::pair()?.0, false)?;
        let receiver = UnixDatagram::bind(place.path().join("receiver"))?;
        let sender = UnixDatagram::unbound()?;
        assert_same("datagrams without a peer", sender.try_clone()?, false)?;
        sender.connect_addr(&receiver.local_addr()?)?;
        assert_same("datagrams", sender, true)?;
        // the listener's name is the one that it was bound to
        let link = place.path().join("link");
        symlink(&path, &link)?;
        assert_same(
            "a connection through a link",
            UnixStream::connect(&link)?,
            true,
        )?;
        Ok(())
    }
}
