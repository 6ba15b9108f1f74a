//! sysdig reads the captures that lanner writes, and lanner those that sysdig writes. Both say the same of the same events.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use test_support::skipped;

use crate::lanner::{modes, run, stderr};

/// What both are asked about an event, under the names that both have.
const FIELDS: [&str; 5] = ["evt.type", "proc.pid", "proc.name", "fd.name", "evt.res"];

/// Arguments that both write in the same form.
const ARGUMENTS: [&str; 7] = ["name", "flags", "size", "mode", "path", "op", "length"];

/// Between two values. Flags are joined by `|`.
const BETWEEN: &str = " ## ";

/// Programs that open, read, write, fail, connect and start others.
const COMMANDS: &str = "cat /etc/hostname /nowhere; echo some words > written; ls -l written; mkdir made; rmdir made; rm written; \
                        (true; false) | cat; ln -s a b; mv b c; rm c";

fn sysdig(args: &[&str]) -> String {
    let output = Command::new("sysdig").args(args).output().expect("sysdig");
    assert!(
        output.status.success(),
        "sysdig {args:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether sysdig is there.
fn has_sysdig() -> bool {
    let found = Command::new("sysdig").arg("--version").output().is_ok();
    if !found {
        skipped("sysdig is not installed; `make test` installs it");
    }
    found
}

/// A word for a value that both have: none is `<NA>` for both.
fn plain(value: &str) -> &str {
    value.trim()
}

/// What lanner says of each event of a recording: the fields, then the arguments.
fn by_lanner(recording: &Path, folder: &Path) -> Vec<Vec<String>> {
    let rules = folder.join("each.yaml");
    let fields = FIELDS.map(str::to_owned).into_iter();
    let arguments = ARGUMENTS.map(|name| format!("evt.arg.{name}"));
    let all: Vec<String> = fields
        .chain(arguments)
        .map(|field| format!("%{field}"))
        .collect();
    let rule = format!(
        "- rule: each\n  desc: d\n  condition: evt.num > 0\n  output: \"|begin|{}\"\n  priority: NOTICE\n",
        all.join(BETWEEN)
    );
    fs::write(&rules, rule).expect("written");
    let output = run([
        Path::new("run"),
        Path::new("--replay"),
        recording,
        Path::new("-r"),
        &rules,
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_once("|begin|"))
        .map(|(_, fields)| {
            fields
                .split(BETWEEN)
                .map(|field| plain(field).to_owned())
                .collect()
        })
        .collect()
}

/// What sysdig says of the events that report a return or an end.
fn by_sysdig(capture: &Path) -> Vec<HashMap<String, String>> {
    let names = ["evt.num", "evt.dir", "evt.args"];
    let all: Vec<String> = names
        .iter()
        .chain(&FIELDS)
        .map(|field| format!("%{field}"))
        .collect();
    // a value that is missing must not hide the event
    let format = format!("*{}", all.join(BETWEEN));
    let text = sysdig(&["-r", &capture.display().to_string(), "-p", &format]);
    let mut events = Vec::new();
    let mut before = 0_u64;
    for line in text.lines() {
        let mut values = line.split(BETWEEN).map(|value| plain(value).to_owned());
        let named: HashMap<String, String> = names
            .iter()
            .chain(&FIELDS)
            .map(|name| (*name).to_owned())
            .zip(values.by_ref())
            .collect();
        let number: u64 = named["evt.num"].parse().expect("a number");
        assert!(number > before, "{line}");
        before = number;
        if named["evt.dir"] == "<" || named["evt.type"] == "procexit" {
            events.push(named);
        }
    }
    events
}

/// An argument as sysdig writes it among all of an event: `flags=4097(O_RDONLY|O_CLOEXEC)` has its names in brackets.
fn argument<'a>(args: &'a str, name: &str) -> Option<&'a str> {
    let value = args
        .split(' ')
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
    Some(match value.split_once('(') {
        Some((_, names)) => names.trim_end_matches(')'),
        None => value,
    })
}

/// A capture of lanner's in its own format and in Falco's, with the events of the commands above, of a mode of a driver.
fn recorded(folder: &Path, mode: &[String]) -> (std::path::PathBuf, std::path::PathBuf) {
    let (own, theirs) = (folder.join("own.rec"), folder.join("theirs.scap"));
    let script = format!("cd {}; {COMMANDS}", folder.display());
    let arguments = ["record".as_ref(), "-o".as_ref(), own.as_os_str()].into_iter();
    let command = ["--", "sh", "-c", &script];
    let options = mode.iter().map(OsStr::new);
    let output = run(arguments
        .chain(options)
        .chain(command.iter().map(OsStr::new)));
    assert!(own.exists(), "{mode:?}: {}", stderr(&output));
    let output = run([Path::new("convert"), &own, &theirs]);
    assert!(output.status.success(), "{mode:?}: {}", stderr(&output));
    (own, theirs)
}

#[test]
fn sysdig_says_the_same_of_what_lanner_writes() {
    if !has_sysdig() {
        return;
    }
    // notify mode knows no results, and this sysdig reads what follows an empty result for its value
    let knows_results = |mode: &Vec<String>| !mode.iter().any(|word| word == "notify");
    for mode in modes().into_iter().filter(knows_results) {
        says_the_same(&mode);
    }
}

fn says_the_same(mode: &[String]) {
    let folder = tempfile::tempdir().expect("a folder");
    let (own, theirs) = recorded(folder.path(), mode);
    let ours = by_lanner(&own, folder.path());
    let seen = by_sysdig(&theirs);
    assert!(seen.len() > 100, "{mode:?}: {}", seen.len());
    // events that this sysdig is too old for, and those that Falco has no type for, have no counterpart of the same type
    let mut rest = ours.iter();
    let mut compared: HashMap<&str, usize> = HashMap::new();
    for event in &seen {
        let (kind, pid) = (event["evt.type"].as_str(), event["proc.pid"].as_str());
        // a birth is the return of a clone in the child, and lanner's event is the parent's
        if kind == "clone" || kind == "<unknown>" {
            continue;
        }
        // Falco's names of calls
        let same = |name: &str| match name {
            "pread64" => "pread".to_owned(),
            "pwrite64" => "pwrite".to_owned(),
            "prlimit64" => "prlimit".to_owned(),
            "rt_sigreturn" => "sigreturn".to_owned(),
            other => other.to_owned(),
        };
        let found = rest.find(|ours| same(&ours[0]) == kind && ours[1] == pid);
        let found =
            found.unwrap_or_else(|| panic!("{mode:?}: lanner has no such event: {event:?}"));
        for (field, value) in FIELDS.iter().zip(found).skip(2) {
            let theirs = &event[*field];
            let same = match *field {
                // Falco has no result of a generic event, and sysdig no error in the same words
                "evt.res" => theirs == "<NA>" || theirs == value,
                // sysdig names a descriptor that has no name by nothing, lanner by none. sysdig names a file by the path
                // that was asked for, and a socket by an address that it could not be connected to; lanner names the file
                // that was opened, and no socket that is not connected
                "fd.name" => {
                    theirs == value
                        || (theirs == "<NA>" || theirs.is_empty())
                        || value.is_empty()
                        || fs::canonicalize(theirs).is_ok_and(|path| path == Path::new(value))
                }
                _ => theirs == value,
            };
            assert!(
                same,
                "{mode:?}: {field}: {value:?}, sysdig says {theirs:?}: {event:?}"
            );
        }
        for (name, value) in ARGUMENTS.iter().zip(&found[FIELDS.len()..]) {
            let Some(theirs) = argument(&event["evt.args"], name).filter(|_| value != "<NA>")
            else {
                continue;
            };
            let theirs = theirs.strip_prefix("<f>").unwrap_or(theirs);
            if matches!(*name, "name" | "path" | "size") {
                assert_eq!(theirs, value, "{mode:?}: {name}: {event:?}");
                *compared.entry(*name).or_default() += 1;
            }
        }
        *compared.entry("events").or_default() += 1;
    }
    for name in ["events", "name", "path"] {
        assert!(
            compared.get(name).is_some_and(|count| *count > 0),
            "{mode:?}: {compared:?}"
        );
    }
    assert!(compared["events"] > 100, "{mode:?}: {compared:?}");
}

#[test]
fn lanner_reads_what_sysdig_writes_of_a_capture() {
    if !has_sysdig() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (_, theirs) = recorded(folder.path(), &modes()[0]);
    for compressed in [false, true] {
        let again = folder.path().join("again.scap");
        let (from, to) = (theirs.display().to_string(), again.display().to_string());
        let mut args = vec!["-r", &from, "-w", &to];
        if compressed {
            args.push("-z");
        }
        sysdig(&args);
        let (first, second) = (
            by_lanner(&theirs, folder.path()),
            by_lanner(&again, folder.path()),
        );
        // sysdig leaves out the types that it does not know, and with them what they say about descriptors; only an event
        // that has the path itself still has the name
        let same = |one: &[String], again: &[String]| {
            let mut fields = FIELDS.iter().chain(&ARGUMENTS).zip(one.iter().zip(again));
            let has_path = again[0].starts_with("open");
            fields.all(|(field, (one, again))| one == again || (*field == "fd.name" && !has_path))
        };
        let mut rest = first.iter();
        for event in &second {
            assert!(rest.any(|one| same(one, event)), "{event:?}");
        }
        assert!(second.len() > 100, "{} of {}", second.len(), first.len());
    }
}

#[test]
fn a_capture_is_converted_and_back_on_every_driver() {
    for mode in modes() {
        is_converted_and_back(&mode);
    }
}

fn is_converted_and_back(mode: &[String]) {
    let folder = tempfile::tempdir().expect("a folder");
    let (own, theirs) = recorded(folder.path(), mode);
    let back = folder.path().join("back.rec");
    let output = run([Path::new("convert"), &theirs, &back]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(
        by_lanner(&back, folder.path()),
        by_lanner(&theirs, folder.path()),
        "{mode:?}"
    );
    // a file is not written over itself, whatever its name is
    let before = fs::read(&own).expect("there");
    let (hard, soft) = (
        folder.path().join("hard.rec"),
        folder.path().join("soft.rec"),
    );
    fs::hard_link(&own, &hard).expect("a link");
    std::os::unix::fs::symlink(&own, &soft).expect("a link");
    for to in [&own, &hard, &soft] {
        let converted = run([Path::new("convert"), &own, to]);
        let [record, replay, output] = ["record", "--replay", "-o"].map(Path::new);
        let recorded = run([record, replay, &own, output, to]);
        for refused in [converted, recorded] {
            assert_eq!(refused.status.code(), Some(2), "{}", to.display());
            assert!(stderr(&refused).contains("the file to write is the one to read"));
        }
        assert!(fs::read(&own).expect("there") == before, "{}", to.display());
    }
}
