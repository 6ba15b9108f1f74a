//! The arguments of `lanner trace`. Letters mean what they mean for strace(1).

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, ArgGroup, Args};
use look::{Aggregation, Form, LineOptions, Request, Stamp};
use session::config::DEFAULT_RULES_PLUGIN;

use super::SourceArgs;
use super::values::interval;

/// Options that report about all events instead of showing each.
const REPORTS: [&str; 4] = ["count", "hist", "stats", "summary"];

/// What shows no lines in lanner's own form.
const NO_LINES: [&str; 3] = ["json", "format", "report"];

/// How many keys a report shows unless the user says so.
const KEYS: usize = 20;

/// `lanner trace`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("report").args(REPORTS), group = ArgGroup::new("measured").args(["hist", "stats"]))]
pub struct TraceArgs {
    /// Names of system calls, separated by commas; procstart and procexit are the births and ends of
    /// processes. Classes as strace has them: %file, %process, %network, %desc, %signal, %ipc, %memory, %creds. `!` at the
    /// beginning: all but these. `trace=` before it is understood. May be repeated. Without: everything.
    #[arg(short, long = "events", value_name = "NAME")]
    pub events: Vec<String>,
    /// Only events that fulfil this condition, written as the condition of a rule. Only the calls that can fulfil it are
    /// captured.
    #[arg(long = "where", value_name = "CONDITION")]
    pub condition: Option<String>,
    /// Events, or a report, as JSON lines.
    #[arg(long)]
    pub json: bool,
    /// A line for each event made from a template, such as '%evt.time %proc.name %fd.name'. `lanner fields` lists the
    /// fields.
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "json")]
    pub format: Option<String>,
    /// Write the events to this file instead of standard output, which the command uses as well. A file that is
    /// there is replaced.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Count events by the values of fields, such as proc.name or proc.name,fd.name.
    #[arg(
        long,
        value_name = "FIELD",
        conflicts_with = "format",
        help_heading = "Reports"
    )]
    pub count: Option<String>,
    /// Draw a histogram of a number, such as evt.buflen.
    #[arg(
        long,
        value_name = "FIELD",
        conflicts_with = "format",
        help_heading = "Reports"
    )]
    pub hist: Option<String>,
    /// Report the count, least, average, greatest and sum of a number.
    #[arg(
        long,
        value_name = "FIELD",
        conflicts_with = "format",
        help_heading = "Reports"
    )]
    pub stats: Option<String>,
    /// A histogram or statistics for each value of these fields.
    #[arg(
        long,
        value_name = "FIELD",
        requires = "measured",
        help_heading = "Reports"
    )]
    pub by: Option<String>,
    /// Count calls and errors, and add up the time spent in calls, as strace -c -w does: with a command, the table is written
    /// to standard error.
    #[arg(
        short = 'c',
        long = "summary",
        conflicts_with = "format",
        help_heading = "Reports"
    )]
    pub summary: bool,
    /// How many keys a report shows: 20 unless it is given; -c shows all calls. What is left out is counted together.
    #[arg(long, value_name = "N", requires = "report", help_heading = "Reports")]
    pub top: Option<usize>,
    /// Report each time that this time has passed, such as 1s, and begin anew.
    #[arg(long, value_name = "TIME", value_parser = interval, requires = "report", help_heading = "Reports")]
    pub interval: Option<Duration>,
    /// The time of each event: -t seconds, -tt microseconds, -ttt seconds since the epoch.
    #[arg(short = 't', action = ArgAction::Count, conflicts_with_all = NO_LINES, help_heading = "As strace")]
    pub times: u8,
    /// The time since the line before.
    #[arg(short = 'r', long = "relative-timestamps", conflicts_with_all = NO_LINES, help_heading = "As strace")]
    pub relative: bool,
    /// The time spent in each call, from its entry to its return. ptrace's notify mode and kernels before 4.17 do not know it.
    #[arg(short = 'T', long = "syscall-times", help_heading = "As strace")]
    pub durations: bool,
    /// Paths and addresses behind descriptors.
    #[arg(short = 'y', long = "decode-fds", action = ArgAction::Count, conflicts_with_all = NO_LINES, help_heading = "As strace")]
    pub behind: u8,
    /// Bytes shown of a buffer; the same as --snaplen.
    #[arg(short = 's', long = "string-limit", value_name = "LEN", value_parser = clap::value_parser!(u32).range(0..=4096), conflicts_with_all = ["snaplen", "replay"], help_heading = "As strace")]
    pub string_limit: Option<u32>,
    /// Say nothing about the driver; -qq: nothing about ends of threads, too.
    #[arg(short = 'q', long = "quiet", action = ArgAction::Count, help_heading = "As strace")]
    pub quiet: u8,
    /// Follow children. lanner always does.
    #[arg(short = 'f', long = "follow-forks", action = ArgAction::Count, help_heading = "As strace")]
    pub follow: u8,
    /// Where plugins are; may be repeated. The rule plugin compiles the condition.
    #[arg(long = "plugin-dir", value_name = "DIR")]
    pub plugin_dirs: Vec<PathBuf>,
    /// Whose events.
    #[command(flatten)]
    pub source: SourceArgs,
}

impl TraceArgs {
    /// What the library is asked for.
    pub fn request(&self) -> Request {
        Request {
            events: self.events.clone(),
            condition: self.condition.clone(),
            form: self.form(),
            times: self.durations,
            rules_plugin: DEFAULT_RULES_PLUGIN.to_owned(),
            plugin_dirs: self.plugin_dirs.clone(),
        }
    }

    fn form(&self) -> Form {
        let by = self.by.clone();
        let what = match (&self.count, &self.hist, &self.stats, self.summary) {
            (Some(by), ..) => Aggregation::Count { by: by.clone() },
            (_, Some(field), ..) => Aggregation::Hist {
                field: field.clone(),
                by,
            },
            (_, _, Some(field), _) => Aggregation::Stats {
                field: field.clone(),
                by,
            },
            (_, _, _, true) => Aggregation::Calls,
            (None, None, None, false) => return self.events_form(),
        };
        let usual = if self.summary { usize::MAX } else { KEYS };
        Form::Aggregate {
            what,
            top: self.top.unwrap_or(usual),
            interval: self.interval,
            json: self.json,
        }
    }

    fn events_form(&self) -> Form {
        match &self.format {
            Some(template) => Form::Template(template.clone()),
            None if self.json => Form::Json,
            None => Form::Lines(LineOptions {
                stamp: match self.times {
                    0 => Stamp::None,
                    1 => Stamp::Seconds,
                    2 => Stamp::Micros,
                    _ => Stamp::Epoch,
                },
                relative: self.relative,
                behind: self.behind > 0,
                without_ends: self.quiet > 1,
                took: self.durations,
            }),
        }
    }

    /// Whether the text is written to standard error: the table of `-c` with a command, whose output is on standard output.
    #[must_use]
    pub fn says_on_stderr(&self) -> bool {
        self.summary && !self.json && self.output.is_none() && !self.source.command.is_empty()
    }

    /// Whose events, with what is captured of them.
    pub fn source(&self) -> SourceArgs {
        SourceArgs {
            snaplen: self.string_limit.unwrap_or(self.source.snaplen),
            ..self.source.clone()
        }
    }
}
