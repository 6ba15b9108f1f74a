//! lanner's benchmark: what each driver costs, beside bpftrace, strace and an empty BPF program.
//!
//! Everything that is compared is measured in one run, round after round, each round in another order.
//! [`workshop`] has the loads, [`tracer`] the contestants that watch the host, [`consume`] is the process
//! in which a driver of lanner's is consumed. [`kernel`], [`storm`], [`unprivileged`], [`replay`], [`plugin_calls`]
//! and [`alerts`] are the parts; [`samples`] makes figures of what they measured, [`goals`] compares those with what is wanted,
//! [`report`] lays them out.

mod alerts;
mod args;
mod consume;
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
mod workshop;

use std::io::Write;
use std::process::ExitCode;
use std::{fs, io};

use clap::Parser;

use args::{Cli, Options, Verb};
use goals::Goals;
use machine::Quiet;
use report::Report;
use workshop::Workshop;

/// What failed, on what, and what to do.
pub(crate) type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.verb {
        Some(Verb::Consume(arguments)) => consume::run(arguments),
        None => measure(&cli.options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Progress, and what was left out and why. Results go to standard output.
pub(crate) fn say(message: &str) {
    let _ = writeln!(io::stderr(), "bench: {message}");
}

fn measure(options: &Options) -> Result<()> {
    let workshop = Workshop::new()?;
    let quiet = Quiet::new();
    let mut report = Report::new();
    let mut goals = Goals::default();
    if options.has("kernel") {
        kernel::measure(options, &workshop, &mut report, &mut goals)?;
    }
    if options.has("storm") {
        storm::measure(options, &workshop, &mut report, &mut goals)?;
    }
    if options.has("ptrace") {
        unprivileged::measure_stops(options, &workshop, &mut report, &mut goals)?;
    }
    if options.has("rules") {
        unprivileged::measure_rules(options, &workshop, &mut report, &mut goals)?;
    }
    if options.has("replay") {
        replay::measure(options, &workshop, &mut report, &mut goals)?;
    }
    if options.has("plugins") {
        plugin_calls::measure(options, &mut report, &mut goals)?;
    }
    if options.has("alerts") {
        alerts::measure(options, &mut report, &mut goals)?;
    }
    report.goals(&goals);
    let mut machine = machine::describe();
    machine.extend(quiet.describe());
    print!("{}", report.text(&machine));
    if let Some(path) = &options.markdown {
        fs::write(path, report.markdown(&machine, options.quick))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        say(&format!("wrote {}", path.display()));
    }
    Ok(())
}
