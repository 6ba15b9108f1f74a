//! The drivers: what each can do on this host, its gaps, and what would close them.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use driver_api::driver::Mode;
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
        append_gaps(&mut text, heading(&support), support.gaps());
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

/// What a driver's gaps are called.
fn heading(support: &Support) -> &'static str {
    match support {
        Support::Usable(_) => "gap",
        Support::Unusable(_) => "missing",
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
    let ways = ways(gap, wanted(all) | own(host));
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

/// The ways to close a gap by commands. Those that set capabilities of lanner's file give it these.
fn ways(gap: &Gap, capabilities: u64) -> Vec<Way> {
    let of = FixFor {
        program: &program(),
        capabilities,
    };
    gap.fixes.iter().flat_map(|fix| fix.ways(&of)).collect()
}

/// lanner's executable.
fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("lanner"))
}

/// Capabilities that lanner's file has already, and keeps, bit by number. root has everything, whatever the file has.
fn own(host: &Host) -> u64 {
    if host.euid == 0 { 0 } else { host.capabilities }
}

/// Capabilities that close some of these gaps, bit by number.
fn wanted(gaps: &[Gap]) -> u64 {
    let fixes = gaps.iter().filter_map(|gap| gap.fixes.first());
    fixes.fold(0, |set, fix| set | fix.capabilities())
}

/// A driver or one of its modes on this host.
struct Probed {
    /// How messages name it.
    name: String,
    support: Support,
}

impl Probed {
    /// Whether commands can make it work, if it does not work already.
    fn can_work(&self) -> bool {
        match &self.support {
            Support::Usable(_) => true,
            Support::Unusable(gaps) => gaps.iter().all(|gap| !gap.fixes.is_empty()),
        }
    }
}

/// Every driver, or each of its modes if it has some.
fn probed(host: &Host) -> Vec<Probed> {
    let mut all = Vec::new();
    for driver in registered() {
        if driver.modes().is_empty() {
            all.push(Probed {
                name: driver.name().to_owned(),
                support: driver.probe(host),
            });
        }
        all.extend(driver.modes().iter().map(|mode| Probed {
            name: format!("{}, mode {}", driver.name(), mode.name),
            support: mode.driver.probe(host),
        }));
    }
    all
}

/// Gaps that the same commands close.
struct Closed {
    headings: Vec<String>,
    ways: Vec<Way>,
    /// Whether a driver does not work without them.
    missing: bool,
}

/// The commands that make drivers usable on this host, or close their gaps, as a script for a root shell. Where a driver
/// does not work without one, the first of several ways is a command. All else is a remark: it gives lanner more privilege
/// or changes the host for other programs, too. A gap that no command closes is left out. Capabilities without which
/// drivers do not work are given together, because setcap(8) replaces what a file has.
#[must_use]
pub fn fixes(host: &Host) -> String {
    let probed = probed(host);
    let able = probed
        .iter()
        .filter(|one| !one.support.usable() && one.can_work());
    let needed = able.fold(own(host), |set, one| set | wanted(one.support.gaps()));
    let mut all: Vec<Closed> = Vec::new();
    for one in &probed {
        let missing = !one.support.usable();
        let gaps = one.support.gaps();
        let capabilities = if missing && one.can_work() {
            needed
        } else {
            wanted(gaps) | needed
        };
        for gap in gaps {
            let ways = ways(gap, capabilities);
            if ways.is_empty() {
                continue;
            }
            let heading = format!("{}: {}: {}", one.name, heading(&one.support), gap.what);
            match all.iter_mut().find(|known| known.ways == ways) {
                Some(known) => {
                    known.missing |= missing;
                    if !known.headings.contains(&heading) {
                        known.headings.push(heading);
                    }
                }
                None => all.push(Closed {
                    headings: vec![heading],
                    ways,
                    missing,
                }),
            }
        }
    }
    if all.is_empty() {
        return "# no command closes a gap on this host (`lanner drivers` shows the gaps)\n"
            .to_owned();
    }
    let mut text = "# for a root shell\n".to_owned();
    for closed in &all {
        append_closed(&mut text, closed);
    }
    text
}

fn append_closed(text: &mut String, closed: &Closed) {
    text.push('\n');
    for heading in &closed.headings {
        let _ = writeln!(text, "# {heading}");
    }
    for (at, way) in closed.ways.iter().enumerate() {
        let or = if at == 0 { "" } else { "or " };
        let is_command = at == 0 && closed.missing;
        let remark = if is_command { "" } else { "#   " };
        let _ = writeln!(text, "# {or}{}:", way.effect);
        for command in &way.commands {
            let _ = writeln!(text, "{remark}{command}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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

    /// The commands of a text that is pasted into a shell.
    fn to_paste(text: &str) -> impl Iterator<Item = &str> {
        text.lines().filter(|line| !line.starts_with('#'))
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
        let blocks = text.split("\n\n").skip(1);
        let commands: Vec<&str> = blocks
            .filter_map(|block| Some(block.split_once(":\n")?.1))
            .collect();
        let distinct: BTreeSet<&&str> = commands.iter().collect();
        assert_eq!(distinct.len(), commands.len(), "{text}");
        // a second setcap would take away what the first has given
        let given = to_paste(&text).filter(|line| line.starts_with("setcap "));
        assert_eq!(given.count(), 1, "{text}");
        // a choice that other programs feel is not made for the user
        assert!(text.contains("kernel.io_uring_disabled=2"), "{text}");
        assert!(!to_paste(&text).any(|line| line.contains("io_uring")));
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
