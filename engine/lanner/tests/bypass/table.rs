//! The table `ways.tbl`: what is done, which rule must say so, and what becomes of it. Its head explains the columns.

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;

/// Read when the tests run, so that a changed word needs no new build.
static TABLE: LazyLock<String> = LazyLock::new(|| {
    let path = crate::stage::sources().join("ways.tbl");
    fs::read_to_string(path).expect("the table is there")
});

/// The modes of capture, in the table's order.
pub(crate) const MODES: [Mode; 4] = [
    Mode {
        name: "core",
        driver: "ebpf-core",
        mode: None,
    },
    Mode {
        name: "legacy",
        driver: "ebpf-legacy",
        mode: None,
    },
    Mode {
        name: "trace",
        driver: "ptrace",
        mode: Some("trace"),
    },
    Mode {
        name: "notify",
        driver: "ptrace",
        mode: Some("notify"),
    },
];

/// A driver, and which of its modes.
#[derive(Debug)]
pub(crate) struct Mode {
    pub(crate) name: &'static str,
    pub(crate) driver: &'static str,
    /// Of `--ptrace-mode`.
    pub(crate) mode: Option<&'static str>,
}

/// What becomes of a way in one mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The rule fires; or it does not, where it must not.
    Seen,
    /// The driver does not let it happen. The gap says why.
    Refused(&'static str),
    /// The rule does not fire.
    Gap(&'static str),
    /// The rule fires sometimes.
    Sometimes(&'static str),
}

impl Verdict {
    fn parse(word: &'static str) -> Self {
        match word {
            "seen" => Self::Seen,
            _ => match (word.strip_prefix("refused:"), word.strip_suffix('?')) {
                (Some(gap), _) => Self::Refused(gap),
                (None, Some(gap)) => Self::Sometimes(gap),
                (None, None) => Self::Gap(word),
            },
        }
    }

    /// The label of the gap that it names.
    pub(crate) fn gap(self) -> Option<&'static str> {
        match self {
            Self::Seen => None,
            Self::Refused(gap) | Self::Gap(gap) | Self::Sometimes(gap) => Some(gap),
        }
    }
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) section: &'static str,
    /// The way of the actor.
    pub(crate) way: &'static str,
    /// One of these must fire.
    pub(crate) rules: Vec<&'static str>,
    /// The rule must not fire.
    pub(crate) must_not: bool,
    /// By mode, as in [`MODES`].
    pub(crate) verdicts: [Verdict; 4],
    /// The label of a note of Falco's; `?` is none.
    pub(crate) falco: &'static str,
    pub(crate) what: &'static str,
}

/// A test of another suite.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    pub(crate) file: &'static str,
    pub(crate) function: &'static str,
    /// What is done, and what becomes of it in each mode.
    pub(crate) cells: Vec<&'static str>,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) elsewhere: Vec<Elsewhere>,
    pub(crate) rows: Vec<Row>,
    /// The words by which `lanner drivers` names a gap, by label.
    pub(crate) gaps: BTreeMap<&'static str, &'static str>,
    /// What is known of Falco, by label: whether it sees the way, and why.
    pub(crate) falco: BTreeMap<&'static str, (&'static str, &'static str)>,
}

impl Table {
    pub(crate) fn new() -> Self {
        let mut table = Self {
            elsewhere: Vec::new(),
            rows: Vec::new(),
            gaps: BTreeMap::new(),
            falco: BTreeMap::new(),
        };
        let mut section = "";
        for line in TABLE.lines() {
            let labelled = |word: &str| line.strip_prefix(word)?.split_once(": ");
            if line.is_empty() || line.starts_with('#') {
            } else if let Some(title) = line.strip_prefix("== ") {
                section = title;
            } else if let Some((label, what)) = labelled("gap ") {
                table.gaps.insert(label, what);
            } else if let Some((label, note)) = labelled("falco ") {
                let note = note.split_once(": ").expect("a verdict and a reason");
                table.falco.insert(label, note);
            } else if let Some(line) = line.strip_prefix("elsewhere ") {
                table.elsewhere.push(elsewhere(line));
            } else {
                table.rows.push(row(section, line));
            }
        }
        table
    }

    /// The ways, each once.
    pub(crate) fn ways(&self) -> Vec<&'static str> {
        let mut ways: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !ways.contains(&row.way) {
                ways.push(row.way);
            }
        }
        ways
    }
}

fn row(section: &'static str, line: &'static str) -> Row {
    let cells: Vec<&str> = line.split(" | ").collect();
    let [way, rules, core, legacy, trace, notify, falco, what] = cells[..] else {
        panic!("a row has eight columns: {line}");
    };
    Row {
        section,
        way,
        rules: rules.trim_start_matches('!').split(" / ").collect(),
        must_not: rules.starts_with('!'),
        verdicts: [core, legacy, trace, notify].map(Verdict::parse),
        falco,
        what,
    }
}

fn elsewhere(line: &'static str) -> Elsewhere {
    let (test, cells) = line.split_once(" | ").expect("a test and its cells");
    let (file, function) = test.split_once(' ').expect("a file and a function");
    Elsewhere {
        file,
        function,
        cells: cells.split(" | ").collect(),
    }
}
