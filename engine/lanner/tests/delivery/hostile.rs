//! Plugins that panic, hang and lie, in a session: each is reported by its name, and everything else goes on.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use test_support::wait_until;

use crate::session::{BIN, Folder, Lanner, get};
use crate::stage::{Gate, compile};

/// A session with rules of its own and a plugin of each kind that can be told to misbehave.
struct Stage {
    folder: Folder,
    /// The folder of the output plugin; that of the rule plugin is the whole one.
    output: Gate,
    web: PathBuf,
    lanner: Lanner,
}

impl Stage {
    fn start() -> Self {
        let folder = Folder::new();
        let output = Gate::new(&folder.path("gate"));
        let web = folder.path("web");
        let rules = folder.rule("Ours", "");
        let config = folder.put(
            "lanner.yaml",
            &format!(
                "rules_files: [{}]\nwebserver: {{enabled: true, unix_socket: {}}}\nplugin_deadline: 10s\n\
                 syscall_event_drops: {{rate: 1}}\n\
                 rule_plugins:\n- {{plugin: rules-gate, settings: {{folder: {}}}, queue: 100, deadline: 4s}}\n\
                 outputs:\n- {{plugin: output-gate, name: theirs, settings: {{folder: {}}}, deadline: 4s}}\n",
                rules.display(),
                web.display(),
                folder.path("").display().to_string().trim_end_matches('/'),
                output.0.display(),
            ),
        );
        let lanner = folder.lanner("ptrace", &config, "0.002");
        let stage = Self {
            folder,
            output,
            web,
            lanner,
        };
        stage.both_go_on();
        stage
    }

    fn ours(&self) -> usize {
        self.lanner.alerts("Notice Ours ")
    }

    fn theirs(&self) -> usize {
        self.lanner.alerts("Notice Theirs ")
    }

    fn metric(&self, line: &str) -> bool {
        get(&self.web, "/metrics").is_some_and(|(_, page)| page.contains(line))
    }

    /// What comes with lanner does.
    fn we_go_on(&self) {
        let before = self.ours();
        wait_until(
            &format!("the capture goes on {:?}", self.lanner.err),
            || self.ours() > before + 20,
        );
        let health = get(&self.web, "/healthz").expect("it answers").0;
        assert!(health.contains("200"), "{health}");
    }

    fn both_go_on(&self) {
        let before = self.theirs();
        wait_until(&format!("theirs go on {:?}", self.lanner.err), || {
            self.theirs() > before + 20
        });
        self.we_go_on();
    }

    fn set(&self, word: &str) {
        fs::write(self.folder.path(word), "").expect("a file");
    }

    fn unset(&self, word: &str) {
        fs::remove_file(self.folder.path(word)).expect("the file is there");
    }

    fn told(&self, alert: &str) {
        wait_until(&format!("{alert}: {:?}", self.lanner.err), || {
            self.lanner.alerts(alert) > 0
        });
    }

    fn end(self) -> (Vec<String>, Vec<String>) {
        self.folder.stop();
        self.lanner.end()
    }
}

#[test]
fn a_rule_plugin_that_hangs_costs_its_own_events_alone() {
    let stage = Stage::start();
    stage.set("hangs");
    stage.told(
        "Critical lanner internal: rule plugin timeout. Rule plugin rules-gate does not return",
    );
    stage.told(
        "Critical lanner internal: rule plugin event loss. Rule plugin rules-gate did not see ",
    );
    assert!(stage.metric("lanner_rule_plugin_hanging{plugin=\"rules-gate\"} 1\n"));
    stage.we_go_on();
    stage.unset("hangs");
    stage.both_go_on();
    wait_until("it answers again", || {
        stage.metric("lanner_rule_plugin_hanging{plugin=\"rules-gate\"} 0\n")
    });
    assert!(stage.metric("lanner_rule_plugin_timeouts_total{plugin=\"rules-gate\"} 1\n"));
    // what it cannot see at the end is counted, and nothing waits for it
    stage.set("hangs");
    wait_until("it hangs again", || {
        stage.metric("lanner_rule_plugin_hanging{plugin=\"rules-gate\"} 1\n")
    });
    let (out, err) = stage.end();
    let said = |word: &str| err.iter().any(|line| line.contains(word));
    assert!(
        said("rule plugin rules-gate: ") && said("`rules-gate` does not return"),
        "{err:?}"
    );
    // each of our events was judged
    let made = out.iter().find_map(|line| line.strip_prefix("made "));
    let ours = out
        .iter()
        .filter(|line| line.contains("Notice Ours "))
        .count();
    assert_eq!(made.and_then(|made| made.parse().ok()), Some(ours));
}

