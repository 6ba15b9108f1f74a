//! Trace mode: ptrace(2) behind a seccomp filter.
//!
//! A command is started under a filter that stops the selected calls alone; an attached process stops at every call.
//!
//! [`capture`] is the loop that takes stops from the [`waiter`] and hands out events. [`stops`] has what is done at
//! each kind of stop; [`calls`], [`births`] and [`exec`] make the events. [`tracees`] knows the threads, and
//! [`lifecycle`] how far the capture has got. [`attach`] begins to follow running processes, [`leave`] ends a capture.
//!
//! [`pinning`] keeps tracer and tracee on one CPU, with the help of [`affinity`]. [`restart`] keeps tracing from ending
//! calls that wait; [`pending_restart`] finds out how interrupted calls end. [`gaps`] has what the mode needs of a
//! host, and what it cannot do.

mod affinity;
mod attach;
mod births;
mod calls;
mod capture;
mod exec;
mod gaps;
mod leave;
mod lifecycle;
mod pending_restart;
mod pinning;
mod restart;
mod stops;
pub(crate) mod tracees;
mod waiter;

use driver_api::driver::{Driver, OpenError, Opened};
use driver_api::host::{Host, Trial, capability};
use driver_api::request::{Command, Limits, Request, SyscallSet, Target};
use driver_api::selection::Selection;
use driver_api::support::{FilterStage, Serves, Support, Tested};
use driver_api::table::{Category, Param, Returns, SYSCALLS, Syscall, Written, by_name};
use driver_start::Held;
use libc::sock_filter;

use crate::NAME;
use crate::filter::{self, Action};
use crate::tracee::{HELD, seize};
use crate::{fuse, guard, hiding};
use capture::{Coverage, Mode, PtraceCapture};
use waiter::Waiter;

/// The ptrace driver in trace mode.
#[derive(Debug)]
pub struct Ptrace;

impl Driver for Ptrace {
    fn name(&self) -> &'static str {
        NAME
    }

    fn description(&self) -> &'static str {
        "ptrace behind a seccomp filter: no privilege, a command or processes of your own"
    }

    fn preference(&self) -> u32 {
        30
    }

    fn tested(&self) -> Tested {
        Tested {
            arguments: FilterStage::Filter,
            result: FilterStage::Lanner,
        }
    }

    fn serves(&self) -> Serves {
        Serves {
            host: false,
            command: true,
            pids: true,
        }
    }

    fn reserved_signals(&self) -> Vec<i32> {
        vec![waiter::timer_signal()]
    }

    fn try_out(&self, host: &mut Host) {
        crate::modes::try_trace(host);
    }

    fn probe(&self, host: &Host) -> Support {
        gaps::support(host)
    }

    fn open(&self, host: &Host, request: &Request) -> Result<Opened, OpenError> {
        if let Support::Unusable(gaps) = self.probe(host) {
            return Err(OpenError::Unusable { driver: NAME, gaps });
        }
        let waiter = Waiter::new().map_err(OpenError::failed(NAME, "make a timer"))?;
        let wanted = request
            .selection
            .without(&request.limits.omit.if_held)
            .with_multiplexers();
        let capture = match &request.target {
            Target::Host => {
                return Err(OpenError::Unsupported {
                    driver: NAME,
                    what: "the whole host".to_owned(),
                    why: "ptrace follows a command (-- COMMAND) or running processes (-p PID)"
                        .to_owned(),
                });
            }
            Target::Command(command) => start(host, command, waiter, wanted, request.limits)?,
            Target::Pids(pids) => {
                driver_start::threads(pids).map_err(OpenError::target)?;
                let coverage = Coverage::new(Mode::Every, wanted);
                let reads = host.has(capability::SYS_PTRACE);
                let mut capture = PtraceCapture::new(waiter, coverage, None, request.limits, reads);
                guard::keep_others_out();
                fuse::prepare();
                capture.seize_all(pids).map_err(OpenError::target)?;
                capture
            }
        };
        Ok(Opened {
            capture: Box::new(capture),
            gaps: Vec::new(),
        })
    }
}

