//! What the tests need: an output that can be away or hang, alerts with numbers, and patience.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use delivery::{Counts, Outputs, Planned, QueueSettings};
use plugin_host::{self, Alert, OutputHost, OwnedValue, Plugin, Priority};

/// Compiles a plugin of these tests. `more`: further options of the compiler.
pub(crate) fn compile(source: &str, library: &Path, more: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/delivery");
    let options = [&["-O1", "-Wextra"], more].concat();
    test_support::plugins::compile(&folder.join(source), library, &options);
}

/// Compiles the plugins of `gate.c`, `joiner.c` and `rules_gate.c` once, into one folder.
pub(crate) fn library() -> &'static Path {
    static LIBRARY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let library = folder.path().join("liboutput_gate.so");
        compile("gate.c", &library, &[]);
        compile("joiner.c", &folder.path().join("liboutput.so"), &[]);
        compile("rules_gate.c", &folder.path().join("librules_gate.so"), &[]);
        (folder, library)
    });
    library
}

fn plugin() -> Plugin {
    plugin_host::load(library()).expect("the gate loads")
}

/// The folder of a gate.
#[derive(Debug)]
pub(crate) struct Gate(pub(crate) PathBuf);

impl Gate {
    pub(crate) fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        Self(folder.to_owned())
    }

    pub(crate) fn planned(&self, settings: QueueSettings) -> Planned {
        let text = format!("{{\"folder\":\"{}\"}}", self.0.display());
        Planned {
            host: Some(OutputHost::open(&plugin(), &text).expect("the gate opens")),
            identity: format!("{settings:?} {text}"),
            settings,
        }
    }

    pub(crate) fn set(&self, word: &str) {
        fs::write(self.0.join(word), "").expect("a file");
    }

    pub(crate) fn unset(&self, word: &str) {
        fs::remove_file(self.0.join(word)).expect("the file is there");
    }

    /// The numbers that came out, in this order.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        fs::read_to_string(self.0.join("out"))
            .unwrap_or_default()
            .lines()
            .map(|line| {
                line.rsplit(' ')
                    .next()
                    .and_then(|n| n.parse().ok())
                    .expect("a number")
            })
            .collect()
    }
}

pub(crate) fn alert(number: u64) -> Alert {
    Alert {
        time_ns: number,
        rule: "Numbered".to_owned(),
        priority: Priority::Notice,
        source: "syscall".to_owned(),
        hostname: "box".to_owned(),
        tags: vec!["test".to_owned()],
        text: format!("00:00:00.000000000: Notice number {number}"),
        json: format!("{{\"output\":\"{}\"}}", "x".repeat(400)),
        fields: vec![("number".to_owned(), OwnedValue::U64(number))],
        context: Vec::new(),
    }
}

pub(crate) fn push(outputs: &Outputs, numbers: std::ops::Range<u64>) {
    for number in numbers {
        outputs.push(alert(number));
    }
}

pub(crate) fn counts(outputs: &Outputs, name: &str) -> Counts {
    let mut accounts = outputs.accounts().into_iter();
    accounts
        .find(|account| account.output == name)
        .expect("the output")
        .counts
}

/// Settings that are quick to try again.
pub(crate) fn settings(name: &str) -> QueueSettings {
    QueueSettings {
        retry_first: Duration::from_millis(1),
        retry_max: Duration::from_millis(20),
        ..QueueSettings::new(name)
    }
}
