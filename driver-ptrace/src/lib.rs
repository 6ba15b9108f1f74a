//! The unprivileged driver: ptrace behind a seccomp filter.
//!
//! A command is started with a filter that stops at the selected calls alone; an attached process stops
//! at every call. [`tracee`] is a stopped thread, [`wait`] waits for one, [`capture`] is the loop between
//! the two, [`stops`] makes events of stops, [`cpu`] keeps tracer and tracee together, [`attach`] takes up running processes and leaves them.
//! [`notify`] is the way without ptrace, where that is forbidden.
//! [`restart`] keeps being traced from ending calls that wait, [`undecided`] finds out how interrupted ones end.
//! [`interpret`] follows the capture plan, [`memory`] and [`facts`] read what it names, the latter from
//! [`proc_dir`].

mod attach;
mod capture;
mod cpu;
mod facts;
mod filter;
mod interpret;
mod memory;
mod modes;
mod notify;
mod outbox;
mod proc_dir;
mod restart;
mod stops;
mod tracee;
mod undecided;
mod wait;

use driver_api::driver::{Driver, OpenError, Opened};
use driver_api::host::{Host, Trial, capability};
use driver_api::request::{Request, SyscallSet, Target};
use driver_api::support::{Gap, Serves, Support};
use driver_api::table::{Returns, Written, by_name};
use driver_start::Held;

use capture::{Mode, PtraceCapture};
pub use modes::{AnyMode, Notify};
use tracee::{STARTED, seize};
use wait::Waiter;

