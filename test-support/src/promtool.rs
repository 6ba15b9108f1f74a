//! Prometheus' own parser.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::skipped;

/// Has `promtool check metrics` read a page, as a scrape would. Reports the test as skipped where there is none.
///
/// # Panics
///
/// Prometheus refuses the page.
pub fn accepted_by_prometheus(page: &str) {
    let unpacked = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../target/peers/prometheus/usr/bin/promtool"
    );
    let tool = match Path::new(unpacked).exists() {
        true => unpacked,
        false => "promtool",
    };
    let tool = Command::new(tool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tool) = tool else {
        return skipped("there is no promtool; tools/peers gets it");
    };
    let mut input = tool.stdin.take().unwrap();
    input.write_all(page.as_bytes()).unwrap();
    drop(input);
    let output = tool.wait_with_output().unwrap();
    // 3: the names do not keep to all recommendations, as Falco's names do not.
    let code = output.status.code();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(code, Some(0 | 3)), "{said}");
    assert!(!said.contains("error while linting"), "{said}");
}
