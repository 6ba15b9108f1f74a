//! Plugins that end the process that they are in, or hang while they are loaded: each is named.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use test_support::wait_until;

use crate::session::{BIN, Folder};
use crate::stage::{Gate, compile};

/// A configuration with one rule, whose alerts go to the gate.
fn config(folder: &Folder, gate: &Gate) -> PathBuf {
    let rules = folder.rule("A", "");
    folder.put(
        "lanner.yaml",
        &format!(
            "rules_files: [{}]\noutputs:\n- {{plugin: output-gate, settings: {{folder: {}}}}}\n",
            rules.display(),
            gate.0.display()
        ),
    )
}

#[test]
fn a_plugin_that_crashes_or_exits_is_named() {
    for (way, expected) in [
        ("crashes", "crashed lanner: SIGSEGV in its code"),
        ("aborts", "crashed lanner: SIGABRT in a call of it"),
        ("thread-crashes", "crashed lanner: SIGSEGV in its code"),
        ("exits", "called exit, which ends lanner"),
        ("quick-exits", "called quick_exit, which ends lanner"),
        ("leaves", "called _exit, which ends lanner"),
        ("thread-leaves", "called _exit, which ends lanner"),
        (
            "thread-ends",
            "crashed lanner: SIGABRT in a call of it (abort or pthread_exit)",
        ),
    ] {
        let folder = Folder::new();
        let gate = Gate::new(&folder.path("gate"));
        let config = config(&folder, &gate);
        let lanner = folder.lanner("ptrace", &config, "0.01");
        wait_until(&format!("alerts come {:?}", lanner.err), || {
            lanner.alerts("Notice A ") > 0
        });
        gate.set(way);
        lanner.wait_for(&format!("plugin `output-gate` {expected}"));
        folder.stop();
        let (_, err, status) = lanner.end_with_status();
        assert!(!status.success(), "{way}: {err:?}");
        if expected.starts_with("called") {
            assert_eq!(status.code(), Some(1), "{way}: {err:?}");
        }
    }
}

#[test]
fn processes_that_a_plugin_starts_end_as_they_like() {
    let folder = Folder::new();
    let gate = Gate::new(&folder.path("gate"));
    let config = config(&folder, &gate);
    gate.set("forks");
    let lanner = folder.lanner("ptrace", &config, "0.01");
    let (forks, out) = (gate.0.join("forks"), gate.0.join("out"));
    wait_until(&format!("it has forked {:?}", lanner.err), || {
        !forks.exists() && out.exists()
    });
    folder.stop();
    let (_, err, status) = lanner.end_with_status();
    assert!(status.success(), "{err:?}");
    assert!(
        !err.iter().any(|line| line.contains("ends lanner")),
        "{err:?}"
    );
}

#[test]
fn a_signal_of_a_crash_that_is_sent_ends_lanner() {
    use nix::sys::signal::Signal;
    use std::os::unix::process::ExitStatusExt;
    let signals = [
        Signal::SIGSEGV,
        Signal::SIGBUS,
        Signal::SIGILL,
        Signal::SIGFPE,
        Signal::SIGSYS,
        Signal::SIGABRT,
    ];
    for signal in signals {
        let folder = Folder::new();
        let rules = folder.rule("A", "");
        let config = folder.put(
            "lanner.yaml",
            &format!("rules_files: [{}]\n", rules.display()),
        );
        let lanner = folder.lanner("ptrace", &config, "0.01");
        wait_until(&format!("alerts come {:?}", lanner.err), || {
            lanner.alerts("Notice A ") > 0
        });
        lanner.signal(signal);
        let (_, err, status) = lanner.end_with_status();
        assert_eq!(status.signal(), Some(signal as i32), "{signal}: {err:?}");
    }
}

/// Compiles a good plugin and one of each kind that cannot be loaded.
fn plugins(folder: &Path) {
    compile("gate.c", &folder.join("liboutput_gate.so"), &[]);
    for (number, name) in [(1, "hangs"), (2, "exits"), (3, "crashes")] {
        let library = folder.join(format!("lib{name}.so"));
        compile("gate.c", &library, &[&format!("-DGATE_LOAD={number}")]);
    }
}

fn lanner(args: &[&str]) -> (Output, String) {
    let output = Command::new(BIN).args(args).output().expect("lanner runs");
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output, said)
}

