//! What is counted. It knows no terminal: the capture's thread fills it, the screen's thread reads it.

use std::collections::VecDeque;

use driver_api::event::{Event, Loss};
use driver_api::stats::Stats;
use driver_api::table::SYSCALLS;
use inspect::ProcessKey;
use look::Tally;

use crate::alerts::Alerts;
use crate::count::{ContainerCount, Count, Passed, Times, Traffic};
use crate::history::History;
use crate::processes::Processes;
use crate::text::{cut, safe};

/// The most files and connections, each, and the bytes of their names.
const KEYS: usize = 16_384;
const KEY_BYTES: usize = 8 << 20;
/// The most containers, and the bytes of their rows.
const CONTAINERS: usize = 1024;
const CONTAINER_BYTES: usize = 4 << 20;
/// A row without events for this number of ticks goes first where room is needed.
const LONG_IDLE: u32 = 10;
/// The most lines of a followed process, and their bytes.
pub(crate) const LINES: usize = 10_000;
const LINE_BYTES: usize = 4 << 20;
/// The most bytes of one line.
const LINE: usize = 4096;
/// The most lines of a command's output, and their bytes.
const OUTPUT_LINES: usize = 5000;
const OUTPUT_BYTES: usize = 2 << 20;

/// A bounded number of lines: the oldest are dropped first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines {
    pub(crate) lines: VecDeque<String>,
    bytes: usize,
    /// Lines that have gone.
    pub(crate) gone: u64,
}

impl Lines {
    pub(crate) fn push(&mut self, mut line: String, most: usize, most_bytes: usize) {
        cut(&mut line, LINE);
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > most || self.bytes > most_bytes {
            let Some(old) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= old.len();
            self.gone += 1;
        }
    }
}

/// The process that the user follows, and its events.
#[derive(Debug, Clone)]
pub(crate) struct Followed {
    pub(crate) process: ProcessKey,
    pub(crate) lines: Lines,
}

/// Whether events still come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum CaptureState {
    /// Yes.
    #[default]
    Running,
    /// No: the command or the recording has ended, or the processes have. The text says which.
    Ended(String),
}

/// What is known of the capture.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) driver: String,
    /// Why this driver.
    pub(crate) reason: String,
    pub(crate) gaps: Vec<String>,
    /// Whose events.
    pub(crate) target: String,
    pub(crate) stats: Stats,
    /// Losses at the last tick, by cause, and what came since then in a second.
    lost_before: [u64; Loss::ALL.len()],
    pub(crate) lost_rate: [f64; Loss::ALL.len()],
}

/// CPU time and memory of lanner itself.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Cost {
    /// Share of one CPU since the last tick, in percent.
    pub(crate) cpu_percent: f64,
    /// Resident bytes. None: /proc is not there.
    pub(crate) resident: Option<u64>,
}

/// Everything that is counted.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) total: Count,
    pub(crate) processes: Processes,
    pub(crate) calls: Vec<Count>,
    /// How long the calls took.
    pub(crate) times: Vec<Times>,
    pub(crate) files: Tally<Traffic>,
    pub(crate) connections: Tally<Traffic>,
    pub(crate) containers: Tally<ContainerCount>,
    pub(crate) alerts: Alerts,
    pub(crate) history: History,
    pub(crate) followed: Option<Followed>,
    pub(crate) facts: Facts,
    pub(crate) cost: Cost,
    pub(crate) source: CaptureState,
    /// What the command wrote. None: there is no command.
    pub(crate) output: Option<Lines>,
    /// Something that the user should know.
    pub(crate) notice: Option<String>,
    /// The condition that events fulfil; empty: all events count.
    pub(crate) filter: String,
    /// Times of the first and the last event of a recording. None: events happen now.
    pub(crate) recorded: Option<(u64, u64)>,
}

impl Model {
    pub(crate) fn new(alerts: Alerts) -> Self {
        Self {
            total: Count::default(),
            processes: Processes::default(),
            calls: vec![Count::default(); SYSCALLS.len()],
            times: vec![Times::default(); SYSCALLS.len()],
            files: Tally::bounded(KEYS, KEY_BYTES),
            connections: Tally::bounded(KEYS, KEY_BYTES),
            containers: Tally::bounded(CONTAINERS, CONTAINER_BYTES),
            alerts,
            history: History::default(),
            followed: None,
            facts: Facts::default(),
            cost: Cost::default(),
            source: CaptureState::Running,
            output: None,
            notice: None,
            filter: String::new(),
            recorded: None,
        }
    }

