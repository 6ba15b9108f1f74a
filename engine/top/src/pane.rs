//! The panes, and the rows of each pane from the model.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;

use driver_api::event::Loss;
use driver_api::table::SYSCALLS;
use inspect::ProcessKey;
use plugin_host::Priority;

use crate::columns::{ALERTS, CALLS, CONNECTIONS, CONTAINERS, Column, FILES, LOSSES, PROCESSES};
use crate::count::{Count, Traffic};
use crate::model::Model;
use crate::processes::ProcessRow;
use crate::text::{bytes, number, rate, span};

/// What the screen shows in its middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pane {
    Processes,
    Alerts,
    Calls,
    Files,
    Connections,
    Containers,
    Losses,
    Output,
}

impl Pane {
    pub(crate) const ALL: [Self; 8] = [
        Self::Processes,
        Self::Alerts,
        Self::Calls,
        Self::Files,
        Self::Connections,
        Self::Containers,
        Self::Losses,
        Self::Output,
    ];

    /// The name, and a shorter one for narrow screens.
    pub(crate) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Processes => ("Processes", "Proc"),
            Self::Alerts => ("Alerts", "Alrt"),
            Self::Calls => ("Calls", "Call"),
            Self::Files => ("Files", "File"),
            Self::Connections => ("Connections", "Conn"),
            Self::Containers => ("Containers", "Cont"),
            Self::Losses => ("Losses", "Loss"),
            Self::Output => ("Output", "Out"),
        }
    }

    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Self::Processes => PROCESSES,
            Self::Alerts => ALERTS,
            Self::Calls => CALLS,
            Self::Files => FILES,
            Self::Connections => CONNECTIONS,
            Self::Containers => CONTAINERS,
            Self::Losses => LOSSES,
            Self::Output => &[],
        }
    }

    /// The column that rows are sorted by at first.
    pub(crate) fn first_sort(self) -> usize {
        match self {
            Self::Processes | Self::Containers => 2,
            Self::Alerts => 1,
            Self::Calls | Self::Files | Self::Connections | Self::Losses | Self::Output => 0,
        }
    }
}

/// What a cell shows.
#[derive(Debug, Clone)]
pub(crate) enum Cell<'a> {
    /// A process id.
    Id(u32),
    Number(u64),
    Rate(f64),
    Bytes(u64),
    /// Nanoseconds.
    Time(u64),
    Priority(Priority),
    Text(Cow<'a, str>),
    /// It is not known.
    Missing,
}

impl Cell<'_> {
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Id(id) => id.to_string().into(),
            Self::Number(value) => number(*value).into(),
            Self::Rate(value) => rate(*value).into(),
            Self::Bytes(value) => bytes(*value).into(),
            Self::Time(ns) => span(*ns).into(),
            Self::Priority(priority) => priority.name().into(),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Missing => "-".into(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "only the order matters")]
    fn weight(&self) -> f64 {
        match self {
            // small ids come first
            Self::Id(id) => -f64::from(*id),
            Self::Number(value) | Self::Bytes(value) | Self::Time(value) => *value as f64,
            Self::Rate(value) => *value,
            // a smaller number is a higher priority
            Self::Priority(priority) => -f64::from(*priority as u8),
            Self::Text(_) | Self::Missing => -1.0,
        }
    }

    /// Greater numbers and higher priorities first; texts in alphabetical order.
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => other.weight().total_cmp(&self.weight()),
        }
    }
}

/// Which row it is, also after rows have moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RowKey<'a> {
    Process(ProcessKey),
    /// A place in a list: a rule, a call, a cause.
    Place(usize),
    Name(Cow<'a, str>),
    /// Many rows together, or nothing that can be opened.
    None,
}

impl RowKey<'_> {
    pub(crate) fn into_owned(self) -> RowKey<'static> {
        match self {
            Self::Process(key) => RowKey::Process(key),
            Self::Place(at) => RowKey::Place(at),
            Self::Name(name) => RowKey::Name(name.into_owned().into()),
            Self::None => RowKey::None,
        }
    }
}

/// How a row looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Dim,
    Warning,
    Bad,
}

