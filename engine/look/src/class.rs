//! The classes of calls that strace(1) selects by: `%file`, `%process` and others. The table of calls decides by category
//! and by the kinds of parameters, so a new call is in its classes once its line is written.

use driver_api::table::{Buffer, Category, Kind, Number, Param, Returns, Syscall, Written};

/// A class of calls, named as in strace(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Calls that take a path.
    File,
    /// Calls that start, replace, end or await processes, or send signals to them.
    Process,
    /// Calls about sockets.
    Network,
    /// Calls that take or make descriptors, except those about sockets.
    Desc,
    /// Calls about signals.
    Signal,
    /// System V IPC.
    Ipc,
    /// Calls about the address space.
    Memory,
    /// Calls about user and group ids and capabilities.
    Creds,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 8] = [
        Self::File,
        Self::Process,
        Self::Network,
        Self::Desc,
        Self::Signal,
        Self::Ipc,
        Self::Memory,
        Self::Creds,
    ];

    /// The name, without the `%`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Process => "process",
            Self::Network => "network",
            Self::Desc => "desc",
            Self::Signal => "signal",
            Self::Ipc => "ipc",
            Self::Memory => "memory",
            Self::Creds => "creds",
        }
    }

    /// The class of this name. `net` is `network`, as in strace(1).
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let name = if name == "net" { "network" } else { name };
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Whether strace(1) also takes its name without `%`.
    pub(crate) fn is_old(self) -> bool {
        match self {
            Self::File
            | Self::Process
            | Self::Network
            | Self::Desc
            | Self::Signal
            | Self::Ipc
            | Self::Memory => true,
            Self::Creds => false,
        }
    }

    /// Whether a call is in the class.
    #[must_use]
    pub fn has(self, call: &Syscall) -> bool {
        let category = call.category;
        let any = |is: fn(&Param) -> bool| call.params.iter().any(is);
        let makes_descriptor = call.returns == Returns::Fd;
        match self {
            Self::File => {
                any(|param| matches!(param.kind, Kind::Path(_)))
                    // getcwd(2): the kernel writes a path
                    || category == Category::File
                        && any(|param| {
                            matches!(param.kind, Kind::Str) && param.written == Written::Success
                        })
            }
            Self::Process => match category {
                Category::Process => {
                    matches!(call.returns, Returns::Child | Returns::None)
                        || any(|param| matches!(param.kind, Kind::Strv) || is_set(param, "wait"))
                }
                Category::Signal => any(|param| is_number(&param.kind, &[Number::Pid, Number::Fd])),
                _ => false,
            },
            Self::Network => {
                category == Category::Net
                    || any(|param| match param.kind {
                        Kind::Msghdr => true,
                        Kind::Buffer(buffer, _) => {
                            matches!(buffer, Buffer::SockAddr | Buffer::Mmsghdr)
                        }
                        _ => is_set(param, "msg"),
                    })
            }
            Self::Desc => {
                !Self::Network.has(call)
                    && (makes_descriptor || any(|param| has_descriptor(&param.kind)))
            }
            Self::Signal => {
                let signals = |param: &Param| matches!(param.kind, Kind::Buffer(Buffer::Sigset, _));
                category == Category::Signal || makes_descriptor && any(signals)
            }
            Self::Ipc => {
                category == Category::Ipc
                    && any(|param| {
                        is_number(&param.kind, &[Number::IpcKey])
                            || matches!(param.name, "shmid" | "semid" | "msqid")
                            // ipc(2), which is all of them
                            || is_set(param, "ipc")
                            || is_segment(param)
                    })
            }
            Self::Memory => {
                any(is_segment)
                    || category == Category::Memory && !makes_descriptor && !Self::File.has(call)
            }
            Self::Creds => category == Category::User,
        }
    }
}

/// The address of a System V shared memory segment.
fn is_segment(param: &Param) -> bool {
    param.name == "shmaddr"
}

fn is_set(param: &Param, name: &str) -> bool {
    matches!(param.kind, Kind::Flags(set, _) | Kind::Enum(set, _) if set.name == name)
}

fn is_number(kind: &Kind, numbers: &[Number]) -> bool {
    matches!(kind, Kind::Number(number, _) if numbers.contains(number))
}

/// Whether it is a descriptor, or has descriptors in it.
fn has_descriptor(kind: &Kind) -> bool {
    match kind {
        Kind::Array(of, _) | Kind::Pointers(of, _) => has_descriptor(of),
        Kind::Struct(of, _) => of.name == "pollfd",
        Kind::Buffer(buffer, _) => *buffer == Buffer::FdSet,
        kind => is_number(kind, &[Number::Fd, Number::DirFd]),
    }
}
