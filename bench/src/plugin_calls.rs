//! What a call to a plugin costs: `lanner plugins check --cost` with the example plugin that does nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::report::Table;
use crate::{Error, Part, Result, unprivileged};

const SOURCE: &str = include_str!("../../plugins/examples/nothing-c/nothing.c");
const HEADER: &str = include_str!("../../plugins/api/include/lanner_plugin.h");

/// The goal, in nanoseconds.
const GOAL: f64 = 50.0;

/// Measures, and adds the results to the report and the goals.
pub(crate) fn measure(part: Part<'_>) -> Result<()> {
    let Part {
        options,
        report,
        goals,
        ..
    } = part;
    let text = match unprivileged::lanner(options).and_then(|lanner| run(&lanner)) {
        Ok(text) => text,
        Err(why) => {
            report.failed("calls of plugins", &why);
            return Ok(());
        }
    };
    let mut table = Table::new("a call to a plugin that does nothing", &["call", "ns"]);
    for (name, what) in [
        ("rules: one event", "for an event that no rule wants"),
        ("output: a batch of one alert", "for a batch of one alert"),
        (
            "output: an alert of a batch of 256",
            "an alert in a batch of 256",
        ),
    ] {
        let figure = figure(&text, what);
        let shown = figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.1}"));
        table.row(vec![name.to_owned(), shown]);
        goals.at_most(&format!("plugin call, {name}"), GOAL, figure, " ns");
    }
    report.table(table);
    Ok(())
}

/// Compiles the plugin, and lets lanner measure it.
fn run(lanner: &std::path::Path) -> Result<String> {
    let failed = |error: std::io::Error| Error::failed("compile and check a plugin")(error);
    let folder = tempfile::tempdir().map_err(failed)?;
    let library = folder.path().join("libnothing.so");
    fs::write(folder.path().join("nothing.c"), SOURCE).map_err(failed)?;
    fs::write(folder.path().join("lanner_plugin.h"), HEADER).map_err(failed)?;
    let compiled = Command::new("cc")
        .args([
            "-O2",
            "-shared",
            "-fPIC",
            "-o",
            "libnothing.so",
            "nothing.c",
        ])
        .current_dir(folder.path())
        .status()
        .map_err(failed)?;
    Error::check("cc, which compiles the plugin,", compiled)?;
    fs::set_permissions(&library, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    let output = Command::new(lanner)
        .args(["plugins", "check", "--cost"])
        .arg(&library)
        .output()
        .map_err(failed)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The number before `ns WHAT`.
fn figure(text: &str, what: &str) -> Option<f64> {
    let before = text.split(&format!(" ns {what}")).next()?;
    if before.len() == text.len() {
        return None;
    }
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn figures_are_read_from_what_lanner_prints() {
        let text = "output: cost of a call ... good: 41.5 ns for a batch of one alert, 20.0 ns an alert in a batch of 256\n";
        assert_eq!(figure(text, "for a batch of one alert"), Some(41.5));
        assert_eq!(figure(text, "an alert in a batch of 256"), Some(20.0));
        assert_eq!(figure(text, "for an event"), None);
    }
}
