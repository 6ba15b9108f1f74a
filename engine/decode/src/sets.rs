//! Sets, one bit for each element: signals, capabilities, descriptors, CPUs, NUMA nodes.

use std::fmt::Write as _;

use super::forms::{Forms, Style};
use super::json::{self, Members};
use super::symbols;

/// Signals; number 1 is the lowest bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signals {
    /// One bit for each signal.
    pub bits: u64,
    /// How many signals the set has room for.
    pub room: u32,
    /// Not all of the set was captured.
    pub cut: bool,
}

/// Capabilities; `CAP_CHOWN`, number 0, is the lowest bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(pub u64);

/// Descriptors, CPUs or nodes; number 0 is the lowest bit.
#[derive(Debug, Clone, Copy)]
pub struct Bits<'a> {
    pub(super) bytes: &'a [u8],
    /// There are more than were captured.
    pub cut: bool,
}

impl Signals {
    /// The signals in the first 64 bits.
    pub(super) fn of_memory(bytes: &[u8], cut: bool) -> Self {
        let mut all = [0; 8];
        let len = bytes.len().min(8);
        all[..len].copy_from_slice(&bytes[..len]);
        Self {
            bits: u64::from_ne_bytes(all),
            room: 8 * len as u32,
            cut,
        }
    }
}

/// Numbers of the bits that are set.
fn ones(bits: u64) -> impl Iterator<Item = u64> {
    (0..64).filter(move |at| bits & 1 << at != 0)
}

impl<'a> Bits<'a> {
    /// Numbers of the bits that are set.
    pub fn iter(&self) -> impl Iterator<Item = usize> + use<'a> {
        self.bytes.iter().enumerate().flat_map(|(at, byte)| {
            (0..8)
                .filter(move |bit| byte & 1 << bit != 0)
                .map(move |bit| at * 8 + bit)
        })
    }
}

impl Forms for Signals {
    /// Names without their prefix. If more than half of the signals are in the set, strace lists the others.
    fn text(&self, out: &mut String) {
        let all = u64::MAX.checked_shr(64 - self.room).unwrap_or_default();
        let inverted = self.bits.count_ones() > self.room / 2;
        let shown = if inverted {
            !self.bits & all
        } else {
            self.bits
        };
        out.push_str(if inverted { "~[" } else { "[" });
        let mut space = "";
        for at in ones(shown) {
            let _ = match symbols::signal(at + 1) {
                Some(name) => write!(out, "{space}{}", name.trim_start_matches("SIG")),
                None => write!(out, "{space}{}", at + 1),
            };
            space = " ";
        }
        if self.cut {
            let _ = write!(out, "{space}...");
        }
        out.push(']');
    }

    fn json(&self, out: &mut String) {
        let mut inside = Members::array(out);
        for at in ones(self.bits) {
            json::signal(inside.item(), at + 1);
        }
        inside.end();
    }
}

impl Forms for Capabilities {
    fn text(&self, out: &mut String) {
        if self.0 == 0 {
            out.push('0');
        }
        let mut bar = "";
        for at in ones(self.0) {
            let _ = match super::capability(at) {
                Some(name) => write!(out, "{bar}1<<{name}"),
                None => write!(out, "{bar}1<<{at}"),
            };
            bar = "|";
        }
    }

    fn json(&self, out: &mut String) {
        let mut inside = Members::array(out);
        for at in ones(self.0) {
            json::named(inside.item(), "cap", at);
        }
        inside.end();
    }

    fn falco(&self, out: &mut String, _style: Style) -> bool {
        for (at, name) in ones(self.0).filter_map(super::capability).enumerate() {
            if at > 0 {
                out.push('|');
            }
            out.push_str(name);
        }
        true
    }
}

impl Forms for Bits<'_> {
    fn text(&self, out: &mut String) {
        let numbers: Vec<String> = self.iter().map(|number| number.to_string()).collect();
        let _ = write!(out, "[{}]", numbers.join(" "));
        if self.cut {
            out.push_str("...");
        }
    }

    fn json(&self, out: &mut String) {
        let mut inside = Members::array(out);
        for number in self.iter() {
            let _ = write!(inside.item(), "{number}");
        }
        inside.end();
    }
}
