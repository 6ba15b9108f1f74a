//! The driver that is registered: trace mode if ptrace works, else notify mode. Each mode is a driver, too, for users
//! who want that mode or none.

use driver_api::driver::{Driver, Mode, OpenError, Opened};
use driver_api::host::{Host, Trial, capability};
use driver_api::request::{Request, Target};
use driver_api::support::{FilterStage, Gap, Serves, Support, Tested};

use crate::notify::{self, trial};
use crate::{NAME, Ptrace};

/// The ptrace driver in the first of its modes that works.
#[derive(Debug)]
pub struct AnyMode;

/// The ptrace driver in notify mode.
#[derive(Debug)]
pub struct Notify;

driver_api::register!(AnyMode);

const MODES: [Mode; 2] = [
    Mode {
        name: "trace",
        driver: &Ptrace,
    },
    Mode {
        name: "notify",
        driver: &Notify,
    },
];

/// The driver's name in notify mode.
const NOTIFY: &str = "ptrace-notify";

/// Tries what trace mode needs.
pub(crate) fn try_trace(host: &mut Host) {
    if host.ptrace == Trial::Untried {
        host.ptrace = trial::ptrace();
    }
    if host.timers == Trial::Untried {
        host.timers = crate::trace::try_timer();
    }
}

/// Tries what notify mode needs.
fn try_notify(host: &mut Host) {
    if host.notify == Trial::Untried {
        host.notify = trial::notify(host.has(capability::SYS_ADMIN));
    }
}

impl Driver for Notify {
    fn name(&self) -> &'static str {
        NOTIFY
    }

    fn description(&self) -> &'static str {
        "seccomp user notification: no privilege and no ptrace, the calls of a command at their entry"
    }

    fn preference(&self) -> u32 {
        40
    }

    fn tested(&self) -> Tested {
        Tested {
            arguments: FilterStage::Lanner,
            result: FilterStage::Nowhere,
        }
    }

    fn serves(&self) -> Serves {
        Serves {
            host: false,
            command: true,
            pids: false,
        }
    }

    fn try_out(&self, host: &mut Host) {
        try_notify(host);
    }

    fn probe(&self, host: &Host) -> Support {
        notify::support(host)
    }

    fn open(&self, host: &Host, request: &Request) -> Result<Opened, OpenError> {
        open_notify(NOTIFY, host, request)
    }
}

fn open_notify(driver: &'static str, host: &Host, request: &Request) -> Result<Opened, OpenError> {
    let mut gaps = notify::missing(host);
    let mut host = host.clone();
    // a target that it does not support is refused before anything is tried
    if gaps.is_empty() && matches!(request.target, Target::Command(_)) {
        try_notify(&mut host);
        gaps = notify::missing(&host);
    }
    if gaps.is_empty() {
        notify::open(driver, &host, request)
    } else {
        Err(OpenError::Unusable { driver, gaps })
    }
}

/// Why trace mode was passed over, and what that means, in one line.
fn passed_over(gaps: &[Gap]) -> Gap {
    let why: Vec<&str> = gaps.iter().map(|gap| gap.why.as_str()).collect();
    let remedy: Vec<&str> = gaps.iter().map(|gap| gap.remedy.as_str()).collect();
    Gap::new(
        "trace mode",
        format!(
            "{}; notify mode is used instead, which sees calls at their entry: no return values, no facts of \
             new descriptors",
            why.join(", ")
        ),
        remedy.join("; "),
    )
}

