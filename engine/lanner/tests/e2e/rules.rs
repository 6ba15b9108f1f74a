//! `lanner rules`: what it says, and the exit status that goes with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use test_support::{absent, is_root, skipped};

use crate::lanner::{run, stderr};

pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new()
        .suffix(".yaml")
        .tempfile()
        .expect("a file");
    fs::write(file.path(), text).expect("written");
    file
}

fn rule(condition: &str) -> String {
    format!("- rule: r\n  desc: d\n  condition: {condition}\n  output: o\n  priority: INFO\n")
}

fn json(args: &[&str]) -> (Option<i32>, Value) {
    let output = run(args);
    let document = serde_json::from_slice(&output.stdout);
    (
        output.status.code(),
        document.unwrap_or_else(|error| panic!("{error}: {}", stderr(&output))),
    )
}

#[test]
fn check_tells_place_line_and_remedy_and_fails() {
    let file = file(&rule("evt.type = openat and proc.nmae = x"));
    let path = file.path().to_str().expect("a text");
    let output = run(["rules", "check", path]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}{}", stderr(&output));
    assert!(
        text.contains(&format!(
            "{path}:3:36: error: there is no field `proc.nmae`"
        )),
        "{text}"
    );
    assert!(text.contains("did you mean `proc.name`?"), "{text}");
    assert!(text.contains("this lanner lacks: proc.nmae"), "{text}");
    let (status, document) = json(&["rules", "check", "--json", path]);
    assert_eq!(status, Some(1));
    assert_eq!(document["successful"], false);
    assert_eq!(document["errors"][0]["position"]["line"], 3);
    assert_eq!(document["errors"][0]["code"], "LOAD_ERR_COMPILE_CONDITION");
    let (status, document) = json(&["rules", "check", "--json", "--skip-unknown", path]);
    assert_eq!(
        (status, &document["successful"]),
        (Some(0), &Value::Bool(true))
    );
}

#[test]
fn warnings_fail_only_where_that_is_asked_for() {
    let file = file(&rule("proc.name = x"));
    let path = file.path().to_str().expect("a text");
    assert_eq!(run(["rules", "check", path]).status.code(), Some(0));
    assert_eq!(
        run(["rules", "check", "--strict", path]).status.code(),
        Some(1)
    );
}

#[test]
fn a_folder_of_rules_is_read_alike_by_every_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a text");
    let run_it = ["run", "--driver", "ptrace", "-r", path, "--", "true"];
    let commands: [&[&str]; 4] = [
        &["rules", "check", path],
        &["rules", "list", path],
        &["rules", "explain", "second", "-r", path],
        &run_it,
    ];
    for command in commands {
        let output = run(command);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        let said = stderr(&output);
        assert!(
            said.contains("no folder of rules has a rule file"),
            "{said}"
        );
    }
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
    // in the order of their names; other files are none of rules
    put(
        "2.yml",
        "- rule: second\n  desc: d\n  condition: evt.type = openat and ours\n  output: o\n  priority: INFO\n",
    );
    put("1.yaml", "- macro: ours\n  condition: proc.name = nosuch\n");
    put("README", "no rules");
    for command in commands {
        let output = run(command);
        assert!(output.status.success(), "{command:?}: {}", stderr(&output));
    }
    let checked = run(["rules", "check", path]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.starts_with("2 files, 0 errors"), "{said}");
    if !is_root() {
        return skipped("only a privileged lanner refuses folders that others can write");
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("permissions");
    let checked = run(["rules", "check", path]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{said}");
    assert!(
        said.contains("`lanner run` will refuse this folder"),
        "{said}"
    );
    assert_eq!(run(run_it).status.code(), Some(2));
}

#[test]
fn a_file_that_run_refuses_is_warned_about() {
    if !is_root() {
        return skipped("only a privileged lanner refuses files that others can write");
    }
    let file = file(&rule("evt.type = openat"));
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o664)).expect("changed");
    let path = file.path().to_str().expect("a text");
    let (status, document) = json(&["rules", "check", "--json", path]);
    assert_eq!(status, Some(0));
    let warning = document["warnings"][0]["message"].to_string();
    assert!(
        warning.contains("`lanner run` will refuse this file"),
        "{warning}"
    );
    assert_eq!(document["warnings"][0]["code"], "LOAD_UNTRUSTED_FILE");
}

