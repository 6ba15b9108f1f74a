//! The programs of the object: which there are, and how they are loaded.

use aya::Ebpf;
use aya::maps::{MapData, ProgramArray};
use aya::programs::{Program, ProgramError};
use driver_api::support::Gap;

use driver_api::error::Chain;

use crate::attach::TracepointKind;
use crate::error::{BpfError, ObjectError};

/// A program that is reached by tail call alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tail {
    /// Its index in the array of programs: for operations their code.
    index: u32,
    /// Its name without the prefix of its type.
    name: &'static str,
}

const fn tail(index: u32, name: &'static str) -> Tail {
    Tail { index, name }
}

/// Programs of the map `tails`. One with two indices is loaded once.
const TAILS: [Tail; 21] = [
    tail(1, "op_simple"),
    tail(2, "op_simple"),
    tail(3, "op_vector"),
    tail(4, "op_gather"),
    tail(5, "op_message"),
    tail(6, "op_fd_path"),
    tail(7, "op_tuple"),
    tail(8, "op_messages"),
    tail(9, "op_variant"),
    tail(10, "op_directory"),
    tail(11, "op_directory"),
    tail(12, "op_walk"),
    tail(19, "op_multiplexed"),
    tail(20, "op_predicate"),
    tail(21, "op_pointed"),
    tail(22, "room_entered"),
    tail(13, "exec_keep"),
    tail(14, "exec_exe"),
    tail(15, "exec_cwd"),
    tail(16, "exec_ids"),
    tail(17, "exec_strings"),
];

/// Programs of the map `entry_tails`: those that are reached from the entry of a call, where that is a function.
pub(crate) const ENTRY_TAILS: [Tail; 5] = [
    tail(1, "op_simple"),
    tail(2, "op_simple"),
    tail(3, "op_vector"),
    tail(13, "exec_keep"),
    tail(22, "room_entered"),
];

/// The prefix in the names of programs at functions (`chain.h`).
pub(crate) const FUNCTION_PREFIX: &str = "fn_";
/// The program at the functions of the calls whose entry matters.
pub(crate) const FUNCTION: &str = "fn_entered";

/// A program at a tracepoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TracepointProgram {
    /// Its name without the prefix of its type.
    pub(crate) name: &'static str,
    /// Its raw tracepoint.
    pub(crate) raw: &'static str,
    /// Its perf-event tracepoint, `category/name`.
    pub(crate) perf_event: &'static str,
}

/// Attached in this order. Forks come before calls: a followed process's child must be known before it makes one.
pub(crate) const ATTACHED: [TracepointProgram; 4] = [
    TracepointProgram {
        name: "process_fork",
        raw: "sched_process_fork",
        perf_event: "task/task_newtask",
    },
    TracepointProgram {
        name: "process_exit",
        raw: "sched_process_exit",
        perf_event: "sched/sched_process_exit",
    },
    TracepointProgram {
        name: "process_exec",
        raw: "sched_process_exec",
        perf_event: "sched/sched_process_exec",
    },
    TracepointProgram {
        name: "sys_exit",
        raw: "sys_exit",
        perf_event: "raw_syscalls/sys_exit",
    },
];

/// Decides how interrupted calls end. The driver works without it.
pub(crate) const SIGNALS: TracepointProgram = TracepointProgram {
    name: "signal_delivered",
    raw: "signal_deliver",
    perf_event: "signal/signal_deliver",
};

/// Attached where functions and the scheduler's tracepoints cannot be used.
pub(crate) const ENTER: TracepointProgram = TracepointProgram {
    name: "sys_enter",
    raw: "sys_enter",
    perf_event: "raw_syscalls/sys_enter",
};

/// Attached where the kernel has them: a kernel has one, or no io_uring. The second was the name before Linux 6.4. There
/// are programs for raw tracepoints alone, which are older than io_uring.
pub(crate) const SUBMITTED: [TracepointProgram; 2] = [
    TracepointProgram {
        name: "io_uring_submit_req",
        raw: "io_uring_submit_req",
        perf_event: "io_uring/io_uring_submit_req",
    },
    TracepointProgram {
        name: "io_uring_submit_sqe",
        raw: "io_uring_submit_sqe",
        perf_event: "io_uring/io_uring_submit_sqe",
    },
];

/// Attached if somebody asks how long calls take. There are programs for raw tracepoints alone. What sees returns has to
/// come before what makes events of them.
pub(crate) const TIMES: [TracepointProgram; 2] = [
    TracepointProgram {
        name: "call_entered",
        raw: "sys_enter",
        perf_event: "raw_syscalls/sys_enter",
    },
    TracepointProgram {
        name: "call_returned",
        raw: "sys_exit",
        perf_event: "raw_syscalls/sys_exit",
    },
];
/// Adds the time to an event, and is loaded with them.
pub(crate) const TIMED: Tail = tail(23, "op_timed");

