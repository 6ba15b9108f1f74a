//! Applies the effects of calls on sockets: connect, accept, bind, listen, and messages with addresses. The kernel's
//! addresses are preferred. If the driver has none, the address that the program passed is used.

use std::net::SocketAddr;
use std::sync::Arc;

use driver_api::event::{Attachment, Event, Fact, Flags, Part};

use super::descriptor::{Connection, Descriptor, DescriptorKind, Role, Socket};
use super::effects;
use super::follow::{CLOEXEC, Call};
use super::sockets::{self, Address};
use super::{Inspector, Seen};

/// The other side of a message; `at` is the argument that has its address.
#[derive(Debug, Clone, Copy)]
pub(super) enum Peer {
    /// The message goes there. `opens`: the call also makes the connection (`MSG_FASTOPEN`).
    To {
        at: u8,
        opens: bool,
    },
    From {
        at: u8,
    },
}

/// Which end a datagram socket is that no call has connected. This depends on the event alone, and on bind(2), which the
/// state always sees; not on whether other messages are captured.
fn datagram_role(socket: &Socket, remote: u16, sends: bool) -> Role {
    let local = socket.local.map(|local| local.port());
    let Some(local) = local.filter(|_| socket.bound) else {
        // the kernel has chosen the port, so the first message was sent from here
        return Role::Client;
    };
    if sockets::serves(local, remote) {
        Role::Server
    } else if sockets::serves(remote, local) || sends {
        Role::Client
    } else {
        Role::Server
    }
}

/// Takes the port that bind(2) chose from a message that names it: a capture of Falco's has what the program asked for, 0.
fn take_own_port(socket: &mut Socket, event: &Event<'_>) {
    let fact = event.tuple().and_then(|tuple| sockets::ends(&tuple));
    let Some((own, _)) = fact.filter(|(own, _)| own.port() != 0) else {
        return;
    };
    if socket.local.is_some_and(|local| local.port() == 0) {
        socket.local = Some(own);
        socket.bound = true;
    }
}

/// The address in message `index` behind a parameter.
fn name_of<'a>(event: &Event<'a>, at: usize, index: u8) -> Option<Attachment<'a>> {
    event
        .parts(at)
        .find(|part| part.index == index && part.part == Part::Name)
}

impl Inspector {
    pub(super) fn connect(&mut self, call: &Call<'_, '_>, seen: &mut Seen) {
        let said = call.event.argument(1);
        let address = said.as_ref().and_then(|said| sockets::address(said.bytes));
        if matches!(address, Some(Address::Unspecified(_))) {
            return self.disconnect(call, seen);
        }
        self.set_remote(call, address, seen);
    }

    /// connect(2) with `AF_UNSPEC`: the socket has no other end any more.
    fn disconnect(&mut self, call: &Call<'_, '_>, seen: &mut Seen) {
        let fd = call.fd(0);
        let known = self.descriptor_of(call.key, call.tid(), fd);
        if known.is_some_and(|known| known.kind == DescriptorKind::Unix) {
            let unnamed = self
                .files
                .pool
                .place(Descriptor::bare(DescriptorKind::Unix));
            return self.replace(call, fd, unnamed, seen);
        }
        self.change_socket(call, seen, |socket| {
            socket.remote = None;
            socket.local = socket.local.filter(|_| socket.bound);
            socket.connection = Connection::None;
            socket.role = Role::None;
        });
    }

    /// A message was sent to an address, or received from one.
    pub(super) fn datagram(&mut self, call: &Call<'_, '_>, peer: Peer, seen: &mut Seen) {
        let (Peer::To { at, .. } | Peer::From { at }) = peer;
        let at = usize::from(at);
        let said = match at {
            1 => name_of(call.event, at, 0),
            _ => call.event.argument(at),
        };
        let address = said.as_ref().and_then(|said| sockets::address(said.bytes));
        let known = self.descriptor_of(call.key, call.tid(), call.fd(0));
        let socket = known.and_then(|known| known.socket).unwrap_or_default();
        if sockets::is_stream(socket.protocol) {
            if matches!(peer, Peer::To { opens: true, .. }) && socket.connection == Connection::None
            {
                self.set_remote(call, address, seen);
            }
            return;
        }
        if call.ret >= 0 || call.entered {
            self.message(call, address, matches!(peer, Peer::To { .. }), seen);
        }
    }

    /// The event is about the next message of the call, if the call has sent or received several.
    pub fn next_message(&mut self, event: &Event<'_>, seen: &mut Seen) -> bool {
        let Some((call_of, key)) = seen.call.zip(seen.process) else {
            return false;
        };
        let Some(sends) = effects::moves_messages(call_of) else {
            return false;
        };
        let header = event.header();
        let next = seen.message.saturating_add(1);
        if !event.has(Flags::ENTRY) && i64::from(next) >= header.ret {
            return false;
        }
        // a message may have neither a name nor data
        if event.parts(1).all(|part| part.index < next) {
            return false;
        }
        let name = name_of(event, 1, next);
        seen.message = next;
        seen.kept = None;
        seen.name_changed = false;
        let call = Call::new(event, call_of, key, true);
        let known = self.descriptor_of(key, call.tid(), call.fd(0));
        let socket = known.and_then(|known| known.socket).unwrap_or_default();
        let address = name.as_ref().and_then(|name| sockets::address(name.bytes));
        if !sockets::is_stream(socket.protocol) {
            self.message(&call, address, sends, seen);
        }
        true
    }

