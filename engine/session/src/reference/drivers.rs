//! The drivers: what each can do on this host, its gaps, and what would close them.

use std::ffi::OsString;
use std::fmt::Write as _;

use driver_api::driver::Mode;
use driver_api::host::Host;
use driver_api::request::{Command, Target};
use driver_api::support::{Gap, Support};
use drivers::{Order, registered};
use serde_json::json;

use super::Form;

/// What each driver can do on this host, as text or JSON; a page of documentation is the text.
#[must_use]
pub fn drivers(host: &Host, order: &Order, form: Form) -> String {
    let all = registered();
    if form == Form::Json {
        let rows: Vec<_> = all
            .iter()
            .map(|driver| {
                let support = driver.probe(host);
                let serves = driver.serves();
                json!({
                    "name": driver.name(),
                    "description": driver.description(),
                    "usable": support.usable(),
                    "serves": {"host": serves.host, "command": serves.command, "pids": serves.pids},
                    "gaps": support.gaps().iter().map(gap_json).collect::<Vec<_>>(),
                    "modes": driver.modes().iter().map(|mode| mode_json(mode, host)).collect::<Vec<_>>(),
                })
            })
            .collect();
        let document = json!({
            "kernel": host.release,
            "machine": host.machine,
            "drivers": rows,
            "choice": choices(order, host),
        });
        return format!("{document:#}\n");
    }
    let mut text = format!("kernel {} on {}\n", host.release, host.machine);
    for driver in all {
        let support = driver.probe(host);
        let serves = driver.serves();
        let targets: Vec<&str> = [
            (serves.host, "the whole host"),
            (serves.command, "a command"),
            (serves.pids, "running processes"),
        ]
        .into_iter()
        .filter_map(|(served, name)| served.then_some(name))
        .collect();
        let verdict = verdict_on(&support);
        let _ = write!(
            text,
            "\n{}: {verdict}\n  {}\n  captures {}\n",
            driver.name(),
            driver.description(),
            targets.join(", ")
        );
        for mode in driver.modes() {
            let support = mode.driver.probe(host);
            let _ = writeln!(text, "  mode {}: {}", mode.name, verdict_on(&support));
            if !support.usable() {
                append_gaps(&mut text, "  missing", support.gaps());
            }
        }
        let heading = match support {
            Support::Usable(_) => "gap",
            Support::Unusable(_) => "missing",
        };
        append_gaps(&mut text, heading, support.gaps());
    }
    text.push('\n');
    for (name, target) in targets() {
        let choice = order.choice(host, &target);
        let taken = choice.driver.map_or("nothing", |driver| driver.name());
        let _ = writeln!(text, "--driver auto takes for {name}: {taken}");
        for passed in choice.passed_over {
            let _ = writeln!(text, "  not {}: {}", passed.driver, passed.reason());
        }
    }
    text
}

fn verdict_on(support: &Support) -> &'static str {
    if support.usable() {
        "usable"
    } else {
        "not usable"
    }
}

fn append_gaps(text: &mut String, heading: &str, gaps: &[Gap]) {
    for gap in gaps {
        let _ = write!(text, "  {heading}: {}\n    why: {}\n", gap.what, gap.why);
        if !gap.remedy.is_empty() {
            let _ = writeln!(text, "    remedy: {}", gap.remedy);
        }
    }
}

fn mode_json(mode: &Mode, host: &Host) -> serde_json::Value {
    let support = mode.driver.probe(host);
    json!({
        "name": mode.name,
        "usable": support.usable(),
        "gaps": support.gaps().iter().map(gap_json).collect::<Vec<_>>(),
    })
}

/// The targets that a driver can be asked for, in words.
fn targets() -> [(&'static str, Target); 3] {
    let command = Command {
        program: OsString::new(),
        args: Vec::new(),
    };
    [
        ("the whole host", Target::Host),
        ("a command", Target::Command(command)),
        ("running processes", Target::Pids(Vec::new())),
    ]
}

/// Which driver `--driver auto` would take for each target, and why not a preferred one.
fn choices(order: &Order, host: &Host) -> serde_json::Value {
    let names = ["host", "command", "pids"];
    let choices = names.iter().zip(targets()).map(|(name, (_, target))| {
        let choice = order.choice(host, &target);
        let passed_over: Vec<_> = choice
            .passed_over
            .iter()
            .map(|passed| json!({"driver": passed.driver, "why": passed.reason()}))
            .collect();
        let taken = choice.driver.map(|driver| driver.name());
        (
            (*name).to_owned(),
            json!({"driver": taken, "passed_over": passed_over}),
        )
    });
    serde_json::Value::Object(choices.collect())
}

fn gap_json(gap: &Gap) -> serde_json::Value {
    json!({"what": gap.what, "why": gap.why, "remedy": gap.remedy})
}
