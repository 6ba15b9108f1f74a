//! The programs of the object: which there are, and how they get into the kernel.

use aya::Ebpf;
use aya::maps::{MapData, ProgramArray};
use aya::programs::{Program, ProgramError};
use driver_api::driver::OpenError;
use driver_api::support::Gap;

use crate::attach::Way;
use crate::load::{failed, said, take};

/// Reached by tail call alone: place in `tails` (operations by their code), name.
const TAILS: [(u32, &str); 15] = [
    (1, "op_simple"),
    (2, "op_simple"),
    (3, "op_vector"),
    (4, "op_gather"),
    (5, "op_message"),
    (6, "op_fd_path"),
    (7, "op_tuple"),
    (8, "op_messages"),
    (9, "op_variant"),
    (10, "op_walk"),
    (11, "exec_keep"),
    (12, "exec_exe"),
    (13, "exec_cwd"),
    (14, "exec_ids"),
    (15, "exec_strings"),
];

/// Those of them that are reached from the entry of a call, if that is a function.
pub(crate) const ENTRY_TAILS: [(u32, &str); 4] = [
    (1, "op_simple"),
    (2, "op_simple"),
    (3, "op_vector"),
    (11, "exec_keep"),
];

/// Program, and the tracepoint it is attached to: the raw one, and the one of perf events. Births before calls: a
/// followed process's child must be known before it makes one.
pub(crate) const ATTACHED: [(&str, &str, &str); 4] = [
    ("process_fork", "sched_process_fork", "task/task_newtask"),
    (
        "process_exit",
        "sched_process_exit",
        "sched/sched_process_exit",
    ),
    (
        "process_exec",
        "sched_process_exec",
        "sched/sched_process_exec",
    ),
    ("sys_exit", "sys_exit", "raw_syscalls/sys_exit"),
];

/// Attached as well, and can be done without: what decides how interrupted calls end.
pub(crate) const SIGNALS: (&str, &str, &str) = (
    "signal_delivered",
    "signal_deliver",
    "signal/signal_deliver",
);

/// Attached where functions cannot be.
pub(crate) const ENTER: (&str, &str, &str) = ("sys_enter", "sys_enter", "raw_syscalls/sys_enter");
pub(crate) const FUNCTION: &str = "fn_entered";
/// Since Linux 6.10, and raw alone.
pub(crate) const PREPARED: (&str, &str, &str) = ("exec_prepared", "sched_prepare_exec", "");

/// What the verifier said last, in a few lines.
pub(crate) fn refused(error: &ProgramError) -> String {
    if let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    {
        let log = verifier_log.to_string();
        let lines: Vec<&str> = log.lines().filter(|line| !line.is_empty()).collect();
        let last = lines[lines.len().saturating_sub(12)..].join("\n  ");
        return format!("{io_error}\n  {last}");
    }
    said(error)
}

pub(crate) fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, OpenError> {
    ebpf.program_mut(name).ok_or_else(|| {
        failed(format!("find the program {name} in its own object"))(
            "it is not there: this build is broken".to_owned(),
        )
    })
}

pub(crate) fn load_one(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::RawTracePoint(program) => program.load(),
        Program::TracePoint(program) => program.load(),
        Program::KProbe(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Each operation is optional on its own: one that the verifier refuses is a gap.
pub(crate) fn load_programs(
    ebpf: &mut Ebpf,
    way: &Way,
    gaps: &mut Vec<Gap>,
) -> Result<ProgramArray<MapData>, OpenError> {
    for (name, ..) in ATTACHED {
        let name = format!("{}{name}", way.prefix());
        load_one(program(ebpf, &name)?)
            .map_err(|e| failed(format!("load the program {name}"))(refused(&e)))?;
    }
    let mut tails: ProgramArray<MapData> = take(ebpf, "tails")?;
    fill(ebpf, &mut tails, way.prefix(), &TAILS, |name, why| {
        gaps.push(Gap::new(
            format!("the program {name}"),
            format!(
                "the kernel refused it: {}",
                why.lines().next().unwrap_or_default()
            ),
            "",
        ));
    })?;
    Ok(tails)
}

/// Loads programs that are reached by tail call, and puts them where they are found.
pub(crate) fn fill(
    ebpf: &mut Ebpf,
    tails: &mut ProgramArray<MapData>,
    prefix: &str,
    names: &[(u32, &str)],
    mut gap: impl FnMut(&str, &str),
) -> Result<(), OpenError> {
    let mut loaded = "";
    for (at, name) in names {
        let program = program(ebpf, &format!("{prefix}{name}"))?;
        if loaded != *name
            && let Err(error) = load_one(program)
        {
            let why = refused(&error);
            tracing::warn!("the kernel refused the program {prefix}{name}: {why}");
            gap(name, &why);
            continue;
        }
        loaded = name;
        let chain = |error: &dyn std::error::Error| {
            failed(format!("chain the program {name}"))(said(error))
        };
        let fd = program.fd().map_err(|e| chain(&e))?;
        tails.set(*at, fd, 0).map_err(|e| chain(&e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use aya::{EbpfLoader, VerifierLogLevel};

    use super::*;
    use crate::load::OBJECT;

    /// 4.14 gives up after 131072 instructions looked at; here it is to be no more than half of that.
    #[test]
    fn no_program_costs_the_verifier_much() {
        // SAFETY: geteuid(2) touches no memory.
        if unsafe { libc::geteuid() } != 0 {
            println!("skipped: loading BPF programs needs root");
            return;
        }
        let mut failures = Vec::new();
        // an array of programs takes one type, so each type has its own maps
        for kind in ["raw_", "tp_", "fn_"] {
            let mut ebpf = EbpfLoader::new()
                .btf(None)
                .verifier_log_level(VerifierLogLevel::STATS)
                .load(OBJECT)
                .expect("maps");
            for (name, program) in ebpf
                .programs_mut()
                .filter(|(name, _)| name.starts_with(kind))
            {
                if let Err(error) = load_one(program) {
                    failures.push(format!("{name}: {}", refused(&error)));
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