    /// Begins to count anew.
    pub(crate) fn clear(&mut self) {
        self.total = Count::default();
        self.processes.clear();
        self.calls.fill(Count::default());
        self.times.fill(Times::default());
        self.files.clear();
        self.connections.clear();
        self.containers.clear();
        self.alerts.clear();
        self.history.clear();
        if let Some(followed) = &mut self.followed {
            followed.lines = Lines::default();
        }
        if let Some(span) = &mut self.recorded {
            *span = (0, 0);
        }
    }

    /// Computes rates. `seconds`: how long ago the last tick was.
    pub(crate) fn tick(&mut self, seconds: f64) {
        #[expect(clippy::cast_precision_loss, reason = "rates are for people")]
        let passed = match self.recorded {
            Some((first, last)) => Passed::InAll(last.saturating_sub(first) as f64 / 1e9),
            None => Passed::Since(seconds),
        };
        self.total.tick(passed);
        self.processes.tick(passed);
        self.calls.iter_mut().for_each(|count| count.tick(passed));
        for traffic in [&mut self.files, &mut self.connections] {
            traffic.values_mut().for_each(|of| of.count.tick(passed));
            for idle in [LONG_IDLE, 1] {
                // a recording is shown as a whole
                if traffic.is_nearly_full() && self.recorded.is_none() {
                    traffic.retain(|of| of.count.idle < idle, |others, of| others.join(of));
                }
            }
        }
        (self.containers.values_mut()).for_each(|of| of.count.tick(passed));
        self.alerts.tick(passed);
        let facts = &mut self.facts;
        for at in 0..Loss::ALL.len() {
            let new = facts.stats.lost[at].saturating_sub(facts.lost_before[at]);
            facts.lost_before[at] = facts.stats.lost[at];
            #[expect(clippy::cast_precision_loss, reason = "rates are for people")]
            let rate = if seconds > 0.0 {
                new as f64 / seconds
            } else {
                0.0
            };
            facts.lost_rate[at] = rate;
        }
    }

    /// Follows a process: its events become lines, those that are still known first.
    pub(crate) fn follow(&mut self, process: ProcessKey) {
        let mut lines = Lines::default();
        self.history.of(process, LINES, |time_ns, name, event| {
            lines.push(event_line(time_ns, name, event), LINES, LINE_BYTES);
        });
        self.followed = Some(Followed { process, lines });
    }

    /// An event of a process.
    pub(crate) fn note(
        &mut self,
        process: ProcessKey,
        time_ns: u64,
        name: &[u8],
        event: &Event<'_>,
    ) {
        self.history.push(process, time_ns, name, event);
        if let Some(followed) = &mut self.followed
            && followed.process == process
        {
            let line = event_line(time_ns, name, event);
            followed.lines.push(line, LINES, LINE_BYTES);
        }
    }

    /// A line that the command wrote.
    pub(crate) fn wrote(&mut self, line: &[u8]) {
        let mut text = String::new();
        safe(&mut text, &line[..line.len().min(LINE)]);
        let output = self.output.get_or_insert_default();
        output.push(text, OUTPUT_LINES, OUTPUT_BYTES);
    }
}

/// An event as `lanner trace -tt` prints it, without a tab.
pub(crate) fn event_line(time_ns: u64, name: &[u8], event: &Event<'_>) -> String {
    use std::fmt::Write as _;
    let mut line = String::new();
    fields::time::clock_s(&mut line, time_ns);
    let header = event.header();
    let micros = time_ns / 1000 % 1_000_000;
    let _ = write!(
        line,
        ".{micros:06} {}/{} {}  ",
        header.tgid,
        header.tid,
        name.escape_ascii()
    );
    let mut text = String::new();
    decode::text::line(&mut text, event);
    safe(&mut line, &text.as_bytes()[..text.len().min(LINE)]);
    line
}