#[test]
fn the_default_rules_load_in_falco() {
    let output = run(["rules", "check", "--strict", "--strict-falco"]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let wide = file(&rule("evt.type = openat and proc.name < b"));
    let path = wide.path().to_str().expect("a text");
    assert_eq!(run(["rules", "check", path]).status.code(), Some(0));
    let (status, document) = json(&["rules", "check", "--json", "--strict-falco", path]);
    assert_eq!(status, Some(1));
    assert_eq!(document["errors"][0]["code"], "LOAD_ERR_COMPILE_CONDITION");
}

#[test]
fn an_explanation_keeps_quoted_texts_in_one_line() {
    let text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen";
    let condition = format!("\"evt.type = openat and proc.cmdline = '{text}'\"");
    let file = file(&rule(&condition));
    let path = file.path().to_str().expect("a text");
    let output = run(["rules", "explain", "r", "-r", path]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains(&format!("\"{text}\"")), "{shown}");
}

#[test]
fn the_default_rules_are_without_fault_and_pass_their_tests() {
    let path = workspace().join("rules/lanner_rules.yaml");
    let path = path.to_str().expect("a text");
    let (status, document) = json(&["rules", "check", "--json", "--strict", path]);
    assert_eq!(status, Some(0), "{document}");
    assert_eq!(document["notes"], Value::Array(Vec::new()));
    let tests = workspace().join("rules/lanner_rules_test.yaml");
    let output = run(["rules", "test", tests.to_str().expect("a text")]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
}

#[test]
fn the_default_rules_are_described_tagged_and_cheap() {
    let (_, rows) = json(&["rules", "list", "--json"]);
    let rules = rows.as_array().expect("a list");
    assert!(rules.len() >= 10);
    for rule in rules {
        let name = rule["name"].as_str().expect("a name");
        let described = rule["description"].as_str().is_some_and(|d| d.len() > 40);
        assert!(described && rule["enabled"] == true, "{name}");
        let tags: Vec<&str> = (rule["tags"].as_array().expect("tags").iter())
            .filter_map(Value::as_str)
            .collect();
        let technique = |tag: &&str| {
            let digits = tag.strip_prefix('T').unwrap_or_default();
            digits.len() >= 4 && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        };
        assert!(tags.iter().any(technique), "{name}: no ATT&CK technique");
        assert!(tags.iter().any(|tag| tag.starts_with("mitre_")), "{name}");
        let (_, rule) = json(&["rules", "explain", "--json", name]);
        let types = rule["event_types"].as_array().expect("some, not all");
        for costly in ["read", "write", "close", "mmap"] {
            assert!(
                !types.iter().any(|known| known == costly),
                "{name}: {costly}"
            );
        }
    }
}

#[test]
fn list_and_explain_say_what_is_there() {
    let file = file(&rule("evt.type = openat and tolower(proc.name) in (a, b)"));
    let path = file.path().to_str().expect("a text");
    let (_, rows) = json(&["rules", "list", "--json", path]);
    assert_eq!(rows[0]["name"], "r");
    let (_, rule) = json(&["rules", "explain", "--json", "-r", path, "r"]);
    assert_eq!(
        rule["condition"],
        "evt.type = openat and tolower(proc.name) in (a, b)"
    );
    assert_eq!(rule["event_types"][0], "openat");
    assert_eq!(rule["fields"][1], "proc.name");
    let output = run(["rules", "explain", "-r", path, "rr"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean `r`"));
}

#[test]
fn explain_says_where_each_driver_tests_which_events_are_captured() {
    let file = file(&rule("evt.type = unlinkat and evt.failed = false"));
    let path = file.path().to_str().expect("a text");
    let (_, rule) = json(&["rules", "explain", "--json", "-r", path, "r"]);
    assert_eq!(rule["captured"]["unlinkat"], "no error");
    let tested = rule["tested"].as_array().expect("a list");
    let of = |driver: &str, mode: Value| {
        let mut rows = tested.iter();
        let row = rows.find(|row| row["driver"] == driver && row["mode"] == mode);
        row.map(|row| (row["arguments"].clone(), row["result"].clone()))
    };
    assert_eq!(
        of("ptrace", "trace".into()),
        Some(("seccomp-filter".into(), "lanner".into()))
    );
    assert_eq!(
        of("ptrace", "notify".into()),
        Some(("lanner".into(), "nowhere".into()))
    );
    let kernel = Some(("kernel".into(), "kernel".into()));
    let core = of("ebpf-core", Value::Null);
    assert!(core.is_none() || core == kernel, "{core:?}");
    let output = run(["rules", "explain", "-r", path, "r"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("ptrace, trace mode: arguments in the seccomp filter, the result in lanner"),
        "{text}"
    );
}

#[test]
fn a_test_that_fails_says_what_was_raised_and_what_not() {
    let rules = file(&rule("evt.type = openat and fd.name = /x"));
    let path = rules.path().to_str().expect("a text");
    let tests = file(&format!(
        "rules: [{path}]\ntests:\n  - name: wrong\n    processes: [{{exe: /bin/cat}}]\n    events:\n      \
         - {{call: openat, params: {{path: /x}}, returns: 3, alerts: []}}\n      \
         - {{call: openat, params: {{path: /y}}, returns: 4, alerts: [r]}}\n"
    ));
    let (status, rows) = json(&[
        "rules",
        "test",
        "--json",
        tests.path().to_str().expect("a text"),
    ]);
    assert_eq!(status, Some(1));
    let failures = rows[0]["failures"].to_string();
    assert!(
        failures.contains("event 1 (openat): `r` was raised: o"),
        "{failures}"
    );
    assert!(
        failures.contains("event 2 (openat): `r` was expected"),
        "{failures}"
    );
}

fn reference(file: &str) -> Option<String> {
    let shared = std::env::var_os("LANNER_SHARED")
        .map_or_else(|| workspace().join("../shared"), PathBuf::from);
    let path = shared.join("reference/falco").join(file);
    if !path.exists() {
        absent(&path);
        return None;
    }
    Some(path.to_str().expect("a text").to_owned())
}

#[test]
fn the_rules_of_falco_load() {
    let Some(path) = reference("falco_rules.yaml") else {
        return;
    };
    let (status, document) = json(&["rules", "check", "--json", "--strict", &path]);
    assert_eq!(document["errors"], Value::Array(Vec::new()));
    assert_eq!(document["warnings"], Value::Array(Vec::new()));
    assert_eq!(document["missing"], Value::Array(Vec::new()));
    assert_eq!(status, Some(0));
}

#[test]
fn every_field_of_falco_is_there() {
    let Some(path) = reference("fields.tsv") else {
        return;
    };
    let (_, rows) = json(&["fields", "--json"]);
    let rows = rows.as_array().expect("a list");
    let names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    let table = fs::read_to_string(path).expect("readable");
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split('\t').nth(1).unwrap_or_default();
        assert!(names.contains(&name), "{name} is lacking");
    }
}

#[test]
fn tests_describe_ids_and_structures() {
    let rules = file(
        &(rule("evt.type = openat2 and user.uid = 1000 and user.loginuid = -1")
            .replace("output: o", "output: 'flags=%evt.arg.flags'")),
    );
    let path = rules.path().to_str().expect("a text");
    let tests = file(&format!(
        "rules: [{path}]\ntests:\n  - name: ids\n    processes:\n      \
         - {{exe: /bin/cat, uid: 1000, loginuid: -1}}\n    events:\n      \
         - {{call: openat2, params: {{path: /x, how: {{flags: O_RDONLY|O_CLOEXEC}}}}, returns: 3, alerts: [r], output: [O_CLOEXEC]}}\n      \
         - {{call: openat2, params: {{path: /y}}, returns: 4, alerts: [r]}}\n"
    ));
    let output = run(["rules", "test", tests.path().to_str().expect("a text")]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{shown}{}", stderr(&output));
}
