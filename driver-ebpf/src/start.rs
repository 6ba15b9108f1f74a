//! Whom the programs in the kernel follow from the beginning of a capture.

use driver_api::driver::OpenError;
use driver_api::error::Cause;
use driver_api::request::Target;

pub use crate::layout::Follow;
pub use driver_start::{Held, StartError, ThreadsError, follow_threads, threads};

/// Why a running process cannot be followed.
#[derive(Debug, thiserror::Error)]
enum Unfollowed {
    /// Its threads cannot be listed.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
    /// A thread cannot be written into the table.
    #[error(transparent)]
    Put(Cause),
}

/// Makes the programs in the kernel, which are attached already, follow the target: `put` writes a thread into their table.
///
/// # Errors
///
/// A process has ended, or an error of `put`.
pub fn follow_target(
    target: &Target,
    command: Option<&Held>,
    mut put: impl FnMut(u32, Follow) -> Result<(), Cause>,
) -> Result<(), OpenError> {
    if let Some(command) = command {
        put(command.pid(), Follow::Armed).map_err(OpenError::Target)?;
    }
    if let Target::Pids(pids) = target {
        follow_threads(pids, |tid| {
            put(tid, Follow::Active).map_err(Unfollowed::Put)
        })
        .map_err(OpenError::target)?;
    }
    Ok(())
}

/// The inode of the initial PID namespace (`PROC_PID_INIT_INO` of include/linux/proc_ns.h).
const INITIAL_PIDS: &str = "pid:[4026531836]";

/// Whether this process is in the initial PID namespace. Programs in the kernel know processes by their ids there, which
/// cannot be found out inside another namespace.
pub(crate) fn in_initial_namespace() -> bool {
    std::fs::read_link("/proc/self/ns/pid")
        .is_ok_and(|namespace| namespace.as_os_str() == INITIAL_PIDS)
}

/// Checks a target and forks its command, before anything is loaded.
///
/// # Errors
///
/// The target is inside a PID namespace, a process does not exist, or the command cannot be forked.
pub fn prepare(driver: &'static str, target: &Target) -> Result<Option<Held>, OpenError> {
    if !matches!(target, Target::Host) && !in_initial_namespace() {
        return Err(OpenError::Unsupported {
            driver,
            what: "a command or a process inside a PID namespace".to_owned(),
            why: "programs in the kernel know processes by their ids in the initial one; run lanner there, \
                  or use the driver ptrace"
                .to_owned(),
        });
    }
    match target {
        Target::Host => Ok(None),
        Target::Pids(pids) => threads(pids).map(|_| None).map_err(OpenError::target),
        Target::Command(command) => Held::new(command).map(Some).map_err(OpenError::target),
    }
}