/// A row of a table.
#[derive(Debug, Clone)]
pub(crate) struct Row<'a> {
    pub(crate) key: RowKey<'a>,
    pub(crate) cells: Vec<Cell<'a>>,
    pub(crate) tone: Tone,
}

/// How a pane is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    /// The column that rows are sorted by.
    pub(crate) by: usize,
    pub(crate) is_reversed: bool,
    /// Processes under their parents.
    pub(crate) is_tree: bool,
    /// Processes that have ended are shown as well.
    pub(crate) with_ended: bool,
    /// Lines of the tree are drawn with ASCII characters.
    pub(crate) is_ascii: bool,
}

/// The rows of a pane, in order.
pub(crate) fn rows(pane: Pane, model: &Model, order: Order) -> Vec<Row<'_>> {
    let mut rows = match pane {
        Pane::Processes => return processes(model, order),
        Pane::Alerts => alerts(model),
        Pane::Calls => calls(model),
        Pane::Files => traffic(&model.files, "other files"),
        Pane::Connections => traffic(&model.connections, "other connections"),
        Pane::Containers => containers(model),
        Pane::Losses => losses(model),
        Pane::Output => Vec::new(),
    };
    rows.sort_by(|a, b| compare(a, b, order));
    rows
}

fn compare(a: &Row<'_>, b: &Row<'_>, order: Order) -> Ordering {
    let by_cell = match (a.cells.get(order.by), b.cells.get(order.by)) {
        (Some(a), Some(b)) => a.order(b),
        _ => Ordering::Equal,
    };
    let by_cell = if order.is_reversed {
        by_cell.reverse()
    } else {
        by_cell
    };
    // rows that are alike keep their places
    by_cell
        .then_with(|| total(b).total_cmp(&total(a)))
        .then_with(|| match (a.cells.last(), b.cells.last()) {
            (Some(a), Some(b)) => a.order(b),
            _ => Ordering::Equal,
        })
}

/// The sum of a row's numbers that count events.
fn total(row: &Row<'_>) -> f64 {
    let number = |cell: &Cell<'_>| match cell {
        Cell::Number(_) => cell.weight(),
        _ => 0.0,
    };
    row.cells.iter().skip(1).map(number).sum()
}

fn errors(count: &Count) -> Cell<'static> {
    count.known_errors().map_or(Cell::Missing, Cell::Number)
}

fn process_row(key: ProcessKey, row: &ProcessRow) -> Row<'_> {
    Row {
        key: RowKey::Process(key),
        cells: vec![
            Cell::Id(row.pid),
            Cell::Text(Cow::Borrowed(&row.user)),
            match row.ended {
                // not by its colour alone
                Some(_) if row.count.rate <= 0.0 => Cell::Text("ended".into()),
                _ => Cell::Rate(row.count.rate),
            },
            Cell::Number(row.count.events),
            errors(&row.count),
            Cell::Number(row.alerts),
            Cell::Text(Cow::Borrowed(&row.container)),
            Cell::Text(Cow::Borrowed(row.short_command())),
        ],
        tone: match (row.ended, row.alerts) {
            (_, 1..) => Tone::Warning,
            (Some(_), 0) => Tone::Dim,
            (None, 0) => Tone::Plain,
        },
    }
}

/// How many ticks a process is still shown after its end.
const LINGER: u32 = 3;

fn processes(model: &Model, order: Order) -> Vec<Row<'_>> {
    let all = &model.processes;
    let is_shown =
        |row: &ProcessRow| order.with_ended || row.ended.is_none_or(|ticks| ticks <= LINGER);
    let mut rows: Vec<Row<'_>> = if order.is_tree {
        Tree::new(model, order, is_shown).rows()
    } else {
        let shown = all
            .iter()
            .filter(|(_, row)| row.count.events > 0 && is_shown(row));
        let mut rows: Vec<_> = shown.map(|(key, row)| process_row(key, row)).collect();
        rows.sort_by(|a, b| compare(a, b, order));
        rows
    };
    if all.others.events > 0 {
        rows.push(Row {
            key: RowKey::None,
            cells: vec![
                Cell::Missing,
                Cell::Text("".into()),
                Cell::Rate(all.others.rate),
                Cell::Number(all.others.events),
                errors(&all.others),
                Cell::Missing,
                Cell::Text("".into()),
                Cell::Text("(other processes)".into()),
            ],
            tone: Tone::Dim,
        });
    }
    rows
}

