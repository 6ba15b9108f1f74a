//! `lanner config check` knows files by what they are, however they are named: spools, certificates and their keys, types of a
//! kernel. And names do nothing to the terminal that shows them.

use std::fs;

use crate::lanner::{run, stderr};

#[test]
fn two_outputs_never_have_one_spool_however_its_path_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a text");
    let file = folder.path().join("lanner.yaml");
    let config = file.to_str().expect("a text");
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("real/spools")).expect("a folder");
    std::os::unix::fs::symlink(at("real"), at("link")).expect("a link");
    fs::write(at("real/first"), "").expect("a file");
    fs::hard_link(at("real/first"), at("real/second")).expect("a link");
    let same = "its spool is also that of a";
    for (one, other, expected) in [
        ("real/s", "real/./s", Some(same)),
        ("real/s", "real/spools/../s", Some(same)),
        ("real/s", "link/s", Some(same)),
        ("real/s", "missing/../real/s", Some(same)),
        ("missing/a/s", "missing/b/../a//s", Some(same)),
        ("real/first", "real/second", Some(same)),
        (
            "real/s",
            "link/s/deeper",
            Some("b: its spool would lie in that of a"),
        ),
        (
            "real/s/deeper",
            "real/s",
            Some("a: its spool would lie in that of b"),
        ),
        ("real/s", "real/s2", None),
        ("real/s", "real/spools/s", None),
    ] {
        let text = format!(
            "outputs:\n- {{plugin: output-console, name: a, spool: {{path: {path}/{one}}}}}\n\
             - {{plugin: output-console, name: b, spool: {{path: {path}/{other}}}}}\n"
        );
        fs::write(&file, &text).expect("a file");
        let checked = run(["config", "check", config]);
        let said = stderr(&checked);
        let code = checked.status.code();
        match expected {
            Some(expected) => {
                assert_eq!(code, Some(1), "{text}{said}");
                assert!(
                    said.contains("lanner.yaml:") && said.contains(expected),
                    "{text}{said}"
                );
            }
            None => assert_eq!(code, Some(0), "{text}{said}"),
        }
    }
}

#[test]
fn an_output_does_not_listen_where_the_web_server_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lanner.yaml");
    let config = file.to_str().expect("a text");
    let path = folder.path().display();
    let text = format!(
        "webserver: {{enabled: true, unix_socket: {path}/s}}\n\
         outputs: [{{plugin: output-grpc, settings: {{bind_address: \"unix://{path}/./s\"}}}}]\n"
    );
    fs::write(&file, text).expect("a file");
    for args in [
        &["config", "check", config][..],
        &["run", "-c", config, "--driver", "ptrace", "--", "true"],
    ] {
        let output = run(args);
        let said = stderr(&output);
        assert!(!output.status.success(), "{said}");
        let expected = "output output-grpc: `bind_address`: webserver has the same";
        assert!(said.contains(expected), "{said}");
    }
}

/// The settings for a certificate and its key, with the output's others.
const IDENTITIES: [&str; 4] = [
    "{plugin: output-http, settings: {url: \"https://a\", mtls: true, client_cert: CHAIN, client_key: KEY}}",
    "{plugin: output-syslog, settings: {address: \"tls://a:6514\", client_cert: CHAIN, client_key: KEY}}",
    "{plugin: output-nats, settings: {client_cert: CHAIN, client_key: KEY}}",
    "{plugin: output-grpc, settings: {bind_address: \"127.0.0.1:5060\", cert_chain: CHAIN, private_key: KEY, root_certs: ROOTS}}",
];

