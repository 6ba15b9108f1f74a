//! What a prison's lanner must have told.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::cell::{SECRET, SECRET_PATH};

/// The calls that are captured, and the program that makes them: it reads a file in a child and ends with 7.
pub(crate) const EVENTS: &str = "openat,execve,procstart,procexit";
pub(crate) const PROGRAM: [&str; 3] = ["/bin/sh", "-c", "cat \"$0\"; exit 7"];

/// How calls are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// At their exit, with all facts.
    Trace,
    /// At their entry.
    Notify,
    /// At their entry, and no memory can be read.
    NotifyBlind,
}

/// Copies a program. By another process: what a fork of another test has open for writing here cannot be executed
/// (ETXTBSY).
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let status = Command::new("cp").arg(from).arg(to).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{}",
        from.display()
    );
}

/// Runs a prison to its end.
pub(crate) fn run(prison: &mut Command) -> Output {
    prison
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{prison:?}: {error}"))
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs `lanner trace` with the program, behind the words that build the prison, and checks the events.
/// `secret` is the file that is read there.
pub(crate) fn check(
    what: &str,
    mode: Mode,
    prison: &mut Command,
    lanner: &str,
    options: &[&str],
    secret: &str,
) {
    prison.arg(lanner).args(["trace", "--json", "-e", EVENTS]);
    prison.args(options).arg("--").args(PROGRAM).arg(secret);
    let output = run(prison);
    let said = message(&output);
    assert_eq!(output.status.code(), Some(7), "{what}: {said}");
    let (events, told) = sort(&output.stdout);
    if secret == SECRET_PATH {
        assert_eq!(told, SECRET, "{what}: {said}");
    }
    announced(what, mode, &said);
    if mode == Mode::NotifyBlind {
        let blind = |e: &Value| {
            e["incomplete"]
                .as_array()
                .is_some_and(|all| !all.is_empty())
        };
        let mut opens = named(&events, "openat");
        assert!(opens.any(blind), "{what}: {events:?} {said}");
        let mut opens = named(&events, "openat");
        assert!(!opens.any(|e| e["params"]["path"] == secret), "{what}");
    } else {
        opened(what, mode, &events, secret);
    }
    executed(what, &events);
    ended(what, mode, &events);
}

/// Events, and what the program has printed between them.
fn sort(stdout: &[u8]) -> (Vec<Value>, String) {
    let mut told = String::new();
    let mut events = Vec::new();
    for line in String::from_utf8_lossy(stdout).lines() {
        match serde_json::from_str::<Value>(line) {
            Ok(event) if event.get("pid").is_some() => events.push(event),
            _ => told.push_str(&format!("{line}\n")),
        }
    }
    (events, told)
}

/// The mode is reported, with the reason if it is not the best.
fn announced(what: &str, mode: Mode, said: &str) {
    let notify = said.contains("notify mode is used instead") || said.contains("ptrace-notify");
    assert_eq!(mode != Mode::Trace, notify, "{what}: {said}");
    let blind = said.contains("the memory that parameters point to");
    assert_eq!(mode == Mode::NotifyBlind, blind, "{what}: {said}");
}

fn named<'a>(events: &'a [Value], name: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["type"] == name)
}

fn opened(what: &str, mode: Mode, events: &[Value], secret: &str) {
    let open = named(events, "openat")
        .find(|event| event["params"]["path"] == secret)
        .unwrap_or_else(|| panic!("{what}: no event opens {secret}: {events:?}"));
    if mode == Mode::Trace {
        assert!(open["ret"].as_i64() >= Some(0), "{what}: {open}");
        assert_eq!(open["facts"]["path"], secret, "{what}: {open}");
    } else {
        assert!(open["ret"].is_null(), "{what}: {open}");
        assert!(open["error"].is_null(), "{what}: {open}");
    }
}

fn executed(what: &str, events: &[Value]) {
    // an exec has a result in either mode: the program is there
    let execs: Vec<&Value> = named(events, "execve").filter(|e| e["ret"] == 0).collect();
    let argv0 = |event: &Value, name: &str| {
        let argv = event["facts"]["argv"][0].as_str().unwrap_or_default();
        argv.ends_with(name)
            && event["facts"]["exe"].is_string()
            && event["facts"]["cwd"].is_string()
    };
    for name in ["sh", "cat"] {
        assert!(
            execs.iter().any(|event| argv0(event, name)),
            "{what}: no exec of {name} with its facts: {execs:?}"
        );
    }
}

fn ended(what: &str, mode: Mode, events: &[Value]) {
    let code = |event: &Value| event["params"]["exit_code"].as_i64();
    let codes: Vec<Option<i64>> = named(events, "procexit").map(code).collect();
    if mode == Mode::Trace {
        assert_eq!(codes, [Some(0), Some(7)], "{what}");
    } else {
        // notify mode leaves exit_group(2) alone: it knows the status of its own child, and sees the ends of others, with
        // their status or without it, when it looks
        let mut others = codes.clone();
        others.retain(|code| *code != Some(7));
        assert_eq!(codes.len(), 2, "{what}: {codes:?}");
        assert!(matches!(others[..], [None | Some(0)]), "{what}: {codes:?}");
    }
    let first = &events[0]["pid"];
    let born: Vec<&Value> = named(events, "procstart").collect();
    assert_eq!(born.len(), 1, "{what}: {born:?}");
    assert_eq!(&born[0]["pid"], first, "{what}: the parent of the child");
}
