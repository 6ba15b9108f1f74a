//! The conformance suite: every clause of the contract in `driver_api::driver`, on every driver.
//!
//! A case starts a real program, this binary as an [`actor`], and checks what the driver delivers.
//!
//! Arguments: names of drivers, and words; a case runs if its name contains one of the words. A driver that cannot run
//! here is reported with its reason; as root and with `LANNER_NO_SKIP` set, that is a failure. `LANNER_TEST_BTF` names a
//! file with the kernel's types, as `--btf` does.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set its stage has failed"
)]

mod actor;
#[cfg(target_arch = "aarch64")]
mod arm;
mod begin;
mod deliver;
mod directories;
mod exec;
mod held;
mod memory;
mod predicates;
mod rings;
mod running;
mod stage;
mod times;

use std::env;
use std::process::ExitCode;

use driver_api::driver::Driver;
use driver_api::support::Support;
use stage::{Outcome, Stage};

/// A case: the clauses it tests, its name, and what it does.
type Case = (&'static [u8], &'static str, fn(&Stage) -> Outcome);

fn cases() -> Vec<Case> {
    #[cfg(not(target_arch = "aarch64"))]
    let machine: &[Case] = &[];
    #[cfg(target_arch = "aarch64")]
    let machine = arm::CASES;
    [
        begin::CASES,
        deliver::CASES,
        memory::CASES,
        directories::CASES,
        exec::CASES,
        rings::CASES,
        running::CASES,
        held::CASES,
        predicates::CASES,
        times::CASES,
        machine,
    ]
    .concat()
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--") || arg == "--actor")
        .collect();
    if let [flag, scene, rest @ ..] = args.as_slice()
        && flag == "--actor"
    {
        return actor::play(scene, rest);
    }
    let mut host = drivers::host::try_out(&drivers::host::detect());
    host.btf_file = env::var_os("LANNER_TEST_BTF").map(Into::into);
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for driver in drivers::with_modes() {
        if let Support::Unusable(gaps) = driver.probe(&host) {
            let why = gaps
                .iter()
                .map(|gap| gap.why.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            println!("{}: skipped, it cannot run here: {why}", driver.name());
            if env::var_os("LANNER_NO_SKIP").is_some() && host.euid == 0 {
                failed += 1;
            } else {
                skipped += 1;
            }
            continue;
        }
        for (clauses, name, run) in cases()
            .into_iter()
            .filter(|case| chosen(&args, driver, case.1))
        {
            let stage = Stage {
                driver,
                host: &host,
            };
            match whole(&stage, run) {
                Ok(note) => {
                    passed += 1;
                    println!(
                        "{}: clause {clauses:?} {name}: ok{}",
                        driver.name(),
                        note.map(|n| format!(" ({n})")).unwrap_or_default()
                    );
                }
                Err(fault) => {
                    failed += 1;
                    println!(
                        "{}: clause {clauses:?} {name}: FAILED: {fault}",
                        driver.name()
                    );
                }
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// How often a case is run at most. It is run again if the kernel skipped runs of programs: events that are missing for
/// this reason are no fault of a driver that counts them.
const RUNS: usize = 5;

/// Runs a case until it passes, or fails although the kernel has skipped nothing.
fn whole(stage: &Stage, run: fn(&Stage) -> Outcome) -> Outcome {
    let mut result = Err(String::new());
    for again in 0..RUNS {
        stage::skipped();
        result = run(stage);
        let skipped = stage::skipped();
        if result.is_ok() || skipped == 0 {
            return match (result, again) {
                (Ok(None), 1..) => Ok(Some(format!(
                    "run {again} times more, as runs of programs were skipped"
                ))),
                (result, _) => result,
            };
        }
    }
    result
}

fn chosen(args: &[String], driver: &dyn Driver, name: &str) -> bool {
    let (names, words): (Vec<_>, Vec<_>) = args.iter().partition(|arg| {
        drivers::with_modes()
            .iter()
            .any(|d| d.name() == arg.as_str())
    });
    (names.is_empty() || names.iter().any(|n| *n == driver.name()))
        && (words.is_empty() || words.iter().any(|word| name.contains(word.as_str())))
}