/// Attached where functions cannot be used. There is a program for the raw tracepoint alone, which came with
/// Linux 6.10.
pub(crate) const PREPARED: TracepointProgram = TracepointProgram {
    name: "exec_prepared",
    raw: "sched_prepare_exec",
    perf_event: "sched/sched_prepare_exec",
};

impl TracepointProgram {
    /// Its name in the object.
    pub(crate) fn full_name(&self, kind: &TracepointKind) -> String {
        format!("{}{}", kind.prefix(), self.name)
    }

    /// Loads it.
    pub(crate) fn load(&self, ebpf: &mut Ebpf, kind: &TracepointKind) -> Result<(), ObjectError> {
        let name = self.full_name(kind);
        load(find(ebpf, &name)?).map_err(|error| ObjectError::LoadProgram {
            program: name,
            source: error.into(),
        })
    }
}

/// Finds a program by its name in the object.
pub(crate) fn find<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, ObjectError> {
    ebpf.program_mut(name)
        .ok_or_else(|| ObjectError::NoProgram {
            program: name.to_owned(),
        })
}

/// Loads a program of one of the types that the object has. A signal that arrives meanwhile makes the verifier give up
/// (`EAGAIN`), so it is asked again.
pub(crate) fn load(program: &mut Program) -> Result<(), ProgramError> {
    const TRIES: usize = 5;
    let interrupted = |error: &ProgramError| {
        matches!(error, ProgramError::LoadError { io_error, .. }
            if io_error.raw_os_error() == Some(libc::EAGAIN))
    };
    for _ in 1..TRIES {
        match load_once(program) {
            Err(error) if interrupted(&error) => {}
            loaded => return loaded,
        }
    }
    load_once(program)
}

fn load_once(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::RawTracePoint(program) => program.load(),
        Program::TracePoint(program) => program.load(),
        Program::KProbe(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Loads the programs at tracepoints, and those that they reach. A program that is reached by tail call is optional:
/// if the verifier refuses it, that is a gap.
pub(crate) fn load_all(
    ebpf: &mut Ebpf,
    tails: &mut ProgramArray<MapData>,
    kind: &TracepointKind,
    gaps: &mut Vec<Gap>,
) -> Result<(), ObjectError> {
    for program in ATTACHED {
        program.load(ebpf, kind)?;
    }
    for (name, error) in chain(ebpf, tails, kind.prefix(), &TAILS)? {
        let why = error.to_string();
        let first = why.lines().next().unwrap_or_default();
        gaps.push(Gap::new(
            format!("the program {name}"),
            format!("the kernel refused it: {first}"),
            "",
        ));
    }
    Ok(())
}

/// Loads programs that are reached by tail call, and puts them into the array where others find them. Returns those
/// that the kernel refused.
pub(crate) fn chain(
    ebpf: &mut Ebpf,
    tails: &mut ProgramArray<MapData>,
    prefix: &str,
    programs: &[Tail],
) -> Result<Vec<(&'static str, BpfError)>, ObjectError> {
    let mut refused = Vec::new();
    let mut loaded = "";
    for Tail { index, name } in programs.iter().copied() {
        let full_name = format!("{prefix}{name}");
        let program = find(ebpf, &full_name)?;
        if loaded != name
            && let Err(error) = load(program)
        {
            let error = BpfError::from(error);
            tracing::warn!(
                "the kernel refused the program {full_name}: {}",
                Chain(&error)
            );
            refused.push((name, error));
            continue;
        }
        loaded = name;
        let put = program
            .fd()
            .map_err(BpfError::from)
            .and_then(|fd| tails.set(index, fd, 0).map_err(BpfError::from));
        put.map_err(|source| ObjectError::Chain {
            program: full_name,
            source,
        })?;
    }
    Ok(refused)
}

#[cfg(test)]
mod tests {
    use aya::{EbpfLoader, VerifierLogLevel};
    use test_support::{is_root, skipped};

    use super::*;
    use crate::load::OBJECT;

    /// Linux 4.14 refuses a program after its verifier has processed 131072 instructions. Half of that is the limit here.
    #[test]
    fn no_program_costs_the_verifier_much() {
        if !is_root() {
            skipped("loading BPF programs needs root");
            return;
        }
        let object = OBJECT.unpack().expect("the programs of this build");
        let mut failures = Vec::new();
        // an array of programs holds one type, so each type needs maps of its own
        for kind in ["raw_", "tp_", "fn_"] {
            let mut ebpf = EbpfLoader::new()
                .btf(None)
                .verifier_log_level(VerifierLogLevel::STATS)
                .load(&object)
                .expect("maps");
            for (name, program) in ebpf
                .programs_mut()
                .filter(|(name, _)| name.starts_with(kind))
            {
                if let Err(error) = load(program) {
                    failures.push(format!("{name}: {}", BpfError::from(error)));
                    continue;
                }
                let effort = program.info().expect("info").verified_instruction_count();
                println!("{name}: {effort:?}");
                assert!(effort.is_none_or(|n| n < 65536), "{name}: {effort:?}");
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
}
