//! What somebody gets who writes a plugin and knows nothing of this workspace: the examples and what `lanner plugins
//! new` makes are built elsewhere, from the header or the SDK alone, and run. Needs cc, make and cargo.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set its stage has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const BIN: &str = env!("CARGO_BIN_EXE_lanner");

fn workspace() -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::canonicalize(top).expect("the workspace is there")
}

/// Copies a folder's own files, and its `src`.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("make a folder");
    for entry in fs::read_dir(from).expect("read a folder") {
        let entry = entry.expect("read a folder").path();
        let name = entry.file_name().expect("a name");
        if entry.is_file() {
            fs::copy(&entry, to.join(name)).expect("copy a file");
        } else if name == "src" {
            copy(&entry, &to.join(name));
        }
    }
}

/// Runs a command to its end, which must be a good one, and returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}:\n{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn check(library: &Path, args: &[&str]) -> String {
    // rustc and cc leave what the umask leaves
    run(Command::new("chmod").arg("go-w").arg(library));
    run(Command::new(BIN)
        .args(["plugins", "check"])
        .arg(library)
        .args(args))
}

/// Builds and tests a crate as its author would, without the network: with the versions that are here. The SDK of this
/// workspace replaces the published one.
fn cargo(folder: &Path) -> PathBuf {
    fs::copy(workspace().join("Cargo.lock"), folder.join("Cargo.lock")).expect("copy a file");
    let target = Path::new(BIN)
        .ancestors()
        .nth(2)
        .expect("a target directory");
    let target = target.join("third-party");
    let sdk = format!(
        "patch.crates-io.lanner-plugin.path={:?}",
        workspace().join("plugins/api")
    );
    for verb in ["test", "build"] {
        run(Command::new(env!("CARGO"))
            .args([verb, "--quiet", "--offline", "--config", &sdk])
            .env("CARGO_TARGET_DIR", &target)
            .env_remove("RUSTFLAGS")
            .current_dir(folder));
    }
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a name");
    target.join(format!("debug/lib{}.so", name.replace('-', "_")))
}

/// Runs a command under lanner with the plugins of a folder, and returns what was printed and said.
fn session(plugins: &Path, options: &[&str], command: &str) -> (String, String) {
    let mut lanner = Command::new(BIN);
    lanner.args(["run", "-v", "--driver", "ptrace", "--plugin-dir"]);
    lanner.arg(Path::new(BIN).parent().expect("a folder"));
    lanner.arg("--plugin-dir").arg(plugins);
    for option in options {
        lanner.args(["-o", option]);
    }
    let output = lanner.args(["--", "sh", "-c", command]).output();
    let output = output.expect("the command starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said:?}");
    said
}

/// The first part of the documentation in this language that has a word.
fn of_the_page(language: &str, word: &str) -> String {
    let page = fs::read_to_string(workspace().join("docs/plugins.md")).expect("the page");
    let begin = format!("```{language}\n");
    let mut blocks = page.split(&begin).skip(1);
    let found = blocks.find_map(|rest| {
        rest.split("```")
            .next()
            .filter(|block| block.contains(word))
    });
    found.expect("the page has it").to_owned()
}

#[test]
fn the_plugin_in_c_of_the_page_runs_in_a_session() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("output_stderr.c");
    fs::write(&source, of_the_page("c", "output-stderr")).expect("write a file");
    let library = folder.path().join("liboutput_stderr.so");
    run(Command::new("cc")
        .args(["-shared", "-fPIC", "-I"])
        .arg(workspace().join("plugins/api/include"))
        .arg("-o")
        .args([&library, &source]));
    let said = check(&library, &[]);
    assert!(said.ends_with("it is good\n"), "{said}");
    let rules = folder.path().join("rules.yaml");
    let rule = "- rule: Mine\n  desc: d\n  condition: evt.type = execve and proc.args contains marker\n  output: seen \
                %proc.cmdline\n  priority: NOTICE\n";
    fs::write(&rules, rule).expect("write a file");
    let options = [
        &*format!("rules_files=[{}]", rules.display()),
        "outputs=[{plugin: output-stderr}]",
    ];
    let (_, err) = session(folder.path(), &options, "sh -c : marker; true");
    assert!(err.contains(": Notice seen sh -c : marker"), "{err}");
    config_check_knows_the_plugin_by_its_folder(folder.path(), &options);
}

fn config_check_knows_the_plugin_by_its_folder(plugins: &Path, options: &[&str]) {
    let check = |folders: &[&Path]| {
        let mut lanner = Command::new(BIN);
        lanner.args(["config", "check"]);
        for folder in folders {
            lanner.arg("--plugin-dir").arg(folder);
        }
        for option in options {
            lanner.args(["-o", option]);
        }
        let output = lanner.output().expect("the command starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    let beside = Path::new(BIN).parent().expect("a folder");
    let (good, said) = check(&[plugins, beside]);
    assert!(good, "{said}");
    for (folders, expected) in [
        (beside, "there is no plugin `output-stderr` in "),
        (plugins, "there is no plugin `rules-falco` in "),
    ] {
        let (good, said) = check(&[folders]);
        assert!(!good && said.contains(expected), "{said}");
        assert!(said.contains("name its folder with --plugin-dir"), "{said}");
    }
}

#[test]
fn plugins_built_from_every_header_that_ever_was_run_unchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("watched")).expect("make a folder");
    let settings = format!("{{\"folder\":\"{}\"}}", folder.path().display());
    let old = workspace().join("plugins/api/tests/headers");
    for version in ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6"] {
        for (source, kind) in [("gate.c", "output"), ("rules_gate.c", "rules")] {
            let library = folder.path().join(format!("lib{kind}-{version}.so"));
            run(Command::new("cc")
                .args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-I"])
                .arg(old.join(version))
                .arg("-o")
                .arg(&library)
                .arg(
                    workspace()
                        .join("engine/lanner/tests/delivery")
                        .join(source),
                ));
            let said = check(&library, &["--settings", &settings]);
            assert!(said.contains(&format!("(ABI {version}, {kind})")), "{said}");
            assert!(said.ends_with("it is good\n"), "{said}");
        }
    }
}

