//! The effect of each call on the state, and so which calls the state needs.
//!
//! Calls and parameters have the names of `driver-api/syscalls.tbl`. They are resolved at compile time: a call or
//! parameter that the table does not have is a compile error.

mod resolve;

use std::sync::LazyLock;

use driver_api::predicate::{ArgTest, Clause, Outcome, Predicate};
use driver_api::request::SyscallSet;
use driver_api::selection::Selection;
use driver_api::table::{self, Buffer, Category, Kind, Number, Returns, SYSCALLS, Syscall};

use super::attributes::{PR_SET_CHILD_SUBREAPER, PR_SET_KEEPCAPS, PR_SET_NAME, PR_SET_SECUREBITS};
use super::descriptor::DescriptorKind;
use super::fd_passing::FIONCLEX;
use super::follow::{F_DUPFD, F_DUPFD_CLOEXEC, F_SETFD};
use super::supervisors::{SECCOMP_REQUEST, SECCOMP_REQUEST_MASK};
use super::terminals::{TIOCGPTN, TIOCGPTPEER, TIOCNOTTY, TIOCSCTTY};
use resolve::{call, param, resolve};

/// The effect of a successful call on the state. `P` is a parameter: its name, or its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect<P = u8> {
    /// Nothing.
    None,
    /// Opens a file. None: the call has no path, but a handle.
    Open {
        path: Option<P>,
        dirfd: Option<P>,
        flags: OpenFlags<P>,
    },
    /// Makes a descriptor without a name.
    Anonymous(DescriptorKind, CloseOnExec<P>),
    Memfd,
    Close,
    CloseRange,
    Dup,
    /// dup2(2), or dup3(2) with the flags in that parameter.
    DupTo(Option<P>),
    Fcntl,
    /// Writes two descriptors to memory; the flags are in that parameter.
    Pipe(Option<P>),
    Socketpair,
    Socket,
    Connect,
    /// Accepts a connection; the flags are in that parameter.
    Accept(Option<P>),
    Bind,
    Listen,
    /// Sends a message; the address, or the `msghdr`, is in the parameter `to`.
    Send {
        to: P,
        flags: P,
    },
    /// Receives a message; the sender's address is in that parameter.
    ReceiveFrom(P),
    Chdir,
    Fchdir,
    /// Sets the effective user id to that parameter.
    SetUid(P),
    /// Sets the effective group id to that parameter.
    SetGid(P),
    Prctl,
    SetSid,
    SetPgid,
    /// Changes namespaces; that parameter has bits of `CLONE_NEW*`. `joins`: the namespaces exist already.
    Namespaces {
        flags: P,
        joins: bool,
    },
    /// Changes the root directory.
    Root,
    Capset,
    /// Makes a descriptor of BPF, if the command does.
    Bpf,
    /// Makes a descriptor that refers to a process.
    Pidfd,
    /// Duplicates a descriptor of another process.
    PidfdGetfd,
    /// Receives a message, whose control messages may contain descriptors.
    Receive,
    Ioctl,
}

/// Where the flags of open(2) are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFlags<P = u8> {
    /// In that parameter.
    Arg(P),
    /// In the first eight bytes of the structure that the parameter points to.
    At(P),
    /// creat(2): `O_WRONLY | O_CREAT | O_TRUNC`.
    Creat,
}

/// Whether a new descriptor is closed by exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseOnExec<P = u8> {
    Never,
    Always,
    /// If that parameter has `O_CLOEXEC`. The calls' own flags for it have the same value.
    Flag(P),
}

/// The descriptor that a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FdOf {
    None,
    Arg(u8),
    Returned,
    /// fcntl(2): the returned one if the command duplicates, otherwise the parameter.
    Fcntl,
}

/// How one call is followed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Follow {
    pub(super) effect: Effect,
    pub(super) fd: FdOf,
    /// A bit mask of the parameters that are descriptors.
    pub(super) descriptors: u8,
    /// A bit mask of the parameters that are directories where relative paths begin.
    pub(super) directories: u8,
}

type Named = Effect<&'static str>;

const fn open(dirfd: Option<&'static str>, flags: OpenFlags<&'static str>) -> Named {
    Effect::Open {
        path: Some("path"),
        dirfd,
        flags,
    }
}

const fn send(to: &'static str) -> Named {
    Effect::Send { to, flags: "flags" }
}

/// Makes a descriptor without a name; the flags are in the parameter `flags`.
const fn flagged(kind: DescriptorKind) -> Named {
    Effect::Anonymous(kind, CloseOnExec::Flag("flags"))
}