/// The driver's name.
const NAME: &str = "ptrace";

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

    fn serves(&self) -> Serves {
        Serves {
            host: false,
            command: true,
            pids: true,
        }
    }

    fn reserved_signals(&self) -> Vec<i32> {
        vec![wait::timer_signal()]
    }

    fn probe(&self, host: &Host) -> Support {
        let mut missing = Vec::new();
        if !host.seccomp {
            missing.push(Gap::new(
                "seccomp filters",
                "the kernel was built without them",
                "use a kernel with CONFIG_SECCOMP_FILTER",
            ));
        }
        if host.ptrace_scope == Some(3) {
            missing.push(Gap::new(
                "ptrace",
                "kernel.yama.ptrace_scope is 3, which forbids it to everybody until the next boot",
                "boot with another value",
            ));
        }
        if host.ptrace_scope == Some(2) && !host.has(capability::SYS_PTRACE) {
            missing.push(Gap::new(
                "ptrace",
                "kernel.yama.ptrace_scope is 2, which keeps it for CAP_SYS_PTRACE",
                "sysctl kernel.yama.ptrace_scope=1, or CAP_SYS_PTRACE",
            ));
        }
        if let (Trial::Refused(errno), true) = (host.ptrace, missing.is_empty()) {
            let error = std::io::Error::from_raw_os_error(errno);
            missing.push(Gap::new(
                "ptrace",
                format!("a seccomp profile or a security module forbids ptrace here ({error})"),
                "allow the calls ptrace and process_vm_readv in the container's profile",
            ));
        }
        if !missing.is_empty() {
            return Support::Unusable(missing);
        }
        let mut gaps = vec![
            Gap::new(
                "the whole host",
                "ptrace follows processes that were started by lanner or attached to",
                "use an eBPF driver for the whole host",
            ),
            Gap::new(
                "speed on a process that is attached to",
                "a seccomp filter cannot be put into a running process, so that it stops at every call",
                "start it through lanner (-- COMMAND)",
            ),
            Gap::new(
                "children made with CLONE_UNTRACED",
                "no tracer is told of them; below a command their captured calls fail with ENOSYS",
                "use an eBPF driver",
            ),
            Gap::new(
                "cgroup ids",
                "the kernel tells them to programs in the kernel alone",
                "",
            ),
            Gap::new(
                "the layer of a program in an overlay file system",
                "it is looked for among the mounts when a rule asks: of a process that is over by then it is unknown",
                "use ebpf-core",
            ),
            Gap::new(
                "the CPU of an event",
                "it is the CPU on which lanner saw the stop",
                "",
            ),
            Gap::new(
                "the CPU affinity in /proc/PID/status",
                "a busy command's threads are kept on lanner's CPU, for which theirs is narrow; who looks from \
                 outside may see that, and the command itself where it opened the file before",
                "",
            ),
            Gap::new(
                "debuggers below a command",
                "a process has one tracer, which is lanner: gdb and strace are told EPERM",
                "use an eBPF driver",
            ),
            Gap::new(
                "calls that a seccomp filter of the program's own refuses or answers",
                "the kernel asks no tracer then",
                "use an eBPF driver",
            ),
            Gap::new(
                "ignored signals while epoll_wait, sigtimedwait or the like wait with a limit",
                "the kernel wakes a traced program for them, and the call ends with EINTR",
                "use an eBPF driver",
            ),
            Gap::new(
                "a command that outlives its capture",
                "under its filter, calls without a tracer would fail, so that the command ends with lanner",
                "attach to it instead (-p PID)",
            ),
        ];
        if !(host.has(capability::SYS_ADMIN) && host.has(capability::SYS_PTRACE)) {
            gaps.push(Gap::new(
                "the privilege of setuid programs",
                "without CAP_SYS_ADMIN a seccomp filter demands no_new_privs, and without CAP_SYS_PTRACE the \
                 kernel gives a traced program no privilege",
                "give lanner CAP_SYS_ADMIN and CAP_SYS_PTRACE, or use an eBPF driver",
            ));
        }
        if host.ptrace_scope == Some(1) && !host.has(capability::SYS_PTRACE) {
            gaps.push(Gap::new(
                "attaching to running processes",
                "kernel.yama.ptrace_scope allows it to ancestors or to CAP_SYS_PTRACE alone",
                "sysctl kernel.yama.ptrace_scope=0, or CAP_SYS_PTRACE",
            ));
        }
        Support::Usable(gaps)
    }

    fn open(&self, host: &Host, request: &Request) -> Result<Opened, OpenError> {
        if let Support::Unusable(gaps) = self.probe(host) {
            return Err(OpenError::Unusable { driver: NAME, gaps });
        }
        let waiter = Waiter::new().map_err(OpenError::failed(NAME, "make a timer"))?;
        let wanted = request.selection.without(&request.limits.omit.if_held);
        let capture = match &request.target {
            Target::Host => {
                return Err(OpenError::Unsupported {
                    driver: NAME,
                    what: "the whole host".to_owned(),
                    why: "ptrace follows a command (-- COMMAND) or running processes (-p PID)"
                        .to_owned(),
                });
            }
            Target::Command(command) => {
                let privileged = host.has(capability::SYS_ADMIN);
                let selection = needed(&wanted);
                let filter = filter::program(|call| selection.contains(call));
                // SAFETY: `install` makes system calls alone.
                let held = unsafe { Held::with_pre_exec(command, || install(&filter, privileged)) }
                    .map_err(OpenError::target)?;
                seize(held.pid() as libc::pid_t, STARTED)
                    .map_err(OpenError::failed(NAME, "trace its own child"))?;
                let mut capture =
                    PtraceCapture::new(waiter, Mode::Filter, Some(held), wanted, request.limits);
                if cpu::opens().all(|call| selection.contains(call)) {
                    capture.follower.keep();
                }
                capture
            }
            Target::Pids(pids) => {
                driver_start::threads(pids).map_err(OpenError::target)?;
                let mut capture =
                    PtraceCapture::new(waiter, Mode::Every, None, wanted, request.limits);
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

/// What the filter has to stop at beyond the selection: exec always, what changes a thread's user, and what
/// must not see how tracees are kept near.
fn needed(selection: &SyscallSet) -> SyscallSet {
    let state = driver_api::table::SYSCALLS
        .iter()
        .filter(|call| call.category == "user" && call.returns == Returns::Errno)
        // those that only ask
        .filter(|call| {
            !call
                .params
                .iter()
                .any(|param| matches!(param.written, Written::Success))
        });
    // a call that goes on behind a stop may do so as restart_syscall(2)
    let always = ["execve", "execveat", "restart_syscall"]
        .into_iter()
        .chain(cpu::AFFINITY);
    let always = always.filter_map(by_name).chain(state);
    if cpu::opens().any(|call| selection.contains(call)) {
        // whoever stops for some opens may as well stop for the others, which are few
        selection.union(&always.chain(cpu::opens()).collect())
    } else {
        selection.union(&always.collect())
    }
}

/// Puts the filter into the calling process, between fork and exec: no allocation here.
fn install(filter: &[libc::sock_filter], privileged: bool) -> Result<(), i32> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| libc::E2BIG)?,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: prctl and seccomp take numbers and a program that outlives the call.
    unsafe {
        if !privileged && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(*libc::__errno_location());
        }
        if libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        ) != 0
        {
            return Err(*libc::__errno_location());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
    fn privilege_closes_the_gaps_that_it_can() {
        let scope = Some(1);
        let nobody = Ptrace.probe(&Host {
            ptrace_scope: scope,
            ..host()
        });
        let root = Ptrace.probe(&Host {
            ptrace_scope: scope,
            capabilities: u64::MAX,
            ..host()
        });
        let closed: Vec<&str> = names(&nobody)
            .into_iter()
            .filter(|gap| !names(&root).contains(gap))
            .collect();
        assert_eq!(
            closed,
            [
                "the privilege of setuid programs",
                "attaching to running processes"
            ]
        );
    }

    #[test]
    fn a_host_without_filters_is_refused_and_a_whole_host_is_not_supported() {
        let request = |target| Request {
            target,
            selection: SyscallSet::empty(),
            limits: driver_api::request::Limits::default(),
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
