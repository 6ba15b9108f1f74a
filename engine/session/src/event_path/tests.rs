//! The event path, reloads and overload, tested through the library's API: a scripted capture instead of a driver, the
//! Falco rules, and an output in C that writes alerts to a file. Needs `cc` and cargo, but neither root nor the command.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use driver_api::driver::{Capture, CaptureError, Flow, Polled};
use driver_api::event::Event;
use driver_api::predicate::Shown;
use driver_api::request::Omit;
use driver_api::scripted::Scripted;
use driver_api::selection::Selection;
use driver_api::stats::Stats;
use driver_api::table;
use inspect::testing::Ev;
use test_support::{plugins, wait_until};

use crate::telemetry::losses::RELOAD_FAILED;
use crate::{
    Control, DriverFacts, EventSource, LoadConfig, Notice, Observer, OpenedSource, Scan, Session,
    SourceError, Summary,
};

#[path = "../selection_tests.rs"]
mod selection;

/// No process has this id: the kernel's limit is 4,194,304 (proc_sys_kernel(5), `pid_max`).
const PID: u32 = 5_000_000;

/// How long a poll waits for an event.
const PAUSE: Duration = Duration::from_millis(5);

const MADE: &str = "
- rule: Made
  desc: a directory was made
  condition: evt.type = mkdir
  output: a directory was made
  priority: WARNING
";

const REMOVED: &str = "
- rule: Removed
  desc: a directory was removed
  condition: evt.type = rmdir
  output: a directory was removed
  priority: WARNING
";

/// An output in C. `FILE_NAME`: where it writes the rules' names; `GATE`: a file that it waits for.
const OUTPUT: &str = r#"
#include <stdio.h>
#include <unistd.h>
#include "lanner_plugin.h"
#define STR(s) { (const uint8_t *)(s), sizeof(s) - 1 }
static int state_of_all;
static LannerStatus open_output(const LannerHost *host, LannerStr settings, void **state,
                                const LannerText *error) {
    *state = &state_of_all;
    return LANNER_OK;
}
static LannerStatus emit(void *state, const LannerBatch *batch, size_t *delivered,
                         const LannerText *error) {
    while (access(GATE, F_OK) != 0) usleep(1000);
    FILE *file = fopen(FILE_NAME, "a");
    if (!file) return LANNER_GIVE_UP;
    for (size_t i = 0; i < batch->count; i++) {
        LannerStr rule = batch->alerts[i]->rule;
        fprintf(file, "%.*s\n", (int)rule.len, (const char *)rule.ptr);
    }
    fclose(file);
    return LANNER_OK;
}
static LannerStatus nothing(void *state, const LannerText *error) { return LANNER_OK; }
static void close_state(void *state) {}
static const LannerOutputPlugin output = { sizeof output, open_output, emit, nothing, nothing,
                                           close_state };
static const LannerPlugin plugin = { LANNER_ABI_MAJOR, LANNER_ABI_MINOR, sizeof plugin, STR("sink"),
                                     STR("1"), STR("Writes names of rules."), 0, &output };
const LannerPlugin *lanner_plugin(void) { return &plugin; }
"#;

/// Builds the rule plugin, and returns the directory of plugins.
fn first_party() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| plugins::first_party(&["rules-falco"]))
}

/// What a test and the capture of its session share.
#[derive(Debug, Default)]
struct Seen {
    /// Events that the session took.
    events: AtomicUsize,
    /// What the session asked to capture last.
    selection: Mutex<Selection>,
    /// The capture refuses other selections.
    fixed: AtomicBool,
}

/// A capture that goes on until the test drops the sender. Each poll delivers at most one event.
#[derive(Debug)]
struct Fed {
    events: Receiver<Vec<u8>>,
    stats: Stats,
    seen: Arc<Seen>,
}

impl Capture for Fed {
    fn poll(
        &mut self,
        wait: Duration,
        sink: &mut dyn FnMut(Event<'_>) -> Flow,
    ) -> Result<Polled, CaptureError> {
        let event = match self.events.recv_timeout(wait.min(PAUSE)) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => return Ok(Polled::Events(0)),
            Err(RecvTimeoutError::Disconnected) => return Ok(Polled::Ended(None)),
        };
        let mut scripted = Scripted::new([event], None);
        let polled = scripted.poll(wait, sink)?;
        self.stats.captured += scripted.stats().captured;
        self.seen.events.fetch_add(1, Relaxed);
        Ok(polled)
    }

    fn select(&mut self, selection: &Selection) -> Result<(), CaptureError> {
        if self.seen.fixed.load(Relaxed) {
            return Err(CaptureError::failed("fed", "select other calls")(
                "the test forbids it",
            ));
        }
        *self.seen.selection.lock().unwrap() = selection.clone();
        Ok(())
    }

    fn stats(&self) -> Stats {
        self.stats
    }
}

/// Gives a session its capture.
struct OneCapture(Mutex<Option<Fed>>);

