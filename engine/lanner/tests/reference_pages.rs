//! The pages of docs/ that `make docs` writes are current. `make lint` runs this.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set its stage has failed"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

/// What `lanner LIST --markdown` prints must be the page.
fn is_current(list: &str, page: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_lanner"))
        .args([list, "--markdown"])
        .output()
        .expect("lanner runs");
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(page);
    let page_text = fs::read_to_string(file).expect("the page is there");
    let differing = printed
        .lines()
        .zip(page_text.lines())
        .find(|(printed, page)| printed != page);
    assert!(
        printed == page_text,
        "docs/{page} is not current: run `make docs`; the first line that differs: {differing:?}"
    );
}

#[test]
fn the_page_of_fields_is_current() {
    is_current("fields", "fields.md");
}

#[test]
fn the_page_of_system_calls_is_current() {
    is_current("syscalls", "syscalls.md");
}
