//! What a driver is asked to capture.

use std::ffi::OsString;

use crate::selection::Selection;
use crate::table::{Multiplexed, SYSCALLS, Syscall};

/// Everything that a driver needs to know to begin.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose calls.
    pub target: Target,
    /// Which calls, and which of their events. Births, execs and exits are always captured.
    pub selection: Selection,
    /// How much of each call.
    pub limits: Limits,
    /// Bytes of buffer for each CPU, a power of two.
    pub buffer: usize,
}

/// Whose calls are captured.
#[derive(Debug, Clone)]
pub enum Target {
    /// Every process of the host except lanner.
    Host,
    /// A command that the driver starts, and all its descendants.
    Command(Command),
    /// Running processes, and all children that they and their children make from now on.
    Pids(Vec<u32>),
}

/// A command to start.
#[derive(Debug, Clone)]
pub struct Command {
    /// The executable, already looked up in `PATH`.
    pub program: OsString,
    /// `argv`, with `argv[0]`.
    pub args: Vec<OsString>,
}

/// How many bytes of the memory that arguments point to are captured. An attachment that is cut off is marked as
/// truncated. Facts have a limit of their own, [`FACT_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a buffer or of gathered iovecs. Default 80, at most 4096.
    pub bytes: u32,
    /// Bytes of a path or string. Default 4096, which is the maximum.
    pub path: u32,
    /// Bytes of an argument or environment vector. Default 4096, which is the maximum.
    pub strings: u32,
    /// Bytes of an array of structures or numbers. Default 512, which is the maximum.
    pub arrays: u32,
    /// Entries of an array of iovecs or messages. Default 16, which is the maximum.
    pub entries: u16,
    /// What may be left out. Default: nothing.
    pub omit: Omit,
}

/// What the consumer does not need (clauses 21 and 22 of the contract).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Omit {
    /// Selected calls that a capture leaves out if it [holds](crate::driver::Capture::holds) processes: the
    /// consumer itself looks up what they change.
    pub if_held: SyscallSet,
    /// Facts may be missing, except for [`Comm`](crate::event::Fact::Comm).
    pub facts: bool,
}

impl Omit {
    /// Nothing is left out.
    pub const NOTHING: Self = Self {
        if_held: SyscallSet::empty(),
        facts: false,
    };
}

/// The most bytes of a fact. It does not depend on [`Limits`], so that rules can rely on facts.
pub const FACT_MAX: u32 = 4096;

/// Why a limit cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// There is no limit of this name.
    #[error("there is no limit {name:?}: there are {}", limit_names())]
    Unknown {
        /// The name.
        name: String,
    },
    /// The value is larger than the limit can be.
    #[error("the limit {name} is at most {most}, not {value}")]
    TooLarge {
        /// The limit.
        name: &'static str,
        /// The value that was asked for.
        value: u32,
        /// The largest value.
        most: u32,
    },
}

fn limit_names() -> String {
    let names: Vec<&str> = MOST.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// Names of the limits, and the maximum of each.
const MOST: [(&str, u32); 5] = [
    ("bytes", 4096),
    ("path", 4096),
    ("strings", 4096),
    ("arrays", 512),
    ("entries", 16),
];

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 80,
            path: 4096,
            strings: 4096,
            arrays: 512,
            entries: 16,
            omit: Omit::NOTHING,
        }
    }
}

impl Limits {
    /// Sets the limit of this name.
    ///
    /// # Errors
    ///
    /// There is no such limit, or the value is larger than the limit can be.
    pub fn set(&mut self, name: &str, value: u32) -> Result<(), LimitError> {
        let Some(&(name, most)) = MOST.iter().find(|(known, _)| *known == name) else {
            return Err(LimitError::Unknown {
                name: name.to_owned(),
            });
        };
        if value > most {
            return Err(LimitError::TooLarge { name, value, most });
        }
        match name {
            "bytes" => self.bytes = value,
            "path" => self.path = value,
            "strings" => self.strings = value,
            "arrays" => self.arrays = value,
            _ => self.entries = value as u16,
        }
        Ok(())
    }
}

const WORDS: usize = 10;

/// A set of system calls of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyscallSet {
    words: [u64; WORDS],
}

const _: () = assert!(
    SYSCALLS.len() <= WORDS * 64,
    "SyscallSet has too few words for the table"
);

impl SyscallSet {
    /// No call.
    pub const fn empty() -> Self {
        Self { words: [0; WORDS] }
    }

    /// Every call of the table.
    pub fn all() -> Self {
        SYSCALLS.iter().collect()
    }

    /// Adds a call.
    pub fn insert(&mut self, call: &Syscall) {
        self.words[call.index() / 64] |= 1 << (call.index() % 64);
    }

    /// Whether a call is in the set.
    pub fn contains(&self, call: &Syscall) -> bool {
        self.words[call.index() / 64] & (1 << (call.index() % 64)) != 0
    }

    /// The calls, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = &'static Syscall> + '_ {
        SYSCALLS.iter().filter(|call| self.contains(call))
    }

    /// The set, and the calls through which programs make calls of the set: a driver captures these to see those.
    #[must_use]
    pub fn with_multiplexers(&self) -> Self {
        let made = Multiplexed::all().iter();
        let through = made.filter(|one| self.contains(one.call()));
        self.union(&through.map(Multiplexed::through).collect())
    }

    /// Calls that are in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut words = self.words;
        words
            .iter_mut()
            .zip(other.words)
            .for_each(|(word, more)| *word |= more);
        Self { words }
    }

    /// Calls that are in this set and not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut words = self.words;
        words
            .iter_mut()
            .zip(other.words)
            .for_each(|(word, less)| *word &= !less);
        Self { words }
    }
}

impl<'a> FromIterator<&'a Syscall> for SyscallSet {
    fn from_iter<I: IntoIterator<Item = &'a Syscall>>(calls: I) -> Self {
        let mut set = Self::empty();
        calls.into_iter().for_each(|call| set.insert(call));
        set
    }
}
