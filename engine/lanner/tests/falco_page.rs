//! docs/falco.md names tests. Each exists, and runs on the drivers that the page says.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set its stage has failed"
)]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The tests of a folder by `file::name`, with their bodies. Several files can have the same name.
fn tests_in(folder: &Path, found: &mut HashMap<String, Vec<String>>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && name != "target" {
            tests_in(&path, found);
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source file");
        for body in text.split("#[test]").skip(1) {
            let test = body
                .split("fn ")
                .nth(1)
                .and_then(|rest| rest.split('(').next());
            let test = test.expect("a test has a name");
            found
                .entry(format!("{name}::{test}"))
                .or_default()
                .push(body.to_owned());
        }
    }
}

/// What a test calls in order to run in all modes, or in those that report what a call has returned.
const RUNS: [(&str, &[&str]); 3] = [
    ("all modes", &["modes()", " expect("]),
    (
        "core, legacy, trace",
        &[
            "usable()",
            "returning()",
            "expect_returned(",
            "modes()",
            " expect(",
        ],
    ),
    ("no driver", &[]),
];

#[test]
fn the_page_about_falco_names_tests_that_run_where_it_says() {
    let mut tests = HashMap::new();
    for folder in ["engine", "plugins"] {
        tests_in(&workspace().join(folder), &mut tests);
    }
    let page = fs::read_to_string(workspace().join("docs/falco.md")).expect("the page");
    let mut named = 0;
    for line in page.lines() {
        let names: Vec<&str> = line
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|word| word.contains("::"))
            .collect();
        for name in &names {
            assert!(
                tests.contains_key(*name),
                "docs/falco.md: there is no test {name}"
            );
        }
        named += names.len();
        let columns: Vec<&str> = line.split(" | ").collect();
        let [_, _, on] = &columns[..] else { continue };
        let on = on.trim_end_matches(" |");
        let Some((_, calls)) = RUNS.iter().find(|(known, _)| *known == on) else {
            assert!(
                !line.contains("::"),
                "docs/falco.md: `{on}` is no place where tests run"
            );
            continue;
        };
        let runs = |name: &&str| {
            let bodies = tests.get(*name).map(Vec::as_slice).unwrap_or_default();
            bodies
                .iter()
                .any(|body| calls.iter().any(|call| body.contains(call)))
        };
        let enough = calls.is_empty() || names.iter().any(runs);
        assert!(
            enough,
            "docs/falco.md: no test of this line runs on {on}: {line}"
        );
    }
    assert!(named > 50, "docs/falco.md names {named} tests");
}
