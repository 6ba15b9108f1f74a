//! Tracers in the kernel that watch the whole host, with every load.

use crate::args::Options;
use crate::goals::Goals;
use crate::report::{Report, Table, number, ratio, time};
use crate::samples::{Sample, Samples, shuffled};
use crate::tracer::{Tracer, host_drivers};
use crate::workshop::{Affinity, Load, Workshop, look_up};
use crate::{Error, Part, Result, say};

const CORE: &str = "core, everything";
const UNSELECTED: &str = "core, not selected";
const LEGACY: &str = "legacy, everything";
const ALONE: &str = "alone";
const FLOOR: &str = "empty program";
const BPFTRACE: &str = "bpftrace count()";
/// Calls before the first measurement.
const WARM_UP: u64 = 100_000;

/// Measures, and adds the results to the report and the goals.
pub(crate) fn measure(part: Part<'_>) -> Result<()> {
    let Part {
        options,
        workshop,
        report,
        goals,
    } = part;
    if !nix::unistd::geteuid().is_root() {
        report.left_out("tracers in the kernel", "they need root");
        return Ok(());
    }
    let mut tracers = contestants(options, report);
    let loads: Vec<Load> = Load::ALL
        .into_iter()
        .filter(|load| options.wants_load(load.key()) && workshop.has(*load))
        .collect();
    let mut samples = Samples::default();
    for round in 0..options.rounds() {
        say(&format!(
            "tracers in the kernel, round {} of {}",
            round + 1,
            options.rounds()
        ));
        for tracer in shuffled(tracers.clone(), round) {
            if let Err(why) = session(options, workshop, &tracer, &loads, round, &mut samples) {
                if tracer == Tracer::Alone {
                    return Err(why);
                }
                report.failed(&tracer.name(), &why);
                tracers.retain(|other| *other != tracer);
            }
        }
    }
    lay_out(&samples, &tracers, &loads, report);
    compare(&samples, &loads, goals);
    Ok(())
}

fn contestants(options: &Options, report: &mut Report) -> Vec<Tracer> {
    let mut tracers = vec![Tracer::Floor, Tracer::Bpftrace];
    for build in [None].into_iter().chain(options.other.clone().map(Some)) {
        for driver in host_drivers() {
            for everything in [true, false] {
                tracers.push(Tracer::Driver {
                    driver,
                    everything,
                    build: build.clone(),
                });
            }
        }
    }
    tracers.retain(|tracer| options.wants(&tracer.name()));
    if tracers.contains(&Tracer::Bpftrace) && look_up("bpftrace").is_none() {
        report.left_out(BPFTRACE, "it is not installed");
        tracers.retain(|tracer| *tracer != Tracer::Bpftrace);
    }
    tracers.insert(0, Tracer::Alone);
    tracers
}

/// Measures one tracer with every load, once.
fn session(
    options: &Options,
    workshop: &Workshop,
    tracer: &Tracer,
    loads: &[Load],
    round: usize,
    samples: &mut Samples,
) -> Result<()> {
    let cpu = workshop.load_cpu();
    let mut running = tracer.start(cpu)?;
    let mut calls = 0;
    // a tracer that has just begun, and a CPU that has slept, are slower at first
    workshop.run(Load::Getpid, WARM_UP, Affinity::Cpu(cpu), &[])?;
    for load in loads {
        let before = running.counters()?;
        let wanted = load.iterations(options.quick);
        let ran = workshop.run(*load, wanted, Affinity::Cpu(cpu), &[])?;
        let after = running.counters()?;
        let counters = after
            .zip(before)
            .map(|(after, before)| after.since(&before));
        if let Some(counters) = counters.filter(|counters| counters.malformed > 0) {
            return Err(Error::unexpected(format!(
                "{} events were malformed",
                counters.malformed
            )));
        }
        if matches!(
            tracer,
            Tracer::Driver {
                everything: true,
                ..
            }
        ) && counters.is_some_and(|c| c.events + c.lost < ran.iterations)
        {
            return Err(Error::unexpected(format!(
                "it counted {counters:?} in {} iterations of {}",
                ran.iterations,
                load.name()
            )));
        }
        calls += ran.iterations;
        let sample = Sample {
            ns: ran.each(),
            counters,
        };
        samples.add(*load, &tracer.name(), round, sample);
    }
    match running.stop()? {
        Some(counted) if counted < calls => Err(Error::unexpected(format!(
            "it counted {counted} of at least {calls} calls"
        ))),
        _ => Ok(()),
    }
}

fn lay_out(samples: &Samples, tracers: &[Tracer], loads: &[Load], report: &mut Report) {
    for load in loads {
        let mut table = Table::new(
            load.name(),
            &[
                "",
                "one iteration",
                "added",
                "quartiles",
                "of bpftrace",
                "of the floor",
                "events",
                "lost",
                "CPU/event",
            ],
        );
        for tracer in tracers {
            let name = tracer.name();
            let against = |other| {
                (name != ALONE)
                    .then(|| samples.ratio(*load, (&name, ALONE), (other, ALONE)))
                    .flatten()
            };
            let counters = samples.counters(*load, &name);
            let added = (name != ALONE)
                .then(|| samples.added(*load, &name, ALONE))
                .flatten();
            let quartiles = samples.quartiles(*load, &name, ALONE);
            table.row(vec![
                name.clone(),
                time(samples.time(*load, &name)),
                time(added),
                quartiles
                    .filter(|_| added.is_some())
                    .map_or_else(String::new, |(low, high)| {
                        format!("{} to {}", time(Some(low)), time(Some(high)))
                    }),
                ratio(against(BPFTRACE)),
                ratio(against(FLOOR)),
                number(counters.map(|c| c.events)),
                number(counters.map(|c| c.lost)),
                time(samples.cpu_per_event(*load, &name)),
            ]);
        }
        report.table(table);
    }
}

fn compare(samples: &Samples, loads: &[Load], goals: &mut Goals) {
    let of = |load, one, other| samples.ratio(load, (one, ALONE), (other, ALONE));
    let measured = |load: &Load| loads.contains(load);
    for (load, what, goal) in [
        (Load::Getpid, "core, everything captured, getpid", 0.70),
        (Load::Open, "core, open+close, resolved path included", 0.75),
        (
            Load::ReadWrite,
            "core, 1-byte read+write, data included",
            0.95,
        ),
    ] {
        if measured(&load) {
            let what = format!("{what}: of bpftrace's count()");
            goals.at_most(&what, goal, of(load, CORE, BPFTRACE), "");
        }
    }
    let cheap = [Load::Getpid, Load::Open, Load::ReadWrite];
    for load in cheap.into_iter().filter(measured) {
        let what = format!("core, {} not selected: of the empty program", load.name());
        goals.at_most(&what, 1.15, of(load, UNSELECTED, FLOOR), "");
    }
    for load in loads {
        let what = format!("legacy, everything captured, {}: of core", load.name());
        goals.at_most(&what, 2.0, of(*load, LEGACY, CORE), "");
    }
    for load in cheap.into_iter().filter(measured) {
        let what = format!("core, CPU of user space for an event, {}", load.name());
        let micro = samples.cpu_per_event(load, CORE).map(|ns| ns / 1000.0);
        goals.at_most(&what, 0.05, micro, " µs");
    }
}
