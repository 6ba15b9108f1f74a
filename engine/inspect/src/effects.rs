//! What each call does to the state, in one table: which calls the state needs, and what to do when one
//! is seen. Calls that the syscall table does not have yet are passed over.

use std::sync::LazyLock;

use driver_api::request::SyscallSet;
use driver_api::table::{Kind, Returns, SYSCALLS, Syscall};

use super::descriptor::DescriptorKind;

/// What a successful call does to the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// A file is open.
    Open {
        path: u8,
        dirfd: Option<u8>,
        flags: OpenFlags,
    },
    /// A descriptor that has no name; close-on-exec if that argument has that bit.
    Anonymous(DescriptorKind, Option<(u8, u64)>),
    Memfd,
    Close,
    CloseRange,
    Dup,
    /// With the flags in that argument.
    DupTo(Option<u8>),
    Fcntl,
    /// Two descriptors in memory, with the flags in that argument.
    Pipe(Option<u8>),
    Socketpair,
    Socket,
    Connect,
    Accept(Option<u8>),
    Bind,
    Listen,
    /// A message to somebody: the address, or `msghdr`, in that argument.
    Send(u8),
    /// A message from somebody, in the same way.
    ReceiveFrom(u8),
    Chdir,
    Fchdir,
    SetIds(SetIds),
    Prctl,
    SetSid,
    SetPgid,
    /// Other namespaces; which, as bits of `CLONE_NEW*`, in that argument.
    Namespaces(u8),
    /// Another root directory.
    Root,
    Capset,
    /// A process's descriptor; the process in that argument.
    Pidfd,
    /// Another process's descriptor.
    PidfdGetfd,
    /// Descriptors in control messages.
    Receive,
    Ioctl,
}

/// Where the flags of open(2) are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFlags {
    /// In that argument.
    Arg(u8),
    /// In the first eight bytes of the structure behind that argument.
    At(u8),
    /// `O_WRONLY | O_CREAT | O_TRUNC`
    Creat,
}

/// Which ids a call sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetIds {
    Uid,
    Reuid,
    Gid,
    Regid,
}

/// Which descriptor a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FdOf {
    None,
    Arg(u8),
    Returned,
    /// fcntl(2): the argument, or the returned one if it duplicates.
    Fcntl,
}

/// What is to be done about one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Follow {
    pub(super) effect: Effect,
    pub(super) fd: FdOf,
    /// Bits of the arguments that are descriptors.
    pub(super) descriptors: u8,
}

const CLOEXEC: u64 = 0x8_0000;

const fn open(path: u8, dirfd: Option<u8>, flags: OpenFlags) -> Effect {
    Effect::Open { path, dirfd, flags }
}

const fn anonymous(kind: DescriptorKind, flags: Option<u8>) -> Effect {
    match flags {
        Some(at) => Effect::Anonymous(kind, Some((at, CLOEXEC))),
        None => Effect::Anonymous(kind, None),
    }
}

/// Calls that the state follows.
const EFFECTS: &[(&str, Effect)] = &[
    ("open", open(0, None, OpenFlags::Arg(1))),
    ("creat", open(0, None, OpenFlags::Creat)),
    ("openat", open(1, Some(0), OpenFlags::Arg(2))),
    ("openat2", open(1, Some(0), OpenFlags::At(2))),
    ("close", Effect::Close),
    ("close_range", Effect::CloseRange),
    ("dup", Effect::Dup),
    ("dup2", Effect::DupTo(None)),
    ("dup3", Effect::DupTo(Some(2))),
    ("fcntl", Effect::Fcntl),
    ("fcntl64", Effect::Fcntl),
    ("pipe", Effect::Pipe(None)),
    ("pipe2", Effect::Pipe(Some(1))),
    ("socketpair", Effect::Socketpair),
    ("socket", Effect::Socket),
    ("connect", Effect::Connect),
    ("accept", Effect::Accept(None)),
    ("accept4", Effect::Accept(Some(3))),
    ("bind", Effect::Bind),
    ("listen", Effect::Listen),
    ("memfd_create", Effect::Memfd),
    ("memfd_secret", anonymous(DescriptorKind::Memfd, Some(0))),
    ("userfaultfd", anonymous(DescriptorKind::Userfault, Some(0))),
    ("eventfd", anonymous(DescriptorKind::Event, None)),
    ("eventfd2", anonymous(DescriptorKind::Event, Some(1))),
    ("signalfd", anonymous(DescriptorKind::Signal, None)),
    ("signalfd4", anonymous(DescriptorKind::Signal, Some(3))),
    ("epoll_create", anonymous(DescriptorKind::Epoll, None)),
    ("epoll_create1", anonymous(DescriptorKind::Epoll, Some(0))),
    ("inotify_init", anonymous(DescriptorKind::Inotify, None)),
    ("inotify_init1", anonymous(DescriptorKind::Inotify, Some(0))),
    ("timerfd_create", anonymous(DescriptorKind::Timer, Some(1))),
    (
        "io_uring_setup",
        Effect::Anonymous(DescriptorKind::IoUring, Some((0, 0))),
    ),
    ("pidfd_open", Effect::Pidfd),
    ("pidfd_getfd", Effect::PidfdGetfd),
    ("chdir", Effect::Chdir),
    ("fchdir", Effect::Fchdir),
    ("setuid", Effect::SetIds(SetIds::Uid)),
    ("setreuid", Effect::SetIds(SetIds::Reuid)),
    ("setresuid", Effect::SetIds(SetIds::Reuid)),
    ("setgid", Effect::SetIds(SetIds::Gid)),
    ("setregid", Effect::SetIds(SetIds::Regid)),
    ("setresgid", Effect::SetIds(SetIds::Regid)),
    // on i386, whose calls without the number have ids of 16 bits
    ("setuid32", Effect::SetIds(SetIds::Uid)),
    ("setreuid32", Effect::SetIds(SetIds::Reuid)),
    ("setresuid32", Effect::SetIds(SetIds::Reuid)),
    ("setgid32", Effect::SetIds(SetIds::Gid)),
    ("setregid32", Effect::SetIds(SetIds::Regid)),
    ("setresgid32", Effect::SetIds(SetIds::Regid)),
    ("prctl", Effect::Prctl),
    ("setsid", Effect::SetSid),
    ("setpgid", Effect::SetPgid),
    ("unshare", Effect::Namespaces(0)),
    ("setns", Effect::Namespaces(1)),
    ("chroot", Effect::Root),
    ("pivot_root", Effect::Root),
    ("capset", Effect::Capset),
];

