//! Which Unix sockets are connected to each other. /proc/net/unix does not say it; the kernel says it through sock_diag(7).
//! Where that is not possible, nothing is known.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;

use super::hash::IdMap;
use super::proc_fs::ProcFs;

/// include/uapi/linux/sock_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// include/uapi/linux/unix_diag.h
const UDIAG_SHOW_PEER: u32 = 4;
const UNIX_DIAG_PEER: u16 = 2;
/// include/uapi/linux/netlink.h
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
/// Bytes of struct nlmsghdr, of struct unix_diag_req and of struct unix_diag_msg.
const HEAD: usize = 16;
const REQUEST: usize = 24;
const MESSAGE: usize = 16;
/// Where struct unix_diag_msg has the inode.
const INODE_AT: usize = 4;
/// The kernel fills at most this much at once (NLMSG_GOODSIZE and more are allowed).
const ROOM: usize = 32 << 10;
/// The most answers that are read.
const MOST: usize = 4096;

/// The peers of the Unix sockets in the network namespace of a process; inodes by inodes.
pub(super) fn read(proc_fs: &ProcFs, pid: u32) -> IdMap<u64, u64> {
    let mut peers = IdMap::default();
    let Some(theirs) = proc_fs.link(pid, "ns/net") else {
        return peers;
    };
    let ours = fs::read_link("/proc/self/ns/net");
    let socket = if ours.is_ok_and(|ours| ours.as_os_str().as_bytes() == theirs) {
        open()
    } else {
        open_in(&proc_fs.path(pid, "ns/net"))
    };
    let Some(socket) = socket.filter(ask) else {
        return peers;
    };
    let mut buffer = vec![0; ROOM];
    for _ in 0..MOST {
        let Some(answer) = receive(&socket, &mut buffer) else {
            break;
        };
        if !take(answer, &mut peers) {
            break;
        }
    }
    peers
}

/// A socket for questions about sockets of this network namespace.
fn open() -> Option<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the call takes numbers and returns a new descriptor, which is then ours, or an error.
    unsafe {
        let fd = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_SOCK_DIAG);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))
    }
}

/// The same for another network namespace. A thread of its own enters that.
fn open_in(namespace: &Path) -> Option<OwnedFd> {
    let namespace = File::open(namespace).ok()?;
    let enter = move || {
        // SAFETY: the call takes numbers. It changes this thread alone, which ends after it has made a socket.
        let error = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
        if error == 0 { open() } else { None }
    };
    let thread = thread::Builder::new().spawn(enter).ok()?;
    thread.join().ok().flatten()
}

/// Asks for all Unix sockets. False: the kernel does not take the question.
fn ask(socket: &OwnedFd) -> bool {
    let mut request = Vec::with_capacity(HEAD + REQUEST);
    request.extend(((HEAD + REQUEST) as u32).to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request.extend([0; 8]);
    request.extend([libc::AF_UNIX as u8, 0, 0, 0]);
    // in all states, with any inode
    request.extend(u32::MAX.to_ne_bytes());
    request.extend([0; 4]);
    request.extend(UDIAG_SHOW_PEER.to_ne_bytes());
    request.extend([0; 8]);
    // SAFETY: the kernel reads as many bytes as the vector has.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            request.as_ptr().cast(),
            request.len(),
            0,
        )
    };
    usize::try_from(sent) == Ok(request.len())
}

fn receive<'a>(socket: &OwnedFd, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    // SAFETY: the kernel writes at most as many bytes as the buffer has.
    let got = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            0,
        )
    };
    buffer.get(..usize::try_from(got).ok()?)
}

/// Takes the peers from an answer. False: it was the last one.
fn take(mut answer: &[u8], peers: &mut IdMap<u64, u64>) -> bool {
    let mut more = false;
    while let Some((kind, body, rest)) = message(answer) {
        if kind != SOCK_DIAG_BY_FAMILY {
            return false;
        }
        more = true;
        if let (Some(inode), Some(peer)) = (u32_at(body, INODE_AT), peer(body)) {
            peers.insert(inode.into(), peer.into());
        }
        answer = rest;
    }
    more
}

/// The type of the first message, its bytes after the head, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let body = bytes.get(HEAD..len)?;
    let rest = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((u16_at(bytes, 4)?, body, rest))
}

/// The attribute with the peer's inode.
fn peer(body: &[u8]) -> Option<u32> {
    let mut attributes = body.get(MESSAGE..)?;
    loop {
        let len = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(4..len)?;
        if u16_at(attributes, 2)? == UNIX_DIAG_PEER {
            return u32_at(value, 0);
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use std::fs::Metadata;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn inode(socket: &impl AsFd) -> u64 {
        let file = File::from(socket.as_fd().try_clone_to_owned().unwrap());
        file.metadata().as_ref().map(Metadata::ino).unwrap()
    }

    #[test]
    fn the_two_sockets_of_a_pair_are_each_others_peers() {
        let (one, other) = UnixStream::pair().unwrap();
        let peers = read(&ProcFs::new(Path::new("/proc")), std::process::id());
        assert_eq!(peers.get(&inode(&one)), Some(&inode(&other)));
        assert_eq!(peers.get(&inode(&other)), Some(&inode(&one)));
    }

    #[test]
    fn a_malformed_answer_ends_the_reading() {
        let mut peers = IdMap::default();
        let mut answer = [0_u8; 48];
        answer[0] = 40;
        answer[4] = 20;
        answer[HEAD + INODE_AT] = 7;
        answer[HEAD + MESSAGE..].copy_from_slice(&[8, 0, 2, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(take(&answer[..40], &mut peers));
        assert_eq!(peers.get(&7), Some(&9));
        for len in 0..40 {
            let mut cut = answer[..len].to_vec();
            peers.clear();
            let _ = take(&cut, &mut peers);
            assert!(peers.is_empty());
            // a length of 0 does not make it read the same again
            cut.iter_mut().take(4).for_each(|byte| *byte = 0);
            assert!(!take(&cut, &mut peers));
        }
    }
}
