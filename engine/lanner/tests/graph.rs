//! The dependencies between the crates of this workspace, as docs/architecture.md states them: a new one is a decision,
//! made in this table. And the map at the head of each crate, which must be complete.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot read the dependencies has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each crate, and those of this workspace that it may depend on.
const ALLOWED: &[(&str, &[&str])] = &[
    // what drivers deliver
    ("driver-api", &[]),
    ("proc-pid", &[]),
    ("bpf-syscall", &[]),
    ("bpf-headers", &[]),
    ("driver-start", &["driver-api"]),
    (
        "driver-ebpf",
        &["bpf-syscall", "driver-api", "driver-start", "proc-pid"],
    ),
    (
        "driver-ebpf-core",
        &["bpf-syscall", "driver-api", "driver-ebpf"],
    ),
    (
        "driver-ebpf-legacy",
        &["bpf-syscall", "driver-api", "driver-ebpf", "proc-pid"],
    ),
    ("driver-ptrace", &["driver-api", "driver-start", "proc-pid"]),
    (
        "drivers",
        &[
            "driver-api",
            "driver-ebpf-core",
            "driver-ebpf-legacy",
            "driver-ptrace",
            "proc-pid",
        ],
    ),
    // what events mean
    ("suggest", &[]),
    ("decode", &["driver-api"]),
    ("inspect", &["decode", "driver-api", "proc-pid"]),
    ("containers", &["inspect"]),
    (
        "fields",
        &[
            "decode",
            "driver-api",
            "inspect",
            "lanner-plugin",
            "proc-pid",
            "scap",
            "suggest",
        ],
    ),
    (
        "recording",
        &[
            "decode",
            "driver-api",
            "inspect",
            "lanner-plugin",
            "suggest",
        ],
    ),
    (
        "scap",
        &["decode", "driver-api", "inspect", "lanner-plugin"],
    ),
    // what becomes of them
    ("lanner-plugin", &[]),
    ("plugin-host", &["lanner-plugin", "suggest"]),
    ("delivery", &["fields", "inspect", "plugin-host"]),
    (
        "session",
        &[
            "containers",
            "decode",
            "delivery",
            "driver-api",
            "drivers",
            "fields",
            "inspect",
            "lanner-plugin",
            "plugin-host",
            "proc-pid",
            "recording",
            "scap",
            "suggest",
        ],
    ),
    (
        "look",
        &[
            "decode",
            "driver-api",
            "fields",
            "inspect",
            "plugin-host",
            "session",
            "suggest",
        ],
    ),
    (
        "top",
        &[
            "decode",
            "delivery",
            "driver-api",
            "fields",
            "inspect",
            "look",
            "plugin-host",
            "session",
        ],
    ),
    (
        "command-line",
        &["driver-api", "drivers", "look", "session", "top"],
    ),
    ("pages", &["command-line"]),
    (
        "lanner",
        &[
            "command-line",
            "delivery",
            "driver-api",
            "drivers",
            "fields",
            "look",
            "plugin-host",
            "session",
            "suggest",
            "top",
        ],
    ),
    (
        "bench",
        &[
            "delivery",
            "driver-api",
            "driver-ebpf",
            "driver-ebpf-core",
            "drivers",
            "fields",
            "inspect",
            "plugin-host",
            "proc-pid",
            "recording",
        ],
    ),
    ("test-support", &[]),
];

/// Every plugin that comes with lanner is built as anyone's: on the SDK alone.
const PLUGIN: &[&str] = &["lanner-plugin"];

/// The crates of the workspace, as cargo describes them.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

/// The crates of the workspace with their normal and build dependencies on each other.
fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let packages = packages();
    let name = |package: &Value| package["name"].as_str().expect("a name").to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let dependencies = |package: &Value| {
        package["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter()
            .filter(|dependency| dependency["kind"] != "dev")
            .map(name)
            .filter(|name| ours.contains(name))
            .collect()
    };
    packages
        .iter()
        .map(|package| (name(package), dependencies(package)))
        .collect()
}

