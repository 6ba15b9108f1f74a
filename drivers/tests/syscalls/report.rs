//! The report: `docs/conformance.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use driver_api::event::Abi;
use driver_api::table::SYSCALLS;

use crate::gaps::GAPS;
use crate::script::{ABIS, untested};

/// More calls than this are counted, not named.
const MANY: usize = 40;

/// What became of one call of one ABI under one driver.
#[derive(Debug, Default, Clone)]
pub(crate) struct Verdict {
    pub(crate) cases: usize,
    pub(crate) failed: usize,
    /// Places in [`GAPS`].
    pub(crate) gaps: BTreeSet<usize>,
    /// Cases that the kernel did not answer with an error.
    pub(crate) succeeded: usize,
    /// Cases that the kernel answered with ENOSYS.
    pub(crate) unknown: usize,
}

/// By ABI and the call's name.
pub(crate) type Verdicts = BTreeMap<(Abi, &'static str), Verdict>;

fn in_table(abi: Abi) -> usize {
    SYSCALLS
        .iter()
        .filter(|call| call.number(abi).is_some())
        .count()
}

/// The part of the page that tools/strace-oracle writes.
pub(crate) fn beside_strace(page: &str) -> &str {
    let found = page.find("\n## Beside strace\n");
    found.map_or("", |at| &page[at..])
}

/// The page, up to the part of tools/strace-oracle.
pub(crate) fn page(all: &[(&'static str, Verdicts)]) -> String {
    let mut page = String::from(
        "# Conformance\n\n\
         Made by `make conformance-report`; do not edit.\n\n\
         For each call of the table, in each ABI, a program makes the raw call: generated from the kinds of its\n\
         parameters, with unreadable and with NULL pointers, once for each row of a variant that points to memory,\n\
         and as the lines of `drivers/tests/syscalls/scenes.tbl` say. The program reads its own memory and\n\
         descriptors afterwards; number, ABI, every argument, the return value, every attachment and every fact of\n\
         the driver's event are compared with that.\n\n\
         | driver | ABI | calls in the table | tested | made with success, too | passed | with a gap | failed | cases |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for (driver, verdicts) in all {
        for abi in ABIS.iter().copied().chain([Abi::X32]) {
            let of: Vec<&Verdict> = verdicts
                .iter()
                .filter(|((a, _), _)| *a == abi)
                .map(|(_, v)| v)
                .collect();
            let count = |which: fn(&Verdict) -> bool| of.iter().filter(|v| which(v)).count();
            let total = if abi == Abi::X32 {
                "-".to_owned()
            } else {
                in_table(abi).to_string()
            };
            let _ = writeln!(
                page,
                "| {driver} | {} | {total} | {} | {} | {} | {} | {} | {} |",
                abi.name(),
                of.len(),
                count(|v| v.succeeded > 0),
                count(|v| v.failed == 0 && v.gaps.is_empty()),
                count(|v| v.failed == 0 && !v.gaps.is_empty()),
                count(|v| v.failed > 0),
                of.iter().map(|v| v.cases).sum::<usize>(),
            );
        }
    }
    page.push_str(
        "\nThe script is played twice: with the default limits, and with limits so low that most of it is cut off.\n",
    );
    gaps(&mut page, all);
    others(&mut page, all);
    page
}

fn gaps(page: &mut String, all: &[(&'static str, Verdicts)]) {
    page.push_str("\n## Gaps\n\n");
    let mut any = false;
    for (at, gap) in GAPS.iter().enumerate() {
        for (driver, verdicts) in all {
            let mut calls: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for ((abi, name), _) in verdicts.iter().filter(|(_, v)| v.gaps.contains(&at)) {
                calls.entry(name).or_default().push(abi.name());
            }
            let calls: Vec<String> = calls
                .into_iter()
                .map(|(name, abis)| format!("`{name}` ({})", abis.join(", ")))
                .collect();
            if !calls.is_empty() {
                any = true;
                let names = if calls.len() > MANY {
                    format!("{} calls", calls.len())
                } else {
                    calls.join(", ")
                };
                let _ = writeln!(
                    page,
                    "- {driver}: {} of {}: {}",
                    gap.what, names, gap.reason
                );
            }
        }
    }
    if !any {
        page.push_str("None.\n");
    }
}

fn others(page: &mut String, all: &[(&'static str, Verdicts)]) {
    page.push_str("\n## Not tested\n\n");
    for &abi in ABIS {
        for call in SYSCALLS.iter().filter(|call| call.number(abi).is_some()) {
            if let Some(why) = untested(call.name, abi) {
                let _ = writeln!(page, "- {}: `{}`: {why}", abi.name(), call.name);
            }
        }
    }
    page.push_str(
        "\n## Calls that the kernel of the test does not have\n\n\
         They were made all the same, answered ENOSYS, and their events compared like all others.\n\n",
    );
    for &abi in ABIS {
        let names: BTreeSet<&str> = all
            .iter()
            .flat_map(|(_, verdicts)| verdicts)
            .filter(|((a, _), verdict)| *a == abi && verdict.unknown == verdict.cases)
            .map(|((_, name), _)| *name)
            .collect();
        let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(page, "- {}: {}", abi.name(), names.join(", "));
    }
}