/// Makes a descriptor without a name; the call has no flags.
const fn unflagged(kind: DescriptorKind) -> Named {
    Effect::Anonymous(kind, CloseOnExec::Never)
}

/// Calls that the state needs, because they change it.
const NEEDED: &[(&str, Named)] = &[
    ("open", open(None, OpenFlags::Arg("flags"))),
    ("creat", open(None, OpenFlags::Creat)),
    ("openat", open(Some("dirfd"), OpenFlags::Arg("flags"))),
    ("openat2", open(Some("dirfd"), OpenFlags::At("how"))),
    (
        "open_by_handle_at",
        Effect::Open {
            path: None,
            dirfd: None,
            flags: OpenFlags::Arg("flags"),
        },
    ),
    ("open_tree", flagged(DescriptorKind::Other)),
    ("close", Effect::Close),
    ("close_range", Effect::CloseRange),
    ("dup", Effect::Dup),
    ("dup2", Effect::DupTo(None)),
    ("dup3", Effect::DupTo(Some("flags"))),
    ("fcntl", Effect::Fcntl),
    ("fcntl64", Effect::Fcntl),
    ("pipe", Effect::Pipe(None)),
    ("pipe2", Effect::Pipe(Some("flags"))),
    ("socketpair", Effect::Socketpair),
    ("socket", Effect::Socket),
    ("connect", Effect::Connect),
    ("accept", Effect::Accept(None)),
    ("accept4", Effect::Accept(Some("flags"))),
    ("bind", Effect::Bind),
    ("listen", Effect::Listen),
    ("memfd_create", Effect::Memfd),
    ("memfd_secret", flagged(DescriptorKind::Memfd)),
    ("userfaultfd", flagged(DescriptorKind::Userfault)),
    ("eventfd", unflagged(DescriptorKind::Event)),
    ("eventfd2", flagged(DescriptorKind::Event)),
    ("signalfd", unflagged(DescriptorKind::Signal)),
    ("signalfd4", flagged(DescriptorKind::Signal)),
    ("epoll_create", unflagged(DescriptorKind::Epoll)),
    ("epoll_create1", flagged(DescriptorKind::Epoll)),
    ("inotify_init", unflagged(DescriptorKind::Inotify)),
    ("inotify_init1", flagged(DescriptorKind::Inotify)),
    ("timerfd_create", flagged(DescriptorKind::Timer)),
    (
        "io_uring_setup",
        Effect::Anonymous(DescriptorKind::IoUring, CloseOnExec::Always),
    ),
    ("bpf", Effect::Bpf),
    ("pidfd_open", Effect::Pidfd),
    ("pidfd_getfd", Effect::PidfdGetfd),
    ("chdir", Effect::Chdir),
    ("fchdir", Effect::Fchdir),
    ("setuid", Effect::SetUid("uid")),
    ("setreuid", Effect::SetUid("euid")),
    ("setresuid", Effect::SetUid("euid")),
    ("setgid", Effect::SetGid("gid")),
    ("setregid", Effect::SetGid("egid")),
    ("setresgid", Effect::SetGid("egid")),
    // i386 and arm; their calls without the number have 16-bit ids
    ("setuid32", Effect::SetUid("uid")),
    ("setreuid32", Effect::SetUid("euid")),
    ("setresuid32", Effect::SetUid("euid")),
    ("setgid32", Effect::SetGid("gid")),
    ("setregid32", Effect::SetGid("egid")),
    ("setresgid32", Effect::SetGid("egid")),
    ("prctl", Effect::Prctl),
    ("setsid", Effect::SetSid),
    ("setpgid", Effect::SetPgid),
    (
        "unshare",
        Effect::Namespaces {
            flags: "flags",
            joins: false,
        },
    ),
    (
        "setns",
        Effect::Namespaces {
            flags: "nstype",
            joins: true,
        },
    ),
    ("chroot", Effect::Root),
    ("pivot_root", Effect::Root),
    ("capset", Effect::Capset),
];

/// Calls that the state follows if they are captured for another reason, but does not need.
const IF_SEEN: &[(&str, Named)] = &[
    ("sendto", send("addr")),
    ("sendmsg", send("msg")),
    ("sendmmsg", send("data")),
    ("recvfrom", Effect::ReceiveFrom("addr")),
    ("recvmsg", Effect::Receive),
    ("recvmmsg", Effect::Receive),
    ("ioctl", Effect::Ioctl),
];

