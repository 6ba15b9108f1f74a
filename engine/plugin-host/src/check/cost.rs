//! What a call costs: the fastest of many rounds, as everything else on the machine can only add to it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::outputs::alert;
use super::rules::{Recorder, nothing};
use super::{End, Run, Verdict};
use crate::{OutputHost, RuleHost};

const ROUNDS: u32 = 200;
const CALLS: u32 = 1000;
/// A round of slow calls has fewer of them, so that it takes about this time.
const ROUND: Duration = Duration::from_millis(1);
/// No round begins after this time.
const ENOUGH: Duration = Duration::from_secs(1);

pub(super) fn measure(run: &mut Run<'_>) -> Result<(), End> {
    let settings = run.request.settings.clone();
    let files = run.request.rules.clone();
    let fields = run.request.fields;
    for capability in run.plugin.capabilities() {
        let (settings, files) = (settings.clone(), files.clone());
        if capability == "rules" {
            run.step("rules: cost of a call", move |plugin| {
                let recorded = Recorder::with(&*fields(), |fields| {
                    RuleHost::open(plugin, fields, &files, &settings)
                });
                let verdict = match recorded.0 {
                    Ok(mut host) => rules(&mut host),
                    Err(error) => Verdict::Bad(error.to_string()),
                };
                (verdict, Some(()))
            })?;
        } else {
            run.step("output: cost of a call", move |plugin| {
                let verdict = match OutputHost::open(plugin, &settings) {
                    Ok(mut host) => output(&mut host),
                    Err(error) => Verdict::Bad(error.to_string()),
                };
                (verdict, Some(()))
            })?;
        }
    }
    Ok(())
}

/// Nanoseconds of one call.
fn fastest(mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    call();
    let one = start.elapsed().max(Duration::from_nanos(1));
    let calls = u32::try_from(ROUND.as_nanos() / one.as_nanos())
        .unwrap_or(CALLS)
        .clamp(1, CALLS);
    let mut best = one * calls;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        if begin - start > ENOUGH {
            break;
        }
        for _ in 0..calls {
            call();
        }
        best = best.min(begin.elapsed());
    }
    best.as_secs_f64() * 1e9 / f64::from(calls)
}

fn rules(host: &mut RuleHost) -> Verdict {
    let event = nothing();
    let mut matches = Vec::new();
    let call = fastest(|| host.on_event(black_box(&event), &mut matches));
    Verdict::Note(format!("{call:.1} ns for an event that no rule wants"))
}

fn output(host: &mut OutputHost) -> Verdict {
    let one = [alert(0)];
    let many: Vec<_> = (0..256).map(alert).collect();
    let single = fastest(|| drop(black_box(host.emit(black_box(&one)))));
    let batch = fastest(|| drop(black_box(host.emit(black_box(&many))))) / 256.0;
    Verdict::Note(format!(
        "{single:.1} ns for a batch of one alert, {batch:.1} ns an alert in a batch of 256"
    ))
}
