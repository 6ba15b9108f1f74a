//! Seeing the entry of calls that do not return, and of exec: with programs at their functions alone, so that
//! all other calls cost nothing; where functions cannot be attached to, with the tracepoint that every call
//! passes.

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
    /// The scheduler's tracepoints, where the registers of the call are still there: of an exec before the old
    /// program's memory goes, of other calls when the task ends. An exec that fails is not seen.
    Scheduler,
    /// `sys_enter`.
    Tracepoint,
}

/// Programs for functions, by how their names begin, and for which calls.
const KINDS: [(&str, u8); 2] = [
    ("exec_entered_", flag::EXEC),
    ("end_entered_", flag::NORETURN),
];
const SCHEDULER: &str = "exec_prepared";
const TRACEPOINT: &str = "sys_enter";

/// What comes before a call's name in its function's: for 64-bit programs, and then for those of other ABIs
/// where they have functions of their own. The first of each line that there is counts
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

/// Gives each function its program, and keeps those that are not needed from being loaded. An error says
/// which function has none.
pub(crate) fn prepare(open: &mut OpenObject, entry: Entry) -> Result<(), String> {
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
                    return Err(format!("there is no program left for {call}"));
                };
                let mut found = prefixes.iter().filter_map(|prefix| {
                    let function = Some(format!("{prefix}{call}"));
                    program.set_attach_target(0, function).ok()
                });
                if found.next().is_some() {
                    program.set_autoload(true);
                } else if prefixes == PREFIXES[0] {
                    return Err(format!("the kernel's types have no function for {call}"));
                }
            }
        }
    }
    Ok(())
}

/// Calls with a flag in their plan.
fn names(flag: u8) -> impl Iterator<Item = &'static str> {
    SYSCALLS.iter().filter_map(move |call| {
        let nr = call.number(Abi::NATIVE)?;
        let plan = Plan::of(call, Abi::NATIVE, nr, &Limits::default());
        (plan.flags & flag != 0).then_some(call.name)
    })
}