/// The parameters that the code for an effect reads by index.
const BY_INDEX: &[(&str, &[&str])] = &[
    ("close", &["fd"]),
    ("close_range", &["first", "last", "flags"]),
    ("dup", &["oldfd"]),
    ("dup2", &["oldfd", "newfd"]),
    ("dup3", &["oldfd", "newfd"]),
    ("fcntl", &["fd", "cmd", "arg"]),
    ("fcntl64", &["fd", "cmd", "arg"]),
    ("pipe", &["fds"]),
    ("pipe2", &["fds"]),
    ("socketpair", &["domain", "type", "proto", "fds"]),
    ("socket", &["domain", "type", "proto"]),
    ("connect", &["fd", "addr"]),
    ("accept", &["sockfd", "addr"]),
    ("accept4", &["sockfd", "addr"]),
    ("bind", &["fd", "addr"]),
    ("listen", &["fd"]),
    ("memfd_create", &["name", "flags"]),
    ("pidfd_open", &["pid"]),
    ("pidfd_getfd", &["pid_fd", "target_fd"]),
    ("chdir", &["path"]),
    ("fchdir", &["fd"]),
    ("prctl", &["option", "arg2"]),
    ("setpgid", &["pid", "pgid"]),
    ("capset", &["hdr", "data"]),
    ("sendto", &["fd"]),
    ("sendmsg", &["fd"]),
    ("sendmmsg", &["fd"]),
    ("recvfrom", &["fd"]),
    ("recvmsg", &["fd", "msg"]),
    ("recvmmsg", &["fd", "data"]),
    ("ioctl", &["fd", "request"]),
];

static NEEDED_RESOLVED: [(&str, Effect); NEEDED.len()] = resolve(NEEDED);
static IF_SEEN_RESOLVED: [(&str, Effect); IF_SEEN.len()] = resolve(IF_SEEN);

const _: () = {
    let mut row = 0;
    while row < BY_INDEX.len() {
        let (name, params) = BY_INDEX[row];
        let call = call(name);
        let mut at = 0;
        while at < params.len() {
            assert!(
                param(call, params[at]) as usize == at,
                "a parameter is not where the code for its effect reads it"
            );
            at += 1;
        }
        row += 1;
    }
};

static FOLLOW: LazyLock<Vec<Follow>> = LazyLock::new(|| SYSCALLS.iter().map(follow).collect());

fn find(call: &Syscall, table: &[(&str, Effect)]) -> Option<Effect> {
    table
        .iter()
        .find(|(name, _)| *name == call.acts_as)
        .map(|(_, effect)| *effect)
}

fn follow(call: &Syscall) -> Follow {
    let unnamed = if call.returns == Returns::Fd {
        Effect::Anonymous(DescriptorKind::Other, CloseOnExec::Never)
    } else {
        Effect::None
    };
    let is_fd = |at: &usize| matches!(call.params[*at].kind, Kind::Number(Number::Fd, _));
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
    let effect = find(call, &NEEDED_RESOLVED)
        .or_else(|| find(call, &IF_SEEN_RESOLVED))
        .unwrap_or(unnamed);
    // dup2(2) replaces its second descriptor, so what that referred to does not matter
    let compared = if matches!(effect, Effect::DupTo(_)) {
        1
    } else {
        call.params.len()
    };
    let of_kind = |wanted: &[Number]| {
        (0..compared)
            .filter(|at| matches!(call.params[*at].kind, Kind::Number(kind, _) if wanted.contains(&kind)))
            .fold(0, |bits, at| bits | 1 << at)
    };
    Follow {
        effect,
        fd,
        descriptors: of_kind(&[Number::Fd, Number::DirFd]),
        directories: of_kind(&[Number::DirFd]),
    }
}

/// How a call is followed.
pub(super) fn of(call: &Syscall) -> Follow {
    FOLLOW[call.index()]
}

/// Where the flags of open(2) are in a call. None: the call opens no file.
pub fn open_flags(call: &Syscall) -> Option<OpenFlags> {
    let Effect::Open { flags, .. } = of(call).effect else {
        return None;
    };
    Some(flags)
}

/// Whether a call connects a socket, or accepts a connection.
#[must_use]
pub fn makes_connection(call: &Syscall) -> bool {
    matches!(of(call).effect, Effect::Connect | Effect::Accept(_))
}

/// Whether a call changes the working directory to a path.
#[must_use]
pub fn is_chdir(call: &Syscall) -> bool {
    of(call).effect == Effect::Chdir
}

