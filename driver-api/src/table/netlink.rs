//! Netlink messages, from `netlink.tbl`: what follows their headers, and what their attributes are.

use super::{Kind, SymbolSet};

/// A protocol of netlink (`NETLINK_*`).
#[derive(Debug)]
pub struct NetlinkProtocol {
    /// Its number.
    pub number: u16,
    /// The names of its messages' types. None: its data has no headers.
    pub types: Option<&'static SymbolSet>,
    /// All of its messages ask, so that their flags are those of a question.
    pub asks: bool,
    /// The names of the subsystems in the upper byte of a type.
    pub subsystems: Option<&'static SymbolSet>,
    /// Subsystems, and the names of the lower byte of their types.
    pub named: &'static [(u8, &'static SymbolSet)],
    /// What follows the header. The first row that fits counts.
    pub rows: &'static [NetlinkRow],
}

/// A space of attributes: what each type of them is.
#[derive(Debug)]
pub struct NetlinkAttributes {
    /// The names of the types.
    pub types: Option<&'static SymbolSet>,
    /// What they are. The first row that fits counts.
    pub rows: &'static [NetlinkRow],
}

/// What messages or attributes of some types are.
#[derive(Debug)]
pub struct NetlinkRow {
    /// The types. Empty: all.
    pub types: &'static [u16],
    /// All types with this upper byte.
    pub subsystem: Option<u8>,
    /// Only where the first byte behind the message's header is this address family.
    pub family: Option<u8>,
    /// Only where the message's header has `NLM_F_REQUEST`, or has it not.
    pub request: Option<bool>,
    /// Only behind an attribute of this type with this text.
    pub behind: Option<(u16, &'static str)>,
    /// What they are: the first for which there are enough bytes.
    pub values: &'static [NetlinkValue],
}

/// What a payload or an attribute is.
#[derive(Debug)]
pub enum NetlinkValue {
    /// As in a structure.
    Plain(Kind),
    /// A string that ends with a NUL.
    Str,
    /// A hardware address.
    HwAddr,
    /// An IPv4 or IPv6 address, as the message's family and the length say.
    Ip,
    /// Bytes.
    Bytes,
    /// A number of any length, with names where a set has them.
    Uint(Option<&'static SymbolSet>),
    /// A number of any length, in base 16.
    Xint,
    /// Attributes.
    Nest(&'static NetlinkAttributes),
    /// As many as there are. The set names their indices.
    List(Kind, Option<&'static SymbolSet>),
    /// A value with attributes behind it.
    Then(Kind, &'static NetlinkAttributes),
    /// Structures whose first member is their length, each with attributes behind it.
    Hops(Kind, &'static NetlinkAttributes),
}

impl NetlinkProtocol {
    /// The protocol with this number, if the table has it.
    pub fn with_number(number: u16) -> Option<&'static Self> {
        super::NETLINK_PROTOCOLS
            .iter()
            .find(|of| of.number == number)
    }

    /// The names of the lower byte of a subsystem's types.
    pub fn names_of(&self, subsystem: u8) -> Option<&'static SymbolSet> {
        let found = self.named.iter().find(|(number, _)| *number == subsystem);
        found.map(|(_, set)| *set)
    }
}
