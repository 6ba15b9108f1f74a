//! Applies the effects of calls on sockets: connect, accept, bind, listen, and messages with addresses. The kernel's
//! addresses are preferred. If the driver has none, the address that the program passed is used.

use std::sync::Arc;

use driver_api::event::{Fact, Part};

use super::descriptor::{Connection, Descriptor, DescriptorKind, Role, Socket};
use super::follow::{CLOEXEC, Call};
use super::sockets::{self, Address};
use super::{Inspector, Seen};

/// `IPPROTO_TCP`
const TCP: u16 = 6;

/// The other side of a message, with the index of the argument that has its address.
#[derive(Debug, Clone, Copy)]
pub(super) enum Peer {
    To(u8),
    From(u8),
}

impl Inspector {
    pub(super) fn connect(&mut self, call: &Call<'_, '_>, seen: &mut Seen) {
        let said = call.event.argument(1);
        let address = said.as_ref().and_then(|said| sockets::address(said.bytes));
        let connection = if call.ret < 0 {
            Connection::Pending
        } else {
            Connection::Made
        };
        self.set_remote(call, address, connection, seen);
    }

    /// A message was sent to an address, or received from one. Ignored for a connected socket.
    pub(super) fn datagram(&mut self, call: &Call<'_, '_>, peer: Peer, seen: &mut Seen) {
        let (Peer::To(at) | Peer::From(at)) = peer;
        let at = usize::from(at);
        let said = match at {
            1 => call.event.part(at, Part::Name),
            _ => call.event.argument(at),
        };
        let address = said.as_ref().and_then(|said| sockets::address(said.bytes));
        let socket = self
            .descriptor_of(call.key, call.tid(), call.fd(0))
            .and_then(|known| known.socket);
        if socket
            .is_some_and(|socket| socket.connection != Connection::None || socket.protocol == TCP)
        {
            return;
        }
        match (address, peer) {
            (None, _) => {}
            (Some(address), Peer::To(_)) => {
                self.set_remote(call, Some(address), Connection::None, seen);
            }
            (Some(Address::Inet(remote)), Peer::From(_)) => {
                self.change_socket(call, seen, |socket| {
                    socket.remote = Some(remote);
                    if socket.role == Role::None {
                        socket.role = Role::Server;
                    }
                });
            }
            (Some(Address::Unix(_)), Peer::From(_)) => {}
        }
    }

    /// A socket refers to another end from now on.
    fn set_remote(
        &mut self,
        call: &Call<'_, '_>,
        address: Option<Address<'_>>,
        connection: Connection,
        seen: &mut Seen,
    ) {
        let fd = call.fd(0);
        let fact = call.event.tuple().and_then(|tuple| sockets::ends(&tuple));
        if fact.is_none() && address.is_none() {
            return;
        }
        let before = self.descriptor_of(call.key, call.tid(), fd);
        let descriptor = if fact.is_none()
            && let Some(Address::Unix(name)) = address
        {
            let mut peer = std::mem::take(&mut self.scratch);
            peer.clear();
            match call.event.fact(Fact::Peer) {
                Some(fact) => fact.append_text(&mut peer),
                None => peer.extend_from_slice(name),
            }
            self.unix(peer)
        } else {
            let mut socket = before.and_then(|before| before.socket).unwrap_or_default();
            if let Some(tuple) = call.event.tuple()
                && socket.protocol == 0
            {
                socket.protocol = tuple.protocol;
            }
            match (fact, address) {
                (Some((local, remote)), _) => {
                    socket.local = Some(local);
                    socket.remote = Some(remote);
                }
                (None, Some(Address::Inet(remote))) => socket.remote = Some(remote),
                (None, _) => return,
            }
            if !(connection == Connection::None && socket.role == Role::Server) {
                socket.role = Role::Client;
            }
            socket.connection = connection;
            self.files.pool.socket(DescriptorKind::Ipv4, socket)
        };
        self.replace(call, fd, descriptor, seen);
    }

    /// A Unix socket with this name. The buffer becomes the scratch buffer again.
    fn unix(&mut self, mut name: Vec<u8>) -> Arc<Descriptor> {
        sockets::show_unix_name(&mut name);
        let descriptor = self.files.pool.file(DescriptorKind::Unix, &name, None);
        self.scratch = name;
        descriptor
    }

