//! The kernel functions of the calls whose entry matters: of exec, whose arguments are gone when it returns, of calls that
//! do not return, and of calls that replace the size of a buffer.

use driver_api::event::Abi;
use driver_api::plan::{Plan, flag};
use driver_api::request::Limits;
use driver_api::table::{SYSCALLS, Syscall};

use super::{EntryError, KprobeError};

/// What precedes a call's name in the name of its function, for 64-bit programs. The first function that exists is
/// probed. Since Linux 4.17 functions take registers (arch/x86/include/asm/syscall_wrapper.h), before that they take
/// arguments (`SYSCALL_DEFINEx` in include/linux/syscalls.h).
const NATIVE: [&str; 4] = ["__x64_sys_", "__arm64_sys_", "SyS_", "sys_"];
/// The same for 32-bit programs.
const COMPAT: [&str; 6] = [
    "__ia32_compat_sys_",
    "__ia32_sys_",
    "__arm64_compat_sys_",
    "compat_SyS_",
    "compat_sys_",
    "__se_compat_sys_",
];
/// The same for x32 programs, where they have a function of their own.
const X32: [&str; 2] = ["__x64_compat_sys_", "__x32_compat_sys_"];

/// Opens the functions of exec and of all calls that do not return. It is an error if a needed one cannot be opened.
/// `compat`: 32-bit programs can make calls.
pub(super) fn open<T>(
    compat: bool,
    mut open: impl FnMut(&str) -> Result<T, KprobeError>,
) -> Result<Vec<T>, EntryError> {
    let mut opened = Vec::new();
    for WatchedCall { call, exec } in entries() {
        let (native, function) = open_first(&mut open, &NATIVE, call, "")?;
        opened.push(function);
        // Functions that take arguments serve all programs. Those of exec do not: their arguments are pointers to
        // pointers.
        let shared = !exec && !native.starts_with("__");
        match open_first(&mut open, &COMPAT, call, "") {
            Ok((_, function)) => opened.push(function),
            Err(error) if compat && !shared && Abi::NATIVE == Abi::X86_64 => return Err(error),
            Err(_) => {}
        }
        if exec {
            match open_first(&mut open, &X32, call, "") {
                Ok((_, function)) => opened.push(function),
                Err(_) => tracing::debug!(
                    "no kernel function of an x32 {call} can be probed: this kernel may not run x32 programs"
                ),
            }
        }
    }
    Ok(opened)
}

/// Whether a call replaces the size of a buffer.
pub(crate) fn has_room(call: &Syscall) -> bool {
    [Abi::NATIVE, Abi::COMPAT]
        .iter()
        .any(|abi| flags(call, *abi) & flag::ROOM != 0)
}

/// Opens the functions of a call that replaces the size of a buffer. It is an error if the one for 64-bit programs cannot be
/// opened.
pub(super) fn open_room<T>(
    call: &'static Syscall,
    mut open: impl FnMut(&str) -> Result<T, KprobeError>,
) -> Result<Vec<T>, EntryError> {
    let mut opened = Vec::new();
    if call.number(Abi::NATIVE).is_some() {
        opened.push(open_first(&mut open, &NATIVE, call.name, "")?.1);
    }
    for prefixes in [&COMPAT[..], &X32] {
        // those of 32-bit programs say so in their names, if the call has a time
        for ending in ["_time32", ""] {
            if let Ok((_, function)) = open_first(&mut open, prefixes, call.name, ending) {
                opened.push(function);
                break;
            }
        }
    }
    Ok(opened)
}

