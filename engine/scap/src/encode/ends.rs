//! What a call says of the ends of its socket: those of a connection, and of a message.

use driver_api::event::{Fact, Tuple};
use driver_api::table::{Category, Returns};
use zerocopy::IntoBytes;

use super::Draft;
use crate::socket::{self, Address};

const TCP: u16 = 6;

/// The ends of Falco's tuple, which has source and target: the own one, and the other one.
fn own_and_other(tuple: &[u8], is_target: bool) -> Option<(Address, Address)> {
    let (source, target) = socket::ends(tuple)?;
    Some(if is_target {
        (target, source)
    } else {
        (source, target)
    })
}

impl Draft {
    /// The address of the other side of a message: who it came from, or where it goes.
    pub(super) fn other_end(&self, tuple: &[u8]) -> Option<Address> {
        let (_, other) = self.ends_of_message(tuple)?;
        (!other.is_unspecified()).then_some(other)
    }

    /// The own end and the other one. This process is the target of a message that it reads.
    fn ends_of_message(&self, tuple: &[u8]) -> Option<(Address, Address)> {
        own_and_other(tuple, self.call.category == Category::IoRead)
    }

    /// A message with an address.
    pub(super) fn datagram(&mut self, at: u8, tuple: &[u8]) {
        if let Some(address) = self.other_end(tuple) {
            self.memory(at, address.to_sockaddr());
            self.known_ends(tuple);
        }
    }

    /// Both ends of a message's socket, if its own end is known.
    pub(super) fn known_ends(&mut self, tuple: &[u8]) {
        let Some((own, other)) = self.ends_of_message(tuple) else {
            return;
        };
        if !own.is_unspecified() {
            self.ends_fact(&own, &other, 0);
        }
    }

    /// The ends of a connection. This process is the source of a connection that it makes, and the target of one that it
    /// accepts.
    pub(super) fn tuple(&mut self, value: &[u8]) {
        let accepts = self.call.returns == Returns::Fd;
        let Some((own, other)) = own_and_other(value, accepts) else {
            return;
        };
        // as in Falco's library: what accept(2) returns on an IP socket is a connection of TCP
        self.ends_fact(&own, &other, if accepts { TCP } else { 0 });
        let address = self
            .call
            .param("addr")
            .and_then(|(at, _)| u8::try_from(at).ok());
        if let Some(at) = address.filter(|at| self.lacks(*at)) {
            self.memory(at, other.to_sockaddr());
        }
    }

    fn ends_fact(&mut self, own: &Address, other: &Address, protocol: u16) {
        if let Some(tuple) = socket::tuple(own, other) {
            let tuple = Tuple { protocol, ..tuple };
            self.fact(Fact::Tuple, tuple.as_bytes());
        }
    }
}
