//! The functions of the calls whose entry matters: exec, whose arguments are gone afterwards, and those that do not
//! return.

use std::io;

use driver_api::event::Abi;
use driver_api::plan::{Plan, flag};
use driver_api::request::Limits;
use driver_api::table::SYSCALLS;

/// What stands before a call's name in that of its function, for 64-bit programs; the first that there is counts. Since
/// 4.17 functions take registers (arch/x86/include/asm/syscall_wrapper.h), before they take arguments
/// (`SYSCALL_DEFINEx` in include/linux/syscalls.h).
const NATIVE: [&str; 4] = ["__x64_sys_", "__arm64_sys_", "SyS_", "sys_"];
/// For 32-bit programs.
const COMPAT: [&str; 6] = [
    "__ia32_compat_sys_",
    "__ia32_sys_",
    "__arm64_compat_sys_",
    "compat_SyS_",
    "compat_sys_",
    "__se_compat_sys_",
];
/// For x32 programs, where they have a function of their own.
const X32: [&str; 2] = ["__x64_compat_sys_", "__x32_compat_sys_"];

/// Opens the functions of all calls whose entry matters. An error if one that is needed is not there: `compat` says
/// whether 32-bit programs can make calls.
pub(super) fn open<T>(
    compat: bool,
    mut open: impl FnMut(&str) -> io::Result<T>,
) -> Result<Vec<T>, String> {
    let mut opened = Vec::new();
    let mut first = |prefixes: &[&'static str], call: &str| {
        let mut refused = None;
        for prefix in prefixes {
            match open(&format!("{prefix}{call}")) {
                Ok(one) => {
                    opened.push(one);
                    return Ok(*prefix);
                }
                Err(error) => {
                    refused.get_or_insert(error);
                }
            }
        }
        let why = refused.map(|error| error.to_string()).unwrap_or_default();
        Err(format!("no function of {call} can be probed: {why}"))
    };
    for (call, exec) in calls() {
        let native = first(&NATIVE, call)?;
        // functions that take arguments serve all programs, but for those of exec, whose arguments are pointers to pointers
        let shared = !exec && !native.starts_with("__");
        match first(&COMPAT, call) {
            Err(error) if compat && !shared && Abi::NATIVE == Abi::X86_64 => return Err(error),
            _ => {}
        }
        if exec && first(&X32, call).is_err() {
            tracing::debug!(
                "no function of an x32 {call} can be probed: there may be no such programs here"
            );
        }
    }
    Ok(opened)
}

/// The calls, and whether they are an exec.
fn calls() -> impl Iterator<Item = (&'static str, bool)> {
    SYSCALLS.iter().filter_map(|call| {
        let nr = call.number(Abi::NATIVE)?;
        let flags = Plan::of(call, Abi::NATIVE, nr, &Limits::default()).flags;
        (flags & (flag::EXEC | flag::NORETURN) != 0).then_some((call.name, flags & flag::EXEC != 0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(compat: bool, functions: &[&str]) -> Result<Vec<String>, String> {
        open(compat, |function| {
            if functions.contains(&function) {
                Ok(function.to_owned())
            } else {
                Err(io::ErrorKind::NotFound.into())
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
    fn functions_have_the_names_of_their_kernel() {
        for names in [&OLD[..], &NEW[..]] {
            let mut opened = opened(true, names).expect("all");
            let mut names = names.to_vec();
            opened.sort();
            names.sort_unstable();
            assert_eq!(opened, names);
        }
    }

    #[test]
    fn one_that_is_missing_is_an_error_if_somebody_can_call_it() {
        assert!(opened(true, &OLD[..4]).is_err());
        assert_eq!(opened(false, &OLD[..4]).expect("all").len(), 4);
        assert!(opened(true, &NEW[..7]).is_err());
        assert_eq!(opened(false, &NEW[..4]).expect("all").len(), 4);
        assert!(opened(false, &NEW[1..]).is_err());
    }
}
