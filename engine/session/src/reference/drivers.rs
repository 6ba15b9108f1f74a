//! The drivers: what each can do on this host, its gaps, and what would close them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use driver_api::driver::{Driver, Mode};
use driver_api::fix::{FixFor, Way};
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
                let gaps = |gaps: &[Gap]| -> Vec<_> {
                    gaps.iter().map(|gap| gap_json(gap, gaps, host)).collect()
                };
                json!({
                    "name": driver.name(),
                    "description": driver.description(),
                    "usable": support.usable(),
                    "serves": {"host": serves.host, "command": serves.command, "pids": serves.pids},
                    "gaps": gaps(support.gaps()),
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
    let gaps = support.gaps();
    json!({
        "name": mode.name,
        "usable": support.usable(),
        "gaps": gaps.iter().map(|gap| gap_json(gap, gaps, host)).collect::<Vec<_>>(),
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

fn gap_json(gap: &Gap, all: &[Gap], host: &Host) -> serde_json::Value {
    let ways = ways(gap, all, host);
    let ways = ways
        .iter()
        .map(|way| json!({"effect": way.effect, "commands": way.commands}));
    json!({
        "what": gap.what,
        "why": gap.why,
        "remedy": gap.remedy,
        "fix": ways.collect::<Vec<_>>(),
    })
}

/// The ways to close one of the gaps of a driver by commands.
fn ways(gap: &Gap, all: &[Gap], host: &Host) -> Vec<Way> {
    let fixes = all.iter().filter_map(|gap| gap.fixes.first());
    // what the file has already stays; root has everything, whatever the file has
    let own = if host.euid == 0 { 0 } else { host.capabilities };
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("lanner"));
    let of = FixFor {
        program: &program,
        capabilities: fixes.fold(own, |set, fix| set | fix.capabilities()),
    };
    gap.fixes.iter().flat_map(|fix| fix.ways(&of)).collect()
}

/// The commands that close gaps of drivers on this host, or make a driver usable, as text. A gap that no command closes is
/// left out, and what the same commands close comes together.
#[must_use]
pub fn fixes(host: &Host) -> String {
    let mut all: Vec<(Vec<String>, Vec<Way>)> = Vec::new();
    let mut seen = BTreeSet::new();
    for driver in registered() {
        let mut say = |name: &str, driver: &dyn Driver| {
            let support = driver.probe(host);
            let verdict = match support {
                Support::Usable(_) => "gap",
                Support::Unusable(_) => "missing",
            };
            for gap in support.gaps() {
                let ways = ways(gap, support.gaps(), host);
                if ways.is_empty() || !seen.insert((name.to_owned(), gap.what.clone())) {
                    continue;
                }
                let heading = format!("{name}: {verdict}: {}", gap.what);
                match all.iter_mut().find(|(_, known)| *known == ways) {
                    Some((headings, _)) => headings.push(heading),
                    None => all.push((vec![heading], ways)),
                }
            }
        };
        if driver.modes().is_empty() {
            say(driver.name(), driver);
        }
        for mode in driver.modes() {
            say(
                &format!("{}, mode {}", driver.name(), mode.name),
                mode.driver,
            );
        }
    }
    if all.is_empty() {
        return "no command closes a gap on this host (`lanner drivers` shows the gaps)\n"
            .to_owned();
    }
    let mut text = String::new();
    for (headings, ways) in &all {
        append_ways(&mut text, headings, ways);
    }
    text
}

fn append_ways(text: &mut String, headings: &[String], ways: &[Way]) {
    if !text.is_empty() {
        text.push('\n');
    }
    for heading in headings {
        let _ = writeln!(text, "{heading}");
    }
    for (at, way) in ways.iter().enumerate() {
        let or = if at == 0 { "" } else { "or " };
        let _ = writeln!(text, "  {or}{}:", way.effect);
        for command in &way.commands {
            let _ = writeln!(text, "    {command}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host on which a user without any capability may not trace.
    fn poor() -> Host {
        Host {
            release: "6.12.0".to_owned(),
            euid: 1000,
            ptrace_scope: Some(2),
            seccomp: true,
            btf: true,
            ..Host::default()
        }
    }

    #[test]
    fn what_a_command_can_close_has_its_commands() {
        let text = fixes(&poor());
        assert!(text.contains("setcap cap_perfmon,cap_bpf+ep "), "{text}");
        assert!(
            text.contains("sysctl -w kernel.yama.ptrace_scope=1"),
            "{text}"
        );
        // what the same commands close comes together
        let commands: Vec<&str> = text
            .split("\n\n")
            .filter_map(|block| Some(block.split_once("\n  ")?.1.trim_end()))
            .collect();
        let distinct: BTreeSet<&&str> = commands.iter().collect();
        assert_eq!(distinct.len(), commands.len(), "{text}");
        assert!(
            text.contains("lanner.service.d/60-capabilities.conf"),
            "{text}"
        );
        let old = Host {
            release: "5.4.0".to_owned(),
            ..poor()
        };
        assert!(fixes(&old).contains("setcap cap_sys_admin+ep "));
    }

    #[test]
    fn json_has_the_commands_beside_each_gap() {
        let text = drivers(&poor(), &Order::default(), Form::Json);
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let drivers = document["drivers"].as_array().unwrap();
        let gaps = drivers
            .iter()
            .flat_map(|driver| driver["gaps"].as_array().unwrap());
        let gaps: Vec<_> = gaps.collect();
        let loading = gaps
            .iter()
            .find(|gap| gap["what"] == "loading BPF programs")
            .unwrap();
        let command = loading["fix"][0]["commands"][0].as_str().unwrap();
        assert!(command.starts_with("setcap "), "{command}");
        assert!(gaps.iter().all(|gap| gap["fix"].is_array()));
    }
}
