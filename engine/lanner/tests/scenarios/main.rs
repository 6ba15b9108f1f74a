//! What must not go unseen, and what must: real programs and containers under the real binary, on each driver,
//! with our default rules and with those of Falco, where these are at hand.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set its stage has failed, and says what it skips"
)]

mod list;
mod ordinary;
mod stage;

use std::fmt::Write;

use list::{Environment, SCENARIOS, Scenario};
use stage::{Alert, Stage, podman, rules, usable};
use test_support::{is_root, skipped};

/// All scenarios in one script, each behind a marker.
fn script(stage: &mut Stage) -> (String, Vec<&'static Scenario>) {
    let mut script = String::new();
    let mut played = Vec::new();
    let folder = stage.folder().to_owned();
    for scenario in SCENARIOS {
        let run = match scenario.place {
            Environment::Host => {
                let own = folder.join(scenario.name);
                format!(
                    "mkdir {own}; (D={own} A={actor}; {what}) >/dev/null",
                    own = own.display(),
                    actor = stage.actor().display(),
                    what = scenario.script
                )
            }
            Environment::Container(options) => match stage.image() {
                Some(image) => podman(&image, options, scenario.script) + " >/dev/null",
                None => continue,
            },
        };
        // the folders of one run are not there in the next
        let marker = folder.join(format!("mark-{}", scenario.name));
        let _ = writeln!(script, ": > {}", marker.display());
        let _ = writeln!(script, "{run}");
        played.push(scenario);
    }
    let _ = writeln!(script, ": > {}", folder.join("mark-end").display());
    (script, played)
}

/// The alerts between a scenario's marker and the next.
fn of<'a>(alerts: &'a [Alert], scenario: &Scenario) -> &'a [Alert] {
    let marker = |alert: &Alert| alert.rule == "marker";
    let suffix = format!("mark-{}", scenario.name);
    let Some(begin) = alerts
        .iter()
        .position(|alert| marker(alert) && alert.output.ends_with(&suffix))
    else {
        return &[];
    };
    let rest = &alerts[begin + 1..];
    &rest[..rest.iter().position(marker).unwrap_or(rest.len())]
}

fn play(driver: &str) {
    if !is_root() {
        skipped("the scenarios: most need root");
        return;
    }
    if !usable(driver) {
        return;
    }
    let rules = rules();
    let mut stage = Stage::new();
    let (script, played) = script(&mut stage);
    let alerts = stage.watch(driver, &rules, &script);
    let mut missed = Vec::new();
    for scenario in played {
        let alerts = of(&alerts, scenario);
        let raised = |rule: &str| alerts.iter().find(|alert| alert.rule == rule);
        for rules in &rules {
            let (rule, priority) = match rules.name {
                "falco" => (scenario.falco.0, Some(scenario.falco.1)),
                _ => (scenario.ours, None),
            };
            match (raised(rule), priority) {
                (None, _) => missed.push(format!(
                    "{}: {rule}; instead: {:?}",
                    scenario.name,
                    alerts.iter().map(|alert| &alert.rule).collect::<Vec<_>>()
                )),
                (Some(alert), Some(priority)) => assert_eq!(alert.priority, priority, "{rule}"),
                _ => {}
            }
        }
    }
    assert!(missed.is_empty(), "{driver} missed:\n{}", missed.join("\n"));
}

#[test]
fn core_sees_every_scenario() {
    play("ebpf-core");
}

#[test]
fn legacy_sees_every_scenario() {
    play("ebpf-legacy");
}

#[test]
fn ptrace_sees_every_scenario() {
    play("ptrace");
}
