//! Captures of Falco's: every event that a table beside a capture has comes out with the same values. Where lanner differs,
//! docs/recordings.md says why; the functions below have one rule for each of its lines.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use test_support::absent;

use crate::lanner::{run, stderr};
use crate::rules::workspace;

/// The fields that are compared, in the order of the tables. `evt.args` is lanner's own.
const FIELDS: [&str; 16] = [
    "evt.time.iso8601",
    "evt.type",
    "thread.tid",
    "proc.pid",
    "proc.ppid",
    "proc.name",
    "proc.pname",
    "proc.exepath",
    "proc.cmdline",
    "proc.cwd",
    "user.uid",
    "user.name",
    "fd.num",
    "fd.typechar",
    "fd.name",
    "evt.res",
];

/// Events of Falco's that lanner has none for.
const NOT_EVENTS: [&str; 2] = ["procinfo", "switch"];

fn captures() -> Option<PathBuf> {
    let shared = std::env::var_os("LANNER_SHARED")
        .map_or_else(|| workspace().join("../shared"), PathBuf::from);
    let folder = shared.join("cases/captures");
    if !folder.exists() {
        absent(&folder);
        return None;
    }
    Some(folder)
}

/// Replays a capture. Gives the fields of each event.
fn replayed(capture: &Path, rules: &Path) -> Vec<Vec<String>> {
    let output = run([
        Path::new("run"),
        Path::new("--replay"),
        capture,
        Path::new("-r"),
        rules,
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_once("|begin|"))
        .map(|(_, fields)| fields.split('|').map(str::to_owned).collect())
        .collect()
}

/// A value as both write it: none of a value is empty in tables and `<NA>` in lanner.
fn plain(value: &str) -> &str {
    if value == "<NA>" { "" } else { value }
}

/// The kernel's name of a call that Falco names otherwise.
fn kernels_name(theirs: &str) -> &str {
    match theirs {
        "pread" => "pread64",
        "pwrite" => "pwrite64",
        "prlimit" => "prlimit64",
        "umount" => "umount2",
        "llseek" => "_llseek",
        theirs => theirs,
    }
}

/// Whether a difference is one that docs/recordings.md explains.
fn is_explained(field: &str, row: &HashMap<&str, &str>, theirs: &str, ours: &str) -> bool {
    let of = |field: &str| row.get(field).copied().unwrap_or_default();
    match field {
        // a process that the capture does not name
        "proc.pid" => theirs == "-1" && ours.is_empty(),
        // the end of a thread has the ids of its process
        "user.uid" | "user.name" => {
            of("evt.type") == "procexit" && of("thread.tid") != of("proc.pid")
        }
        // the directory that an exec names, and no slash at its end
        "proc.cwd" => theirs.is_empty() || theirs.strip_suffix('/') == Some(ours),
        // no descriptor at all, in 32 bits, or both of two
        "fd.num" => ours == "-1" && (theirs == "4294967295" || of("evt.type") == "pipe"),
        // a descriptor that the capture does not describe
        "fd.typechar" => theirs == "o" || of("evt.type") == "pipe",
        // one message of a socket to another address, or without an own address
        "fd.name" => matches!(
            of("evt.type"),
            "sendto" | "recvfrom" | "sendmsg" | "recvmsg"
        ),
        _ => false,
    }
}

#[test]
fn captures_of_falco_replay_with_the_values_of_its_library() {
    let Some(folder) = captures() else { return };
    let work = tempfile::tempdir().expect("a folder");
    let rules = work.path().join("rules.yaml");
    let fields: Vec<String> = FIELDS.iter().map(|field| format!("%{field}")).collect();
    let rule = format!(
        "- rule: each\n  desc: d\n  condition: evt.num > 0\n  output: \"|begin|{}\"\n  priority: NOTICE\n",
        fields.join("|")
    );
    fs::write(&rules, rule).expect("written");
    let mut compared = 0;
    for entry in fs::read_dir(&folder).expect("readable") {
        let table = entry.expect("readable").path();
        if table.extension().is_none_or(|extension| extension != "tsv") {
            continue;
        }
        let mut events: HashMap<[String; 3], VecDeque<Vec<String>>> = HashMap::new();
        for event in replayed(&table.with_extension("scap"), &rules) {
            let key = [0, 1, 2].map(|at| event[at].clone());
            events.entry(key).or_default().push_back(event);
        }
        let text = fs::read(&table).expect("readable");
        let text = String::from_utf8_lossy(&text);
        for line in text.lines().skip(1) {
            let theirs: Vec<&str> = line.split('\t').skip(1).collect();
            if NOT_EVENTS.contains(&theirs[1]) {
                continue;
            }
            let key = [theirs[0], kernels_name(theirs[1]), theirs[2]].map(str::to_owned);
            let ours = events.get_mut(&key).and_then(VecDeque::pop_front);
            let ours = ours.unwrap_or_else(|| panic!("{}: no event for {line}", table.display()));
            let row: HashMap<&str, &str> = FIELDS.into_iter().zip(theirs.iter().copied()).collect();
            for (at, field) in FIELDS.iter().enumerate() {
                // a line ends with the first field that has no value
                let Some(theirs) = theirs.get(at).map(|value| plain(value)) else {
                    break;
                };
                if *field == "evt.type" {
                    continue;
                }
                if at + 1 == row.len() && theirs.is_empty() {
                    break;
                }
                let ours = plain(&ours[at]);
                assert!(
                    theirs == ours || is_explained(field, &row, theirs, ours),
                    "{}: {field} is {ours:?}: {line}",
                    table.display()
                );
            }
            compared += 1;
        }
        let more: Vec<_> = events.values().flatten().collect();
        assert!(more.is_empty(), "{}: {more:?}", table.display());
    }
    assert!(compared > 0, "there is no table in {}", folder.display());
}
