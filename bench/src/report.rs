//! Formats the results, for a terminal and as a page of documentation.

use std::fmt::Write;

use driver_api::error::Chain;

use crate::goals::Goals;
use crate::{Error, say};

/// A table with a heading.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(title: &str, columns: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            rows: vec![columns.iter().map(|name| (*name).to_owned()).collect()],
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// For a terminal: columns are aligned, numbers to the right.
    fn text(&self, out: &mut String) {
        let _ = writeln!(out, "\n== {}", self.title);
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let _ = if at == 0 {
                    write!(line, "{cell:<width$}")
                } else {
                    write!(line, "  {cell:>width$}")
                };
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }

    fn markdown(&self, out: &mut String) {
        let _ = writeln!(out, "\n### {}\n", self.title);
        for (at, row) in self.rows.iter().enumerate() {
            let _ = writeln!(out, "| {} |", row.join(" | "));
            if at == 0 {
                let lines = vec!["---:"; row.len().saturating_sub(1)];
                let _ = writeln!(out, "|---|{}|", lines.join("|"));
            }
        }
    }
}

/// All results, and what was left out.
#[derive(Debug)]
pub(crate) struct Report {
    /// The table that a page leads with.
    lead: Option<Table>,
    goals: Table,
    tables: Vec<Table>,
    left_out: Vec<(String, String)>,
}

const HOW_TO_READ: &str = include_str!("../how-to-read.md");

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            lead: None,
            goals: Table::new("figures to reach", &["", "goal", "measured", "met"]),
            tables: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// The table that a page leads with: what users want to know first.
    pub(crate) fn lead(&mut self, table: Table) {
        self.lead = Some(table);
    }

    pub(crate) fn table(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// Reports what could not be measured because of an error.
    pub(crate) fn failed(&mut self, what: &str, why: &Error) {
        self.left_out(what, &Chain(why).to_string());
    }

    /// Reports what was not measured: at once, and again at the end.
    pub(crate) fn left_out(&mut self, what: &str, why: &str) {
        say(&format!("left out: {what}: {why}"));
        self.left_out.push((what.to_owned(), why.to_owned()));
    }

    pub(crate) fn goals(&mut self, goals: &Goals) {
        for goal in &goals.0 {
            let met = match (&goal.measured, goal.met) {
                (None, _) => "not measured",
                (_, true) => "yes",
                (_, false) => "NO",
            };
            self.goals.row(vec![
                goal.what.clone(),
                goal.goal.clone(),
                goal.measured.clone().unwrap_or_default(),
                met.to_owned(),
            ]);
        }
    }

    /// For a terminal.
    pub(crate) fn text(&self, machine: &[(&str, String)]) -> String {
        let mut out = String::new();
        for (what, value) in machine {
            let _ = writeln!(out, "{what}: {value}");
        }
        for table in self.lead.iter().chain(&self.tables).chain([&self.goals]) {
            table.text(&mut out);
        }
        for (what, why) in &self.left_out {
            let _ = writeln!(out, "\nleft out: {what}: {why}");
        }
        out
    }

    /// A page of documentation.
    pub(crate) fn markdown(&self, machine: &[(&str, String)], quick: bool) -> String {
        let mut out = String::from("# Performance\n\n");
        let command = if quick {
            "make bench-quick"
        } else {
            "make bench"
        };
        let _ = writeln!(
            out,
            "Written by `{command}`, from one run; no number here was typed by hand.\n"
        );
        if let Some(table) = &self.lead {
            out.push_str("## What users notice\n");
            table.markdown(&mut out);
            out.push('\n');
        }
        out.push_str(HOW_TO_READ);
        out.push_str("\n## The machine\n\n| | |\n|---|---|\n");
        for (what, value) in machine {
            let _ = writeln!(out, "| {what} | {value} |");
        }
        out.push_str("\n## Results\n");
        for table in [&self.goals].into_iter().chain(&self.tables) {
            table.markdown(&mut out);
        }
        if !self.left_out.is_empty() {
            out.push_str("\n## Left out\n\n");
            for (what, why) in &self.left_out {
                let _ = writeln!(out, "- {what}: {}", why.replace('\n', " "));
            }
        }
        out
    }
}

/// Nanoseconds, in a suitable unit.
pub(crate) fn time(ns: Option<f64>) -> String {
    let Some(ns) = ns else {
        return String::new();
    };
    match ns.abs() {
        size if size < 1e4 => format!("{ns:.0} ns"),
        size if size < 1e7 => format!("{:.1} µs", ns / 1e3),
        _ => format!("{:.1} ms", ns / 1e6),
    }
}

/// Two decimals.
pub(crate) fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
}

/// One decimal.
pub(crate) fn percent(percent: Option<f64>) -> String {
    percent.map_or_else(String::new, |percent| format!("{percent:.1} %"))
}

/// With commas between thousands.
pub(crate) fn number(number: Option<u64>) -> String {
    let Some(number) = number else {
        return String::new();
    };
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(number(Some(1_234_567)), "1,234,567");
        assert_eq!(number(Some(999)), "999");
        assert_eq!(time(Some(312.4)), "312 ns");
        assert_eq!(time(Some(-31_240.0)), "-31.2 µs");
        assert_eq!(time(Some(1.2e9)), "1200.0 ms");
        assert_eq!(time(None), "");
    }

    #[test]
    fn a_table_is_in_line_on_a_terminal_and_a_table_in_markdown() {
        let mut table = Table::new("calls", &["", "a"]);
        table.row(vec!["µ".to_owned(), "12".to_owned()]);
        let (mut text, mut page) = (String::new(), String::new());
        table.text(&mut text);
        table.markdown(&mut page);
        assert_eq!(text, "\n== calls\n    a\nµ  12\n");
        assert_eq!(page, "\n### calls\n\n|  | a |\n|---|---:|\n| µ | 12 |\n");
    }
}
