//! Calls that 32-bit x86 programs make through another one, as `multiplexed.tbl` has them.

use super::generated::MULTIPLEXED;
use super::{SYSCALLS, Syscall};
use crate::event::Abi;

/// The bit that marks the number of a call that was made through another one. The kernel has no numbers with it.
pub const MULTIPLEXED_BIT: u32 = 0x2000_0000;

/// Where a register of the call comes from: below this number a register of the call that it was made through, from
/// this number on a word in memory.
pub const FIRST_WORD: u8 = 6;

/// A call that is made through another one: through socketcall(2) or ipc(2).
#[derive(Debug)]
pub struct Multiplexed {
    /// The index in [`SYSCALLS`] of the call that it is made through.
    pub(super) through: u16,
    /// The number of that call on i386.
    pub(super) through_nr: u32,
    /// The value of the first register, without a version.
    pub(super) value: u32,
    /// Whether the version must be 0 (false) or not (true); none: it does not matter.
    pub(super) version: Option<bool>,
    /// The index in [`SYSCALLS`] of the call that it is.
    pub(super) call: u16,
    /// The register that points to words in memory.
    pub base: u8,
    /// How many words of 32 bits are read there.
    pub words: u8,
    /// Where each register comes from: see [`FIRST_WORD`].
    pub sources: &'static [u8],
}

/// Bits of a call's first register that say which call is meant; the others are a version.
const VALUE: u32 = 0xffff;

impl Multiplexed {
    /// All of them, in the order of `multiplexed.tbl`.
    pub fn all() -> &'static [Self] {
        MULTIPLEXED
    }

    /// The call that a program makes when it makes this call of this ABI with this first register. None: it makes
    /// the call itself.
    pub fn of(abi: Abi, nr: u32, first: u64) -> Option<&'static Self> {
        let first = (first & 0xffff_ffff) as u32;
        MULTIPLEXED
            .iter()
            .filter(|_| abi == Abi::I386)
            .find(|one| one.through_nr == nr && one.is_meant(first & VALUE, first & !VALUE != 0))
    }

    fn is_meant(&self, value: u32, has_version: bool) -> bool {
        self.value == value && self.version.is_none_or(|version| version == has_version)
    }

    /// The one with this number.
    pub(super) fn with_number(nr: u32) -> Option<&'static Self> {
        MULTIPLEXED.iter().find(|one| one.number() == nr)
    }

    /// The number that events of this call have: [`MULTIPLEXED_BIT`], the number of the call that it was made through,
    /// and which of its calls it is.
    pub fn number(&self) -> u32 {
        let version = u32::from(self.version == Some(true));
        MULTIPLEXED_BIT | version << 16 | self.through_nr << 8 | self.value
    }

    /// The call that it is.
    pub fn call(&self) -> &'static Syscall {
        &SYSCALLS[usize::from(self.call)]
    }

    /// The call that it is made through.
    pub fn through(&self) -> &'static Syscall {
        &SYSCALLS[usize::from(self.through)]
    }

    /// The keys under which an interpreter of plans finds it: the number of the call that it is made through, the
    /// value of that call's first register, and whether there is a version.
    pub fn keys(&self) -> impl Iterator<Item = u32> + use<> {
        let (nr, value, version) = (self.through_nr, self.value, self.version);
        [false, true]
            .into_iter()
            .filter(move |has| version.is_none_or(|version| version == *has))
            .map(move |has| key(nr, value, has))
    }

    /// The registers of the call: from the registers of the call that it is made through, and from the words at
    /// [`base`](Self::base).
    pub fn arguments(&self, registers: &[u64; 6], words: &[u32]) -> [u64; 6] {
        let mut all = [0; 6];
        for (to, from) in all.iter_mut().zip(self.sources) {
            let word = from.checked_sub(FIRST_WORD).map(usize::from);
            *to = match word {
                None => registers.get(usize::from(*from)).copied(),
                Some(at) => words.get(at).map(|word| u64::from(*word)),
            }
            .unwrap_or(0);
        }
        all
    }
}

fn key(nr: u32, value: u32, has_version: bool) -> u32 {
    nr << 24 | u32::from(has_version) << 16 | value
}
