//! `lanner drivers`: what each driver can do on this host, its gaps, and what would close them.

use std::fmt::Write as _;
use std::process::ExitCode;

use driver_api::support::{Gap, Support};
use serde_json::json;

use super::{Failure, print};

pub(crate) fn list(as_json: bool) -> Result<ExitCode, Failure> {
    let host = drivers::host::detect();
    let all = drivers::registered();
    if as_json {
        let rows: Vec<_> = all
            .iter()
            .map(|driver| {
                let support = driver.probe(&host);
                let serves = driver.serves();
                json!({
                    "name": driver.name(),
                    "description": driver.description(),
                    "usable": support.usable(),
                    "serves": {"host": serves.host, "command": serves.command, "pids": serves.pids},
                    "gaps": support.gaps().iter().map(gap_json).collect::<Vec<_>>(),
                })
            })
            .collect();
        let document = json!({"kernel": host.release, "machine": host.machine, "drivers": rows});
        return print(format!("{document:#}\n").as_bytes());
    }
    let mut text = format!("kernel {} on {}\n", host.release, host.machine);
    for driver in all {
        let support = driver.probe(&host);
        let serves = driver.serves();
        let targets: Vec<&str> = [
            (serves.host, "the whole host"),
            (serves.command, "a command"),
            (serves.pids, "running processes"),
        ]
        .into_iter()
        .filter_map(|(served, name)| served.then_some(name))
        .collect();
        let verdict = if support.usable() {
            "usable"
        } else {
            "not usable"
        };
        let _ = write!(
            text,
            "\n{}: {verdict}\n  {}\n  captures {}\n",
            driver.name(),
            driver.description(),
            targets.join(", ")
        );
        let heading = match support {
            Support::Usable(_) => "gap",
            Support::Unusable(_) => "missing",
        };
        for gap in support.gaps() {
            let _ = write!(text, "  {heading}: {}\n    why: {}\n", gap.what, gap.why);
            if !gap.remedy.is_empty() {
                let _ = writeln!(text, "    remedy: {}", gap.remedy);
            }
        }
    }
    print(text.as_bytes())
}

fn gap_json(gap: &Gap) -> serde_json::Value {
    json!({"what": gap.what, "why": gap.why, "remedy": gap.remedy})
}
