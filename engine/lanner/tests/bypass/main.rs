//! Ways past a monitor: programs that try not to be seen, and the rules that must see them, in each mode of capture.
//!
//! - `ways.tbl` says what is done, which rule must fire, and what becomes of it in each mode; [`table`] reads it.
//! - `actor` has the programs, `rules.yaml` the rules that a user would write. The default rules are there as well.
//! - [`stage`] runs all ways below one lanner for each mode.
//! - [`page`] makes docs/bypass.md of the table.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set its stage has failed, and says what it skips"
)]

mod page;
mod stage;
mod table;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use stage::{BIN, CANNOT, Outcome, Outcomes, REFUSED, Stage};
use table::{MODES, Mode, Row, Table, Verdict};
use test_support::{is_root, lacking, skipped, usable_drivers};

/// What differs between a row and the run. None: nothing.
fn difference(row: &Row, verdict: Verdict, outcome: &Outcome) -> Option<String> {
    let fired = row.rules.iter().any(|rule| outcome.fired.contains(*rule));
    let right = fired != row.must_not;
    let is = match (outcome.status, verdict) {
        (REFUSED, Verdict::Refused(_)) => return None,
        (REFUSED, _) => "refused",
        (0, Verdict::Seen) if right => return None,
        (0, Verdict::Gap(_)) if !right => return None,
        (0, Verdict::Sometimes(_)) => return None,
        (0, _) if right => "seen",
        (0, _) => "not seen",
        _ => "not done",
    };
    Some(format!(
        "{}: the table says {verdict:?}, but it is {is} (status {}, rules that fired: {:?}, rules to fire: {:?})",
        row.way, outcome.status, outcome.fired, row.rules
    ))
}

fn differences(table: &Table, mode: usize, outcomes: &Outcomes) -> Vec<String> {
    (table.rows.iter())
        .filter(|row| outcomes[row.way].status != CANNOT)
        .filter_map(|row| difference(row, row.verdicts[mode], &outcomes[row.way]))
        .collect()
}

/// All ways in one mode.
fn go(mode: usize) {
    if !is_root() {
        return skipped("ways past a monitor: many need root");
    }
    if usable_drivers(BIN, &[MODES[mode].driver]).is_empty() {
        return;
    }
    let table = Table::new();
    let outcomes = Stage::new().play(&MODES[mode], &table.ways());
    let differences = differences(&table, mode, &outcomes);
    assert!(
        differences.is_empty(),
        "{}:\n{}",
        MODES[mode].name,
        differences.join("\n")
    );
    let cannot = (outcomes.iter()).filter(|(_, outcome)| outcome.status == CANNOT);
    let (lacks, others): (Vec<&str>, Vec<&str>) = cannot
        .map(|(way, _)| way.as_str())
        .partition(|way| is_known_to_be_lacking(way));
    if !lacks.is_empty() {
        lacking(&format!("ways past a monitor: {lacks:?}"));
    }
    if !others.is_empty() {
        skipped(&format!("ways that this kernel does not have: {others:?}"));
    }
}

/// Whether this machine lacks what a way needs.
fn is_known_to_be_lacking(way: &str) -> bool {
    // only a kernel with modules has the first, and only one with CONFIG_MAGIC_SYSRQ the second
    const NEEDS: [(&str, &str); 2] = [
        ("module-loader", "/proc/sys/kernel/modprobe"),
        ("all-killed", "/proc/sysrq-trigger"),
    ];
    let mut needs = NEEDS.iter().filter(|(needy, _)| *needy == way);
    needs.any(|(_, file)| !Path::new(file).exists())
        || (way == "compat-call" && !has_call_instruction_of_32_bits())
}

/// Whether code of 32 bits can make calls by the instruction `syscall`: only processors of AMD and of Hygon let it.
fn has_call_instruction_of_32_bits() -> bool {
    let processors = fs::read_to_string("/proc/cpuinfo").expect("processors");
    ["AuthenticAMD", "HygonGenuine"]
        .iter()
        .any(|maker| processors.contains(maker))
}

#[test]
fn core_sees_what_the_table_says() {
    go(0);
}

#[test]
fn legacy_sees_what_the_table_says() {
    go(1);
}

#[test]
fn ptrace_trace_sees_what_the_table_says() {
    go(2);
}

#[test]
fn ptrace_notify_sees_what_the_table_says() {
    go(3);
}

/// The gaps that `lanner drivers` names for a mode.
fn named(drivers: &Value, mode: &Mode) -> Option<BTreeSet<String>> {
    let find = |rows: &Value, name: &str| {
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.into_iter().find(|row| row["name"] == name)
    };
    let mut row = find(&drivers["drivers"], mode.driver)?;
    if let Some(name) = mode.mode {
        row = find(&row["modes"], name)?;
    }
    if row["usable"] != true {
        return None;
    }
    let gaps = row["gaps"].as_array()?;
    Some(
        gaps.iter()
            .filter_map(|gap| gap["what"].as_str().map(str::to_owned))
            .collect(),
    )
}

#[test]
fn drivers_name_every_gap_of_the_table() {
    let output = Command::new(BIN)
        .args(["drivers", "--json"])
        .output()
        .expect("lanner runs");
    let drivers: Value = serde_json::from_slice(&output.stdout).expect("drivers prints JSON");
    let table = Table::new();
    let mut unnamed = Vec::new();
    for (at, mode) in MODES.iter().enumerate() {
        let name = mode.name;
        let Some(named) = named(&drivers, mode) else {
            skipped(&format!("{name} cannot run here"));
            continue;
        };
        for row in &table.rows {
            let Some(label) = row.verdicts[at].gap() else {
                continue;
            };
            let what = table.gaps.get(label).copied();
            if !what.is_some_and(|what| named.contains(what)) {
                unnamed.push(format!("{name}, {}: {label}: {what:?}", row.way));
            }
        }
    }
    assert!(
        unnamed.is_empty(),
        "`lanner drivers` does not name:\n{}",
        unnamed.join("\n")
    );
}

#[test]
fn every_label_of_the_table_is_explained_and_used() {
    let table = Table::new();
    for row in &table.rows {
        let known = row.falco == "?" || table.falco.contains_key(row.falco);
        assert!(known, "{}: `{}` is no note on Falco", row.way, row.falco);
    }
    for label in table.gaps.keys() {
        let used = |row: &Row| row.verdicts.iter().any(|v| v.gap() == Some(*label));
        assert!(table.rows.iter().any(used), "the gap `{label}` is not used");
    }
    for label in table.falco.keys() {
        let used = table.rows.iter().any(|row| row.falco == *label);
        assert!(used, "the note `{label}` is not used");
    }
}

#[test]
fn the_tests_elsewhere_are_there() {
    for test in Table::new().elsewhere {
        assert_eq!(test.cells.len(), 1 + MODES.len(), "{test:?}");
        let file = stage::workspace().join(test.file);
        let text = fs::read_to_string(file).expect("the test's file is there");
        assert!(text.contains(&format!("fn {}(", test.function)), "{test:?}");
    }
}

/// With `LANNER_WRITE_PAGE`, the page is written after all modes have been run.
#[test]
fn the_page_is_current() {
    let path = stage::workspace().join("docs/bypass.md");
    let page = page::page(&Table::new());
    if std::env::var_os("LANNER_WRITE_PAGE").is_some() {
        for mode in 0..MODES.len() {
            go(mode);
        }
        fs::write(&path, &page).expect("the page can be written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == page,
        "docs/bypass.md is stale: run `make bypass-page`"
    );
}