/// Whether the timer can be made that interrupts waits.
pub(crate) fn try_timer() -> Trial {
    match Waiter::new() {
        Ok(_) => Trial::Works,
        Err(error) => Trial::Refused(error.raw_os_error().unwrap_or(libc::ENOSYS)),
    }
}

/// Starts a command under its filter, held before its exec.
fn start(
    host: &Host,
    command: &Command,
    waiter: Waiter,
    wanted: Selection,
    limits: Limits,
) -> Result<PtraceCapture, OpenError> {
    let privileged = host.has(capability::SYS_ADMIN);
    let stopped = stopped_calls(&wanted);
    let prologue: Vec<sock_filter> = hiding::NARROWED
        .into_iter()
        .filter_map(|(name, arg)| Some((by_name(name)?, arg)))
        .flat_map(|(call, arg)| filter::if_call(call, Some(arg), Action::Trace))
        .collect();
    let program = filter::program(&prologue, &stopped, Action::Trace);
    let pre_exec = || {
        filter::allow_filters(privileged)?;
        filter::install(&program, 0).map(|_| ())
    };
    // SAFETY: the closure makes two system calls and does not allocate.
    let held = unsafe { Held::with_pre_exec(command, pre_exec) }.map_err(OpenError::target)?;
    seize(held.pid() as libc::pid_t, HELD)
        .map_err(OpenError::failed(NAME, "trace its own child"))?;
    let all_opens_stop = affinity::opens().all(|call| stops_always(&stopped, call));
    let coverage = Coverage::new(Mode::Filter(stopped), wanted);
    guard::keep_others_out();
    fuse::prepare();
    let reads = host.has(capability::SYS_PTRACE);
    let mut capture = PtraceCapture::new(waiter, coverage, Some(held), limits, reads);
    if all_opens_stop {
        capture.pinner.pin_between_calls();
    }
    Ok(capture)
}

/// The calls that change a thread's user.
pub(crate) fn calls_that_change_user() -> SyscallSet {
    SYSCALLS
        .iter()
        .filter(|call| call.category == Category::User && call.returns == Returns::Errno)
        // without those that only ask
        .filter(|call| {
            let fills = |param: &Param| matches!(param.written, Written::Success);
            !call.params.iter().any(fills)
        })
        .collect()
}

fn stops_always(stopped: &Selection, call: &Syscall) -> bool {
    stopped.contains(call) && stopped.predicate(call).is_always()
}

/// The calls that the filter has to stop for a selection: in addition to it, exec, the calls that change a thread's
/// user, and those that could show how tracees are pinned.
fn stopped_calls(selection: &Selection) -> Selection {
    // A call that goes on behind a stop may do so as restart_syscall(2). Programs can hide from lanner by seccomp(2) and
    // userfaultfd(2).
    let always = [
        "execve",
        "execveat",
        "restart_syscall",
        "seccomp",
        "userfaultfd",
    ]
    .into_iter()
    .chain(hiding::ALWAYS)
    .chain(affinity::CALLS);
    let always: SyscallSet = always.filter_map(by_name).collect();
    let stopped = selection
        .at_entry()
        .with_all_of(&always.union(&calls_that_change_user()));
    let mut selected = affinity::opens()
        .filter(|call| stopped.contains(call))
        .peekable();
    // If opens stop, the others, which are few, stop as well: then threads can stay pinned between their calls. Fewer stops
    // are better still.
    if selected.peek().is_some() && selected.all(|call| stops_always(&stopped, call)) {
        stopped.with_all_of(&affinity::opens().collect())
    } else {
        stopped
    }
}

#[cfg(test)]
mod tests {
    use driver_api::predicate::{ArgTest, Clause, Outcome, Predicate};

    use super::*;

    fn host() -> Host {
        Host {
            seccomp: true,
            ..Host::default()
        }
    }

