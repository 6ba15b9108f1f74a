//! Whether events are lost in a storm of calls on every CPU.

use std::process::Stdio;

use crate::report::{Table, number, time};
use crate::tracer::{Consumer, Counters, host_drivers};
use crate::workshop::Workshop;
use crate::{Error, Part, Result, say};

/// Calls a second that must not be lost.
const RATE: u64 = 2_000_000;
const SECONDS: u64 = 10;
/// A rate of this part of it counts as reached: the load does not wait for the last tick.
const NEARLY: f64 = 0.99;

/// The result of one storm.
struct Outcome {
    made: f64,
    rate: f64,
    counters: Counters,
}

/// Measures, and adds the results to the report and the goals.
pub(crate) fn measure(part: Part<'_>) -> Result<()> {
    let Part {
        options,
        workshop,
        report,
        goals,
    } = part;
    if !nix::unistd::geteuid().is_root() {
        report.left_out(
            "the storm of calls",
            "the drivers that may lose events need root",
        );
        return Ok(());
    }
    let mut table = Table::new(
        &format!(
            "a storm of getpid on all {} CPUs, everything captured, 8 MiB of buffer for each",
            workshop.cpus().len()
        ),
        &["", "calls made", "a second", "events", "lost", "CPU/event"],
    );
    for driver in host_drivers() {
        let short = driver.trim_start_matches("ebpf-");
        if !options.wants(short) {
            continue;
        }
        let flat_out = if options.quick { 3 } else { SECONDS };
        for (rate, seconds) in [(RATE, SECONDS), (0, flat_out)] {
            let what = if rate > 0 {
                format!("{short}, 2 million a second for {seconds} s")
            } else {
                format!("{short}, as many as there can be for {seconds} s")
            };
            say(&what);
            let outcome = match storm(workshop, driver, seconds, rate) {
                Ok(outcome) => outcome,
                Err(why) => {
                    report.failed(&what, &why);
                    continue;
                }
            };
            let Counters {
                events,
                lost,
                cpu_ns,
                ..
            } = outcome.counters;
            table.row(vec![
                what,
                number(Some(outcome.made as u64)),
                number(Some(outcome.rate as u64)),
                number(Some(events)),
                number(Some(lost)),
                time((events > 0).then(|| cpu_ns as f64 / events as f64)),
            ]);
            if rate > 0 {
                // events that were neither delivered nor counted as lost are lost, too
                let missing = (outcome.made - (events + lost) as f64).max(0.0) + lost as f64;
                let reached = outcome.rate / 1e6;
                let what = format!("{short}, calls a second in the storm, reached (millions)");
                goals.at_least(&what, 2.0 * NEARLY, Some(reached), "");
                let what = format!("{short}, lost in {SECONDS} s of it");
                goals.at_most(&what, 0.0, Some(missing), " events");
            }
        }
    }
    report.table(table);
    Ok(())
}

/// Runs a load on every CPU. The scheduler places the consumer.
fn storm(workshop: &Workshop, driver: &str, seconds: u64, rate: u64) -> Result<Outcome> {
    let cpus = workshop.cpus();
    let mut consumer = Consumer::start(None, driver, &["--buffer", "8388608"])?;
    let before = consumer.counters()?;
    let each = rate / cpus.len() as u64;
    let mut loads = Vec::new();
    for cpu in cpus {
        let load = workshop
            .storm(*cpu, seconds, each)
            .stdin(Stdio::null())
            .spawn();
        loads.push(load.map_err(Error::failed("start a storm"))?);
    }
    for mut load in loads {
        let status = load.wait().map_err(Error::failed("wait for a storm"))?;
        Error::check("a storm", status)?;
    }
    let counters = consumer.counters()?.since(&before);
    let (mut made, mut rate) = (0.0, 0.0);
    for cpu in cpus {
        let ran = workshop.read_storm(*cpu)?;
        made += ran.iterations as f64;
        rate += 1e9 / ran.each();
    }
    Ok(Outcome {
        made,
        rate,
        counters,
    })
}
