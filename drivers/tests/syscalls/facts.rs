//! What the kernel says about the actor's own descriptors. The facts of an event must say the same.

use std::fs;
use std::os::unix::ffi::OsStringExt;

use driver_api::event::{Fact, Part, Status, Tuple};
use zerocopy::IntoBytes;

use crate::truth::Want;

fn whole(fact: Fact, bytes: Vec<u8>) -> Want {
    Want::new(fact as u8, Part::None, 0, Status::Whole, 0, bytes)
}

/// The path behind a descriptor; pipes, sockets and anonymous inodes have none.
pub(crate) fn path(fd: i64) -> Option<Want> {
    directory(Fact::Path, &format!("fd/{fd}"))
}

/// The target of a link of this thread in /proc, if it is a path.
pub(crate) fn directory(fact: Fact, name: &str) -> Option<Want> {
    let link = fs::read_link(format!("/proc/thread-self/{name}")).ok()?;
    let link = link.into_os_string().into_vec();
    link.starts_with(b"/").then(|| whole(fact, link))
}

type Getter = unsafe extern "C" fn(i32, *mut libc::sockaddr, *mut libc::socklen_t) -> i32;

fn name(fd: i32, get: Getter) -> Option<Vec<u8>> {
    let mut bytes = vec![0_u8; 128];
    let mut len = 128;
    // SAFETY: the kernel writes at most `len` bytes, and the buffer has as many.
    let error = unsafe { get(fd, bytes.as_mut_ptr().cast(), &raw mut len) };
    bytes.truncate(len as usize);
    (error == 0).then_some(bytes)
}

/// Both ends of a socket.
pub(crate) fn socket(fd: i64) -> Vec<Want> {
    let fd = fd as i32;
    let Some(local) = name(fd, libc::getsockname) else {
        return Vec::new();
    };
    let peer = name(fd, libc::getpeername).unwrap_or_default();
    let mut protocol = 0_i32;
    let mut len = 4;
    // SAFETY: SO_PROTOCOL is an int.
    unsafe {
        let to = (&raw mut protocol).cast();
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL, to, &raw mut len);
    }
    let mut tuple = Tuple {
        family: u16::from_ne_bytes([local[0], local[1]]),
        protocol: protocol as u16,
        ..Tuple::default()
    };
    let mut wants = Vec::new();
    match i32::from(tuple.family) {
        libc::AF_INET | libc::AF_INET6 => {
            (tuple.local_port, tuple.local) = inet(&local);
            (tuple.remote_port, tuple.remote) = inet(&peer);
        }
        libc::AF_UNIX => {
            for (fact, name) in [(Fact::Local, &local), (Fact::Peer, &peer)] {
                let name = name.get(2..).unwrap_or_default();
                let name = match name {
                    [0, ..] | [] => name,
                    _ => name.split(|b| *b == 0).next().unwrap_or_default(),
                };
                if !name.is_empty() {
                    wants.push(whole(fact, name.to_vec()));
                }
            }
        }
        _ => {}
    }
    wants.push(whole(Fact::Tuple, tuple.as_bytes().to_vec()));
    wants
}

fn inet(address: &[u8]) -> (u16, [u8; 16]) {
    let mut bytes = [0; 16];
    let Some(port) = address.get(2..4) else {
        return (0, bytes);
    };
    if address.len() >= 28 {
        bytes.copy_from_slice(&address[8..24]);
    } else {
        bytes[..4].copy_from_slice(&address[4..8]);
    }
    (u16::from_be_bytes([port[0], port[1]]), bytes)
}
