//! Programs that a capture can do without: one that the kernel refuses, or does not let attach, becomes a
//! named gap, and the rest runs on.

use std::collections::BTreeMap;

use driver_api::request::Target;
use driver_api::support::Gap;

/// A program, and what is missing without it.
struct Optional {
    program: &'static str,
    /// A command or processes cannot be followed without it.
    follows: bool,
    lacks: &'static str,
}

/// All but `sys_exit`, without which there is next to nothing, and those that see entries, of which
/// [`crate::entry`] knows several ways.
const OPTIONAL: [Optional; 7] = [
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

/// Programs that were refused, each with the reason.
#[derive(Debug, Default)]
pub(crate) struct Refused(BTreeMap<&'static str, String>);

impl Refused {
    /// Takes note of a program that was refused, if this target can be captured without it.
    pub(crate) fn note(&mut self, program: &str, target: &Target, why: &str) -> bool {
        let known = OPTIONAL.iter().find(|known| {
            known.program == program && (!known.follows || matches!(target, Target::Host))
        });
        let Some(known) = known else {
            return false;
        };
        self.0
            .insert(known.program, why.to_owned())
            // a second time: leaving it out has not helped
            .is_none()
    }

    /// Whether this program is to be left out.
    pub(crate) fn has(&self, program: &str) -> bool {
        self.0.contains_key(program)
    }

    /// What is missing, and says so in the log with the kernel's own words.
    pub(crate) fn gaps(&self) -> Vec<Gap> {
        OPTIONAL
            .iter()
            .filter_map(|known| {
                let why = self.0.get(known.program)?;
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

/// The program that libbpf names in what it said when loading failed (`prog 'NAME': ...`, libbpf.c).
pub(crate) fn named(said: &str) -> Option<&str> {
    said.lines()
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
    fn the_refused_program_is_found_in_what_libbpf_says() {
        let said = "libbpf: prog 'process_fork': BPF program load failed: Permission denied\n\
                    libbpf: prog 'process_fork': -- BEGIN PROG LOAD LOG --\nR0 invalid mem access\n\
                    libbpf: prog 'process_fork': failed to load: -13\n";
        assert_eq!(named(said), Some("process_fork"));
        assert_eq!(named("libbpf: map 'rings': failed to create"), None);
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
