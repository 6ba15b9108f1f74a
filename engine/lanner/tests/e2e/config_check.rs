//! `lanner config check` refuses what `lanner run` would refuse, and opens nothing.

use std::fs;

use crate::lanner::{run, stderr};

#[test]
fn what_run_would_refuse_is_told_with_its_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lanner.yaml");
    let config = file.to_str().expect("a text");
    let spool = folder.path().join("spool").display().to_string();
    for (text, expected) in [
        (
            "http_output: {enabled: true}\n",
            "\"url\" is a required property",
        ),
        ("outputs: [{plugin: output-http}]\n", "url"),
        (
            "outputs: [{plugin: output-http, settings: {url: \"http://a\", timeuot: 3}}]\n",
            "unknown key `timeuot`",
        ),
        (
            "syslog_output: {enabled: true, facility: nonsense}\n",
            "facility",
        ),
        ("outputs: [{plugin: output-nosuch}]\n", "output-nosuch"),
        ("outputs: [{plugin: rules-falco}]\n", "output"),
        (
            &format!(
                "outputs:\n- {{plugin: output-console, name: a, spool: {{path: {spool}}}}}\n\
                 - {{plugin: output-console, name: b, spool: {{path: {spool}}}}}\n"
            ),
            "its spool is also that of a",
        ),
        (
            "outputs: [{plugin: output-console, deadline: 0s}]\n",
            "longer than 0s",
        ),
        (
            "outputs: [{plugin: output-console, spool: {size: 1}}]\n",
            "at least 64K",
        ),
        (
            "outputs: [{plugin: output-console, queue: 9000000000000000000}]\n",
            "at most 10000000",
        ),
        (
            "outputs_queue: {capacity: 9000000000000000000}\n",
            "at most 10000000",
        ),
        ("plugin_deadline: 0s\n", "longer than 0s"),
        ("alert_limits: {rate: -1}\n", "a rate is"),
        ("driver: nosuch\n", "nosuch"),
        ("driver_order: [ptrace, ptrace]\n", "ptrace"),
        ("btf: /nonexistent/types\n", "/nonexistent/types"),
        (
            "webserver: {enabled: true, unix_socket: /nonexistent/web}\n",
            "/nonexistent/web",
        ),
        (
            "webserver: {enabled: true, listen_address: \"not an address\"}\n",
            "not an address",
        ),
        (
            "rules_files: [/nonexistent/rules.yaml]\n",
            "/nonexistent/rules.yaml",
        ),
    ] {
        fs::write(&file, text).expect("a file");
        let output = run(["config", "check", config]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}{said}");
        assert!(said.contains(expected), "{text}{said}");
        let refused = run(["run", "-c", config, "--driver", "ptrace", "--", "true"]);
        // only the whole host has a kernel's types to look at
        if !text.starts_with("btf") {
            let code = refused.status.code();
            assert_eq!(code, Some(2), "{text}{}", stderr(&refused));
        }
    }
    assert!(!fs::exists(&spool).expect("a folder"), "nothing was opened");
    let alerts = folder.path().join("alerts");
    let text = format!(
        "file_output: {{enabled: true, filename: {}}}\n",
        alerts.display()
    );
    fs::write(&file, text).expect("a file");
    let output = run(["config", "check", config]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!alerts.exists(), "nothing was opened");
}