impl EventSource for OneCapture {
    fn open(&self, selection: &Selection, _: Omit) -> Result<OpenedSource, SourceError> {
        let capture = self.0.lock().unwrap().take().unwrap();
        *capture.seen.selection.lock().unwrap() = selection.clone();
        Ok(OpenedSource {
            capture: Box::new(capture),
            driver: DriverFacts::default(),
            gaps: Vec::new(),
            times: selection.times(),
            whole_host: false,
            scan: Scan::Children,
            recorded: None,
            duration: None,
            unseen: 0,
        })
    }
}

#[derive(Debug)]
struct Silent;

impl Observer for Silent {
    fn notice(&self, _: &Notice<'_>) {}
}

/// A session that runs on a thread of its own.
struct Running {
    folder: tempfile::TempDir,
    control: Arc<Control>,
    events: Sender<Vec<u8>>,
    seen: Arc<Seen>,
    thread: JoinHandle<Summary>,
}

impl Running {
    /// `more`: what the configuration says besides. `before`: called before the session runs.
    fn start(rules: &str, more: &str, before: impl FnOnce(&Control, &Sender<Vec<u8>>)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        compile_output(folder.path());
        fs::write(at("rules.yaml"), rules).unwrap();
        let config = format!(
            "rules_files: [{}]\nwatch_config_files: false\nstdout_output: {{enabled: false}}\n\
             outputs: [{{plugin: sink}}]\n{more}",
            at("rules.yaml").display()
        );
        fs::write(at("lanner.yaml"), config).unwrap();
        let load = LoadConfig {
            config: Some(at("lanner.yaml")),
            plugin_dirs: vec![folder.path().to_owned(), first_party().to_owned()],
            ..LoadConfig::default()
        };
        let control = Arc::new(Control::new(Box::new(Silent)));
        let (events, fed) = channel();
        let seen = Arc::new(Seen::default());
        before(&control, &events);
        let source = OneCapture(Mutex::new(Some(Fed {
            events: fed,
            stats: Stats::default(),
            seen: Arc::clone(&seen),
        })));
        let asked = Arc::clone(&control);
        let thread = std::thread::spawn(move || {
            let opened = Session::new(load).unwrap().open(&source).unwrap();
            opened.run(&asked).unwrap()
        });
        Self {
            folder,
            control,
            events,
            seen,
            thread,
        }
    }

    fn open_gate(&self) {
        fs::write(self.folder.path().join("gate"), "").unwrap();
    }

    fn send(&self, call: &str) {
        self.events.send(event(call)).unwrap();
    }

    fn replace_rules(&self, rules: &str) {
        fs::write(self.folder.path().join("rules.yaml"), rules).unwrap();
        self.control.reload();
    }

    fn selects(&self, call: &str) -> bool {
        let selection = self.seen.selection.lock().unwrap();
        selection.contains(table::by_name(call).unwrap())
    }

    /// How many alerts of this rule were delivered.
    fn delivered(&self, rule: &str) -> usize {
        delivered(self.folder.path(), rule)
    }

    fn wait_for(&self, rule: &str, count: usize) {
        wait_until(rule, || self.delivered(rule) >= count);
    }

