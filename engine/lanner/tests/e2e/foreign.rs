//! Files of other users: what lanner runs and sees, they do not decide.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use test_support::{is_root, skipped};

use crate::lanner::{run, stderr};
use crate::unprivileged::{stage, through};

/// Another user.
const OTHER: u32 = 12345;

/// A folder of root's with a folder of the other user's in it.
struct Stage(tempfile::TempDir);

impl Stage {
    fn new() -> Option<Self> {
        if !is_root() {
            skipped("files of other users: only root can make them");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        for (name, mode) in [("", 0o755), ("theirs", 0o777)] {
            let path = folder.path().join(name);
            fs::create_dir_all(&path).expect("a folder");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        }
        Some(Self(folder))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a file");
        path
    }

    /// Gives everything in their folder to the other user.
    fn give(&self) {
        let theirs = self.path("theirs");
        for entry in fs::read_dir(&theirs).expect("a folder") {
            lchown(entry.expect("an entry").path(), Some(OTHER), None).expect("a file");
        }
        lchown(theirs, Some(OTHER), None).expect("a folder");
    }
}

/// Exchanges two names until `done` (renameat2(2)).
fn flip(one: &Path, two: &Path, done: &AtomicBool) {
    let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).expect("no null byte");
    let (one, two) = (text(one), text(two));
    while !done.load(Ordering::Relaxed) {
        // SAFETY: the call reads two texts that end with a null byte.
        let failed = unsafe {
            libc::renameat2(
                libc::AT_FDCWD,
                one.as_ptr(),
                libc::AT_FDCWD,
                two.as_ptr(),
                libc::RENAME_EXCHANGE,
            )
        };
        assert_eq!(failed, 0, "the names can be exchanged");
    }
}