#[test]
fn crates_depend_on_what_they_may_and_on_nothing_else() {
    let graph = graph();
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for (name, dependencies) in &graph {
        let is_plugin = name.starts_with("output-") || name.starts_with("rules-");
        let Some(may) = allowed
            .get(name.as_str())
            .copied()
            .or(is_plugin.then_some(PLUGIN))
        else {
            wrong.push(format!(
                "{name} is not in the table of allowed dependencies"
            ));
            continue;
        };
        for dependency in dependencies {
            if !may.contains(&dependency.as_str()) {
                wrong.push(format!("{name} depends on {dependency}, and may not"));
            }
        }
    }
    for name in allowed.keys().filter(|name| !graph.contains_key(**name)) {
        wrong.push(format!("{name} is in the table, and is no crate"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The modules of a library that are not for its tests alone.
fn modules(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut for_tests = false;
    for line in source.lines() {
        let declared = line.strip_prefix("pub ").unwrap_or(line);
        let name = declared
            .strip_prefix("mod ")
            .and_then(|rest| rest.strip_suffix(';'));
        match name {
            Some(name) if !for_tests => found.push(name),
            Some(_) | None => {}
        }
        // attributes come before the module, on lines of their own
        let is_attribute =
            line.starts_with("#[") || line.starts_with(' ') || line.starts_with(")]");
        for_tests = line == "#[cfg(test)]" || (for_tests && is_attribute);
    }
    found
}

#[test]
fn the_head_of_each_library_names_its_modules() {
    let mut missing = Vec::new();
    let mut seen = 0;
    for package in packages() {
        for target in package["targets"].as_array().expect("targets") {
            let kinds = target["kind"].as_array().expect("kinds");
            if !kinds
                .iter()
                .any(|kind| kind.as_str().is_some_and(|kind| kind.ends_with("lib")))
            {
                continue;
            }
            let path = target["src_path"].as_str().expect("a path");
            let source = std::fs::read_to_string(path).expect("the source");
            let head: String = source
                .lines()
                .take_while(|line| line.starts_with("//!"))
                .collect();
            for module in modules(&source) {
                seen += 1;
                if !head.contains(&format!("`{module}`")) {
                    missing.push(format!("{path}: `{module}`"));
                }
            }
        }
    }
    assert!(seen > 100, "{seen}");
    assert_eq!(
        missing,
        Vec::<String>::new(),
        "a newcomer starts at the head of lib.rs"
    );
}

/// The Rust files of a folder and those below it.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// A file that no other one names is not compiled, and its tests never run.
#[test]
fn every_file_is_part_of_something() {
    let mut seen = 0;
    let mut orphans = Vec::new();
    for package in packages() {
        let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
        let folder = manifest.parent().expect("a folder");
        let targets = package["targets"].as_array().expect("targets");
        let roots: BTreeSet<&str> = (targets.iter())
            .map(|target| target["src_path"].as_str().expect("a path"))
            .collect();
        let files: Vec<PathBuf> = ["src", "tests", "benches", "examples"]
            .iter()
            .flat_map(|name| sources(&folder.join(name)))
            .collect();
        let texts: Vec<String> = files
            .iter()
            .map(|file| std::fs::read_to_string(file).expect("the source"))
            .collect();
        for file in &files {
            seen += 1;
            let mut name = file.file_stem().expect("a name").to_str().expect("a text");
            if name == "mod" {
                let parent = file.parent().and_then(Path::file_name);
                name = parent.and_then(|name| name.to_str()).expect("a folder");
            }
            let named = [
                format!("mod {name};"),
                format!("/{name}.rs\""),
                format!("\"{name}.rs\""),
            ];
            let is_root = roots.contains(file.to_str().expect("a text"));
            let is_named = |text: &String| named.iter().any(|one| text.contains(one));
            if !is_root && !texts.iter().any(is_named) {
                orphans.push(file.display().to_string());
            }
        }
    }
    assert!(seen > 500, "{seen}");
    assert_eq!(orphans, Vec::<String>::new());
}

/// What can be called without a process belongs into a library.
#[test]
fn the_program_is_small() {
    let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let lines = |file: &PathBuf| {
        let source = std::fs::read_to_string(file).expect("the source");
        source.lines().count()
    };
    let lines: usize = files.iter().map(lines).sum();
    assert!((1..2000).contains(&lines), "{lines} lines");
}
