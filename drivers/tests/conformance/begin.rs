//! Clauses 1 to 5: probing and opening.

use std::path::Path;
use std::thread;
use std::time::Duration;

use driver_api::driver::OpenError;
use driver_api::host::Host;
use driver_api::request::Target;

use crate::Case;
use crate::stage::{Outcome, Stage, actor, check, request, same, to_the_end};

pub(crate) const CASES: &[Case] = &[
    (&[1], "probe is a pure function of the host", probe_is_pure),
    (
        &[2],
        "a driver that cannot run refuses to open",
        unusable_is_refused,
    ),
    (
        &[3],
        "what cannot be honoured is refused before anything starts",
        unsupported_starts_nothing,
    ),
    (
        &[4],
        "another thread can drop the capture that open gives",
        dropped_elsewhere,
    ),
    (
        &[5],
        "a command has not run before the first poll",
        command_waits_for_poll,
    ),
];

fn probe_is_pure(stage: &Stage) -> Outcome {
    same(
        "a second probe",
        &stage.driver.probe(stage.host),
        &stage.driver.probe(stage.host),
    )?;
    let nothing = Host::default();
    same(
        "a probe of a host without anything",
        &stage.driver.probe(&nothing),
        &stage.driver.probe(&nothing),
    )?;
    Ok(None)
}

fn unusable_is_refused(stage: &Stage) -> Outcome {
    let nothing = Host::default();
    check(!stage.driver.probe(&nothing).usable(), || {
        "a host without anything is said to be usable".to_owned()
    })?;
    let marker = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mark = marker.path().join("mark");
    let command = actor("mark", &[mark.to_str().unwrap_or_default()]);
    match stage
        .driver
        .open(&nothing, &request(Target::Command(command), &["openat"]))
    {
        Err(OpenError::Unusable { gaps, .. }) => {
            check(!gaps.is_empty(), || "no gap says why".to_owned())?;
            check(gaps.iter().all(|g| !g.why.is_empty()), || {
                "a gap has no reason".to_owned()
            })?;
        }
        other => return Err(format!("expected Unusable, got {other:?}")),
    }
    check(!mark.exists(), || "the command was run".to_owned())?;
    Ok(None)
}

fn unsupported_starts_nothing(stage: &Stage) -> Outcome {
    if !stage.driver.serves().host {
        match stage.open(&request(Target::Host, &["openat"])) {
            Err(OpenError::Unsupported { why, .. }) if !why.is_empty() => {}
            other => {
                return Err(format!(
                    "the host as target: expected Unsupported with a reason, got {other:?}"
                ));
            }
        }
    } else {
        let mut odd = request(Target::Host, &["openat"]);
        odd.buffer = 12345;
        match stage.open(&odd) {
            Err(OpenError::Unsupported { why, .. }) if !why.is_empty() => {}
            other => {
                return Err(format!(
                    "a buffer of 12345 bytes: expected Unsupported, got {other:?}"
                ));
            }
        }
    }
    match stage.open(&request(Target::Pids(vec![4_000_000]), &["openat"])) {
        Err(OpenError::Target(_)) => Ok(None),
        other => Err(format!(
            "a process that does not exist: expected Target, got {other:?}"
        )),
    }
}

fn dropped_elsewhere(stage: &Stage) -> Outcome {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mark = folder.path().join("mark");
    let command = actor("mark", &[mark.to_str().unwrap_or_default()]);
    let capture = stage.must_open(&request(Target::Command(command), &["openat"]))?;
    let dropped = thread::spawn(move || drop(capture)).join();
    check(dropped.is_ok(), || "dropping it panicked".to_owned())?;
    check(!mark.exists(), || "the command was run".to_owned())?;
    Ok(None)
}

fn command_waits_for_poll(stage: &Stage) -> Outcome {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mark = folder.path().join("mark");
    let command = actor("mark", &[mark.to_str().unwrap_or_default()]);
    let mut capture = stage.must_open(&request(Target::Command(command), &["openat"]))?;
    thread::sleep(Duration::from_millis(100));
    check(!Path::new(&mark).exists(), || {
        "the command ran before the first poll".to_owned()
    })?;
    let (events, status) = to_the_end(capture.as_mut())?;
    same("status", &status, &Some(0))?;
    check(mark.exists(), || "the command was never run".to_owned())?;
    let opened = events
        .iter()
        .any(|e| e.name() == "openat" && e.text(1).as_deref() == mark.to_str());
    check(opened, || {
        "the command's openat was not delivered".to_owned()
    })?;
    Ok(None)
}