#[test]
fn plugins_that_cannot_be_loaded_do_not_keep_others_from_being_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    plugins(folder.path());
    let path = folder.path().to_str().expect("a text");
    for json in [false, true] {
        let mut args = vec!["plugins", "list", "--deadline", "8s", "--plugin-dir", path];
        args.extend(json.then_some("--json"));
        let (output, said) = lanner(&args);
        assert!(output.status.success(), "{said}");
        for expected in [
            "libhangs.so: it hangs: it has not been loaded after 8s",
            "libexits.so: it ended the process that loaded it (exit status: 1)",
            "libcrashes.so: it ended the process that loaded it (signal: 11",
            "lanner: plugin `libexits.so` called exit",
            "lanner: plugin `libcrashes.so` crashed lanner: SIGSEGV",
            "output-gate",
        ] {
            assert!(said.contains(expected), "{expected}: {said}");
        }
    }
}

#[test]
fn a_check_finds_plugins_that_end_the_process_or_hang_while_they_are_loaded() {
    let folder = tempfile::tempdir().expect("a folder");
    plugins(folder.path());
    let gate = Gate::new(&folder.path().join("gate"));
    let settings = format!("{{\"folder\":\"{}\"}}", gate.0.display());
    let check = |library: &str| {
        let library = folder.path().join(library);
        let library = library.to_str().expect("a text");
        lanner(&[
            "plugins",
            "check",
            "--deadline",
            "8s",
            "--settings",
            &settings,
            library,
        ])
    };
    let (output, said) = check("liboutput_gate.so");
    assert!(output.status.success(), "{said}");
    for (library, expected) in [
        (
            "libhangs.so",
            "load it ... BAD: it did not return within 8s",
        ),
        (
            "libexits.so",
            "load it ... BAD: the plugin ended the process (exit status: 1)",
        ),
        (
            "libcrashes.so",
            "load it ... BAD: the plugin ended the process (signal: 11",
        ),
    ] {
        let (output, said) = check(library);
        assert_eq!(output.status.code(), Some(1), "{library}: {said}");
        assert!(said.contains(expected), "{library}: {said}");
        assert!(said.contains("it is not good\n"), "{library}: {said}");
    }
    gate.set("exits");
    let (output, said) = check("liboutput_gate.so");
    assert_eq!(output.status.code(), Some(1), "{said}");
    let expected = "output: emit nothing ... BAD: the plugin ended the process";
    assert!(said.contains(expected), "{said}");
}

/// A plugin may start a process that goes on, and that has lanner's standard output.
#[test]
fn a_process_that_a_plugin_leaves_behind_keeps_neither_list_nor_check_from_their_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let library = folder.path().join("libleaves.so");
    compile("gate.c", &library, &["-DGATE_LOAD=4"]);
    let gate = Gate::new(&folder.path().join("gate"));
    let settings = format!("{{\"folder\":\"{}\"}}", gate.0.display());
    let text = |path: &Path| path.to_str().expect("a text").to_owned();
    let check = ["plugins", "check", "--settings", &settings, &text(&library)].map(str::to_owned);
    let list = ["plugins", "list", "--plugin-dir", &text(folder.path())].map(str::to_owned);
    let alive = folder.path().join("alive");
    for args in [check.to_vec(), list.to_vec()] {
        let said = folder.path().join("said");
        let to = std::fs::File::create(&said).expect("a file");
        let mut lanner = Command::new(BIN)
            .args(&args)
            .env("GATE_ALIVE", &alive)
            .stdout(to)
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("lanner runs");
        wait_until("it ends", || {
            lanner.try_wait().expect("its status").is_some()
        });
        let said = std::fs::read_to_string(&said).expect("what it said");
        assert!(alive.exists(), "the process that was left behind: {said}");
        assert!(lanner.wait().expect("its status").success(), "{said}");
        let good = said.ends_with("it is good\n") || said.contains("output-gate");
        assert!(good && !said.contains("hangs"), "{said}");
        std::fs::remove_file(&alive).expect("it is there");
    }
}

#[test]
fn a_plugin_whose_pointers_lead_nowhere_is_faulty() {
    let folder = tempfile::tempdir().expect("a folder");
    let library = folder.path().join("libwild.so");
    let path = library.to_str().expect("a text");
    for (pointer, address, expected) in [
        (
            "GATE_PLUGIN",
            "0x1230ul",
            "`lanner_plugin` returned no valid pointer",
        ),
        (
            "GATE_PLUGIN",
            "0xffff800000000000ul",
            "`lanner_plugin` returned no valid pointer",
        ),
        (
            "GATE_TABLE",
            "0x1230ul",
            "its struct LannerOutputPlugin has no valid pointer",
        ),
    ] {
        // what a pointer does not lead to is not used
        let define = format!("-D{pointer}=(const void *){address}");
        compile("gate.c", &library, &[&define, "-Wno-unused-variable"]);
        let (output, said) = lanner(&["plugins", "check", path]);
        assert_eq!(output.status.code(), Some(1), "{define}: {said}");
        assert!(said.contains(expected), "{define}: {said}");
    }
}

