//! Plays the script under each driver, and counts.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use driver_api::driver::Driver;
use driver_api::host::Host;
use driver_api::request::Limits;
use driver_api::support::Support;

use crate::compare::compare;
use crate::gaps::{ENTRY_ONLY, GAPS};
use crate::report::{self, Verdicts};
use crate::watch::{self, Run};
use crate::{actor, script};

/// What the command line asks for.
struct Wish {
    drivers: Vec<String>,
    calls: Vec<String>,
    report: bool,
    list: bool,
}

fn wish(args: &[String]) -> Wish {
    let is_driver = |arg: &&String| {
        drivers::with_modes()
            .iter()
            .any(|d| d.name() == arg.as_str())
    };
    let words = args.iter().filter(|arg| !arg.starts_with("--"));
    let (drivers, calls) = words.partition(is_driver);
    Wish {
        drivers: Vec::into_iter(drivers).cloned().collect(),
        calls: Vec::into_iter(calls).cloned().collect(),
        report: args.iter().any(|arg| arg == "--report"),
        list: args.iter().any(|arg| arg == "--list"),
    }
}

pub(crate) fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.as_slice() {
        [flag, nothing] if flag == "--actor" && nothing == "--nothing" => return ExitCode::SUCCESS,
        [flag, folder, limits, names @ ..] if flag == "--actor" => {
            return actor::play(Path::new(folder), limits == "low", names);
        }
        _ => {}
    }
    let wish = wish(&args);
    let host = drivers::host::try_out(&drivers::host::detect());
    let (mut failed, mut all) = (0, Vec::new());
    let chosen = drivers::with_modes().into_iter().filter(|driver| {
        wish.drivers.is_empty() || wish.drivers.iter().any(|name| name == driver.name())
    });
    for driver in chosen {
        if let Support::Unusable(gaps) = driver.probe(&host) {
            let why: Vec<&str> = gaps.iter().map(|gap| gap.why.as_str()).collect();
            println!(
                "{}: skipped, it cannot run here: {}",
                driver.name(),
                why.join(", ")
            );
            if env::var_os("LANNER_NO_SKIP").is_some() && host.euid == 0 {
                failed += 1;
            }
            continue;
        }
        let mut verdicts = Verdicts::new();
        for limits in [Limits::default(), actor::LOW] {
            failed += play(driver, &host, limits, &wish, &mut verdicts);
        }
        all.push((driver.name(), verdicts));
    }
    if wish.report {
        let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
        let old = std::fs::read_to_string(&page).unwrap_or_default();
        let text = report::page(&all) + report::beside_strace(&old);
        std::fs::write(page, text).expect("the page can be written");
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        println!("{failed} failures");
        ExitCode::FAILURE
    }
}

/// How often the script is played at most. It is played again if the kernel skipped runs of programs: events that are
/// missing for this reason are no fault of a driver that counts them.
const PLAYS: usize = 5;

/// Plays the script, and counts the failures.
fn play(
    driver: &'static dyn Driver,
    host: &Host,
    limits: Limits,
    wish: &Wish,
    verdicts: &mut Verdicts,
) -> usize {
    for play in 1.. {
        let run = match watch::run(driver, host, limits, &wish.calls) {
            Ok(run) => run,
            Err(fault) => {
                println!("{}: FAILED: {fault}", driver.name());
                return 1;
            }
        };
        if wish.list {
            list(&run);
        }
        let mut judged = verdicts.clone();
        let failures = judge(driver, &run, wish.calls.is_empty(), &mut judged);
        if failures > 0 && run.skipped > 0 && play < PLAYS {
            println!(
                "{}: played again: the kernel skipped {} runs of programs",
                driver.name(),
                run.skipped
            );
            continue;
        }
        *verdicts = judged;
        return failures;
    }
    0
}

/// Prints every call as it was made.
fn list(run: &Run) {
    for truth in &run.truths {
        let name = truth.call().map_or("?", |call| call.name);
        let ret = truth.ret.map_or("?".to_owned(), |ret| ret.to_string());
        println!(
            "{} {name} [{}] = {ret}, {} attachments",
            truth.abi.name(),
            truth.label,
            truth.want.len()
        );
    }
}

/// Compares a whole run, prints the differences, and counts the failures.
fn judge(driver: &dyn Driver, run: &Run, whole: bool, verdicts: &mut Verdicts) -> usize {
    let name = driver.name();
    let script = script::script();
    let entry_only = driver.name() == ENTRY_ONLY;
    let (mut failures, mut used) = (0, BTreeSet::new());
    for truth in &run.truths {
        let case = &script[truth.place.0];
        let call = case.call;
        let verdict = verdicts.entry((truth.abi, call.name)).or_default();
        verdict.cases += 1;
        verdict.succeeded += usize::from(truth.ret.is_none_or(|ret| ret >= 0));
        verdict.unknown += usize::from(truth.ret == Some(-i64::from(libc::ENOSYS)));
        let kept = run.events.get(&truth.place).map_or(&[][..], Vec::as_slice);
        let mut bad = false;
        for fault in compare(truth, kept, entry_only) {
            let abi = truth.abi.name();
            let gap = GAPS
                .iter()
                .position(|gap| gap.covers(name, case, &fault.what));
            if let Some(gap) = gap {
                verdict.gaps.insert(gap);
                used.insert(gap);
                continue;
            }
            bad = true;
            println!(
                "{name}: {abi} {} [{}] {}: expected {}; found {}",
                call.name, truth.label, fault.what, fault.expected, fault.found
            );
        }
        verdict.failed += usize::from(bad);
        failures += usize::from(bad);
    }
    for (at, gap) in GAPS.iter().enumerate() {
        // on a kernel that lacks the call, the gap cannot show
        let is_here = gap.calls.is_empty()
            || verdicts
                .iter()
                .any(|((_, call), verdict)| gap.names(call) && verdict.unknown < verdict.cases);
        if whole && is_here && gap.is_here() && gap.drivers.contains(&name) && !used.contains(&at) {
            println!("{name}: this gap is gone: {:?} {}", gap.calls, gap.reason);
            failures += 1;
        }
    }
    println!(
        "{name}: {} calls in {} cases, {failures} failures",
        verdicts.len(),
        run.truths.len()
    );
    if run.truths.is_empty() || (whole && run.truths.len() != script.len()) {
        println!("{name}: FAILED: the actor has not played the whole script");
        failures += 1;
    }
    failures
}