#[test]
fn a_rule_plugin_that_lies_is_counted_and_one_that_panics_is_switched_off() {
    let stage = Stage::start();
    stage.set("lies");
    wait_until("its faults are counted", || {
        stage.metric("lanner_plugin_faults_total{plugin=\"rules-gate\"} ")
    });
    stage.we_go_on();
    stage.unset("lies");
    stage.both_go_on();
    stage.set("panics");
    stage.told("Critical lanner internal: rule plugin off. Rule plugin rules-gate is switched off");
    assert!(stage.metric("lanner_rule_plugin_off{plugin=\"rules-gate\"} 1\n"));
    stage.we_go_on();
    // a reload begins anew
    stage.unset("panics");
    stage.folder.rule("Ours", ", mkdir");
    stage.both_go_on();
    assert!(stage.metric("lanner_rule_plugin_off{plugin=\"rules-gate\"} 0\n"));
    // one that cannot be opened changes nothing
    stage.set("open-hangs");
    stage.folder.rule("Other", "");
    stage.told("hot restart failure: plugin `rules-gate` hangs: it was asked to load rules");
    stage.unset("open-hangs");
    stage.both_go_on();
    stage.end();
}

#[test]
fn an_output_plugin_that_hangs_lies_and_panics_costs_its_own_alerts_alone() {
    let stage = Stage::start();
    let theirs = || fs::read_to_string(stage.output.0.join("out")).unwrap_or_default();
    for call in ["hangs", "flush-hangs"] {
        let before = stage.lanner.alerts("output timeout. Output theirs");
        stage.output.set(call);
        wait_until(
            &format!("{call} is reported: {:?}", stage.lanner.err),
            || stage.lanner.alerts("output timeout. Output theirs") > before,
        );
        stage.we_go_on();
        stage.output.unset(call);
        let written = theirs().len();
        wait_until("it goes on", || theirs().len() > written);
    }
    stage.output.set("lies");
    wait_until("its faults are counted", || {
        stage.metric("lanner_plugin_faults_total{plugin=\"output-gate\"} ")
    });
    stage.we_go_on();
    stage.output.unset("lies");
    let written = theirs().len();
    wait_until("it goes on", || theirs().len() > written);
    stage.output.set("panics");
    stage.told("lanner internal: alert loss. Output theirs lost ");
    wait_until("it is switched off", || {
        stage.lanner.said("panicked and is switched off") > 0
    });
    stage.both_go_on();
    stage.end();
}

#[test]
fn a_plugin_that_does_not_open_or_is_of_another_version_is_named_and_nothing_is_started() {
    let folder = Folder::new();
    let gate = Gate::new(&folder.path("gate"));
    gate.set("open-hangs");
    let wrong = folder.path("plugins");
    fs::create_dir(&wrong).expect("a folder");
    compile(
        "gate.c",
        &wrong.join("liboutput_wrong.so"),
        &["-DGATE_MAJOR=2"],
    );
    let gates = crate::stage::library().parent().expect("a folder");
    let rules = folder.rule("A", "");
    for (plugins, expected) in [
        (
            gates,
            "plugin `output-gate` hangs: it was asked to open, and has not returned for 10s",
        ),
        (
            wrong.as_path(),
            "liboutput_wrong.so was built for plugin ABI 2, and this lanner has 1",
        ),
    ] {
        let output = Command::new(BIN)
            .args([
                "run",
                "--driver",
                "ptrace",
                "-o",
                "plugin_deadline=10s",
                "-r",
            ])
            .arg(&rules)
            .args([
                "-o",
                &format!(
                    "outputs=[{{plugin: output-gate, settings: {{folder: {}}}}}]",
                    gate.0.display()
                ),
            ])
            .arg("--plugin-dir")
            .arg(std::path::Path::new(BIN).parent().expect("a folder"))
            .arg("--plugin-dir")
            .arg(plugins)
            .args(["--", "true"])
            .output()
            .expect("lanner starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}
