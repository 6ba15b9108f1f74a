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
            "outputs: [{plugin: output-console, spool: {path: /dev}}]\n",
            "/dev is a folder",
        ),
        (
            "outputs: [{plugin: output-console, spool: {path: /dev/null}}]\n",
            "is a device",
        ),
        (
            "outputs: [{plugin: output-console, spool: {path: /etc/hostname/a/b}}]\n",
            "/etc/hostname",
        ),
        (
            "webserver: {enabled: true, unix_socket: /etc}\n",
            "is no socket",
        ),
        (
            "webserver: {enabled: true, listen_address: 192.0.2.7}\n",
            "192.0.2.7",
        ),
        (
            "outputs: [{plugin: output-http, settings: {url: \"http://a:99999/\"}}]\n",
            "port",
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
        ("btf: /etc/hostname\n", "holds no BTF"),
        ("btf: /dev/zero\n", "is a device"),
        ("btf: /proc/kmsg\n", "/proc/kmsg"),
        ("btf: /bin/true\n", "holds no whole BTF"),
        (
            "webserver: {enabled: true, listen_port: 0}\n",
            "listen_port: a port from 1",
        ),
        (
            "webserver: {enabled: true, listen_port: 65536}\n",
            "listen_port",
        ),
        (
            "webserver: {enabled: true, listen_port: http}\n",
            "listen_port",
        ),
        (
            "webserver: {enabled: true, unix_socket: \"\"}\n",
            "unix_socket: the path is empty",
        ),
        (
            "webserver: {enabled: true, k8s_healthz_endpoint: healthz}\n",
            "k8s_healthz_endpoint: \"healthz\"",
        ),
        (
            "webserver: {enabled: true, k8s_healthz_endpoint: \"/health z\"}\n",
            "k8s_healthz_endpoint",
        ),
        (
            "webserver: {enabled: true, k8s_healthz_endpoint: /metrics}\n",
            "/metrics is a path of the web server's own",
        ),
        ("plugin_deadline: 1000000years\n", "at most 100 years"),
        (
            "syscall_event_drops: [1]\n",
            "`syscall_event_drops` has keys below it, and is no list",
        ),
        (
            "webserver: {page: [true]}\n",
            "`webserver.page` has keys below it",
        ),
        (
            "outputs: [[output-console]]\n",
            "`outputs[0]` has keys below it",
        ),
        (
            "outputs: [{plugin: output-console, spool: [/tmp/s]}]\n",
            "`outputs[0].spool` has keys below it",
        ),
        ("webserver: true\n", "expected a map of keys"),
        (
            "outputs: [{plugin: output-nats, settings: {max_age_hours: 18446744073709551615}}]\n",
            "`max_age_hours`: 18446744073709551615 is greater",
        ),
        ("capture: {memory: 0}\n", "memory: at least 64K"),
        ("capture: {max_files: 0}\n", "max_files: at least 1"),
        (
            "capture: {enabled: true, mode: all_rules, path_prefix: /proc/lanner}\n",
            "no file can be made in proc",
        ),
        (
            "capture: {enabled: true, mode: all_rules, path_prefix: /sys/kernel/lanner/alert}\n",
            "no file can be made in sysfs",
        ),
        (
            "file_output: {enabled: true, filename: /proc/alerts}\n",
            "no file can be made in proc",
        ),
        (
            "syscall_event_drops: {actions: [ignore, exit]}\n",
            "`ignore` excludes the others",
        ),
        (
            "outputs: [{plugin: output-console, retry_first: 9s, retry_max: 1s}]\n",
            "retry_first is longer than retry_max",
        ),
        (
            "outputs: [{plugin: output-console, retry_first: 9s}]\n",
            "retry_first is longer than retry_max",
        ),
        (
            "outputs: [{plugin: output-console, spool: {path: \"\"}}]\n",
            "spool.path: the path is empty",
        ),
        ("heartbeat: {interval: 1000000years}\n", "at most 100 years"),
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

/// A setting of an output that only the output itself can judge: the output's part of the configuration, and what the
/// message has. `FOLDER` has `garbage`, which is no PEM file, and `socket`, which is a folder.
const FOUND_BY_PLUGINS: [(&str, &str); 54] = [
    (
        "{plugin: output-file, settings: {filename: \"\"}}",
        "`filename`: it is empty",
    ),
    (
        "{plugin: output-program, settings: {program: \"/nonexistent/program -x\"}}",
        "`program`: /nonexistent/program cannot be started: No such file",
    ),
    (
        "{plugin: output-program, settings: {program: FOLDER/garbage}}",
        "garbage is no program: it is not executable",
    ),
    (
        "{plugin: output-program, settings: {program: \"FOLDER | cat\"}}",
        "is no program",
    ),
    (
        "{plugin: output-syslog, settings: {address: \"tcp://a/b:514\"}}",
        "`address`",
    ),
    (
        "{plugin: output-http, settings: {url: \"http://a\", headers: {transfer-encoding: chunked}}}",
        "`headers`: \"transfer-encoding\" follows from",
    ),
    (
        "{plugin: output-nats, settings: {token: a, user: b, password: c}}",
        "exclude each other",
    ),
    (
        "{plugin: output-grpc, settings: {bind_address: \"unix://FOLDER/s\"}}\n- {plugin: output-grpc, name: second, \
         settings: {bind_address: \"unix://FOLDER/socket/.././s\"}}",
        "output second: `bind_address`: output-grpc has the same",
    ),
    (
        "{plugin: output-file, settings: {filename: FOLDER/fifo}}",
        "is a FIFO, and alerts are kept in a regular file",
    ),
    (
        "{plugin: output-file, settings: {filename: /dev/null}}",
        "is a device, and alerts are kept in a regular file",
    ),
    (
        "{plugin: output-file, settings: {filename: FOLDER/link-to-fifo}}",
        "is a FIFO",
    ),
    (
        "{plugin: output-file, settings: {filename: /dev/null, special: true, max_size_mb: 1}}",
        "cannot be rotated",
    ),
    (
        "{plugin: output-file, settings: {filename: /dev/stdout, max_age_hours: 1}}",
        "cannot be rotated",
    ),
    (
        "{plugin: output-syslog, settings: {address: \"unix://FOLDER/fifo\"}}",
        "is no socket",
    ),
    (
        "{plugin: output-syslog, settings: {address: \"udp://a:0\"}}",
        "`address`",
    ),
    (
        "{plugin: output-http, settings: {url: \"http://a:0/\"}}",
        "the port of \"http://a:0/\" is no number from 1",
    ),
    (
        "{plugin: output-http, settings: {url: \"http://me:word@a/\"}}",
        "a user and a password have no place in it",
    ),
    (
        "{plugin: output-http, settings: {url: \"https://a\", ca_path: FOLDER/socket}}",
        "`ca_path`: there is no file in",
    ),
    (
        "{plugin: output-http, settings: {url: \"https://a\", ca_path: FOLDER/fakes}}",
        "`ca_path`: no file in FOLDER/fakes can be used as a certificate; the first of them: there is no certificate in",
    ),
    (
        "{plugin: output-nats, settings: {servers: [\"nats://a:0\"]}}",
        "`servers`: \"nats://a:0\" is none of",
    ),
    (
        "{plugin: output-grpc, settings: {bind_address: \"127.0.0.1:0\"}}",
        "`bind_address`",
    ),
    (
        "{plugin: output-file, settings: {filename: /nonexistent/alerts}}",
        "/nonexistent/alerts",
    ),
    (
        "{plugin: output-file, settings: {filename: FOLDER/garbage/alerts}}",
        "ot a directory",
    ),
    (
        "{plugin: output-file, settings: {filename: FOLDER}}",
        "is a folder",
    ),
    (
        "{plugin: output-program, settings: {program: \"  \"}}",
        "`program`",
    ),
    (
        "{plugin: output-program, settings: {program: cat, single: true, keep_alive: true}}",
        "`single`",
    ),
    (
        "{plugin: output-syslog, settings: {address: nonsense}}",
        "`address`",
    ),
    (
        "{plugin: output-syslog, settings: {address: \"tcp://receiver\"}}",
        "`address`",
    ),
    (
        "{plugin: output-syslog, settings: {address: \"tls://a b:6514\"}}",
        "`address`",
    ),
    (
        "{plugin: output-syslog, settings: {address: \"tls://a:6514\", ca_cert: /nonexistent/ca}}",
        "/nonexistent/ca",
    ),
    (
        "{plugin: output-syslog, settings: {address: \"tls://a:6514\", ca_cert: FOLDER/garbage}}",
        "garbage",
    ),
    (
        "{plugin: output-syslog, settings: {address: \"tls://a:6514\", client_cert: FOLDER/garbage}}",
        "client_key",
    ),
    (
        "{plugin: output-http, settings: {url: \"ftp://receiver\"}}",
        "`url`",
    ),
    (
        "{plugin: output-http, settings: {url: \"no address\"}}",
        "`url`",
    ),
    (
        "{plugin: output-http, settings: {url: \"https://a\", ca_cert: /nonexistent/ca}}",
        "/nonexistent/ca",
    ),
    (
        "{plugin: output-http, settings: {url: \"https://a\", ca_bundle: FOLDER/garbage}}",
        "garbage",
    ),
    (
        "{plugin: output-http, settings: {url: \"https://a\", ca_path: /nonexistent/folder}}",
        "/nonexistent/folder",
    ),
    (
        "{plugin: output-http, settings: {url: \"https://a\", mtls: true}}",
        "`mtls`",
    ),
    (
        "{plugin: output-http, settings: {url: \"http://a\", bearer_token_file: /nonexistent/token}}",
        "/nonexistent/token",
    ),
    (
        "{plugin: output-http, settings: {url: \"http://a\", headers: {\"a b\": c}}}",
        "`headers`",
    ),
    (
        "{plugin: output-http, settings: {url: \"http://a\", headers: {a: \"b\\nc\"}}}",
        "`headers`",
    ),
    (
        "{plugin: output-nats, settings: {servers: [\"nats://a:b:c\"]}}",
        "`servers`",
    ),
    (
        "{plugin: output-nats, settings: {subject: \"a..b\"}}",
        "`subject`",
    ),
    (
        "{plugin: output-nats, settings: {stream: \"a.b\"}}",
        "`stream`",
    ),
    ("{plugin: output-nats, settings: {user: me}}", "`password`"),
    (
        "{plugin: output-nats, settings: {credentials_file: /nonexistent/creds}}",
        "/nonexistent/creds",
    ),
    (
        "{plugin: output-nats, settings: {credentials_file: FOLDER/garbage}}",
        "garbage",
    ),
    (
        "{plugin: output-nats, settings: {ca_cert: FOLDER/garbage}}",
        "garbage",
    ),
    (
        "{plugin: output-nats, settings: {client_cert: FOLDER/garbage, client_key: FOLDER/garbage}}",
        "garbage",
    ),
    (
        "{plugin: output-grpc, settings: {bind_address: \"unix://relative\"}}",
        "`bind_address`",
    ),
    (
        "{plugin: output-grpc, settings: {bind_address: \"unix://FOLDER/socket\"}}",
        "is no socket",
    ),
    (
        "{plugin: output-grpc, settings: {bind_address: \"unix://FOLDER/garbage/socket\"}}",
        "ot a directory",
    ),
    (
        "{plugin: output-grpc, settings: {bind_address: \"127.0.0.1:5060\"}}",
        "`private_key`",
    ),
    (
        "{plugin: output-grpc, settings: {bind_address: \"127.0.0.1:5060\", private_key: FOLDER/garbage, \
         cert_chain: FOLDER/garbage, root_certs: FOLDER/garbage}}",
        "there is no certificate in FOLDER/garbage",
    ),
];

#[test]
fn what_only_the_output_knows_is_found_without_opening_anything() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a text");
    let file = folder.path().join("lanner.yaml");
    let config = file.to_str().expect("a text");
    fs::write(folder.path().join("garbage"), "no certificate").expect("a file");
    fs::create_dir(folder.path().join("socket")).expect("a folder");
    fs::create_dir(folder.path().join("fakes")).expect("a folder");
    fs::write(folder.path().join("fakes/ca.pem"), "no certificate").expect("a file");
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    std::os::unix::fs::symlink(&fifo, folder.path().join("link-to-fifo")).expect("a link");
    let alerts = folder.path().join("alerts");
    for (output, expected) in FOUND_BY_PLUGINS {
        let output = output.replace("FOLDER", path);
        let expected = expected.replace("FOLDER", path);
        // One that is right comes before it.
        let text = format!(
            "outputs:\n- {{plugin: output-file, name: first, settings: {{filename: {}}}}}\n- {output}\n",
            alerts.display()
        );
        fs::write(&file, &text).expect("a file");
        let checked = run(["config", "check", config]);
        let said = stderr(&checked);
        assert_eq!(checked.status.code(), Some(1), "{text}{said}");
        assert!(said.contains(&expected), "{text}{said}");
        let refused = run(["run", "-c", config, "--driver", "ptrace", "--", "true"]);
        let said = stderr(&refused);
        assert_eq!(refused.status.code(), Some(2), "{text}{said}");
        assert!(said.contains(&expected), "{text}{said}");
        assert!(!alerts.exists(), "{text}: an output was opened");
    }
}

