//! Clauses 7, 8 and 13: the memory that arguments point to, and the paths of descriptors.

use driver_api::event::{CUT, Fact, Status};

use crate::Case;
use crate::actor::LONG;
use crate::stage::{Kept, Outcome, Stage, check, named, same};

pub(crate) const CASES: &[Case] = &[
    (&[8, 13], "memory is captured as the contract says", memory),
    (&[13], "what is too long is marked", truncated),
    (&[7], "a descriptor's resolved path is a fact", resolved),
    (&[7, 13], "a path that is too deep is no other path", deep),
];

fn memory(stage: &Stage) -> Outcome {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let path = folder.path().join("file");
    let (events, _) = stage.watch(
        "memory",
        &[path.to_str().unwrap_or_default()],
        &["read", "openat"],
    )?;
    if stage.entry_only() {
        return memory_at_entry(&events);
    }
    let reads: Vec<&Kept> = named(&events, "read")
        .filter(|e| e.header().args[2] == 64)
        .collect();
    let good = reads
        .iter()
        .find(|e| e.header().ret == 12)
        .ok_or("the read of 12 bytes is missing")?;
    same("data", &good.text(1), &Some("twelve bytes".to_owned()))?;
    let bad = reads
        .iter()
        .find(|e| e.header().ret == -i64::from(libc::EBADF))
        .ok_or("the failed read is missing")?;
    check(bad.event().argument(1).is_none(), || {
        "a failed read has data".to_owned()
    })?;
    let faults: Vec<&Kept> = named(&events, "openat")
        .filter(|e| e.header().ret == -i64::from(libc::EFAULT))
        .collect();
    same("faulting calls", &faults.len(), &2)?;
    check(faults[0].event().argument(1).is_none(), || {
        "a null pointer has an attachment".to_owned()
    })?;
    let status = faults[1]
        .event()
        .argument(1)
        .map(|a| (a.status, a.bytes.len()));
    same(
        "attachment of a bad pointer",
        &status,
        &Some((Status::Fault, 0)),
    )?;
    Ok(None)
}

/// At the entry of a call, memory that the kernel will write is not captured, and memory that the program has filled is.
fn memory_at_entry(events: &[Kept]) -> Outcome {
    let mut reads = named(events, "read").filter(|e| e.header().args[2] == 64);
    check(reads.all(|e| e.event().argument(1).is_none()), || {
        "a read that has not been made has data".to_owned()
    })?;
    let bad = |at: u64| {
        named(events, "openat")
            .find(|e| e.header().args[1] == at)
            .map(|e| e.event().argument(1).map(|a| (a.status, a.bytes.len())))
    };
    same("attachment of a null pointer", &bad(0), &Some(None))?;
    same(
        "attachment of a bad pointer",
        &bad(1),
        &Some(Some((Status::Fault, 0))),
    )?;
    Ok(Some("gap: what the kernel writes".to_owned()))
}

fn truncated(stage: &Stage) -> Outcome {
    let (events, _) = stage.watch("write-long", &[], &["write", "openat"])?;
    let write = named(&events, "write")
        .find(|e| e.header().args[0] == 9999)
        .ok_or("the write is missing")?;
    let event = write.event();
    let data = event.argument(1).ok_or("the write has no data")?;
    same(
        "data",
        &(data.status, data.bytes.len(), data.full),
        &(Status::Truncated, 80, LONG as u64),
    )?;
    let open = named(&events, "openat")
        .find(|e| {
            e.header().ret == -i64::from(libc::ENAMETOOLONG)
                || e.text(1).is_some_and(|path| path.starts_with("/pppp"))
        })
        .ok_or("the openat of the long path is missing")?;
    let event = open.event();
    let path = event.argument(1).ok_or("it has no path")?;
    same(
        "path",
        &(path.status, path.bytes.len()),
        &(Status::Truncated, 4096),
    )?;
    Ok(None)
}

fn resolved(stage: &Stage) -> Outcome {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let folder = folder.path().canonicalize().map_err(|e| e.to_string())?;
    let folder = folder.to_str().unwrap_or_default();
    let (events, _) = stage.watch("resolved", &[folder], &["openat"])?;
    if stage.entry_only() {
        check(
            events.iter().all(|e| e.event().fact(Fact::Path).is_none()),
            || "a descriptor that is not there yet has a path".to_owned(),
        )?;
        let said =
            |path: &str| named(&events, "openat").any(|e| e.text(1).as_deref() == Some(path));
        check(said(&format!("{folder}/deep/er/../file")), || {
            "what the program said is missing".to_owned()
        })?;
        return Ok(Some("gap: resolved paths".to_owned()));
    }
    let facts: Vec<(String, String)> = named(&events, "openat")
        .filter(|e| e.header().ret >= 0)
        .filter_map(|e| {
            let fact = e
                .event()
                .fact(Fact::Path)
                .map(|a| String::from_utf8_lossy(&a.text()).into_owned());
            Some((e.text(1)?, fact.unwrap_or_default()))
        })
        .collect();
    let fact_of = |path: &str| {
        facts
            .iter()
            .rfind(|(said, _)| said == path)
            .map(|(_, fact)| fact.as_str())
    };
    for (said, expected) in [
        ("link", "deep/file"),
        ("deep/er/../file", "deep/file"),
        ("deep", "deep"),
        ("deep/new", "deep/new"),
    ] {
        let expected = format!("{folder}/{expected}");
        same(
            said,
            &fact_of(&format!("{folder}/{said}")),
            &Some(expected.as_str()),
        )?;
    }
    let status = fact_of("/proc/self/status").unwrap_or_default();
    check(
        status.starts_with("/proc/") && status.ends_with("/status") && !status.contains("self"),
        || format!("the path of /proc/self/status is {status:?}"),
    )?;
    Ok(None)
}

/// A file in 300 directories has its path, or the end of it; in 2,500 directories, whose names have 5,000 bytes, the end.
fn deep(stage: &Stage) -> Outcome {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let folder = folder.path().canonicalize().map_err(|e| e.to_string())?;
    let folder = folder.to_str().unwrap_or_default();
    for depth in [90, 300, 2500] {
        let (events, _) = stage.watch("below", &[folder, &depth.to_string()], &["openat"])?;
        if stage.entry_only() {
            return Ok(Some("gap: resolved paths".to_owned()));
        }
        let open = named(&events, "openat")
            .find(|e| e.text(1).as_deref() == Some("leaf"))
            .ok_or("the openat is missing")?;
        let event = open.event();
        let Some(fact) = event.fact(Fact::Path) else {
            check(depth > 2000, || format!("{depth} deep, it has no path"))?;
            continue;
        };
        let path = fact.text().into_owned();
        if fact.status == Status::Whole {
            let expected = format!("{folder}{}/leaf", "/d".repeat(depth));
            same("path", &String::from_utf8_lossy(&path), &expected.into())?;
        } else {
            check(depth > 90, || "a path of 90 components is cut".to_owned())?;
            check(
                path.starts_with(CUT) && path.ends_with(b"/d/d/leaf"),
                || format!("{depth} deep: {}", String::from_utf8_lossy(&path)),
            )?;
        }
    }
    Ok(None)
}
