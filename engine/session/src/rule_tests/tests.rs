use std::fs;

use driver_api::error::Chain;
use recording::script::Script;
use recording::script::Suite;

fn read(text: &str) -> Result<Suite, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.yaml");
    fs::write(&path, text).unwrap();
    Suite::read(&path).map_err(|error| Chain(&error).to_string())
}

fn script(event: &str) -> Result<usize, String> {
    let suite = read(&format!("tests: [{{name: t, events: [{event}]}}]")).unwrap();
    Script::new(&suite.tests[0])
        .map(|script| script.events.len())
        .map_err(|error| Chain(&error).to_string())
}

#[test]
fn values_are_taken_by_the_names_under_which_they_are_shown() {
    for params in [
        "{dirfd: AT_FDCWD, path: x}",
        "{dirfd: -100}",
        "{flags: O_RDONLY}",
    ] {
        let event = format!("{{call: openat, params: {params}}}");
        assert_eq!(script(&event), Ok(1), "{params}");
    }
    for signal in ["SIGKILL", "9"] {
        let event = format!("{{call: kill, params: {{pid: 7, sig: {signal}}}}}");
        assert_eq!(script(&event), Ok(1), "{signal}");
    }
    assert!(script("{call: kill, params: {sig: SIGNOPE}}").is_err());
    assert!(script("{call: openat, params: {dirfd: AT_NOPE}}").is_err());
}

#[test]
fn a_suite_names_its_rules_relative_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.yaml");
    fs::write(&path, "rules: [a.yaml, /b.yaml]\ntests: []\n").unwrap();
    let suite = Suite::read(&path).unwrap();
    assert_eq!(
        suite.rules,
        [folder.path().join("a.yaml"), "/b.yaml".into()]
    );
}

#[test]
fn what_is_not_understood_is_refused() {
    let error = read("tests: [{name: t, events: [{cal: openat}]}]").unwrap_err();
    assert!(error.contains("cal"), "{error}");
    assert!(read("tests: 5").is_err());
}

#[test]
fn faults_of_events_are_told_with_the_nearest_name() {
    for (event, expected) in [
        ("{call: opennat}", "did you mean `openat`"),
        ("{call: openat, params: {pth: x}}", "did you mean `path`"),
        (
            "{call: openat, params: {flags: O_RDNLY}}",
            "did you mean `O_RDONLY`",
        ),
        ("{call: openat, returns: ENOENTT}", "did you mean `ENOENT`"),
        ("{call: close, params: {fd: x}}", "`x` is no number"),
        (
            "{call: connect, params: {addr: x}}",
            "written like 192.0.2.1:443",
        ),
        (
            "{call: connect, facts: {local: 10.0.0.1:1}}",
            "both `local` and `remote`",
        ),
        (
            "{call: openat, facts: {paht: x}}",
            "there is no fact `paht`",
        ),
        ("{call: openat, exec: {exe: /x}}", "either `call` or `exec`"),
        ("{exec: {pid: 1}}", "a process needs `exe` or `name`"),
    ] {
        let error = script(event).unwrap_err();
        assert!(error.contains(expected), "{event}: {error}");
    }
}

#[test]
fn a_process_that_is_not_there_is_born_before_it_runs_a_program() {
    assert_eq!(script("{exec: {exe: /bin/sh}}"), Ok(1));
    assert_eq!(
        script("{exec: {exe: /bin/sh}}, {exec: {exe: /bin/ls}}"),
        Ok(3)
    );
    assert_eq!(
        script("{exec: {exe: /bin/sh}}, {exec: {pid: 100, exe: /bin/ls}}"),
        Ok(2)
    );
}