#[test]
fn what_is_appended_to_no_alert_is_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("rules.yaml");
    let rule = "- {rule: mkdir, desc: d, condition: evt.type = mkdir, output: o, priority: INFO, tags: [t]}\n";
    fs::write(&rules, rule).expect("rules");
    let file = folder.path().join("lanner.yaml");
    let text = format!(
        "rules_files: [{}]\nappend_output:\n- {{match: {{rule: mkdri}}, extra_output: x}}\n\
         - {{match: {{rule: mkdir}}, extra_output: x}}\n- {{match: {{tags: [nosuch]}}, extra_output: x}}\n",
        rules.display()
    );
    fs::write(&file, text).expect("a file");
    let config = file.to_str().expect("a text");
    let run_it = &["run", "-c", config, "--driver", "ptrace", "--", "true"][..];
    for args in [&["config", "check", config][..], run_it] {
        let output = run(args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        let warnings: Vec<&str> = said
            .lines()
            .filter(|line| line.contains("append_output"))
            .collect();
        assert_eq!(warnings.len(), 2, "{said}");
        assert!(warnings[0].contains("append_output[0]"), "{said}");
        assert!(
            warnings[0].contains("there is no rule `mkdri`; did you mean `mkdir`?"),
            "{said}"
        );
        assert!(warnings[1].contains("append_output[2]"), "{said}");
    }
}

#[test]
fn each_output_at_fault_is_named_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lanner.yaml");
    let config = file.to_str().expect("a text");
    let text = "
rules_files: [/nonexistent/rules.yaml]
outputs:
- {plugin: output-http, settings: {url: \"http://a\", timeuot: 3}}
- {plugin: output-console}
- {plugin: output-file, settings: {filename: /nonexistent/alerts}}
webserver: {enabled: true, listen_address: \"not an address\"}
";
    fs::write(&file, text).expect("a file");
    let output = run(["config", "check", "-c", config]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let expected = [
        "rules.yaml",
        "timeuot",
        "nonexistent/alerts",
        "not an address",
    ];
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{said}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.contains(expected), "{said}");
    }
}
