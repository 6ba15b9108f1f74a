//! How the entry of exec, of calls that do not return, and of calls that replace the size of a buffer is seen. Programs at
//! the functions of these calls cost all other calls nothing. Where programs cannot be attached to functions, the
//! scheduler's tracepoints or `sys_enter`, which every call passes, show the entry.

use driver_api::event::Abi;
use driver_api::plan::{Plan, flag};
use driver_api::request::{Limits, SyscallSet};
use driver_api::table::{SYSCALLS, Syscall};
use libbpf_rs::{Link, Object, OpenObject, OpenProgramMut};

/// A way to see entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryMethod {
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
/// The same for the calls that replace the size of a buffer.
const ROOM: &str = "room_entered_";
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
pub(crate) fn prepare(open: &mut OpenObject, entry: EntryMethod) -> Result<Rooms, EntryError> {
    let mut programs: Vec<(String, OpenProgramMut<'_>)> = open
        .progs_mut()
        .map(|program| (program.name().to_string_lossy().into_owned(), program))
        .collect();
    for (name, program) in &mut programs {
        if is_for_function(name)
            || (name == TRACEPOINT && entry != EntryMethod::Tracepoint)
            || (name == SCHEDULER && entry != EntryMethod::Scheduler)
        {
            program.set_autoload(false);
        }
    }
    if entry != EntryMethod::Functions {
        return Ok(Rooms {
            seen: entry == EntryMethod::Tracepoint,
            waiting: Vec::new(),
        });
    }
    for (start, kind) in KINDS {
        let mut free = programs
            .iter_mut()
            .filter(|(name, _)| name.starts_with(start));
        for call in SYSCALLS.iter().filter(|call| has(call, Abi::NATIVE, kind)) {
            for &prefixes in PREFIXES {
                let Some((_, program)) = free.next() else {
                    return Err(EntryError::NoProgram { call: call.name });
                };
                if !set_target(program, prefixes, call.name) && prefixes == PREFIXES[0] {
                    return Err(EntryError::NoFunction { call: call.name });
                }
            }
        }
    }
    let mut rooms = Rooms {
        seen: true,
        waiting: Vec::new(),
    };
    let mut free = programs
        .iter_mut()
        .filter(|(name, _)| name.starts_with(ROOM))
        .peekable();
    for call in SYSCALLS.iter() {
        let abis = [Abi::NATIVE, Abi::COMPAT].map(|abi| has(call, abi, flag::ROOM));
        let rows = PREFIXES.iter().enumerate().filter(|(row, _)| match *row {
            0 => abis[0],
            row if row + 1 == PREFIXES.len() => abis[1],
            _ => abis.contains(&true),
        });
        for (row, prefixes) in rows {
            let Some((name, program)) = free.peek_mut() else {
                return Err(EntryError::NoProgram { call: call.name });
            };
            if set_target(program, prefixes, call.name) {
                rooms.waiting.push((name.clone(), call));
                free.next();
            } else if row == 0 {
                // a kernel may be without sockets
                tracing::debug!(
                    "the kernel's types have no function for the call {}",
                    call.name
                );
                rooms.seen = false;
            }
        }
    }
    Ok(rooms)
}

/// Whether a program is for a function.
pub(crate) fn is_for_function(program: &str) -> bool {
    program.starts_with(ROOM) || KINDS.iter().any(|(start, _)| program.starts_with(start))
}

/// Gives a program the first function of a call that the kernel has. False: it has none. A function that 32-bit programs
/// alone have says so in its name, if the call has a time (`recvmmsg` in `arch/x86/entry/syscalls/syscall_32.tbl`).
fn set_target(program: &mut OpenProgramMut<'_>, prefixes: &[&str], call: &str) -> bool {
    let endings = if prefixes == PREFIXES[0] {
        &[""][..]
    } else {
        &["_time32", ""][..]
    };
    let names = endings.iter().flat_map(|ending| {
        let all = prefixes.iter();
        all.map(move |prefix| format!("{prefix}{call}{ending}"))
    });
    let mut found = names.filter_map(|name| program.set_attach_target(0, Some(name)).ok());
    let has_one = found.next().is_some();
    if has_one {
        program.set_autoload(true);
    }
    has_one
}

/// Whether a call has a flag in its plan for an ABI.
fn has(call: &Syscall, abi: Abi, flag: u8) -> bool {
    let number = call.number(abi);
    number.is_some_and(|nr| Plan::of(call, abi, nr, &Limits::default()).flags & flag != 0)
}

/// The programs at the functions of calls that replace the size of a buffer. They are attached when a selection has these
/// calls.
#[derive(Debug)]
pub(crate) struct Rooms {
    /// The sizes are seen.
    pub(crate) seen: bool,
    /// The names of the programs that are not attached, each with its call.
    waiting: Vec<(String, &'static Syscall)>,
}

impl Rooms {
    /// Whether a program is one of these.
    pub(crate) fn has(program: &str) -> bool {
        program.starts_with(ROOM)
    }

    /// Attaches the programs for these calls.
    ///
    /// # Errors
    ///
    /// The kernel refuses one.
    pub(crate) fn attach(
        &mut self,
        object: &Object,
        calls: &SyscallSet,
        links: &mut Vec<Link>,
    ) -> libbpf_rs::Result<()> {
        let selected = self
            .waiting
            .extract_if(.., |(_, call)| calls.contains(call));
        for (name, _) in selected {
            let mut programs = object.progs_mut();
            if let Some(program) = programs.find(|program| program.name() == name.as_str()) {
                links.push(program.attach()?);
            }
        }
        Ok(())
    }
}
