//! Rules and configuration change while events flow: each event is judged once, by the old or the new.

use std::fs;

use nix::sys::signal::Signal;
use test_support::wait_until;

use crate::session::{Folder, Lanner, MAKER, drivers, get};
use crate::stage::Gate;

#[test]
fn no_event_is_lost_or_judged_twice_while_rules_are_swapped() {
    for driver in drivers() {
        let folder = Folder::new();
        let rules = folder.rule("A", "");
        let (watched, stop) = (folder.path("watched"), folder.path("stop"));
        let lanner = Lanner::of_maker(
            driver,
            &[
                "-r",
                rules.to_str().expect("a text"),
                "-o",
                "outputs_queue.capacity=1000000",
            ],
            (&watched, &stop),
            "0.0003",
        );
        wait_until("the first alerts come", || lanner.alerts("Notice A") > 10);
        for swap in 1..=8 {
            // another call is wanted by every second one, so that the selection changes as well
            let (name, more) = if swap % 2 == 1 {
                ("B", ", mkdir")
            } else {
                ("A", "")
            };
            folder.rule(name, more);
            wait_until(&format!("{driver}: swap {swap}: {:?}", lanner.err), || {
                lanner.said("are reloaded") == swap
            });
        }
        fs::write(&stop, "").expect("a file");
        let (out, err) = lanner.end();
        assert!(
            !err.iter().any(|line| line.contains("lost")),
            "{driver}: {err:?}"
        );
        let made = out
            .iter()
            .find_map(|line| line.strip_prefix("made "))
            .and_then(|number| number.parse::<usize>().ok())
            .unwrap_or_else(|| {
                panic!(
                    "{driver}: {:?} {err:?}",
                    out.iter().rev().take(9).collect::<Vec<_>>()
                )
            });
        let judged: Vec<(char, usize)> = out
            .iter()
            .filter_map(|line| {
                let (_, rest) = line.split_once(": Notice ")?;
                let (name, file) = rest.split_once(' ')?;
                Some((name.chars().next()?, file.rsplit('/').next()?.parse().ok()?))
            })
            .collect();
        let numbers = judged.iter().map(|(_, number)| *number);
        assert!(
            numbers.clone().eq(0..made),
            "{driver}: {made} made, {} judged, first odd one {:?}",
            judged.len(),
            numbers.enumerate().find(|(at, number)| at != number)
        );
        let seams = judged
            .windows(2)
            .filter(|pair| pair[0].0 != pair[1].0)
            .count();
        assert!(seams <= 8, "{driver}: {seams} changes of 8");
        assert!(seams >= 1, "{driver}: the rules never changed");
    }
}

#[test]
fn a_bad_change_is_an_alert_and_the_old_rules_run_on() {
    let folder = Folder::new();
    let rules = folder.rule("A", "");
    let config = folder.put(
        "lanner.yaml",
        &format!("rules_files: [{}]\n", rules.display()),
    );
    let lanner = folder.lanner("ptrace", &config, "0.001");
    wait_until("the first alerts come", || lanner.alerts("Notice A") > 0);
    for (file, text, part) in [
        (
            "rules.yaml",
            "- rule: A\n  condition: nonsense.field = 1\n",
            "rules.yaml",
        ),
        ("rules.yaml", "- rule: [\n", "rules.yaml"),
    ] {
        let before = lanner.alerts("hot restart failure");
        folder.put(file, text);
        wait_until(&format!("it is an alert: {:?}", lanner.err), || {
            lanner.alerts("Critical Falco internal: hot restart failure: ") > before
        });
        assert!(lanner.alerts(part) > 0);
        let judged = lanner.alerts("Notice A");
        wait_until("the old ones run on", || {
            lanner.alerts("Notice A") > judged + 20
        });
    }
    folder.rule("B", "");
    wait_until("a good one follows", || lanner.alerts("Notice B") > 0);
    folder.put("lanner.yaml", "no_such_key: 1\n");
    wait_until("so is a bad configuration", || {
        lanner.alerts("there is no key `no_such_key`") > 0
    });
    folder.stop();
    let (_, err) = lanner.end();
    assert!(
        err.iter().any(|line| line.contains("are reloaded")),
        "{err:?}"
    );
}

