//! Programs that a capture can do without: if the kernel refuses to load or to attach one, it becomes a named gap, and the
//! others run.

use std::collections::BTreeMap;

use driver_api::request::Target;
use driver_api::support::Gap;

/// A program that a capture can do without.
struct Optional {
    program: &'static str,
    /// Whether following a command or processes needs it.
    follows: bool,
    /// What is missing without it.
    lacks: &'static str,
}

/// All programs but `sys_exit`, without which almost nothing is captured, and those that see entries, for which
/// [`crate::entry`] has several ways.
const OPTIONAL: [Optional; 11] = [
    Optional {
        program: "sys_exit_exec",
        follows: false,
        lacks: "what an exec that failed was called with",
    },
    Optional {
        program: "sys_exit_messages",
        follows: false,
        lacks: "what the messages of sendmmsg and recvmmsg hold",
    },
    Optional {
        program: "sys_exit_directories",
        follows: false,
        lacks: "paths of calls that rename, remove, link or change files, and where those paths begin",
    },
    Optional {
        program: "signal_delivered",
        follows: false,
        lacks: "calls that a signal handler ends with EINTR",
    },
    Optional {
        program: "sys_enter",
        follows: false,
        lacks: "what an exec was called with, and calls that do not return",
    },
    Optional {
        program: "call_entered",
        follows: false,
        lacks: Gap::TIMES,
    },
    Optional {
        program: "io_uring_submit_req",
        follows: false,
        lacks: "operations of io_uring (Linux 6.4 and later)",
    },
    Optional {
        program: "io_uring_submit_sqe",
        follows: false,
        lacks: "operations of io_uring (before Linux 6.4)",
    },
    Optional {
        program: "process_exec",
        follows: true,
        lacks: "events of successful execs",
    },
    Optional {
        program: "process_fork",
        follows: true,
        lacks: "events of the births of threads and processes",
    },
    Optional {
        program: "process_exit",
        follows: true,
        lacks: "events of the ends of threads and processes",
    },
];

/// The name of a program without the number of its copy (`bpf/tasks.h`): copies, and the program that they call, are
/// refused and left out together.
fn without_copy(program: &str) -> &str {
    let original = program.split("_copy").next().unwrap_or(program);
    original.strip_suffix("_event").unwrap_or(original)
}

/// Programs that were refused, each with the reason.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// By the name of the program.
    why: BTreeMap<&'static str, String>,
    /// Programs that a test leaves out.
    hidden: &'static [&'static str],
}

impl Refused {
    /// These programs are left out, but not their copies.
    #[cfg(test)]
    pub(crate) const fn hiding(hidden: &'static [&'static str]) -> Self {
        Self {
            why: BTreeMap::new(),
            hidden,
        }
    }

    /// Notes a program that was refused. False if this target cannot be captured without it, or if it was noted before.
    pub(crate) fn note(&mut self, program: &str, target: &Target, why: &str) -> bool {
        let known = OPTIONAL.iter().find(|known| {
            known.program == without_copy(program)
                && (!known.follows || matches!(target, Target::Host))
        });
        let Some(known) = known else {
            return false;
        };
        self.why
            .insert(known.program, why.to_owned())
            // if it was noted before, leaving it out has not helped
            .is_none()
    }

    /// Whether this program was refused.
    pub(crate) fn has(&self, program: &str) -> bool {
        self.hidden.contains(&program) || self.why.contains_key(without_copy(program))
    }

    /// What is missing. The log gets the kernel's own words.
    pub(crate) fn gaps(&self) -> Vec<Gap> {
        OPTIONAL
            .iter()
            .filter_map(|known| {
                let why = self.why.get(known.program)?;
                tracing::warn!(
                    "the kernel refuses the program {}, so {} will be missing: {why}",
                    known.program,
                    known.lacks
                );
                let first = why.lines().next().unwrap_or_default();
                Some(Gap::new(
                    known.lacks,
                    format!("the kernel refuses the program {}: {first}", known.program),
                    "the log has the verifier's last lines: please report them",
                ))
            })
            .collect()
    }
}

/// The program that libbpf names in what it prints when loading fails (`prog 'NAME': ...`, libbpf.c).
pub(crate) fn named(printed: &str) -> Option<&str> {
    printed
        .lines()
        .filter(|line| line.contains("failed to load") || line.contains("BPF program load failed"))
        .find_map(|line| {
            line.split_once("prog '")?
                .1
                .split_once('\'')
                .map(|(name, _)| name)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refused_program_is_found_in_what_libbpf_prints() {
        let said = "libbpf: prog 'process_fork': BPF program load failed: Permission denied\n\
                    libbpf: prog 'process_fork': -- BEGIN PROG LOAD LOG --\nR0 invalid mem access\n\
                    libbpf: prog 'process_fork': failed to load: -13\n";
        assert_eq!(named(said), Some("process_fork"));
        assert_eq!(named("libbpf: map 'rings': failed to create"), None);
    }

    #[test]
    fn copies_are_left_out_together() {
        let mut refused = Refused::default();
        assert!(refused.note("process_exec_copy1", &Target::Host, "no"));
        assert!(refused.has("process_exec") && refused.has("process_exec_copy2"));
        assert!(refused.has("process_exec_event"));
        assert!(!refused.has("process_exit_copy1") && !refused.has("sys_exit"));
    }

    #[test]
    fn a_program_is_left_out_once_and_only_where_the_target_allows() {
        let mut refused = Refused::default();
        assert!(!refused.note("sys_exit", &Target::Host, "no"));
        assert!(!refused.note("process_exit", &Target::Pids(vec![1]), "no"));
        assert!(refused.note("process_exit", &Target::Host, "no"));
        assert!(!refused.note("process_exit", &Target::Host, "no"));
        assert_eq!(refused.gaps().len(), 1);
    }
}
