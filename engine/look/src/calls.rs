//! The summary of calls, as `strace -c -w` writes it.

use std::fmt::Write as _;

use decode::errno;
use driver_api::event::{Event, EventKind, Flags};
use driver_api::table::{self, SYSCALLS};
use serde_json::{Value, json};

/// What is counted of a call.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    calls: u64,
    errors: u64,
    /// The calls whose times are known, and the sum of these times.
    timed: u64,
    took_ns: u64,
}

impl Count {
    fn join(&mut self, other: &Self) {
        self.calls += other.calls;
        self.errors += other.errors;
        self.timed += other.timed;
        self.took_ns = self.took_ns.saturating_add(other.took_ns);
    }

    /// The mean time in nanoseconds.
    fn mean_ns(&self) -> Option<u64> {
        self.took_ns.checked_div(self.timed)
    }
}

/// Counts of each call of the table.
#[derive(Debug)]
pub(crate) struct Calls(Vec<Count>);

impl Calls {
    pub(crate) fn new() -> Self {
        Self(vec![Count::default(); SYSCALLS.len()])
    }

    pub(crate) fn add(&mut self, event: &Event<'_>) {
        if !matches!(event.kind(), EventKind::Syscall | EventKind::Exec) {
            return;
        }
        let header = event.header();
        let call = table::of_number(event.abi(), header.nr).event_type();
        let failed = !event.has(Flags::NO_RESULT) && errno::of(header.ret).is_some();
        let took = event.took_ns();
        self.0[call.index()].join(&Count {
            calls: 1,
            errors: failed.into(),
            timed: took.is_some().into(),
            took_ns: took.unwrap_or(0),
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|count| count.calls == 0)
    }

    pub(crate) fn clear(&mut self) {
        self.0.fill(Count::default());
    }

    /// Names and counts, the call first that took longest; without times, the busiest one.
    fn rows(&self) -> Vec<(&'static str, Count)> {
        let mut rows: Vec<(&str, Count)> = (SYSCALLS.iter().zip(&self.0))
            .filter(|(_, count)| count.calls > 0)
            .map(|(call, count)| (call.name, *count))
            .collect();
        let weight = |count: &Count| (count.took_ns, count.calls);
        rows.sort_unstable_by(|a, b| weight(&b.1).cmp(&weight(&a.1)).then_with(|| a.0.cmp(b.0)));
        rows
    }

    /// A table. Where no time is known, it has the share of calls. A line counts what is not among the first `top`.
    pub(crate) fn text(&self, out: &mut String, top: usize) {
        let rows = self.rows();
        let total = sum(&rows);
        let table = Table {
            total,
            has_times: total.timed > 0,
        };
        table.head(out);
        let (shown, others) = rows.split_at(rows.len().min(top));
        for (name, count) in shown {
            table.row(out, name, count);
        }
        if !others.is_empty() {
            table.row(out, &format!("({} more)", others.len()), &sum(others));
        }
        table.rule(out);
        table.row(out, "total", &total);
    }

    pub(crate) fn json(&self, top: usize) -> Value {
        let rows = self.rows();
        let (shown, others) = rows.split_at(rows.len().min(top));
        let shown: Vec<Value> = (shown.iter())
            .map(|(name, count)| {
                let mut row =
                    json!({"syscall": name, "calls": count.calls, "errors": count.errors});
                if count.timed > 0 {
                    row["timed"] = count.timed.into();
                    row["took_ns"] = count.took_ns.into();
                }
                row
            })
            .collect();
        let others = json!({"keys": others.len(), "count": sum(others).calls});
        json!({"type": "calls", "rows": shown, "others": others})
    }
}

fn sum(rows: &[(&str, Count)]) -> Count {
    let mut sum = Count::default();
    rows.iter().for_each(|(_, count)| sum.join(count));
    sum
}

/// How the rows of a table are written.
struct Table {
    total: Count,
    has_times: bool,
}

impl Table {
    fn head(&self, out: &mut String) {
        out.push_str(if self.has_times {
            "% time     seconds  usecs/call     calls    errors syscall\n"
        } else {
            "% calls     calls    errors syscall\n"
        });
        self.rule(out);
    }

    fn rule(&self, out: &mut String) {
        out.push_str(if self.has_times {
            "------ ----------- ----------- --------- --------- ----------------\n"
        } else {
            "------- --------- --------- ----------------\n"
        });
    }

    #[expect(clippy::cast_precision_loss, reason = "shares and seconds for people")]
    fn row(&self, out: &mut String, name: &str, count: &Count) {
        let share = |part: u64, of: u64| part as f64 * 100.0 / of.max(1) as f64;
        let errors = Some(count.errors).filter(|errors| *errors > 0);
        let errors = errors.map_or_else(String::new, |errors| errors.to_string());
        let calls = count.calls;
        let _ = if !self.has_times {
            let share = share(calls, self.total.calls);
            writeln!(out, "{share:>7.2} {calls:>9} {errors:>9} {name}")
        } else if let Some(mean) = count.mean_ns() {
            let share = share(count.took_ns, self.total.took_ns);
            let seconds = count.took_ns as f64 / 1e9;
            let mean = mean / 1000;
            writeln!(
                out,
                "{share:>6.2} {seconds:>11.6} {mean:>11} {calls:>9} {errors:>9} {name}"
            )
        } else {
            // it does not return, or its entry was missed
            writeln!(
                out,
                "{:>6} {:>11} {:>11} {calls:>9} {errors:>9} {name}",
                "", "", ""
            )
        };
    }
}