/// The tree of processes. A branch is as busy as all its processes together.
struct Tree<'a> {
    children: HashMap<Option<ProcessKey>, Vec<(ProcessKey, Row<'a>)>>,
    is_ascii: bool,
}

impl<'a> Tree<'a> {
    fn new(model: &'a Model, order: Order, is_shown: impl Fn(&ProcessRow) -> bool) -> Self {
        let all = &model.processes;
        // a process is shown if it, or one below it, is
        let mut shown: HashMap<ProcessKey, f64> = HashMap::new();
        for (key, row) in all.iter().filter(|(_, row)| is_shown(row)) {
            let cells = process_row(key, row).cells;
            let weight = cells.get(order.by).map_or(0.0, Cell::weight).max(0.0);
            let mut at = Some(key);
            // parents are never below their children, but a bound costs nothing
            for _ in 0..256 {
                let Some(key) = at else { break };
                let Some(row) = all.get(key) else { break };
                *shown.entry(key).or_default() += weight;
                at = row.parent;
            }
        }
        let mut children: HashMap<Option<ProcessKey>, Vec<(ProcessKey, Row<'a>)>> = HashMap::new();
        for key in shown.keys() {
            if let Some(row) = all.get(*key) {
                let parent = row.parent.filter(|parent| shown.contains_key(parent));
                let siblings = children.entry(parent).or_default();
                siblings.push((*key, process_row(*key, row)));
            }
        }
        let sums = PROCESSES
            .get(order.by)
            .is_some_and(|column| column.is_number)
            && order.by > 0;
        for siblings in children.values_mut() {
            siblings.sort_by(|(a, x), (b, y)| {
                let weight = |key| shown.get(key).copied().unwrap_or(0.0);
                let by = if sums {
                    let by = weight(b).total_cmp(&weight(a));
                    if order.is_reversed { by.reverse() } else { by }
                } else {
                    compare(x, y, order)
                };
                by.then_with(|| x.cells[0].order(&y.cells[0]))
            });
        }
        Self {
            children,
            is_ascii: order.is_ascii,
        }
    }

    fn rows(mut self) -> Vec<Row<'a>> {
        let (tee, corner, bar) = if self.is_ascii {
            ("|- ", "`- ", "|  ")
        } else {
            ("\u{251c}\u{2500} ", "\u{2514}\u{2500} ", "\u{2502}  ")
        };
        let mut rows = Vec::new();
        // a stack rather than recursion: programs decide how deep it is
        let mut open: Vec<(std::vec::IntoIter<(ProcessKey, Row<'a>)>, String)> = Vec::new();
        let mut roots = self.children.remove(&None).unwrap_or_default();
        // ancestors that did nothing say nothing, as long as they are one line of descent
        while let [(key, row)] = roots.as_slice()
            && is_silent(row)
            && let Some(children) = self.children.remove(&Some(*key))
        {
            roots = children;
        }
        open.push((roots.into_iter(), String::new()));
        while let Some((siblings, indent)) = open.last_mut() {
            let Some((key, mut row)) = siblings.next() else {
                open.pop();
                continue;
            };
            let is_last = siblings.as_slice().is_empty();
            let indent = indent.clone();
            let is_root = open.len() == 1;
            if !is_root && let Some(Cell::Text(command)) = row.cells.last_mut() {
                let branch = if is_last { corner } else { tee };
                *command = format!("{indent}{branch}{command}").into();
            }
            rows.push(row);
            if let Some(children) = self.children.remove(&Some(key)) {
                let mut below = indent;
                // what is deeper would have no room for its name
                if !is_root && below.chars().count() < 30 {
                    below.push_str(if is_last { "   " } else { bar });
                }
                open.push((children.into_iter(), below));
            }
        }
        rows
    }
}

/// Whether a process has no events.
fn is_silent(row: &Row<'_>) -> bool {
    matches!(row.cells.get(3), Some(Cell::Number(0)))
}

fn alerts(model: &Model) -> Vec<Row<'_>> {
    let rules = model.alerts.rules.iter().enumerate();
    rules
        .filter(|(_, rule)| rule.count.events > 0)
        .map(|(at, rule)| Row {
            key: RowKey::Place(at),
            cells: vec![
                Cell::Priority(rule.priority),
                Cell::Number(rule.count.events),
                Cell::Rate(rule.count.rate),
                Cell::Text(Cow::Borrowed(&rule.last)),
                Cell::Text(Cow::Borrowed(&rule.name)),
            ],
            tone: tone_of(rule.priority),
        })
        .collect()
}

/// How alerts of a priority look.
pub(crate) fn tone_of(priority: Priority) -> Tone {
    match priority {
        Priority::Emergency | Priority::Alert | Priority::Critical | Priority::Error => Tone::Bad,
        Priority::Warning => Tone::Warning,
        Priority::Notice | Priority::Informational | Priority::Debug => Tone::Plain,
    }
}

fn calls(model: &Model) -> Vec<Row<'_>> {
    let time = |ns: Option<u64>| ns.map_or(Cell::Missing, Cell::Time);
    let counted = model.calls.iter().zip(&model.times);
    let calls = SYSCALLS.iter().zip(counted).enumerate();
    calls
        .filter(|(_, (_, (count, _)))| count.events > 0)
        .map(|(at, (call, (count, times)))| Row {
            key: RowKey::Place(at),
            cells: vec![
                Cell::Rate(count.rate),
                Cell::Number(count.events),
                errors(count),
                time(times.mean_ns()),
                time(times.longest_ns()),
                Cell::Text(call.name.into()),
            ],
            tone: Tone::Plain,
        })
        .collect()
}