    /// Replaces what is known of a descriptor.
    pub(super) fn replace(
        &mut self,
        call: &Call<'_, '_>,
        fd: i32,
        descriptor: Arc<Descriptor>,
        seen: &mut Seen,
    ) {
        let files = self.files_of(call.key, call.tid());
        let before = files.and_then(|files| self.files.get(files, fd));
        if before.is_some_and(|entry| entry.descriptor == descriptor) {
            self.files.pool.keep(descriptor);
            return;
        }
        let cloexec = before.is_some_and(|entry| entry.close_on_exec);
        seen.name_changed = before.is_none_or(|entry| entry.descriptor.name != descriptor.name);
        seen.kept = Some(descriptor.clone());
        self.store(call, fd, descriptor, cloexec);
    }

    pub(super) fn accept(&mut self, call: &Call<'_, '_>, flags: Option<u8>, seen: &mut Seen) {
        let tuple = call.event.tuple();
        let ends = tuple.as_ref().and_then(sockets::ends);
        let listener = self.files_of(call.key, call.tid());
        let listener = listener.and_then(|files| self.files.get(files, call.fd(0)));
        let listener = listener.map(|entry| Arc::clone(&entry.descriptor));
        let said = call.event.argument(1);
        let address = said.as_ref().and_then(|said| sockets::address(said.bytes));
        let mut socket = listener
            .as_ref()
            .and_then(|listener| listener.socket)
            .unwrap_or_default();
        socket.role = Role::Server;
        socket.connection = Connection::Made;
        let descriptor = match (ends, address, listener) {
            (Some((local, remote)), ..) => {
                socket.local = Some(local);
                socket.remote = Some(remote);
                if let Some(tuple) = tuple {
                    socket.protocol = tuple.protocol;
                }
                self.files.pool.socket(DescriptorKind::Ipv4, socket)
            }
            (None, Some(Address::Inet(remote)), _) => {
                socket.remote = Some(remote);
                self.files.pool.socket(DescriptorKind::Ipv4, socket)
            }
            (None, _, Some(listener)) => {
                let kind = listener.kind;
                self.scratch.clear();
                self.scratch.extend_from_slice(&listener.name);
                self.files.pool.file(kind, &self.scratch, None)
            }
            (None, Some(Address::Unix(_)), None) => {
                let unix = Descriptor::bare(DescriptorKind::Unix);
                self.files.pool.place(unix)
            }
            (None, None, None) => {
                let family = tuple.map_or(0, |tuple| tuple.family);
                let bare = Descriptor::bare(sockets::kind_of_family(family));
                self.files.pool.place(bare)
            }
        };
        self.install(call, descriptor, call.has(flags, CLOEXEC), seen);
    }

    pub(super) fn bind(&mut self, call: &Call<'_, '_>, seen: &mut Seen) {
        let Some(said) = call.event.argument(1) else {
            return;
        };
        match sockets::address(said.bytes) {
            Some(Address::Inet(local)) => {
                self.change_socket(call, seen, |socket| socket.local = Some(local));
            }
            Some(Address::Unix(name)) => {
                let mut said = std::mem::take(&mut self.scratch);
                said.clear();
                said.extend_from_slice(name);
                let descriptor = self.unix(said);
                self.replace(call, call.fd(0), descriptor, seen);
            }
            None => {}
        }
    }

    /// Changes what is known of an internet socket.
    pub(super) fn change_socket(
        &mut self,
        call: &Call<'_, '_>,
        seen: &mut Seen,
        change: impl FnOnce(&mut Socket),
    ) {
        let fd = call.fd(0);
        let (kind, mut socket) = match self.descriptor_of(call.key, call.tid(), fd) {
            Some(Descriptor {
                kind,
                socket: Some(socket),
                ..
            }) => (*kind, *socket),
            Some(_) => return,
            None => (DescriptorKind::Other, Socket::default()),
        };
        change(&mut socket);
        let descriptor = self.files.pool.socket(kind, socket);
        self.replace(call, fd, descriptor, seen);
    }
}