/// Whether a call sends (true) or receives (false) an array of messages. None: it does neither.
pub(super) fn moves_messages(call: &Syscall) -> Option<bool> {
    let array = |param: &table::Param| matches!(param.kind, Kind::Buffer(Buffer::Mmsghdr, _));
    call.params
        .iter()
        .any(array)
        .then(|| call.category == Category::IoWrite)
}

/// The calls that send or receive data by a socket alone.
#[must_use]
pub fn socket_data() -> SyscallSet {
    let moves = |call: &&Syscall| {
        matches!(
            of(call).effect,
            Effect::Send { .. } | Effect::ReceiveFrom(_) | Effect::Receive
        )
    };
    SYSCALLS.iter().filter(moves).collect()
}

/// The calls that the state needs. They are captured in addition to those that rules want.
#[must_use]
pub fn needed() -> SyscallSet {
    SYSCALLS
        .iter()
        .filter(|call| find(call, &NEEDED_RESOLVED).is_some())
        .collect()
}

/// ioctl(2): the state needs its effects on terminals, and those of a seccomp listener on other processes, but no others.
fn partly_needed() -> Option<&'static Syscall> {
    table::by_name("ioctl")
}

/// The calls of [`needed_events`] that a driver may leave out where it stops a thread while its event is inspected: the
/// state then looks up in /proc what they change.
#[must_use]
pub fn looked_up() -> SyscallSet {
    partly_needed().into_iter().collect()
}

/// Some bits of a parameter, and the value that they must have.
type Bits = (u64, u64);

/// All bits of an int.
const fn exactly(value: u64) -> Bits {
    (0xffff_ffff, value)
}

/// The commands of bpf(2) that make a descriptor of a map, a program or a link: `BPF_MAP_CREATE`, `BPF_PROG_LOAD`,
/// `BPF_OBJ_GET`, `BPF_PROG_GET_FD_BY_ID`, `BPF_MAP_GET_FD_BY_ID`, `BPF_RAW_TRACEPOINT_OPEN`, `BPF_LINK_CREATE` and
/// `BPF_LINK_GET_FD_BY_ID`.
pub(super) const BPF_MAKES: [u64; 8] = [0, 5, 7, 13, 14, 17, 28, 30];

/// The values of a parameter for which a call has an effect on the state, with the index of the parameter. None: the effect
/// does not depend on one parameter.
fn operations(effect: Effect) -> Option<(u8, &'static [Bits])> {
    const FCNTL: &[Bits] = &[exactly(F_DUPFD), exactly(F_SETFD), exactly(F_DUPFD_CLOEXEC)];
    const PRCTL: &[Bits] = &[
        exactly(PR_SET_NAME),
        exactly(PR_SET_CHILD_SUBREAPER),
        exactly(PR_SET_KEEPCAPS),
        exactly(PR_SET_SECUREBITS),
    ];
    const IOCTL: &[Bits] = &[
        exactly(TIOCSCTTY),
        exactly(TIOCNOTTY),
        exactly(TIOCGPTN),
        // FIOCLEX, FIONCLEX and TIOCGPTPEER are alike but for two bits
        (0xffff_ffff & !0b1_0001, FIONCLEX & TIOCGPTPEER & !1),
        (SECCOMP_REQUEST_MASK, SECCOMP_REQUEST),
    ];
    // a predicate has room for four: 5, 7 and 13 are alike but for two bits, and so are 14, 28 and 30
    const BPF: &[Bits] = &[
        exactly(0),
        (0xffff_ffff & !0b1010, 5),
        (0xffff_ffff & !0b1_0010, 0b1100),
        exactly(17),
    ];
    match effect {
        Effect::Fcntl => Some((1, FCNTL)),
        Effect::Prctl => Some((0, PRCTL)),
        Effect::Ioctl => Some((1, IOCTL)),
        Effect::Bpf => Some((0, BPF)),
        _ => None,
    }
}

