//! The kernel functions of the calls whose entry matters: of exec, whose arguments are gone when it returns, and of
//! calls that do not return.

use driver_api::event::Abi;
use driver_api::plan::{Plan, flag};
use driver_api::request::Limits;
use driver_api::table::SYSCALLS;

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

/// Opens the functions of all calls whose entry matters. It is an error if a needed one cannot be opened. `compat`:
/// 32-bit programs can make calls.
pub(super) fn open<T>(
    compat: bool,
    mut open: impl FnMut(&str) -> Result<T, KprobeError>,
) -> Result<Vec<T>, EntryError> {
    let mut opened = Vec::new();
    for Entry { call, exec } in entries() {
        let (native, function) = open_first(&mut open, &NATIVE, call)?;
        opened.push(function);
        // Functions that take arguments serve all programs. Those of exec do not: their arguments are pointers to
        // pointers.
        let shared = !exec && !native.starts_with("__");
        match open_first(&mut open, &COMPAT, call) {
            Ok((_, function)) => opened.push(function),
            Err(error) if compat && !shared && Abi::NATIVE == Abi::X86_64 => return Err(error),
            Err(_) => {}
        }
        if exec {
            match open_first(&mut open, &X32, call) {
                Ok((_, function)) => opened.push(function),
                Err(_) => tracing::debug!(
                    "no kernel function of an x32 {call} can be probed: this kernel may not run x32 programs"
                ),
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
) -> Result<(&'static str, T), EntryError> {
    let mut refused = None;
    for prefix in prefixes {
        match open(&format!("{prefix}{call}")) {
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
struct Entry {
    call: &'static str,
    /// It is an exec.
    exec: bool,
}

fn entries() -> impl Iterator<Item = Entry> {
    SYSCALLS.iter().filter_map(|call| {
        let number = call.number(Abi::NATIVE)?;
        let flags = Plan::of(call, Abi::NATIVE, number, &Limits::default()).flags;
        (flags & (flag::EXEC | flag::NORETURN) != 0).then_some(Entry {
            call: call.name,
            exec: flags & flag::EXEC != 0,
        })
    })
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