#[test]
fn a_check_asks_before_it_sends_alerts_to_another_host() {
    let folder = Path::new(BIN).parent().expect("a folder");
    let library = folder.join("liboutput_http.so");
    let library = library.to_str().expect("a text");
    for settings in [
        r#"{"url":"http://192.0.2.1:9/"}"#,
        r#"{"url":"http://localhost.example.com:9/"}"#,
        r#"{"url":"http://siem/x@localhost"}"#,
        r#"{"servers":["192.0.2.1:4222"]}"#,
    ] {
        let (output, said) = lanner(&["plugins", "check", library, "--settings", settings]);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("delivers 1013 alerts") && said.contains("add --deliver"),
            "{said}"
        );
    }
}

#[test]
fn a_check_sends_no_alerts_through_a_proxy() {
    let proxy = test_support::peers::Receiver::start("", &[]);
    let folder = Path::new(BIN).parent().expect("a folder");
    let output = Command::new(BIN)
        .args(["plugins", "check", "--settings"])
        .arg(r#"{"url":"http://localhost:1/"}"#)
        .arg("--deadline=60s")
        .arg(folder.join("liboutput_http.so"))
        .env("http_proxy", format!("http://127.0.0.1:{}", proxy.port))
        .env("ALL_PROXY", format!("http://127.0.0.1:{}", proxy.port))
        .output()
        .expect("lanner starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // nothing listens at the port
    assert!(
        said.contains("http://localhost:1/: io: Connection refused"),
        "{said}"
    );
    assert!(proxy.alerts().is_empty(), "{:?}", proxy.alerts());
}

#[test]
fn what_a_library_prints_is_no_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let library = folder.path().join("liboutput_forged.so");
    compile("gate.c", &library, &["-DGATE_LOAD=5"]);
    let (output, said) = lanner(&["plugins", "check", library.to_str().expect("a text")]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("BAD: the plugin ended the process"), "{said}");
    let (output, _) = lanner(&[
        "plugins",
        "list",
        "--plugin-dir",
        folder.path().to_str().expect("a text"),
    ]);
    let listed = String::from_utf8_lossy(&output.stdout);
    assert!(
        listed.contains("it ended the process that loaded it"),
        "{listed}"
    );
    assert!(!listed.contains("output-forged"), "{listed}");
}

#[test]
fn one_alert_can_be_sent_through_an_output() {
    let receiver = test_support::peers::Receiver::start("200,400", &[]);
    let gone = test_support::peers::Receiver::start("", &[]);
    let port = gone.port;
    drop(gone);
    let http = |name: &str, port: u16| {
        format!(
            "{{plugin: output-http, name: {name}, settings: {{url: \"http://127.0.0.1:{port}/\"}}}}"
        )
    };
    let outputs = format!(
        "outputs=[{},{}]",
        http("here", receiver.port),
        http("gone", port)
    );
    let test = |names: &[&str]| {
        let args = [
            "outputs",
            "test",
            "-o",
            "stdout_output.enabled=false",
            "-o",
            &outputs,
        ];
        let (output, said) = lanner(&[&args[..], names].concat());
        (output.status.code(), said)
    };
    let (code, said) = test(&["here"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("output here: delivered"), "{said}");
    let alerts = receiver.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0]["rule"], "lanner internal: test");
    let (code, said) = test(&[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("output here: not delivered: it is refused"),
        "{said}"
    );
    assert!(said.contains("output gone: not delivered: "), "{said}");
    let (code, said) = test(&["her"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("there is no output \"her\"; did you mean"),
        "{said}"
    );
}

#[test]
fn a_plugin_that_hangs_while_it_is_loaded_is_named_when_a_session_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let library = folder.path().join("liboutput_hangs.so");
    compile("gate.c", &library, &["-DGATE_LOAD=1"]);
    let beside = Path::new(BIN).parent().expect("a folder");
    let (beside, folder) = (beside.to_str(), folder.path().to_str());
    let (output, said) = lanner(&[
        "run",
        "--driver",
        "ptrace",
        "-o",
        "plugin_deadline=10s",
        "-o",
        "outputs=[{plugin: output-hangs}]",
        "--plugin-dir",
        beside.expect("a text"),
        "--plugin-dir",
        folder.expect("a text"),
        "--",
        "true",
    ]);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let expected = "plugin `liboutput_hangs.so` hangs: it was asked to load";
    assert!(said.contains(expected), "{said}");
}