/// Opens the first function of a call that can be opened, and returns its prefix, too. An error has the reason for the
/// first prefix.
fn open_first<T>(
    open: &mut impl FnMut(&str) -> Result<T, KprobeError>,
    prefixes: &[&'static str],
    call: &'static str,
    ending: &str,
) -> Result<(&'static str, T), EntryError> {
    let mut refused = None;
    for prefix in prefixes {
        match open(&format!("{prefix}{call}{ending}")) {
            Ok(function) => return Ok((prefix, function)),
            Err(error) => {
                refused.get_or_insert(error);
            }
        }
    }
    Err(EntryError::NoFunction {
        call,
        source: refused,
    })
}

/// A call whose entry matters.
struct WatchedCall {
    call: &'static str,
    /// It is an exec.
    exec: bool,
}

fn entries() -> impl Iterator<Item = WatchedCall> {
    SYSCALLS.iter().filter_map(|call| {
        let flags = flags(call, Abi::NATIVE);
        (flags & (flag::EXEC | flag::NORETURN) != 0).then_some(WatchedCall {
            call: call.name,
            exec: flags & flag::EXEC != 0,
        })
    })
}

/// The flags of the plan that a call has in an ABI.
fn flags(call: &Syscall, abi: Abi) -> u8 {
    let number = call.number(abi);
    number.map_or(0, |nr| Plan::of(call, abi, nr, &Limits::default()).flags)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// The functions that are opened on a kernel that has these.
    fn opened(compat: bool, functions: &[&str]) -> Result<Vec<String>, EntryError> {
        open(compat, |function| {
            if functions.contains(&function) {
                Ok(function.to_owned())
            } else {
                Err(KprobeError::Open {
                    function: function.to_owned(),
                    source: io::ErrorKind::NotFound.into(),
                })
            }
        })
    }

    #[test]
    fn the_functions_of_calls_that_replace_a_size_are_found() {
        let functions = |call: &str, functions: &[&str]| {
            let call = driver_api::table::by_name(call).expect("a call");
            assert!(has_room(call), "{}", call.name);
            open_room(call, |function| {
                let there = functions.contains(&function).then(|| function.to_owned());
                there.ok_or_else(|| KprobeError::Open {
                    function: function.to_owned(),
                    source: io::ErrorKind::NotFound.into(),
                })
            })
        };
        let all: &[&str] = &[
            "__x64_sys_recvmmsg",
            "__x64_sys_recvmmsg_time32",
            "__ia32_compat_sys_recvmmsg_time32",
            "__x64_compat_sys_recvmmsg_time32",
        ];
        let found = functions("recvmmsg", all).expect("they are there");
        assert_eq!(found, [all[0], all[2], all[3]]);
        let old = ["SyS_recvmmsg", "compat_SyS_recvmmsg"];
        assert_eq!(functions("recvmmsg", &old).expect("they are there"), old);
        assert!(functions("recvmmsg", &old[1..]).is_err());
        if Abi::NATIVE == Abi::X86_64 {
            let name = "__ia32_compat_sys_socketcall";
            assert_eq!(functions("socketcall", &[name]).expect("it"), [name]);
        }
    }

    const OLD: [&str; 6] = [
        "SyS_execve",
        "SyS_execveat",
        "SyS_exit",
        "SyS_exit_group",
        "compat_SyS_execve",
        "compat_SyS_execveat",
    ];
    const NEW: [&str; 8] = [
        "__x64_sys_execve",
        "__x64_sys_execveat",
        "__x64_sys_exit",
        "__x64_sys_exit_group",
        "__ia32_compat_sys_execve",
        "__ia32_compat_sys_execveat",
        "__ia32_sys_exit",
        "__ia32_sys_exit_group",
    ];

    #[test]
    fn the_functions_of_old_and_of_new_kernels_are_found() {
        for names in [&OLD[..], &NEW[..]] {
            let mut opened = opened(true, names).expect("all");
            let mut names = names.to_vec();
            opened.sort();
            names.sort_unstable();
            assert_eq!(opened, names);
        }
    }

    #[test]
    fn a_missing_function_is_an_error_if_a_program_can_call_it() {
        assert!(opened(true, &OLD[..4]).is_err());
        assert_eq!(opened(false, &OLD[..4]).expect("all").len(), 4);
        assert!(opened(true, &NEW[..7]).is_err());
        assert_eq!(opened(false, &NEW[..4]).expect("all").len(), 4);
        assert!(opened(false, &NEW[1..]).is_err());
    }
}
