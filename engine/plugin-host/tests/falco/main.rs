//! Agreement with Falco's own engine: the same rule files load, with the same codes, and the same conditions match.
//!
//! The files are what Falco's engine 0.63 says about rule files and conditions. They lie in `cases/rules` of the folder that
//! `LANNER_SHARED` names. Every difference has to be of a kind that docs/rules.md lists with its reason; the kinds are in
//! `kinds.rs`.

#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot set its stage has failed, and says what differs"
)]

mod kinds;
mod load;
mod matching;

use std::fs;
use std::path::{Path, PathBuf};

use plugin_host::Plugin;
use serde_json::Value;
use test_support::absent;

/// The lines of a file of Falco's answers. None, and a reason on standard error, if the file is not here.
fn answers(file: &str) -> Option<Vec<Value>> {
    let shared = std::env::var_os("LANNER_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let path = shared.join("cases/rules").join(file);
    let Ok(text) = fs::read_to_string(&path) else {
        absent(&path);
        return None;
    };
    let lines = text.lines().map(serde_json::from_str);
    Some(lines.collect::<Result<_, _>>().expect("lines of JSON"))
}

/// The rule plugin of this build.
fn plugin() -> Plugin {
    let test = std::env::current_exe().expect("a test has a file");
    let folder = test.ancestors().nth(2).expect("a folder").to_owned();
    plugin_host::find(&[folder], "rules-falco").expect("`cargo build -p rules-falco` comes first")
}

/// The texts of a list in an answer.
fn texts<'a>(answer: &'a Value, key: &str) -> Vec<&'a str> {
    let list = answer[key].as_array().map(Vec::as_slice);
    let mut texts: Vec<&str> = list
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}
