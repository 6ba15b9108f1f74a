//! The benchmark of lanner: what each driver costs, beside bpftrace, strace and an empty BPF program.
//!
//! It compares only what it has measured in one run, in rounds. Each round has another order.
//!
//! `make bench` and `make bench-quick` build what is needed and run this. As root everything is measured, otherwise only
//! ptrace and what needs no driver. `lanner-bench --help` lists the options; `how-to-read.md` explains the results, and
//! becomes the beginning of the page that `--markdown` writes.
//!
//! | module | content |
//! |---|---|
//! | [`workshop`] | the loads |
//! | [`tracer`] | the contestants that watch the host |
//! | [`consume`] | the process that opens one of lanner's drivers and counts its events |
//! | [`work`], [`kernel`], [`storm`], [`unprivileged`], [`replay`], [`plugin_calls`], [`alerts`] | the parts of the benchmark |
//! | [`samples`] | medians and ratios of the measurements |
//! | [`goals`] | the figures to reach |
//! | [`report`] | the results as text and as a page |

mod alerts;
mod args;
mod consume;
mod error;
mod floor;
mod goals;
mod kernel;
mod machine;
mod plugin_calls;
mod replay;
mod report;
mod samples;
mod storm;
mod tracer;
mod unprivileged;
mod work;
mod workshop;

use std::io::Write;
use std::process::ExitCode;
use std::{fs, io};

use clap::Parser;
use driver_api::error::Chain;

use args::{Cli, Options, Verb};
use goals::Goals;
use machine::Quiet;
use report::Report;
use workshop::Workshop;

pub(crate) use error::Error;

pub(crate) type Result<T> = std::result::Result<T, Error>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.verb {
        Some(Verb::Consume(arguments)) => consume::run(arguments),
        None => measure(&cli.options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("failed: {}", Chain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Prints a line to standard error: progress, and what was left out. Results go to standard output.
pub(crate) fn say(message: &str) {
    let _ = writeln!(io::stderr(), "bench: {message}");
}

/// What every part of the benchmark works with. Each adds its results to the report and the goals.
pub(crate) struct Part<'a> {
    pub(crate) options: &'a Options,
    pub(crate) workshop: &'a Workshop,
    pub(crate) report: &'a mut Report,
    pub(crate) goals: &'a mut Goals,
}

/// Measures a part.
type Measure = fn(Part<'_>) -> Result<()>;

/// The parts, by the names that `--parts` takes.
const PARTS: &[(&str, Measure)] = &[
    ("work", work::measure),
    ("kernel", kernel::measure),
    ("storm", storm::measure),
    ("ptrace", unprivileged::measure_stops),
    ("replay", replay::measure),
    ("plugins", plugin_calls::measure),
    ("alerts", alerts::measure),
];

fn measure(options: &Options) -> Result<()> {
    let workshop = Workshop::new()?;
    let quiet = Quiet::new();
    let mut report = Report::new();
    let mut goals = Goals::default();
    for (name, measure) in PARTS {
        if options.has(name) {
            measure(Part {
                options,
                workshop: &workshop,
                report: &mut report,
                goals: &mut goals,
            })?;
        }
    }
    report.goals(&goals);
    let mut machine = machine::describe();
    machine.extend(quiet.describe());
    print!("{}", report.text(&machine));
    if let Some(path) = &options.markdown {
        fs::write(path, report.markdown(&machine, options.quick))
            .map_err(Error::failed(format!("write {}", path.display())))?;
        say(&format!("wrote {}", path.display()));
    }
    Ok(())
}
