//! `lanner drivers`: what each driver can do on this host, its gaps, and what would close them.

use std::fmt::Write as _;
use std::process::ExitCode;

use driver_api::driver::Mode;
use driver_api::host::Host;
use driver_api::support::{Gap, Support};
use serde_json::json;

use super::{Failure, print};

pub(crate) fn list(as_json: bool) -> Result<ExitCode, Failure> {
    let host = drivers::host::try_out(&drivers::host::detect());
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
                    "modes": driver.modes().iter().map(|mode| mode_json(mode, &host)).collect::<Vec<_>>(),
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
        let verdict = verdict_on(&support);
        let _ = write!(
            text,
            "\n{}: {verdict}\n  {}\n  captures {}\n",
            driver.name(),
            driver.description(),
            targets.join(", ")
        );
        for mode in driver.modes() {
            let support = mode.driver.probe(&host);
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
    print(text.as_bytes())
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

fn gap_json(gap: &Gap) -> serde_json::Value {
    json!({"what": gap.what, "why": gap.why, "remedy": gap.remedy})
}
