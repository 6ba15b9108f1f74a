//! The names of both ends of a Unix socket, by the number of the socket's inode: asked of the kernel over netlink
//! (sock_diag(7)). Needs CONFIG_UNIX_DIAG, and answers for the network namespace of the caller only.

use std::mem::offset_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The names of the socket's own end and of the other end, as [`libc::sockaddr_un::sun_path`] has them; empty: no name.
pub(crate) type Names = (Vec<u8>, Vec<u8>);

// include/uapi/linux/sock_diag.h and unix_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SHOW_NAME: u32 = 1;
const SHOW_PEER: u32 = 4;
const SHOW_PENDING: u32 = 8;
const NAME: u16 = 0;
const PEER: u16 = 2;
/// The inodes of the sockets that wait to be accepted.
const PENDING: u16 = 3;
/// TCP_LISTEN, which Unix sockets use as well, as a bit.
const LISTENING: u32 = 1 << 10;
/// `struct nlmsghdr`, `struct unix_diag_msg`, `struct nlattr`, in bytes.
const HEADER: usize = size_of::<libc::nlmsghdr>();
const SOCKET: usize = 16;
const ATTRIBUTE: usize = 4;

/// What the kernel says about one socket.
#[derive(Debug, Default, PartialEq, Eq)]
struct Socket {
    name: Vec<u8>,
    /// The other end's inode: absent if there is no other end, 0 if that has not been accepted yet.
    peer: Option<u32>,
    pending: Vec<u32>,
}

/// The names of both ends of the Unix socket with this inode. `None` if the kernel knows no such socket.
pub(crate) fn names(inode: u32) -> Option<Names> {
    // a socket that is accepted between two questions is found in the second round
    (0..2).find_map(|_| ask_for_names(inode))
}

fn ask_for_names(inode: u32) -> Option<Names> {
    let own = one(inode)?;
    let peer = match own.peer {
        None => Vec::new(),
        Some(0) => {
            ask(0, LISTENING, SHOW_NAME | SHOW_PENDING)?
                .into_iter()
                .find(|socket| socket.pending.contains(&inode))?
                .name
        }
        Some(peer) => one(peer)?.name,
    };
    Some((own.name, peer))
}

/// The socket with this inode.
fn one(inode: u32) -> Option<Socket> {
    ask(inode, 0, SHOW_NAME | SHOW_PEER)?.pop()
}

/// Asks for the socket with this inode or, for 0, for all sockets in these states.
fn ask(inode: u32, states: u32, show: u32) -> Option<Vec<Socket>> {
    let flags = libc::NLM_F_REQUEST | if inode == 0 { libc::NLM_F_DUMP } else { 0 };
    // SAFETY: socket(2) takes numbers, and returns a new descriptor, which is then ours, or an error.
    let netlink = unsafe {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        let fd = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_SOCK_DIAG);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))?
    };
    let question = question(inode, states, show, flags);
    // SAFETY: `question` has as many bytes as are sent.
    let sent = unsafe {
        libc::send(
            netlink.as_raw_fd(),
            question.as_ptr().cast(),
            question.len(),
            0,
        )
    };
    if sent < 0 {
        return None;
    }
    let mut found = Vec::new();
    let mut bytes = vec![0_u8; 64 << 10];
    loop {
        // the kernel answers while it is asked: there is nothing to wait for
        // SAFETY: the kernel writes at most as many bytes as `bytes` has.
        let len = unsafe {
            let to = bytes.as_mut_ptr().cast();
            libc::recv(netlink.as_raw_fd(), to, bytes.len(), libc::MSG_DONTWAIT)
        };
        let answer = bytes.get(..usize::try_from(len).ok()?)?;
        let more = read(answer, &mut found)?;
        if !more || inode != 0 {
            return Some(found);
        }
    }
}

/// A message with `struct unix_diag_req`.
fn question(inode: u32, states: u32, show: u32, flags: i32) -> Vec<u8> {
    let mut bytes = vec![0; offset_of!(libc::nlmsghdr, nlmsg_type)];
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend((flags as u16).to_ne_bytes());
    bytes.extend([0; 8]); // sequence number and port
    bytes.extend([libc::AF_UNIX as u8, 0, 0, 0]);
    // the last two: no cookie
    for number in [states, inode, show, u32::MAX, u32::MAX] {
        bytes.extend(number.to_ne_bytes());
    }
    let len = bytes.len() as u32;
    bytes[..4].copy_from_slice(&len.to_ne_bytes());
    bytes
}

/// Reads the messages of an answer into `found`, and returns whether more answers follow. `None` if the kernel reports
/// an error, or if the answer is malformed.
fn read(mut answer: &[u8], found: &mut Vec<Socket>) -> Option<bool> {
    while !answer.is_empty() {
        let len = number(answer, 0)? as usize;
        let message = answer.get(HEADER..len)?;
        match i32::from(short(answer, 4)?) {
            libc::NLMSG_DONE => return Some(false),
            libc::NLMSG_ERROR => return None,
            _ => found.push(socket(message)?),
        }
        answer = answer.get(aligned(len)..).unwrap_or_default();
    }
    Some(true)
}

/// Reads `struct unix_diag_msg` and the attributes behind it.
fn socket(message: &[u8]) -> Option<Socket> {
    let mut socket = Socket::default();
    let mut rest = message.get(SOCKET..)?;
    while !rest.is_empty() {
        let len = usize::from(short(rest, 0)?);
        let value = rest.get(ATTRIBUTE..len)?;
        match short(rest, 2)? {
            NAME => socket.name = name(value).to_vec(),
            PEER => socket.peer = Some(number(value, 0)?),
            PENDING => {
                let inodes = value.chunks_exact(4);
                socket.pending = inodes.filter_map(|inode| number(inode, 0)).collect();
            }
            _ => {}
        }
        rest = rest.get(aligned(len)..).unwrap_or_default();
    }
    Some(socket)
}

/// A path ends at its NUL. An abstract name begins with one, and has all bytes.
pub(crate) fn name(bytes: &[u8]) -> &[u8] {
    match bytes {
        [] | [0, ..] => bytes,
        path => path.split(|byte| *byte == 0).next().unwrap_or_default(),
    }
}

/// Messages and attributes begin at multiples of 4.
fn aligned(len: usize) -> usize {
    len.next_multiple_of(4)
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}
