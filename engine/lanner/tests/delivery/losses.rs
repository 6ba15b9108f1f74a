//! What goes wrong at a receiver or on a disk is said by a running lanner: in an alert, in the summary, by the exit status.

use std::fs;

use test_support::peers::Receiver;
use test_support::{skipped, wait_until};

use crate::full::Disk;
use crate::session::{Folder, Lanner, drivers};
use crate::stage::Gate;

/// Waits for an alert that has all of these words, on standard output.
fn alert(lanner: &Lanner, words: &[&str]) {
    wait_until(
        &format!("{words:?}: {:?} {:?}", lanner.out, lanner.err),
        || {
            let out = lanner.out.lock().expect("lines");
            let has_all = |line: &String| words.iter().all(|word| line.contains(word));
            out.iter().any(has_all)
        },
    );
}

#[test]
fn alerts_that_a_receiver_refuses_are_in_an_alert_in_the_summary_and_in_the_exit_status() {
    for driver in drivers() {
        let folder = Folder::new();
        let receiver = Receiver::start("200,400,413,200,422", &[]);
        let config = folder.put(
            "lanner.yaml",
            &format!(
                "rules_files: [{}]\njson_output: true\noutputs:\n\
                 - {{plugin: output-http, name: remote, settings: {{url: \"http://localhost:{}/\"}}}}\n",
                folder.rule("A", "").display(),
                receiver.port,
            ),
        );
        let lanner = folder.lanner(driver, &config, "0.01");
        alert(
            &lanner,
            &[
                "lanner internal: alert loss",
                "\"output\":\"remote\"",
                "\"lost.given-up\":",
            ],
        );
        // The receiver takes all others.
        wait_until("three are refused, and later ones are taken", || {
            receiver.notes().len() > 10
        });
        folder.stop();
        let (_, err, status) = lanner.end_with_status();
        let summary = err.iter().find(|line| line.contains("output remote:"));
        let summary = summary.unwrap_or_else(|| panic!("{err:?}"));
        assert!(summary.contains("3 lost (given-up 3)"), "{summary}");
        assert!(
            err.iter().any(|line| line.contains("answers 400")),
            "{err:?}"
        );
        assert_eq!(status.code(), Some(1), "{driver}: {err:?}");
        let refused = receiver
            .notes()
            .iter()
            .filter(|note| note["status"] != 200)
            .count();
        assert_eq!(refused, 3);
    }
}

/// How many alerts of the rule arrived behind the gate.
fn arrived(gate: &Gate) -> usize {
    let text = fs::read_to_string(gate.0.join("out")).unwrap_or_default();
    text.lines().filter(|line| line.contains(" A ")).count()
}

#[test]
fn a_spool_on_a_full_disk_raises_an_alert_and_loses_nothing() {
    for driver in drivers() {
        let folder = Folder::new();
        let mount = folder.path("disk");
        let Some(disk) = Disk::new(&mount) else {
            skipped("a full disk takes a mount, and so root");
            return;
        };
        let ballast = disk.fill();
        let gate = Gate::new(&folder.path("gate"));
        gate.set("away");
        let config = folder.put(
            "lanner.yaml",
            &format!(
                "rules_files: [{}]\njson_output: true\noutputs:\n\
                 - {{plugin: output-gate, name: far, settings: {{folder: {}}}, retry_max: 100ms, queue: 1000000, \
                 spool: {{path: {}}}}}\n",
                folder.rule("A", "").display(),
                gate.0.display(),
                mount.join("far.redb").display(),
            ),
        );
        let lanner = folder.lanner(driver, &config, "0.01");
        alert(
            &lanner,
            &["lanner internal: output spool", "\"output\":\"far\""],
        );
        let before = lanner.alerts("\"rule\":\"A\"");
        wait_until("the capture goes on", || {
            lanner.alerts("\"rule\":\"A\"") > before + 10
        });
        fs::remove_file(&ballast).expect("it is there");
        gate.unset("away");
        wait_until(&format!("alerts arrive {:?}", lanner.err), || {
            arrived(&gate) > before
        });
        folder.stop();
        let (out, err, status) = lanner.end_with_status();
        assert!(!err.iter().any(|line| line.contains(" lost (")), "{err:?}");
        assert_eq!(status.code(), Some(0), "{driver}: {err:?}");
        let made = out
            .iter()
            .filter(|line| line.contains("\"rule\":\"A\""))
            .count();
        assert!(arrived(&gate) >= made, "{driver}: {made} were made");
    }
}