/// Calls of which the state makes use when they are captured, but which it does not ask for.
const IF_SEEN: &[(&str, Effect)] = &[
    ("sendto", Effect::Send(4)),
    ("sendmsg", Effect::Send(1)),
    ("sendmmsg", Effect::Send(1)),
    ("recvfrom", Effect::ReceiveFrom(4)),
    ("recvmsg", Effect::Receive),
    ("recvmmsg", Effect::Receive),
    ("ioctl", Effect::Ioctl),
];

static FOLLOW: LazyLock<Vec<Follow>> = LazyLock::new(|| SYSCALLS.iter().map(follow).collect());

fn effect(call: &Syscall, table: &[(&str, Effect)]) -> Option<Effect> {
    table
        .iter()
        .find(|(name, _)| *name == call.name)
        .map(|(_, effect)| *effect)
}

fn follow(call: &Syscall) -> Follow {
    let returns_fd = call.returns == Returns::Fd;
    let unnamed = if returns_fd {
        anonymous(DescriptorKind::Other, None)
    } else {
        Effect::None
    };
    let is_fd = |at: &usize| matches!(call.params[*at].kind, Kind::Fd);
    let argument = call
        .params
        .iter()
        .position(|param| param.name == "fd")
        .filter(is_fd)
        .or_else(|| (0..call.params.len()).find(is_fd))
        .and_then(|at| u8::try_from(at).ok());
    let fd = match (call.returns, argument) {
        (Returns::Fd, _) => FdOf::Returned,
        (Returns::Fcntl, Some(_)) => FdOf::Fcntl,
        (_, Some(at)) => FdOf::Arg(at),
        (_, None) => FdOf::None,
    };
    let effect = effect(call, EFFECTS)
        .or_else(|| effect(call, IF_SEEN))
        .unwrap_or(unnamed);
    // the second of dup2(2) is told by the first
    let looked_at = match effect {
        Effect::DupTo(_) => 1,
        _ => call.params.len(),
    };
    Follow {
        effect,
        fd,
        descriptors: (0..looked_at)
            .filter(is_fd)
            .fold(0, |bits, at| bits | 1 << at),
    }
}

/// What is to be done about a call.
pub(super) fn of(call: &Syscall) -> Follow {
    FOLLOW[call.index()]
}

/// Where a call has the flags of open(2), if it opens a file.
pub fn open_flags(call: &Syscall) -> Option<OpenFlags> {
    match of(call).effect {
        Effect::Open { flags, .. } => Some(flags),
        _ => None,
    }
}

/// The calls that the state needs to see, to be captured beside those that rules want.
#[must_use]
pub fn needed() -> SyscallSet {
    SYSCALLS
        .iter()
        .filter(|call| effect(call, EFFECTS).is_some())
        .collect()
}

/// Those of them that are not needed where a process stands still while its event is inspected: what they
/// change is looked up when it matters ([`Options::held`](super::Options::held)).
#[must_use]
pub fn spared() -> SyscallSet {
    let closes = |call: &&Syscall| {
        matches!(
            effect(call, EFFECTS),
            Some(Effect::Close | Effect::CloseRange)
        )
    };
    SYSCALLS.iter().filter(closes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use driver_api::table::by_name;

    #[test]
    fn the_state_needs_what_changes_it_and_nothing_that_is_frequent() {
        let needed = needed();
        for name in [
            "openat", "close", "dup3", "fcntl", "connect", "chdir", "setuid", "prctl",
        ] {
            assert!(needed.contains(by_name(name).unwrap()), "{name}");
        }
        for name in [
            "read", "write", "sendto", "recvmsg", "mmap", "ioctl", "unlinkat",
        ] {
            assert!(!needed.contains(by_name(name).unwrap()), "{name}");
        }
    }

    #[test]
    fn a_call_is_about_its_descriptor() {
        let cases = [
            ("openat", FdOf::Returned),
            ("read", FdOf::Arg(0)),
            ("mmap", FdOf::Arg(4)),
            ("sendfile", FdOf::Arg(0)),
            ("accept4", FdOf::Returned),
            ("fcntl", FdOf::Fcntl),
            ("pipe2", FdOf::None),
            ("unlinkat", FdOf::None),
            ("execve", FdOf::None),
        ];
        for (name, fd) in cases {
            assert_eq!(of(by_name(name).unwrap()).fd, fd, "{name}");
        }
    }
}
