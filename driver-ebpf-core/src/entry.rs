//! How the entry of exec and of calls that do not return is seen. Programs at the functions of these calls cost all other
//! calls nothing. Where programs cannot be attached to functions, the scheduler's tracepoints or `sys_enter`, which every
//! call passes, show the entry.

use driver_api::event::Abi;
use driver_api::plan::{Plan, flag};
use driver_api::request::Limits;
use driver_api::table::SYSCALLS;
use libbpf_rs::{OpenObject, OpenProgramMut};

/// A way to see entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The functions of the calls.
    Functions,
    /// The scheduler's tracepoints, where the registers of the call can still be read: an exec before the old program's
    /// memory is released, other calls when the task ends. An exec that fails is not seen.
    Scheduler,
    /// `sys_enter`.
    Tracepoint,
}

/// Programs for functions: how their names begin, and the flag of the calls that they are for.
const KINDS: [(&str, u8); 2] = [
    ("exec_entered_", flag::EXEC),
    ("end_entered_", flag::NORETURN),
];
const SCHEDULER: &str = "exec_prepared";
const TRACEPOINT: &str = "sys_enter";

/// The prefixes of the functions of a call: a row for each function that a call can have, first that of 64-bit programs.
/// In each row, the first prefix counts with which the kernel has a function
/// (`arch/x86/include/asm/syscall_wrapper.h`, `arch/arm64/include/asm/syscall_wrapper.h`).
const PREFIXES: &[&[&str]] = if cfg!(target_arch = "aarch64") {
    &[&["__arm64_sys_"], &["__arm64_compat_sys_"]]
} else {
    &[
        &["__x64_sys_"],
        &["__x64_compat_sys_", "__x32_compat_sys_"],
        &["__ia32_compat_sys_", "__ia32_sys_"],
    ]
};

/// Why entries cannot be seen by functions.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    /// The object has too few programs.
    #[error("no program is left for the call {call}: this build is broken")]
    NoProgram { call: &'static str },
    /// The kernel's types lack the call's function.
    #[error("the kernel's types have no function for the call {call}")]
    NoFunction { call: &'static str },
}

/// Gives each function its program, and leaves the programs that this way does not need out of loading.
///
/// # Errors
///
/// A call has no program, or no function.
pub(crate) fn prepare(open: &mut OpenObject, entry: Entry) -> Result<(), EntryError> {
    let mut programs: Vec<(String, OpenProgramMut<'_>)> = open
        .progs_mut()
        .map(|program| (program.name().to_string_lossy().into_owned(), program))
        .collect();
    for (name, program) in &mut programs {
        let of_function = KINDS.iter().any(|(start, _)| name.starts_with(start));
        if of_function
            || (name == TRACEPOINT && entry != Entry::Tracepoint)
            || (name == SCHEDULER && entry != Entry::Scheduler)
        {
            program.set_autoload(false);
        }
    }
    if entry != Entry::Functions {
        return Ok(());
    }
    for (start, kind) in KINDS {
        let mut free = programs
            .iter_mut()
            .filter(|(name, _)| name.starts_with(start));
        for call in names(kind) {
            for &prefixes in PREFIXES {
                let Some((_, program)) = free.next() else {
                    return Err(EntryError::NoProgram { call });
                };
                let mut found = prefixes.iter().filter_map(|prefix| {
                    let function = Some(format!("{prefix}{call}"));
                    program.set_attach_target(0, function).ok()
                });
                if found.next().is_some() {
                    program.set_autoload(true);
                } else if prefixes == PREFIXES[0] {
                    return Err(EntryError::NoFunction { call });
                }
            }
        }
    }
    Ok(())
}

/// The names of the calls that have a flag in their plan.
fn names(flag: u8) -> impl Iterator<Item = &'static str> {
    SYSCALLS.iter().filter_map(move |call| {
        let nr = call.number(Abi::NATIVE)?;
        let plan = Plan::of(call, Abi::NATIVE, nr, &Limits::default());
        (plan.flags & flag != 0).then_some(call.name)
    })
}
