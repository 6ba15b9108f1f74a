//! Leaving out what cannot be tested here. On the build machine `LANNER_NO_SKIP` is set, and nothing may be left out.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Reports that a test, or a part of one, is left out, and why.
///
/// # Panics
///
/// `LANNER_NO_SKIP` is set.
pub fn skipped(why: &str) {
    // cargo shows it with --nocapture
    report(why);
    assert!(!no_skip(), "skipped: {why}");
}

/// Reports that a test is left out because an input that is not part of the project is not on this machine.
pub fn absent(path: &Path) {
    report(&format!(
        "{} is not there; set LANNER_SHARED",
        path.display()
    ));
}

/// Reports that a part of a test is left out because the kernel or the processor of this machine lacks what it is about.
pub fn lacking(what: &str) {
    report(&format!("this machine lacks {what}"));
}

/// Whether the test runs as root.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Which of `drivers` can run for this user, in the given order. `lanner` is the binary to ask. Each of the others is
/// reported as skipped with its gaps.
///
/// # Panics
///
/// A driver cannot run although the user is root and `LANNER_NO_SKIP` is set. Without root some drivers never can.
#[must_use]
pub fn usable_drivers<'a>(lanner: impl AsRef<Path>, drivers: &[&'a str]) -> Vec<&'a str> {
    let output = Command::new(lanner.as_ref())
        .args(["drivers", "--json"])
        .stdin(Stdio::null())
        .output()
        .expect("lanner can be started");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("drivers --json prints JSON");
    let rows = answer["drivers"].as_array().expect("a list of drivers");
    let usable = |name: &&str| {
        let row = rows.iter().find(|row| row["name"] == **name);
        if row.is_some_and(|row| row["usable"] == true) {
            return true;
        }
        let gaps = row.map_or("it is not in this build".to_owned(), |row| {
            row["gaps"].to_string()
        });
        let why = format!("driver {name} cannot run here: {gaps}");
        report(&why);
        assert!(!(is_root() && no_skip()), "skipped: {why}");
        false
    };
    drivers.iter().copied().filter(usable).collect()
}

fn no_skip() -> bool {
    std::env::var_os("LANNER_NO_SKIP").is_some()
}

#[expect(
    clippy::print_stderr,
    reason = "the output of a test is how a skipped part is reported"
)]
fn report(why: &str) {
    eprintln!("skipped: {why}");
}