impl Driver for AnyMode {
    fn name(&self) -> &'static str {
        NAME
    }

    fn description(&self) -> &'static str {
        "ptrace behind a seccomp filter, or seccomp notification where ptrace is forbidden: no privilege, a \
         command or processes of your own"
    }

    fn preference(&self) -> u32 {
        Ptrace.preference()
    }

    fn tested(&self) -> Tested {
        Ptrace.tested()
    }

    fn serves(&self) -> Serves {
        Ptrace.serves()
    }

    fn modes(&self) -> &'static [Mode] {
        &MODES
    }

    fn reserved_signals(&self) -> Vec<i32> {
        Ptrace.reserved_signals()
    }

    fn try_out(&self, host: &mut Host) {
        try_trace(host);
        try_notify(host);
    }

    fn probe(&self, host: &Host) -> Support {
        let trace = match Ptrace.probe(host) {
            Support::Unusable(missing) => missing,
            usable => return usable,
        };
        // nothing was tried yet: what forbids trace mode is all that is known
        if host.notify == Trial::Untried {
            return Support::Unusable(trace);
        }
        match Notify.probe(host) {
            Support::Usable(mut gaps) => {
                gaps.insert(0, passed_over(&trace));
                Support::Usable(gaps)
            }
            Support::Unusable(notify) => Support::Unusable(both(trace, notify)),
        }
    }

    fn open(&self, host: &Host, request: &Request) -> Result<Opened, OpenError> {
        let trace = match Ptrace.probe(host) {
            Support::Usable(_) if matches!(request.target, Target::Host) => {
                return Ptrace.open(host, request);
            }
            Support::Usable(_) => {
                let mut tried = host.clone();
                try_trace(&mut tried);
                match Ptrace.probe(&tried) {
                    Support::Usable(_) => return Ptrace.open(host, request),
                    Support::Unusable(missing) => missing,
                }
            }
            Support::Unusable(missing) => missing,
        };
        match open_notify(NAME, host, request) {
            Ok(mut opened) => {
                opened.gaps.insert(0, passed_over(&trace));
                Ok(opened)
            }
            Err(OpenError::Unusable { driver, gaps }) => Err(OpenError::Unusable {
                driver,
                gaps: both(trace, gaps),
            }),
            Err(OpenError::Unsupported { driver, what, why }) => {
                let closed: Vec<String> = trace.into_iter().map(|gap| gap.why).collect();
                Err(OpenError::Unsupported {
                    driver,
                    what,
                    why: format!("{}; {why}", closed.join(", ")),
                })
            }
            Err(error) => Err(error),
        }
    }
}

/// What keeps the two modes from working; a gap that is the same for both comes once.
fn both(mut trace: Vec<Gap>, notify: Vec<Gap>) -> Vec<Gap> {
    for gap in notify {
        if !trace.contains(&gap) {
            trace.push(gap);
        }
    }
    trace
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(ptrace: Trial, notify: Trial) -> Host {
        Host {
            seccomp: true,
            ptrace,
            notify,
            ..Host::default()
        }
    }

    const NO: Trial = Trial::Refused(libc::EPERM);

    #[test]
    fn trace_mode_is_taken_where_ptrace_works_and_notify_mode_where_not() {
        for (ptrace, notify, usable, mode) in [
            (Trial::Works, NO, true, ""),
            (Trial::Untried, Trial::Untried, true, ""),
            (NO, Trial::Works, true, "trace mode"),
            (NO, NO, false, "ptrace"),
            (NO, Trial::Untried, false, "ptrace"),
        ] {
            let support = AnyMode.probe(&host(ptrace, notify));
            assert_eq!(support.usable(), usable, "{ptrace:?} {notify:?}");
            if !mode.is_empty() {
                assert_eq!(support.gaps()[0].what, mode, "{support:?}");
            }
        }
    }

    #[test]
    fn where_both_are_forbidden_each_says_what_would_help() {
        let support = AnyMode.probe(&host(NO, NO));
        let whats: Vec<&str> = support.gaps().iter().map(|gap| gap.what.as_str()).collect();
        assert_eq!(whats, ["ptrace", "seccomp user notification"]);
        assert!(support.gaps().iter().all(|gap| !gap.remedy.is_empty()));
    }

    #[test]
    fn yama_at_its_highest_leaves_notify_mode_without_memory() {
        let closed = Host {
            ptrace_scope: Some(3),
            ..host(Trial::Untried, Trial::Works)
        };
        let support = AnyMode.probe(&closed);
        assert!(support.usable());
        let what = |gap: &Gap| gap.what == "the memory that parameters point to";
        assert!(support.gaps().iter().any(what), "{support:?}");
        assert!(
            !Notify
                .probe(&host(NO, Trial::Works))
                .gaps()
                .iter()
                .any(what)
        );
    }

    #[test]
    fn a_running_process_is_not_supported_without_ptrace() {
        let request = Request {
            target: Target::Pids(vec![std::process::id()]),
            selection: driver_api::selection::Selection::default(),
            limits: driver_api::request::Limits::default(),
            buffer: 0,
        };
        let refused = AnyMode.open(&host(NO, Trial::Works), &request);
        let Err(OpenError::Unsupported { why, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert!(
            why.contains("ptrace") && why.contains("-- COMMAND"),
            "{why}"
        );
    }
}