#[test]
fn signals_reload_and_reopen() {
    let folder = Folder::new();
    let gate = Gate::new(&folder.path("gate"));
    let rules = folder.rule("A", "");
    let (watched, stop, socket) = (
        folder.path("watched"),
        folder.path("stop"),
        folder.path("web"),
    );
    let config = folder.put(
        "lanner.yaml",
        &format!(
            "rules_files: [{}]\nwatch_config_files: false\nwebserver: {{enabled: true, unix_socket: {}}}\n\
             outputs:\n- plugin: output-gate\n  settings: {{folder: {}}}\n",
            rules.display(),
            socket.display(),
            gate.0.display()
        ),
    );
    let mut maker = std::process::Command::new("python3")
        .args(["-c", MAKER])
        .args([&watched, &stop])
        .arg("0.002")
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("python3");
    let lanner = Lanner::start(&[
        "--driver",
        "ptrace",
        "-p",
        &maker.id().to_string(),
        "-c",
        config.to_str().expect("a text"),
    ]);
    wait_until(&format!("the first alerts come {:?}", lanner.err), || {
        lanner.alerts("Notice A") > 0
    });
    lanner.signal(Signal::SIGUSR1);
    wait_until("the plugin is notified", || {
        gate.0.join("reopened").exists()
    });
    folder.rule("B", "");
    lanner.signal(Signal::SIGHUP);
    wait_until("the new rule works", || lanner.alerts("Notice B") > 0);
    let page = get(&socket, "/metrics").expect("it answers").1;
    assert!(
        page.contains("lanner_reloads_total{outcome=\"ok\"} 1\n"),
        "{page}"
    );
    lanner.signal(Signal::SIGTERM);
    let (_, err) = lanner.end();
    assert!(!err.iter().any(|line| line.contains("lost")), "{err:?}");
    fs::write(&stop, "").expect("a file");
    maker.wait().expect("it ends");
}

#[test]
fn a_rule_file_that_a_reload_finds_empty_is_an_alert() {
    let list = "- list: names\n  items: [a]\n";
    for text in [" \n", "# nothing\n", "[]\n", list] {
        let folder = Folder::new();
        let rules = folder.rule("A", "");
        let (watched, stop) = (folder.path("watched"), folder.path("stop"));
        let options = ["-r", rules.to_str().expect("a text")];
        let lanner = Lanner::of_maker("ptrace", &options, (&watched, &stop), "0.01");
        wait_until("the first alerts come", || lanner.alerts("Notice A") > 0);
        folder.put("rules.yaml", text);
        wait_until(&format!("an alert comes: {:?}", lanner.err), || {
            lanner.alerts("Critical lanner internal: empty rule file. ") > 0
        });
        assert!(lanner.said("rules.yaml is empty") > 0);
        fs::write(&stop, "").expect("a file");
        lanner.end();
    }
}

#[test]
fn a_rule_file_that_a_reload_finds_without_rules_is_an_alert_though_others_have_some() {
    let folder = Folder::new();
    let rules = folder.rule("A", "");
    let text = fs::read_to_string(&rules).expect("a text");
    let others = folder.put("others.yaml", &text.replace("rule: A", "rule: B"));
    let macros = folder.put("macros.yaml", "- list: names\n  items: [a]\n");
    let (watched, stop) = (folder.path("watched"), folder.path("stop"));
    let named = [&macros, &rules, &others].map(|file| file.to_str().expect("a text"));
    let options = ["-r", named[0], "-r", named[1], "-r", named[2]];
    let lanner = Lanner::of_maker("ptrace", &options, (&watched, &stop), "0.01");
    wait_until("the first alerts come", || lanner.alerts("Notice A") > 0);
    folder.put("others.yaml", "- list: others\n  items: [a]\n");
    wait_until(&format!("an alert comes: {:?}", lanner.err), || {
        lanner.alerts("others.yaml has no rules since the last reload") > 0
    });
    assert!(lanner.said("others.yaml has no rules any more") > 0);
    assert_eq!(lanner.alerts("macros.yaml has no rules"), 0);
    assert_eq!(lanner.alerts("/rules.yaml has no rules"), 0);
    let before = lanner.alerts("Notice A");
    wait_until("the other rule works on", || {
        lanner.alerts("Notice A") > before
    });
    fs::write(&stop, "").expect("a file");
    lanner.end();
}

#[test]
fn a_configuration_that_a_reload_finds_empty_is_refused() {
    let folder = Folder::new();
    let rules = folder.rule("A", "");
    let config = folder.put(
        "lanner.yaml",
        &format!("rules_files: [{}]\n", rules.display()),
    );
    let (watched, stop) = (folder.path("watched"), folder.path("stop"));
    let options = ["-c", config.to_str().expect("a text")];
    let lanner = Lanner::of_maker("ptrace", &options, (&watched, &stop), "0.01");
    wait_until("the first alerts come", || lanner.alerts("Notice A") > 0);
    for (round, text) in ["", "# nothing\n", "{}\n"].iter().enumerate() {
        folder.put("lanner.yaml", text);
        wait_until(&format!("an alert comes: {:?}", lanner.err), || {
            lanner.alerts("lanner.yaml is empty since the last reload") > round
        });
    }
    let before = lanner.alerts("Notice A");
    wait_until("the rule works on", || lanner.alerts("Notice A") > before);
    fs::write(&stop, "").expect("a file");
    lanner.end();
}
