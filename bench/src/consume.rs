//! The consumer: a process that opens one driver, counts its events and discards them.
//!
//! It talks to the benchmark through its standard input and output. It prints `ready` when the driver is open. It answers
//! each line with its counters, after it has consumed everything that was captured. It exits when its input ends.

use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{process, thread};

use driver_api::driver::{Capture, Flow, Polled};
use driver_api::request::{Limits, Request, SyscallSet, Target};
use driver_api::table;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::args::ConsumeArgs;
use crate::{Error, Result};

/// How long a poll may wait before the consumer checks for questions of the benchmark.
const TICK: Duration = Duration::from_millis(20);
/// How long the consumer goes on consuming earlier events before it answers.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Questions of the benchmark so far.
static ASKED: AtomicUsize = AtomicUsize::new(0);
/// Standard input has ended.
static OVER: AtomicBool = AtomicBool::new(false);

/// Opens the driver and consumes until standard input ends.
pub(crate) fn run(arguments: &ConsumeArgs) -> Result<()> {
    if let Some(cpu) = arguments.avoid {
        avoid(cpu)?;
    }
    let request = Request {
        target: Target::Host,
        selection: selection(&arguments.select)?.into(),
        limits: Limits::default(),
        buffer: arguments.buffer,
    };
    let chosen = drivers::open(&arguments.driver, &drivers::host::detect(), &request)
        .map_err(Error::failed(format!("open {}", arguments.driver)))?;
    let mut capture = chosen.opened.capture;
    thread::spawn(listen);
    let mut answered = 0;
    poll(capture.as_mut(), Duration::ZERO)?;
    answer("ready")?;
    while !OVER.load(Ordering::Relaxed) {
        poll(capture.as_mut(), TICK)?;
        if ASKED.load(Ordering::Relaxed) > answered {
            let late = Instant::now() + CATCH_UP;
            while poll(capture.as_mut(), Duration::ZERO)? > 0 && Instant::now() < late {}
            let stats = capture.stats();
            answer(&format!(
                "{} {} {} {}",
                stats.captured,
                stats.lost_total(),
                stats.malformed,
                cpu_ns()?
            ))?;
            answered += 1;
        }
    }
    Ok(())
}

/// Hands the waiting events to a sink that does nothing.
fn poll(capture: &mut dyn Capture, wait: Duration) -> Result<usize> {
    match capture.poll(wait, &mut |event| {
        std::hint::black_box(event.header().nr);
        Flow::Continue
    }) {
        Ok(Polled::Events(count)) => Ok(count),
        Ok(Polled::Ended(_)) => Err(Error::unexpected("the capture of the whole host has ended")),
        Err(error) => Err(Error::failed("go on")(error)),
    }
}

fn listen() {
    for line in io::stdin().lock().lines() {
        if line.is_err() {
            break;
        }
        ASKED.fetch_add(1, Ordering::Relaxed);
    }
    OVER.store(true, Ordering::Relaxed);
    // ends the process even if it hangs: a killed benchmark must not leave a driver behind
    thread::sleep(Duration::from_secs(10));
    process::exit(1);
}

fn answer(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(Error::failed("answer the benchmark"))
}

/// The CPU time of this thread, in nanoseconds.
pub(crate) fn cpu_ns() -> Result<u64> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_err(Error::failed("read the thread's CPU clock"))?;
    Ok(u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX))
}

fn selection(names: &[String]) -> Result<SyscallSet> {
    if names == ["all"] {
        return Ok(SyscallSet::all());
    }
    names
        .iter()
        .map(|name| {
            table::by_name(name)
                .ok_or_else(|| Error::unexpected(format!("there is no system call {name}")))
        })
        .collect()
}

/// Keeps this process off a CPU. If there is only one CPU, it is shared.
fn avoid(cpu: usize) -> Result<()> {
    let this = Pid::from_raw(0);
    let mut cpus =
        sched_getaffinity(this).map_err(Error::failed("read the CPUs of this process"))?;
    let others = (0..CpuSet::count())
        .filter(|other| *other != cpu && cpus.is_set(*other).unwrap_or(false))
        .count();
    if others > 0 {
        cpus.unset(cpu)
            .and_then(|()| sched_setaffinity(this, &cpus))
            .map_err(Error::failed(format!("avoid CPU {cpu}")))?;
    }
    Ok(())
}