#[test]
fn a_link_that_flips_never_brings_in_foreign_files() {
    let Some(stage) = Stage::new() else { return };
    let mark = stage.path("mark");
    let rules = stage.put(
        "rules.yaml",
        "- rule: Ours\n  desc: d\n  condition: evt.type = execve\n  output: ours\n  priority: INFO\n",
    );
    let ours = stage.put(
        "ours.yaml",
        &format!("rules_files: [{}]\n", rules.display()),
    );
    stage.put(
        "theirs/config.yaml",
        &format!(
            "rules_files: [{}]\nprogram_output: {{enabled: true, program: \"touch {}\"}}\n",
            rules.display(),
            mark.display()
        ),
    );
    stage.put(
        "theirs/rules.yaml",
        "- rule: Foreign\n  desc: d\n  condition: evt.type = execve\n  output: foreign\n  priority: INFO\n",
    );
    for (name, to) in [
        ("theirs/c", ours.clone()),
        ("theirs/c2", stage.path("theirs/config.yaml")),
        ("theirs/r", rules.clone()),
        ("theirs/r2", stage.path("theirs/rules.yaml")),
    ] {
        symlink(to, stage.path(name)).expect("a link");
    }
    stage.give();
    let done = AtomicBool::new(false);
    let (config, rules) = (stage.path("theirs/c"), stage.path("theirs/r"));
    std::thread::scope(|scope| {
        scope.spawn(|| flip(&config, &stage.path("theirs/c2"), &done));
        scope.spawn(|| flip(&rules, &stage.path("theirs/r2"), &done));
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            for option in [
                ["-c", config.to_str().expect("a text")],
                ["-r", rules.to_str().expect("a text")],
            ] {
                let output = run(["run", "--driver", "ptrace"]
                    .iter()
                    .chain(&option)
                    .chain(&["--", "true"]));
                let (out, said) = (String::from_utf8_lossy(&output.stdout), stderr(&output));
                assert_eq!(output.status.code(), Some(2), "{out}{said}");
                assert!(said.contains("belongs to user 12345"), "{said}");
                assert!(!out.contains("foreign") && !mark.exists(), "{out}{said}");
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn secrets_plugins_certificates_and_spools_in_foreign_folders_are_refused() {
    let Some(stage) = Stage::new() else { return };
    stage.put("theirs/secret", "x");
    stage.put("theirs/libx.so", "x");
    stage.give();
    let theirs = stage.path("theirs").display().to_string();
    for text in [
        format!("http_output: {{enabled: true, url: \"${{file:{theirs}/secret}}\"}}\n"),
        format!("plugin_dirs: [{theirs}]\n"),
        format!(
            "http_output: {{enabled: true, url: \"https://localhost\", ca_cert: {theirs}/secret}}\n"
        ),
        format!("outputs:\n- {{plugin: output-console, spool: {{path: {theirs}/spool}}}}\n"),
        format!("rules_files: [{theirs}]\n"),
        format!("btf: {theirs}/secret\ndriver: ebpf-core\n"),
    ] {
        let config = stage.put("lanner.yaml", &text);
        let config = config.to_str().expect("a text");
        let output = run(["run", "-c", config, "--duration", "1s"]);
        let said = stderr(&output);
        assert!(said.contains("belongs to user 12345"), "{text}{said}");
        assert_eq!(output.status.code(), Some(2), "{text}{said}");
    }
}

/// Runs a lanner with file capabilities as the other user.
fn with_capabilities(bin: &Path, args: &[&str]) -> Output {
    let words = [
        "--reuid=12345",
        "--regid=12345",
        "--clear-groups",
        "--inh-caps=-all",
    ];
    through(&words, bin, args)
}

#[test]
fn a_lanner_with_file_capabilities_trusts_root_alone() {
    let Some(theirs) = Stage::new() else { return };
    let (folder, bin) = stage();
    let capabilities = "cap_bpf,cap_perfmon,cap_sys_ptrace+ep";
    let set = Command::new("setcap").arg(capabilities).arg(&bin).status();
    if !set.is_ok_and(|set| set.success()) {
        skipped("file capabilities: setcap cannot give any");
        return;
    }
    let rule =
        "- rule: R\n  desc: d\n  condition: evt.type = execve\n  output: seen\n  priority: INFO\n";
    theirs.put("theirs/rules.yaml", rule);
    theirs.put("theirs/lanner.yaml", "");
    let ours = theirs.put("rules.yaml", rule);
    let of_environment = theirs.put("env.yaml", "static_fields: {home: \"${HOME}\"}\n");
    for name in ["librules_falco.so", "liboutput_console.so"] {
        fs::copy(folder.path().join(name), theirs.path("theirs").join(name)).expect("a copy");
    }
    theirs.give();
    let at = |name: &str| theirs.path("theirs").join(name).display().to_string();
    for (options, expected) in [
        (["--plugin-dir", &at("")], "trusts root alone"),
        (["-r", &at("rules.yaml")], "trusts root alone"),
        (["-c", &at("lanner.yaml")], "trusts root alone"),
        (["-r", "/dev/stdin"], "/dev/stdin"),
        (
            ["-c", of_environment.to_str().expect("a text")],
            "does not trust the environment",
        ),
    ] {
        let args = ["run", options[0], options[1], "--", "true"];
        let output = with_capabilities(&bin, &args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{options:?}: {said}");
        assert!(said.contains(expected), "{options:?}: {said}");
    }
    // with files of root's, it works
    let args = ["run", "-r", ours.to_str().expect("a text"), "--", "true"];
    let output = with_capabilities(&bin, &args);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("seen"), "{out}{}", stderr(&output));
}

/// ebpf-legacy asks for `CAP_DAC_READ_SEARCH` where tracefs is closed.
#[test]
fn a_lanner_with_file_capabilities_reads_nothing_that_its_user_may_not_read() {
    let Some(ours) = Stage::new() else { return };
    let (plugins, bin) = stage();
    let plugin = "liboutput_file.so";
    let built = Path::new(crate::lanner::BIN).with_file_name(plugin);
    fs::copy(built, plugins.path().join(plugin)).expect("a copy");
    let capabilities = "cap_dac_override,cap_dac_read_search,cap_sys_ptrace+ep";
    let set = Command::new("setcap").arg(capabilities).arg(&bin).status();
    if !set.is_ok_and(|set| set.success()) {
        skipped("file capabilities: setcap cannot give any");
        return;
    }
    let closed = ours.put("closed.yaml", "- rule: Closed\n");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let folder = ours.path("folder");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("it is ours");
    let closed = closed.to_str().expect("a text");
    let folder = folder.to_str().expect("a text");
    let secret = format!("static_fields={{a: \"${{file:{closed}}}\"}}");
    let inside = format!("{folder}/new");
    for args in [
        &["rules", "check", closed][..],
        &["rules", "test", closed],
        &["rules", "check", "/proc/1/maps"],
        &["config", "check", closed],
        &["config", "from-falco", closed],
        &["outputs", "test", "-o", &secret],
        &["run", "-d", "ptrace", "-r", closed, "--", "true"],
        &["run", "-d", "ptrace", "-r", folder, "--", "true"],
        &["trace", "--replay", closed],
        &["trace", "-d", "ptrace", "-o", closed, "--", "true"],
        &["trace", "-d", "ptrace", "-o", &inside, "--", "true"],
        &["run", "-d", "ptrace", "--output", closed, "--", "true"],
    ] {
        let output = with_capabilities(&bin, args);
        let said = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("Permission denied"), "{args:?}: {said}");
        assert!(!said.contains("Closed"), "{args:?}: {said}");
    }
    assert_eq!(fs::read(closed).expect("ours"), b"- rule: Closed\n");
}

#[test]
fn a_lanner_with_the_set_user_id_bit_does_nothing() {
    if !is_root() {
        skipped("a set-user-ID program of another user, which only root can make");
        return;
    }
    let (_folder, bin) = stage();
    for mode in [0o4755, 0o2755] {
        fs::set_permissions(&bin, fs::Permissions::from_mode(mode)).expect("it is ours");
        for args in [
            &["trace", "-d", "ptrace", "--", "id"][..],
            &["outputs", "test"],
            &["drivers"],
        ] {
            let output = with_capabilities(&bin, args);
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
            assert!(said.contains("chmod u-s,g-s"), "{args:?}: {said}");
            assert!(output.stdout.is_empty(), "{args:?}");
        }
    }
}

#[test]
fn a_lanner_with_file_capabilities_sends_no_alert_through_a_proxy_of_the_environment() {
    use std::net::TcpListener;
    let Some(ours) = Stage::new() else { return };
    let (folder, bin) = stage();
    let plugin = "liboutput_http.so";
    let built = Path::new(crate::lanner::BIN).with_file_name(plugin);
    fs::copy(built, folder.path().join(plugin)).expect("a copy");
    let set = Command::new("setcap")
        .arg("cap_sys_ptrace+ep")
        .arg(&bin)
        .status();
    if !set.is_ok_and(|set| set.success()) {
        skipped("file capabilities: setcap cannot give any");
        return;
    }
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    proxy.set_nonblocking(true).expect("a socket");
    let receiver = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    let closed = port(&receiver);
    drop(receiver);
    let config = ours.put(
        "lanner.yaml",
        &format!(
            "stdout_output: {{enabled: false}}\noutputs:\n- plugin: output-http\n  name: far\n  \
             settings: {{url: \"http://localhost:{closed}/\"}}\n"
        ),
    );
    let output = Command::new("setpriv")
        .args(["--reuid=12345", "--regid=12345", "--clear-groups"])
        .arg("--inh-caps=-all")
        .arg(&bin)
        .args(["outputs", "test", "-c"])
        .arg(&config)
        .current_dir("/")
        .envs(
            ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"]
                .map(|name| (name, format!("http://127.0.0.1:{}", port(&proxy)))),
        )
        .output()
        .expect("it can be started");
    let said = stderr(&output);
    assert!(said.contains("output far: not delivered"), "{said}");
    let reached = proxy.accept().map(|(_, from)| from);
    assert!(reached.is_err(), "the proxy was asked: {said}");
}

#[test]
fn what_is_no_regular_file_of_a_sensible_size_is_an_error_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let made = Command::new("mkfifo").arg(at("fifo")).status();
    assert!(made.is_ok_and(|made| made.success()), "mkfifo");
    let large = fs::File::create(at("large")).expect("a file");
    large.set_len(1 << 40).expect("a file with a hole");
    for (file, expected) in [
        (at("fifo"), "is a FIFO"),
        ("/dev/zero".to_owned(), "is a device"),
        (at("large"), "bytes"),
    ] {
        fs::write(
            at("lanner.yaml"),
            format!("static_fields: {{a: \"${{file:{file}}}\"}}\n"),
        )
        .expect("a file");
        fs::write(at("include.yaml"), format!("config_files: [{file}]\n")).expect("a file");
        for args in [
            vec!["run", "-c", &file, "--", "true"],
            vec!["run", "-r", &file, "--", "true"],
            vec!["config", "check", &at("lanner.yaml")],
            vec!["config", "check", &at("include.yaml")],
            vec!["rules", "check", &file],
            vec!["rules", "list", &file],
            vec!["rules", "test", &file],
            vec!["plugins", "check", &file],
            vec!["run", "--replay", &file],
        ] {
            // timeout(1) ends with 124
            let limited = Command::new("timeout")
                .arg("60")
                .arg(crate::lanner::BIN)
                .args(&args)
                .output()
                .expect("timeout can be run");
            let said = stderr(&limited) + &String::from_utf8_lossy(&limited.stdout);
            assert!(
                matches!(limited.status.code(), Some(1 | 2)),
                "{args:?}: {:?} {said}",
                limited.status
            );
            // a recording or a library can be large: it is foreign at the first look
            let foreign = said.contains("is no recording") || said.contains("not a shared library");
            assert!(said.contains(expected) || foreign, "{args:?}: {said}");
        }
    }
}