#[test]
fn a_key_fits_its_certificate_which_is_valid_today() {
    let authority = test_support::peers::Authority::new();
    authority.sign("first");
    authority.sign("second");
    authority.sign_expired("old");
    let path = |name: &str| authority.path(name).display().to_string();
    let file = authority.path("lanner.yaml");
    let config = file.to_str().expect("a text");
    let check = |output: &str, chain: &str, key: &str| {
        let output = output
            .replace("CHAIN", &path(chain))
            .replace("KEY", &path(key))
            .replace("ROOTS", &path("ca.pem"));
        fs::write(&file, format!("outputs: [{output}]\n")).expect("a file");
        let checked = run(["config", "check", config]);
        (checked.status.code(), stderr(&checked))
    };
    for output in IDENTITIES {
        let (code, said) = check(output, "first.pem", "first.key");
        assert_eq!(code, Some(0), "{output}: {said}");
        assert!(!said.contains("WARN"), "{output}: {said}");
        let (code, said) = check(output, "first.pem", "second.key");
        assert_eq!(code, Some(1), "{output}: {said}");
        assert!(
            said.contains("second.key is not that of the first certificate in"),
            "{output}: {said}"
        );
        let (code, said) = check(output, "first.pem", "first.pem");
        assert_eq!(code, Some(1), "{output}: {said}");
        assert!(
            said.contains("there is no private key in"),
            "{output}: {said}"
        );
        let (code, said) = check(output, "first.key", "first.key");
        assert_eq!(code, Some(1), "{output}: {said}");
        assert!(
            said.contains("there is no certificate in"),
            "{output}: {said}"
        );
        // capture is worth more than an output, so this is no reason to refuse to start
        let (code, said) = check(output, "old.pem", "old.key");
        assert_eq!(code, Some(0), "{output}: {said}");
        assert!(
            said.contains("old.pem expired on 2021-01-01"),
            "{output}: {said}"
        );
    }
}

#[test]
fn names_and_values_do_nothing_to_a_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lanner.yaml");
    let config = file.to_str().expect("a text");
    for text in [
        "\"a\\e[2J\\nlanner: b\": 1\n",
        "priority: \"a\\e[2J\\nlanner: b\"\n",
        "\"a\\e\\nb\": 1\n\"a\\e\\nb\": 2\n",
        "json_output: \"${A\\e[2J\\nB}\"\n",
        "outputs: [{plugin: output-console, name: \"a\\e\\nb\"}]\n",
        "outputs: [{plugin: output-console, settings: {\"a\\e\\nb\": 1}}]\n",
        "outputs: [{plugin: \"a\\e\\nb\"}]\n",
        "rules_files: [\"/a\\e\\nb\"]\n",
        "driver: \"a\\e\\nb\"\n",
    ] {
        fs::write(&file, text).expect("a file");
        let falco = folder.path().join("falco.yaml");
        fs::write(&falco, text).expect("a file");
        let falco = falco.to_str().expect("a text");
        for args in [["config", "check", config], ["config", "from-falco", falco]] {
            let said = stderr(&run(args));
            assert!(!said.contains('\u{1b}'), "{args:?}: {text}{said:?}");
            let is_ours = |line: &str| {
                line.starts_with("  ")
                    || (line.starts_with("lanner: ") && !line.starts_with("lanner: b"))
            };
            assert!(said.lines().all(is_ours), "{args:?}: {text}{said:?}");
        }
        let checked = run(["config", "check", config]);
        assert_eq!(checked.status.code(), Some(1), "{text}");
    }
}

#[test]
fn a_name_in_the_log_begins_no_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("a\u{1b}[2J\nlanner: b.yaml");
    fs::write(&rules, "").expect("a file");
    let args: [&std::ffi::OsStr; 7] = [
        "run".as_ref(),
        "-r".as_ref(),
        rules.as_os_str(),
        "--driver".as_ref(),
        "ptrace".as_ref(),
        "--".as_ref(),
        "true".as_ref(),
    ];
    let output = run(args);
    let said = stderr(&output);
    assert!(said.contains("b.yaml is empty"), "{said}");
    assert!(
        !said.contains('\u{1b}') && !said.contains("\nlanner: b"),
        "{said}"
    );
}

#[test]
fn drivers_refuses_a_file_that_has_no_types_of_a_kernel() {
    for (file, expected) in [
        (
            "/nonexistent",
            "--btf (`btf` of the configuration): cannot read /nonexistent",
        ),
        ("/etc/hostname", "/etc/hostname holds no BTF; name a file"),
        ("/etc", "is a folder"),
    ] {
        let output = run(["drivers", "--btf", file]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}