    /// Asks for the end; returns the summary and the folder, with the alerts.
    fn end(self) -> (Summary, tempfile::TempDir) {
        self.control.end();
        (self.thread.join().unwrap(), self.folder)
    }
}

fn delivered(folder: &Path, rule: &str) -> usize {
    let text = fs::read_to_string(folder.join("alerts")).unwrap_or_default();
    text.lines().filter(|line| *line == rule).count()
}

fn event(call: &str) -> Vec<u8> {
    Ev::call(PID, call, &[], 0).bytes()
}

fn compile_output(folder: &Path) {
    let source = folder.join("sink.c");
    fs::write(&source, OUTPUT).unwrap();
    let library = folder.join("libsink.so");
    let define = |name: &str, file: &str| format!("-D{name}=\"{}\"", folder.join(file).display());
    let options = [define("FILE_NAME", "alerts"), define("GATE", "gate")];
    plugins::compile(&source, &library, &options);
}

#[test]
fn a_match_becomes_a_delivered_alert() {
    let running = Running::start(MADE, "", |_, _| {});
    running.open_gate();
    running.send("rmdir");
    running.send("mkdir");
    running.wait_for("Made", 1);
    let (summary, folder) = running.end();
    assert_eq!(delivered(folder.path(), "Made"), 1);
    assert_eq!(summary.stats.captured, 2);
    assert_eq!(summary.ended.unwrap(), None);
    let counts = &summary.outputs[0].counts;
    assert_eq!((counts.offered, counts.delivered, counts.lost()), (1, 1, 0));
}

#[test]
fn a_reload_replaces_the_rules_and_the_selection() {
    let running = Running::start(MADE, "", |_, _| {});
    running.open_gate();
    running.send("mkdir");
    running.wait_for("Made", 1);
    assert!(running.selects("mkdir") && !running.selects("rmdir"));
    running.replace_rules(REMOVED);
    wait_until("a new selection", || running.selects("rmdir"));
    assert!(!running.selects("mkdir"));
    // the new rules judge everything after the selection changed
    running.send("mkdir");
    running.send("rmdir");
    running.wait_for("Removed", 1);
    let (_, folder) = running.end();
    assert_eq!(delivered(folder.path(), "Made"), 1);
    assert_eq!(delivered(folder.path(), "Removed"), 1);
}

#[test]
fn the_predicates_follow_the_rules() {
    let made = |condition: &str| MADE.replace("evt.type = mkdir", condition);
    let captured = |running: &Running| {
        let call = table::by_name("mkdir").unwrap();
        let selection = running.seen.selection.lock().unwrap();
        Shown(&selection.predicate(call), call).to_string()
    };
    let rules = made("evt.type = mkdir and evt.rawres >= 0");
    let running = Running::start(&rules, "", |_, _| {});
    wait_until("a selection", || running.selects("mkdir"));
    assert_eq!(captured(&running), "no error");
    for (condition, expected) in [
        ("evt.type = mkdir and evt.failed = true", "an error"),
        ("evt.type = mkdir and proc.name = x", "always"),
        (
            "evt.type = mkdir and evt.res in (EPERM)",
            "EPERM or EACCES or EROFS",
        ),
    ] {
        running.replace_rules(&made(condition));
        wait_until(condition, || captured(&running) == expected);
    }
    running.end();
}

#[test]
fn rules_about_latency_make_the_driver_measure_it() {
    let asks = |running: &Running| running.seen.selection.lock().unwrap().times();
    let running = Running::start(MADE, "", |_, _| {});
    running.open_gate();
    wait_until("a selection", || running.selects("mkdir"));
    assert!(!asks(&running));
    let slow = MADE.replace("evt.type = mkdir", "evt.type = mkdir and evt.latency >= 0");
    running.replace_rules(&slow);
    wait_until("times", || asks(&running));
    // what is not known is not 0: this event has no time
    running.send("mkdir");
    running.replace_rules(REMOVED);
    wait_until("no times", || !asks(&running));
    running.send("rmdir");
    running.wait_for("Removed", 1);
    let (_, folder) = running.end();
    assert_eq!(delivered(folder.path(), "Made"), 0);
}

#[test]
fn while_alerts_can_have_files_all_events_are_captured() {
    let rules = MADE.replace("evt.type = mkdir", "evt.type = mkdir and evt.rawres >= 0");
    let running = Running::start(&(rules + "  capture: true\n"), "", |_, _| {});
    wait_until("a selection", || running.selects("mkdir"));
    assert_eq!(
        running.seen.selection.lock().unwrap().predicates().count(),
        0
    );
    running.end();
}

#[test]
fn a_broken_rule_file_leaves_the_old_rules_running_with_an_alert() {
    let running = Running::start(MADE, "", |_, _| {});
    running.open_gate();
    running.send("mkdir");
    running.wait_for("Made", 1);
    running.replace_rules("- rule: Broken\n  condition: evt.type =\n");
    running.wait_for(RELOAD_FAILED, 1);
    running.send("mkdir");
    running.wait_for("Made", 2);
    running.end();
}

#[test]
fn a_driver_that_refuses_the_new_selection_leaves_the_old_rules_running_with_an_alert() {
    let running = Running::start(MADE, "", |_, _| {});
    running.open_gate();
    running.send("mkdir");
    running.wait_for("Made", 1);
    running.seen.fixed.store(true, Relaxed);
    running.replace_rules(REMOVED);
    running.wait_for(RELOAD_FAILED, 1);
    running.send("rmdir");
    running.send("mkdir");
    running.wait_for("Made", 2);
    let (_, folder) = running.end();
    assert_eq!(delivered(folder.path(), "Removed"), 0);
}

#[test]
fn alerts_that_a_full_queue_loses_are_counted_in_the_summary() {
    const EVENTS: usize = 100;
    let running = Running::start(MADE, "outputs_queue: {capacity: 1}\n", |_, _| {});
    for _ in 0..EVENTS {
        running.send("mkdir");
    }
    // the output waits at its gate, and the event path does not wait for it
    wait_until("all events", || running.seen.events.load(Relaxed) == EVENTS);
    running.open_gate();
    let (summary, folder) = running.end();
    assert_eq!(summary.stats.captured, EVENTS as u64);
    let counts = &summary.outputs[0].counts;
    assert!(counts.overflowed > 0, "{counts:?}");
    assert!(counts.offered >= EVENTS as u64, "{counts:?}");
    assert_eq!(counts.delivered + counts.lost(), counts.offered);
    assert!(delivered(folder.path(), "Made") < EVENTS);
}

#[test]
fn what_was_captured_before_the_end_is_still_delivered() {
    let running = Running::start(MADE, "", |control, events| {
        for _ in 0..10 {
            events.send(event("mkdir")).unwrap();
        }
        control.end();
    });
    running.open_gate();
    let (summary, folder) = running.end();
    assert_eq!(summary.stats.captured, 10);
    assert_eq!(delivered(folder.path(), "Made"), 10);
}
