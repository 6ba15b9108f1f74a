//! Parameters whose meaning depends on another one: what fcntl(2), prctl(2), ptrace(2), ioctl(2)
//! and the socket options take, and how many of their parameters count.

use driver_api::event::{Abi, Event};
use driver_api::table::{Kind, Param, SymbolSet, Syscall};

use super::symbols;

/// The register a parameter is in. clone(2) has two of them exchanged where the kernel is
/// configured with `CLONE_BACKWARDS`.
pub(super) fn register(event: &Event<'_>, call: &Syscall, at: usize) -> usize {
    let backwards = matches!(event.abi(), Abi::I386 | Abi::Aarch64 | Abi::Arm);
    match (call.name, at) {
        ("clone", 3) if backwards => 4,
        ("clone", 4) if backwards => 3,
        _ => at,
    }
}

/// The value in a parameter's register.
pub(super) fn raw(event: &Event<'_>, call: &Syscall, at: usize) -> u64 {
    let register = register(event, call, at);
    event
        .header()
        .args
        .get(register)
        .copied()
        .unwrap_or_default()
}

/// What a parameter is in this event.
pub(super) fn kind(event: &Event<'_>, call: &Syscall, at: usize, param: &Param) -> Kind {
    let first = || raw(event, call, 0) & 0xffff_ffff;
    let second = || raw(event, call, 1) & 0xffff_ffff;
    match (call.name, at) {
        ("fcntl", 2) => fcntl(second()),
        ("ioctl", 2) => Kind::Hex,
        ("socket" | "socketpair", 2) => protocol(first()),
        ("setsockopt" | "getsockopt", 2) => option_set(second()).map_or(param.kind, Kind::Enum),
        ("prctl", 1) => prctl(first()).1,
        ("prctl", _) if at > 1 => Kind::Hex,
        ("ptrace", 3) => ptrace_data(first()),
        _ => param.kind,
    }
}

fn flags(set: &str) -> Kind {
    symbols::set(set).map_or(Kind::Hex, Kind::Flags)
}

fn choice(set: &str) -> Kind {
    symbols::set(set).map_or(Kind::Hex, Kind::Enum)
}

/// The names of a level's socket options.
fn option_set(level: u64) -> Option<&'static SymbolSet> {
    symbols::set(match level {
        0 => "sol_ip",
        1 => "sol_socket",
        6 => "sol_tcp",
        17 => "sol_udp",
        41 => "sol_ipv6",
        263 => "sol_packet",
        270 => "sol_netlink",
        _ => return None,
    })
}

fn protocol(domain: u64) -> Kind {
    match domain {
        2 | 10 => choice("ip_proto"),
        16 => choice("netlink_proto"),
        17 => choice("eth_proto"),
        _ => Kind::I32,
    }
}

/// How many parameters of a call count in this event; the others are noise.
pub(super) fn count(event: &Event<'_>, call: &Syscall) -> usize {
    let first = || raw(event, call, 0) & 0xffff_ffff;
    let second = || raw(event, call, 1) & 0xffff_ffff;
    let all = call.params.len();
    match call.name {
        // F_GETFD, F_GETFL, F_GETOWN, F_GETSIG, F_GETLEASE, F_GETPIPE_SZ, F_GET_SEALS
        "fcntl" if matches!(second(), 1 | 3 | 9 | 11 | 1025 | 1032 | 1034) => 2,
        // TIOCEXCL, TIOCNXCL, TIOCNOTTY, FIONCLEX, FIOCLEX
        "ioctl" if matches!(second(), 0x540c | 0x540d | 0x5422 | 0x5450 | 0x5451) => 2,
        "prctl" => prctl(first()).0,
        "ptrace" => match first() {
            0 => 1,
            // KILL, ATTACH, INTERRUPT, LISTEN
            8 | 16 | 0x4207 | 0x4208 => 2,
            _ => all,
        },
        _ => all,
    }
    .min(all)
}

fn fcntl(command: u64) -> Kind {
    match command {
        0 | 1030 => Kind::Fd,
        2 => flags("fd_flags"),
        4 => flags("open"),
        // F_GETLK, F_SETLK, F_SETLKW, F_GETOWN_EX, F_SETOWN_EX and the locks of open files
        5..=7 | 15 | 16 | 36..=38 => Kind::Ptr,
        8 => Kind::Pid,
        10 => Kind::Signal,
        1024 => choice("lease"),
        1026 => flags("notify"),
        1031 => Kind::I64,
        1033 => flags("seals"),
        _ => Kind::Hex,
    }
}

/// How many parameters an option of prctl(2) has, itself included, and what the second is.
fn prctl(option: u64) -> (usize, Kind) {
    match option {
        1 => (2, Kind::Signal),
        4 => (2, choice("suid_dump")),
        22 => (3, choice("seccomp_mode")),
        23 | 24 => (2, choice("cap")),
        // GET_DUMPABLE, GET_KEEPCAPS, GET_TIMING, GET_SECCOMP, GET_SECUREBITS, GET_TIMERSLACK,
        // TASK_PERF_EVENTS_*, GET_FP_MODE, SVE_GET_VL, SME_GET_VL
        3 | 7 | 13 | 21 | 27 | 30 | 31 | 32 | 46 | 51 | 64 => (1, Kind::Hex),
        // SET_UNALIGN, SET_KEEPCAPS, SET_FPEMU, SET_FPEXC, SET_TIMING, SET_ENDIAN, SET_TIMERSLACK,
        // SET_CHILD_SUBREAPER
        6 | 8 | 10 | 12 | 14 | 20 | 29 | 36 => (2, Kind::U64),
        // GET_PDEATHSIG, GET_UNALIGN, GET_FPEMU, GET_FPEXC, SET_NAME, GET_NAME, GET_ENDIAN,
        // GET_TSC, GET_CHILD_SUBREAPER, GET_TID_ADDRESS
        2 | 5 | 9 | 11 | 15 | 16 | 19 | 25 | 37 | 40 => (2, Kind::Hex),
        // SET_NO_NEW_PRIVS, SET_THP_DISABLE, SET_IO_FLUSHER
        38 | 41 | 57 => (5, Kind::U64),
        _ => (5, Kind::Hex),
    }
}

fn ptrace_data(request: u64) -> Kind {
    match request {
        // SETOPTIONS, SEIZE
        0x4200 | 0x4206 => flags("ptrace_options"),
        // CONT, SINGLESTEP, DETACH, SYSCALL, SYSEMU, SYSEMU_SINGLESTEP, SINGLEBLOCK
        7 | 9 | 17 | 24 | 31 | 32 | 33 => Kind::Signal,
        _ => Kind::Ptr,
    }
}

/// Whether a call takes its flags as an unsigned long; all others take an int.
pub(super) fn wide_flags(call: &Syscall) -> bool {
    matches!(
        call.name,
        "mmap" | "mprotect" | "mount" | "clone" | "unshare"
    )
}