    /// A datagram goes to an address, or comes from one, that may differ from the one of the socket.
    fn message(
        &mut self,
        call: &Call<'_, '_>,
        address: Option<Address<'_>>,
        sends: bool,
        seen: &mut Seen,
    ) {
        let fd = call.fd(0);
        let known = self.descriptor_of(call.key, call.tid(), fd);
        let before = known.and_then(|known| known.socket);
        let address = if sends {
            address.map(|address| address.on(known))
        } else {
            address
        };
        match address {
            Some(Address::Inet(remote)) => {
                let mut socket = before.unwrap_or_default();
                let is_connected = socket.connection != Connection::None;
                let same = |end: SocketAddr| {
                    end.ip().to_canonical() == remote.ip().to_canonical()
                        && end.port() == remote.port()
                };
                if is_connected && (!sends || socket.remote.is_some_and(same)) {
                    return;
                }
                take_own_port(&mut socket, call.event);
                if !is_connected {
                    socket.role = datagram_role(&socket, remote.port(), sends);
                }
                socket.remote = Some(remote);
                socket.connection = Connection::None;
                let descriptor = self.files.pool.socket(DescriptorKind::Ipv4, socket);
                if is_connected {
                    // the next message goes to the connected end again
                    seen.name_changed = true;
                    seen.kept = Some(descriptor);
                } else {
                    self.replace_here(call, fd, descriptor, seen);
                }
            }
            Some(Address::Unix(name)) if sends => {
                let mut peer = std::mem::take(&mut self.scratch);
                peer.clear();
                peer.extend_from_slice(name);
                let descriptor = self.unix(peer);
                let known = self.descriptor_of(call.key, call.tid(), fd);
                seen.name_changed = known.is_none_or(|known| known.name != descriptor.name);
                seen.kept = Some(descriptor);
            }
            Some(Address::Unix(_) | Address::Unspecified(_)) | None => {}
        }
    }

    /// A socket refers to another end from now on.
    fn set_remote(&mut self, call: &Call<'_, '_>, address: Option<Address<'_>>, seen: &mut Seen) {
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
            if let Some(tuple) = call.event.tuple() {
                if socket.protocol == 0 {
                    socket.protocol = tuple.protocol;
                }
                socket.is_v6 |= tuple.family == sockets::AF_INET6;
            }
            match (fact, address) {
                (Some((local, remote)), said) => {
                    // if the other side has already refused, the kernel has cleared the ends
                    let cleared = |end: SocketAddr| end.port() == 0;
                    socket.local = Some(local).filter(|end| !cleared(*end));
                    socket.remote = match said {
                        Some(Address::Inet(said)) if cleared(remote) => Some(said),
                        _ => Some(remote),
                    };
                }
                (None, Some(Address::Inet(remote))) => socket.remote = Some(remote),
                (None, _) => return,
            }
            socket.role = Role::Client;
            socket.connection = call.connection();
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

    /// Replaces what is known of a descriptor and of its duplicates, also those in other processes.
    pub(super) fn replace(
        &mut self,
        call: &Call<'_, '_>,
        fd: i32,
        descriptor: Arc<Descriptor>,
        seen: &mut Seen,
    ) {
        let files = self.files_of(call.key, call.tid());
        let before = files.and_then(|files| self.files.get(files, fd));
        let before = before.map(|entry| Arc::clone(&entry.descriptor));
        let new = Arc::clone(&descriptor);
        self.replace_here(call, fd, descriptor, seen);
        if let Some((files, before)) = files.zip(before)
            && !call.applied
            && *before != *new
        {
            self.files.replace_all(files, &before, &new);
            self.files.pool.keep(before);
        }
    }

    /// Replaces what is known of a descriptor, but not of its duplicates.
    fn replace_here(
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
                    if tuple.protocol != 0 {
                        socket.protocol = tuple.protocol;
                    }
                    socket.is_v6 |= tuple.family == sockets::AF_INET6;
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
            (None, Some(Address::Unix(_) | Address::Unspecified(_)), None) => {
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
        let known = self.descriptor_of(call.key, call.tid(), call.fd(0));
        match sockets::address(said.bytes).map(|address| address.on(known)) {
            Some(Address::Inet(asked)) => {
                // for port 0, the kernel has chosen one
                let fact = call.event.tuple().and_then(|tuple| sockets::ends(&tuple));
                let fact = fact.filter(|_| !call.entered);
                let local = fact.map_or(asked, |(own, _)| own);
                self.change_socket(call, seen, |socket| {
                    socket.local = Some(local);
                    socket.bound = local.port() != 0;
                    // as in Falco, a program that asks for a port is about to serve there, unless it connects
                    if asked.port() != 0 {
                        socket.role = Role::Server;
                    }
                });
            }
            Some(Address::Unix(name)) => {
                let mut said = std::mem::take(&mut self.scratch);
                said.clear();
                said.extend_from_slice(name);
                let descriptor = self.unix(said);
                self.replace(call, call.fd(0), descriptor, seen);
            }
            Some(Address::Unspecified(_)) | None => {}
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