/// The events that the state needs of the [`needed`] calls: a call that fails changes nothing, except that a connection
/// may be begun (`EINPROGRESS`). Of calls with many operations, such as fcntl(2), it needs those that change it. In addition,
/// the calls of ioctl(2) that change the controlling terminal, or open terminals, and those of a seccomp listener.
#[must_use]
pub fn needed_events() -> Selection {
    let mut events = Selection::default();
    let needed = needed();
    for call in needed.iter().chain(partly_needed()) {
        let effect = of(call).effect;
        let outcome = match effect {
            Effect::Connect | Effect::Send { .. } => Outcome::OK.or(Outcome::BEGUN),
            _ => Outcome::OK,
        };
        let clause = |test| Clause {
            outcome,
            tests: [test, None],
        };
        let clauses = match operations(effect) {
            Some((param, values)) => values
                .iter()
                .map(|(mask, value)| {
                    clause(Some(ArgTest {
                        param,
                        mask: *mask,
                        value: *value,
                        equal: true,
                    }))
                })
                .collect(),
            None => vec![clause(None)],
        };
        let predicate = Predicate::of(call, &clauses);
        events.add(call, &predicate.unwrap_or_default());
    }
    events
}

/// Those of the [`needed`] calls that the state does not need if the driver stops a thread while its event is
/// inspected. It looks up their effects when they matter ([`Options::held`](super::Options::held)).
#[must_use]
pub fn omitted_if_held() -> SyscallSet {
    let closes = |call: &&Syscall| {
        matches!(
            find(call, &NEEDED_RESOLVED),
            Some(Effect::Close | Effect::CloseRange)
        )
    };
    SYSCALLS.iter().filter(closes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use driver_api::event::Abi;
    use driver_api::predicate::Made;
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

    /// Whether the state needs a call with these first arguments and this result.
    fn wants(name: &str, abi: Abi, args: [u64; 2], result: i64) -> bool {
        let call = by_name(name).unwrap();
        let [first, second] = args;
        let made = Made {
            abi,
            nr: call.number(abi).unwrap(),
            args: &[first, second, 0, 0, 0, 0],
            result: Some(result),
        };
        needed_events().wants(call, &made)
    }

    #[test]
    fn of_ioctl_the_state_needs_what_sets_the_terminal_and_what_listeners_do() {
        let wants = |request, result| wants("ioctl", Abi::NATIVE, [0, request], result);
        assert!(wants(TIOCSCTTY, 0) && wants(TIOCNOTTY, 0));
        assert!(wants(TIOCGPTN, 0) && wants(TIOCGPTPEER, 4));
        // the kernel takes 32 bits of the request
        assert!(wants(TIOCSCTTY | 1 << 40, 0));
        assert!(!wants(TIOCSCTTY, -1) && !wants(0x5401, 0));
        // SECCOMP_IOCTL_NOTIF_ADDFD
        assert!(wants(0x4018_2103, 4) && !wants(0x4018_2103, -1));
        for sets_close_on_exec in [0x5450, 0x5451] {
            assert!(wants(sets_close_on_exec, 0));
        }
        let ioctl = by_name("ioctl").unwrap();
        assert!(looked_up().contains(ioctl) && !omitted_if_held().contains(ioctl));
    }

    #[test]
    fn of_fcntl_and_prctl_the_state_needs_what_changes_descriptors_and_names() {
        const F_GETFL: u64 = 3;
        const F_SETLK: u64 = 6;
        const PR_GET_NAME: u64 = 16;
        let narrow = if cfg!(target_arch = "aarch64") {
            Abi::Arm
        } else {
            Abi::I386
        };
        for (name, abi) in [
            ("fcntl", Abi::NATIVE),
            ("fcntl", narrow),
            ("fcntl64", narrow),
        ] {
            for command in [F_DUPFD, F_SETFD, F_DUPFD_CLOEXEC] {
                assert!(wants(name, abi, [3, command | 1 << 40], 7), "{name}");
                assert!(!wants(name, abi, [3, command], -9), "{name}");
            }
            for command in [F_GETFL, F_SETLK] {
                assert!(!wants(name, abi, [3, command], 0), "{name} {command}");
            }
        }
        for option in [PR_SET_NAME, PR_SET_CHILD_SUBREAPER, PR_SET_KEEPCAPS] {
            assert!(wants("prctl", Abi::NATIVE, [option, 1], 0));
        }
        assert!(!wants("prctl", Abi::NATIVE, [PR_GET_NAME, 1], 0));
    }

    #[test]
    fn of_bpf_the_state_needs_what_makes_a_descriptor() {
        let wants = |command, result| wants("bpf", Abi::NATIVE, [command, 0], result);
        assert!(BPF_MAKES.iter().all(|command| wants(*command, 3)));
        assert!(BPF_MAKES.iter().all(|command| !wants(*command, -1)));
        // BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM, BPF_MAP_GET_NEXT_KEY
        for often in [1, 2, 4] {
            assert!(!wants(often, 0), "{often}");
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