fn traffic<'a>(of: &'a look::Tally<Traffic>, others: &str) -> Vec<Row<'a>> {
    let row = |key: RowKey<'a>, name: Cow<'a, str>, of: &Traffic, tone| Row {
        key,
        cells: vec![
            Cell::Rate(of.count.rate),
            Cell::Number(of.count.events),
            errors(&of.count),
            Cell::Bytes(of.read),
            Cell::Bytes(of.written),
            Cell::Text(name),
        ],
        tone,
    };
    let mut rows: Vec<Row<'a>> = (of.iter())
        .map(|(name, traffic)| {
            let key = RowKey::Name(Cow::Borrowed(name));
            row(key, Cow::Borrowed(name), traffic, Tone::Plain)
        })
        .collect();
    if let Some(rest) = of.others() {
        rows.push(row(
            RowKey::None,
            format!("({others})").into(),
            rest,
            Tone::Dim,
        ));
    }
    rows
}

fn containers(model: &Model) -> Vec<Row<'_>> {
    (model.containers.iter())
        .map(|(id, of)| Row {
            key: RowKey::Name(Cow::Borrowed(id)),
            cells: vec![
                Cell::Text(Cow::Borrowed(id)),
                Cell::Text(of.runtime.into()),
                Cell::Rate(of.count.rate),
                Cell::Number(of.count.events),
                Cell::Number(of.alerts),
                Cell::Text(Cow::Borrowed(&of.image)),
                Cell::Text(Cow::Borrowed(&of.name)),
            ],
            tone: if of.alerts > 0 {
                Tone::Warning
            } else {
                Tone::Plain
            },
        })
        .collect()
}

fn losses(model: &Model) -> Vec<Row<'_>> {
    let facts = &model.facts;
    let causes = Loss::ALL.iter().enumerate();
    causes
        .map(|(at, cause)| Row {
            key: RowKey::None,
            cells: vec![
                Cell::Number(facts.stats.lost[at]),
                Cell::Rate(facts.lost_rate[at]),
                Cell::Text(cause.name().into()),
            ],
            tone: if facts.stats.lost[at] > 0 {
                Tone::Bad
            } else {
                Tone::Plain
            },
        })
        .collect()
}
