//! The words of the tables, as enums. The build script compiles this folder to read the tables, and the
//! library compiles it to describe them, so that a word is spelled once.

/// Defines an enum whose variants are words in a table.
macro_rules! words {
    ($(#[$outer:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word in the tables.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// The one with this word.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.word() == word)
            }
        }
    };
}

mod buffer;
mod number;
mod sqe;

pub use buffer::{Buffer, Counts, Fetch, Room};
pub use number::{Number, Reading, Width};
pub use sqe::SqeField;

words! {
    /// What a system call is about.
    Category {
        /// Asynchronous input and output.
        Aio = "aio",
        /// Descriptors themselves, whatever is behind them.
        Fd = "fd",
        /// Files, directories and their names.
        File = "file",
        /// Data that moves between descriptors, and rings of requests.
        Io = "io",
        /// Data that the process reads or receives.
        IoRead = "io_read",
        /// Data that the process writes or sends.
        IoWrite = "io_write",
        /// Pipes, System V IPC, message queues, futexes.
        Ipc = "ipc",
        /// Kernel keyrings.
        Keys = "keys",
        /// The address space.
        Memory = "memory",
        /// Sockets.
        Net = "net",
        /// Processes, their groups, sessions, namespaces and limits.
        Process = "process",
        /// Scheduling.
        Sched = "sched",
        /// Signals.
        Signal = "signal",
        /// Waiting for a time.
        Sleep = "sleep",
        /// The system as a whole.
        System = "system",
        /// Clocks and timers.
        Time = "time",
        /// User and group ids, capabilities.
        User = "user",
        /// Waiting for events.
        Wait = "wait",
    }
}

impl std::fmt::Display for Category {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}

words! {
    /// What a return value means that is no error.
    Returns {
        /// 0.
        Errno = "errno",
        /// A new descriptor.
        Fd = "fd",
        /// A count of bytes.
        Size = "size",
        /// A process id.
        Pid = "pid",
        /// A child's id; in the child 0.
        Child = "child",
        /// An address.
        Ptr = "ptr",
        /// Depends on the command of fcntl(2).
        Fcntl = "fcntl",
        /// An offset in a file.
        Off = "off",
        /// Permission bits.
        Mode = "mode",
        /// A user id.
        Uid = "uid",
        /// A group id.
        Gid = "gid",
        /// A number best read in base 16.
        Hex = "hex",
        /// A number.
        I64 = "i64",
        /// A number of 32 bits.
        Int = "int",
        /// The call does not return.
        None = "none",
    }
}

words! {
    /// When the memory that a parameter points to is captured.
    Written {
        /// Always: the program fills it.
        Always = "",
        /// When the call succeeds: the kernel fills it.
        Success = ">",
        /// When a signal interrupts the call: the kernel fills it then.
        Interrupted = "!",
    }
}

/// Whether the kernel follows a symbolic link that is the last component of a path. The numbers are a parameter's index
/// and a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastLink {
    /// Never.
    Kept,
    /// Always.
    Followed,
    /// Unless the parameter has one of these bits.
    KeptIf(u8, u64),
    /// Only if the parameter has one of these bits.
    FollowedIf(u8, u64),
}