#[test]
fn the_examples_in_c_need_the_header_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let include = folder.path().join("include");
    fs::create_dir(&include).expect("make a folder");
    let header = workspace().join("plugins/api/include/lanner_plugin.h");
    fs::copy(header, include.join("lanner_plugin.h")).expect("copy the header");
    for (example, library) in [
        ("output-lines-c", "liboutput_lines.so"),
        ("nothing-c", "libnothing.so"),
    ] {
        let there = folder.path().join(example);
        copy(&workspace().join("plugins/examples").join(example), &there);
        run(Command::new("make")
            .arg(format!("LANNER_INCLUDE={}", include.display()))
            .arg("CFLAGS=-O2 -Wall -Wextra -Werror")
            .current_dir(&there));
        let library = there.join(library);
        let lines = folder.path().join("lines");
        let settings = format!("{{\"path\":\"{}\"}}", lines.display());
        let args: &[&str] = match example {
            "nothing-c" => &["--cost"],
            _ => &["--settings", &settings],
        };
        let said = check(&library, args);
        assert!(said.ends_with("it is good\n"), "{said}");
        if example == "nothing-c" {
            assert!(said.contains("cost of a call ... good: "), "{said}");
            continue;
        }
        let lines = fs::read(&lines).expect("the output wrote its file");
        let lines = String::from_utf8_lossy(&lines);
        assert!(lines.contains("\n00:00:00.000000000: Notice check number 999\n"));
        assert_eq!(lines.matches("check number 1\n").count(), 2, "after reopen");
    }
}

#[test]
fn the_rust_example_is_built_outside_the_workspace_and_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let there = folder.path().join("output-count");
    copy(&workspace().join("plugins/examples/output-count"), &there);
    let manifest = there.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).expect("read the manifest");
    let api = workspace().join("plugins/api");
    let text = text.replace("../../api", api.to_str().expect("a path in UTF-8"));
    fs::write(&manifest, text).expect("write the manifest");
    let library = cargo(&there);
    let said = check(&library, &["--settings", r#"{"every":500}"#]);
    assert!(said.ends_with("it is good\n"), "{said}");

    let listed = run(Command::new(BIN)
        .args(["plugins", "list", "--json", "--plugin-dir"])
        .arg(library.parent().expect("a folder")));
    let listed: Value = serde_json::from_str(&listed).expect("it is JSON");
    let rows = listed.as_array().expect("rows");
    let row = rows.iter().find(|row| row["name"] == "output-count");
    let row = row.expect("it is listed");
    assert_eq!(
        row["settings"]["output"]["properties"]["every"]["minimum"],
        1
    );
    assert_eq!(row["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(row["abi"], "1.7");

    let output = Command::new(BIN)
        .args(["plugins", "check"])
        .arg(&library)
        .args(["--settings", r#"{"evry":500}"#])
        .output()
        .expect("the command starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("unknown key `evry`; did you mean `every`?"),
        "{said}"
    );
}

#[test]
fn a_new_plugin_of_either_kind_builds_and_passes_its_test_and_the_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let installed = folder.path().join("plugins");
    fs::create_dir(&installed).expect("make a folder");
    for kind in ["output", "rules"] {
        let name = format!("{kind}-mine");
        run(Command::new(BIN)
            .args(["plugins", "new", &name, "--kind", kind, "--in"])
            .arg(folder.path()));
        let library = cargo(&folder.path().join(&name));
        let said = check(&library, &[]);
        assert!(
            said.contains(&format!("{name} 0.1.0 (ABI 1.7, {kind})")),
            "{said}"
        );
        assert!(said.ends_with("it is good\n"), "{said}");
        let file = library.file_name().expect("a name");
        fs::copy(&library, installed.join(file)).expect("install it");
    }
    // and both work in a session, beside what comes with lanner
    let (out, err) = session(
        &installed,
        &[
            "rule_plugins=[{plugin: rules-mine}]",
            "outputs=[{plugin: output-mine, settings: {every: 1}}]",
        ],
        "sh -c :; true",
    );
    if nix::unistd::geteuid().is_root() {
        assert!(
            out.contains("Notice root started a shell: sh -c :"),
            "{out}{err}"
        );
        assert!(err.contains("1 alerts, the last by Shell of root"), "{err}");
    } else {
        assert!(!out.contains("root started a shell"), "{out}{err}");
    }
    let again = Command::new(BIN)
        .args(["plugins", "new", "rules-mine", "--kind", "rules", "--in"])
        .arg(folder.path())
        .output()
        .expect("the command starts");
    assert_eq!(again.status.code(), Some(2));
}
