//! Resolves the names of calls and parameters at compile time. An unknown name is a compile error.

use driver_api::table::{SYSCALLS, Syscall};

use super::{CloseOnExec, Effect, Named, OpenFlags};

/// The effects with the parameters' indices instead of their names.
pub(super) const fn resolve<const N: usize>(
    rows: &[(&'static str, Named)],
) -> [(&'static str, Effect); N] {
    let mut all = [("", Effect::None); N];
    let mut at = 0;
    while at < N {
        let (name, effect) = rows[at];
        all[at] = (name, resolve_one(effect, call(name)));
        at += 1;
    }
    all
}

const fn resolve_one(effect: Named, of: &Syscall) -> Effect {
    match effect {
        Effect::Open { path, dirfd, flags } => Effect::Open {
            path: optional(of, path),
            dirfd: optional(of, dirfd),
            flags: match flags {
                OpenFlags::Arg(flags) => OpenFlags::Arg(param(of, flags)),
                OpenFlags::At(how) => OpenFlags::At(param(of, how)),
                OpenFlags::Creat => OpenFlags::Creat,
            },
        },
        Effect::Anonymous(kind, close) => Effect::Anonymous(
            kind,
            match close {
                CloseOnExec::Never => CloseOnExec::Never,
                CloseOnExec::Always => CloseOnExec::Always,
                CloseOnExec::Flag(flags) => CloseOnExec::Flag(param(of, flags)),
            },
        ),
        Effect::DupTo(flags) => Effect::DupTo(optional(of, flags)),
        Effect::Pipe(flags) => Effect::Pipe(optional(of, flags)),
        Effect::Accept(flags) => Effect::Accept(optional(of, flags)),
        Effect::Send { to, flags } => Effect::Send {
            to: param(of, to),
            flags: param(of, flags),
        },
        Effect::ReceiveFrom(from) => Effect::ReceiveFrom(param(of, from)),
        Effect::SetUid(id) => Effect::SetUid(param(of, id)),
        Effect::SetGid(id) => Effect::SetGid(param(of, id)),
        Effect::Namespaces { flags, joins } => Effect::Namespaces {
            flags: param(of, flags),
            joins,
        },
        Effect::None => Effect::None,
        Effect::Memfd => Effect::Memfd,
        Effect::Close => Effect::Close,
        Effect::CloseRange => Effect::CloseRange,
        Effect::Dup => Effect::Dup,
        Effect::Fcntl => Effect::Fcntl,
        Effect::Socketpair => Effect::Socketpair,
        Effect::Socket => Effect::Socket,
        Effect::Connect => Effect::Connect,
        Effect::Bind => Effect::Bind,
        Effect::Listen => Effect::Listen,
        Effect::Chdir => Effect::Chdir,
        Effect::Fchdir => Effect::Fchdir,
        Effect::Prctl => Effect::Prctl,
        Effect::SetSid => Effect::SetSid,
        Effect::SetPgid => Effect::SetPgid,
        Effect::Root => Effect::Root,
        Effect::Capset => Effect::Capset,
        Effect::Bpf => Effect::Bpf,
        Effect::Pidfd => Effect::Pidfd,
        Effect::PidfdGetfd => Effect::PidfdGetfd,
        Effect::Receive => Effect::Receive,
        Effect::Ioctl => Effect::Ioctl,
    }
}

const fn optional(of: &Syscall, name: Option<&str>) -> Option<u8> {
    match name {
        Some(name) => Some(param(of, name)),
        None => None,
    }
}

/// The call with this name. An unknown name is a compile error.
pub(super) const fn call(name: &str) -> &'static Syscall {
    let mut at = 0;
    while at < SYSCALLS.len() {
        if same(SYSCALLS[at].name, name) {
            return &SYSCALLS[at];
        }
        at += 1;
    }
    missing(name)
}

/// The index of a parameter. An unknown name is a compile error.
pub(super) const fn param(of: &Syscall, name: &str) -> u8 {
    let mut at = 0;
    while at < of.params.len() {
        if same(of.params[at].name, name) {
            return at as u8;
        }
        at += 1;
    }
    missing(name)
}

#[expect(clippy::panic, reason = "evaluated while this crate is compiled")]
const fn missing(name: &str) -> ! {
    panic!("{}", name)
}

const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}