    fn names(support: &Support) -> Vec<&str> {
        support.gaps().iter().map(|gap| gap.what.as_str()).collect()
    }

    #[test]
    fn without_filters_or_with_ptrace_forbidden_it_is_unusable_and_says_why() {
        let no_filter = Ptrace.probe(&Host::default());
        assert!(!no_filter.usable());
        assert_eq!(names(&no_filter), ["seccomp filters"]);
        let everything = u64::MAX;
        for (scope, capabilities, usable) in [
            (None, 0, true),
            (Some(0), 0, true),
            (Some(1), 0, true),
            (Some(2), 0, false),
            (Some(2), 1 << capability::SYS_PTRACE, true),
            (Some(3), everything, false),
        ] {
            let support = Ptrace.probe(&Host {
                ptrace_scope: scope,
                capabilities,
                ..host()
            });
            assert_eq!(support.usable(), usable, "scope {scope:?}");
            assert!(
                usable
                    || support
                        .gaps()
                        .iter()
                        .all(|gap| gap.why.contains("ptrace_scope")),
                "{support:?}"
            );
        }
    }

    #[test]
    fn without_timers_it_is_unusable_and_names_the_kernels_option() {
        let support = Ptrace.probe(&Host {
            timers: Trial::Refused(libc::ENOSYS),
            ..host()
        });
        assert!(!support.usable());
        assert_eq!(names(&support), ["timers"]);
        assert!(support.gaps()[0].remedy.contains("CONFIG_POSIX_TIMERS"));
        assert_eq!(try_timer(), Trial::Works);
    }

    #[test]
    fn privilege_closes_the_gaps_that_it_can() {
        let scope = Some(1);
        let user = Ptrace.probe(&Host {
            ptrace_scope: scope,
            ..host()
        });
        let root = Ptrace.probe(&Host {
            ptrace_scope: scope,
            capabilities: u64::MAX,
            ..host()
        });
        let closed: Vec<&str> = names(&user)
            .into_iter()
            .filter(|gap| !names(&root).contains(gap))
            .collect();
        assert_eq!(
            closed,
            [
                "programs that may not be read",
                "the privilege of setuid programs",
                "attaching to running processes"
            ]
        );
    }

    #[test]
    fn an_open_stops_whatever_its_flags_are_unless_the_selection_wants_some() {
        let writes = |outcome| {
            let test = ArgTest {
                param: 2,
                mask: 3,
                value: 0,
                equal: false,
            };
            let clause = Clause {
                outcome,
                ..Clause::test(test)
            };
            let openat = by_name("openat").unwrap();
            let mut selection = Selection::default();
            selection.add(openat, &Predicate::of(openat, &[clause]).unwrap());
            stopped_calls(&selection)
        };
        let is_stopped = |stopped: &Selection, name| stopped.contains(by_name(name).unwrap());
        let stopped = writes(Outcome::OK);
        assert_eq!(stopped, writes(Outcome::FAILED));
        assert!(
            stopped
                .predicate(by_name("openat").unwrap())
                .tests_arguments()
        );
        assert!(is_stopped(&stopped, "execve") && !is_stopped(&stopped, "creat"));
        let openat: SyscallSet = by_name("openat").into_iter().collect();
        let all = stopped_calls(&openat.into());
        assert!(affinity::opens().all(|call| stops_always(&all, call)));
        assert!(is_stopped(&all, "setuid"));
    }

    #[test]
    fn a_host_without_filters_is_refused_and_a_whole_host_is_not_supported() {
        let request = |target| Request {
            target,
            selection: Selection::default(),
            limits: Limits::default(),
            buffer: 0,
        };
        assert!(matches!(
            Ptrace.open(&Host::default(), &request(Target::Pids(Vec::new()))),
            Err(OpenError::Unusable { .. })
        ));
        assert!(matches!(
            Ptrace.open(&host(), &request(Target::Host)),
            Err(OpenError::Unsupported { .. })
        ));
    }
}
