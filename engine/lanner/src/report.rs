//! Reports losses to the user at the end of a session.

use std::process::ExitCode;

use delivery::Account;
use driver_api::event::Loss;
use driver_api::stats::Stats;
use session::WorkerStatus;

use super::say;

/// Reports the alerts that an output lost, and those that wait on its disk.
pub(crate) fn output(account: &Account) {
    let counts = &account.counts;
    if counts.spooled > 0 {
        say(&format!(
            "output {}: {} alerts wait on disk for the next start",
            account.output, counts.spooled
        ));
    }
    if counts.lost() == 0 {
        return;
    }
    let causes: Vec<String> = (counts.losses().iter())
        .filter(|(_, count)| *count > 0)
        .map(|(cause, count)| format!("{cause} {count}"))
        .collect();
    say(&format!(
        "output {}: {} alerts delivered, {} lost ({})",
        account.output,
        counts.delivered,
        counts.lost(),
        causes.join(", ")
    ));
}

/// Reports the events that a rule plugin beside the event path did not see.
pub(crate) fn worker(worker: &WorkerStatus) {
    if worker.lost() > 0 {
        let (plugin, lost) = (worker.plugin(), worker.lost());
        say(&format!("rule plugin {plugin}: {lost} events lost"));
    }
}

/// Reports the events that the driver lost.
pub(crate) fn capture(stats: &Stats) {
    if stats.lost_total() > 0 {
        let causes: Vec<String> = Loss::ALL
            .iter()
            .zip(stats.lost)
            .filter(|(_, count)| *count > 0)
            .map(|(cause, count)| format!("{} {count}: {}", cause.name(), advice(*cause)))
            .collect();
        say(&format!(
            "{} events captured, {} lost ({})",
            stats.captured,
            stats.lost_total(),
            causes.join("; ")
        ));
    }
    if stats.malformed > 0 {
        say(&format!(
            "{} malformed events were left out",
            stats.malformed
        ));
    }
}

/// What would help against losses of this cause.
fn advice(cause: Loss) -> &'static str {
    match cause {
        Loss::BufferFull => "a larger --buffer or fewer events would help",
        Loss::Nested => {
            "the kernel skipped programs that interrupted each other; fewer events would help"
        }
        Loss::TableFull => "more processes than the driver can follow; watching fewer would help",
        Loss::Fault => "the kernel refused to read them; `lanner drivers` names the gap",
    }
}

/// The exit code for the watched command's wait status, as a shell makes it.
pub(crate) fn exit_code(status: Option<i32>) -> ExitCode {
    let Some(status) = status else {
        return ExitCode::SUCCESS;
    };
    let code = if libc::WIFSIGNALED(status) {
        128 + libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
