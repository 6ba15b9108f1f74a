//! Outputs with a spool: what is on disk is delivered, in order, whatever happens in between.

use std::path::Path;
use std::time::Duration;

use delivery::{Outputs, QueueSettings, SpoolSettings};
use test_support::wait_until;

use crate::stage::{Gate, counts, push, settings};

/// The start of each spool.
const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";

pub(crate) fn spooled(name: &str, path: &Path) -> QueueSettings {
    QueueSettings {
        spool: Some(SpoolSettings {
            path: path.to_owned(),
            size: 64 << 20,
            age: None,
            fsync: true,
        }),
        ..settings(name)
    }
}

#[test]
fn alerts_wait_on_disk_for_an_output_that_is_away_and_for_the_next_lanner() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = Gate::new(&folder.path().join("gate"));
    let spool = folder.path().join("spool/g.redb");
    gate.set("away");
    for life in 0..3 {
        let outputs = Outputs::start(vec![gate.planned(spooled("g", &spool))]).expect("it starts");
        push(&outputs, life * 1000..(life + 1) * 1000);
        wait_until("they are on disk", || {
            counts(&outputs, "g").spooled == (life + 1) * 1000
        });
        let accounts = outputs.finish();
        assert_eq!(
            accounts[0].counts.spooled,
            (life + 1) * 1000,
            "{accounts:?}"
        );
        assert_eq!(accounts[0].counts.lost(), 0);
    }
    gate.unset("away");
    let outputs = Outputs::start(vec![gate.planned(spooled("g", &spool))]).expect("it starts");
    wait_until("what waited is delivered, though nothing new comes", || {
        counts(&outputs, "g").delivered == 3000
    });
    push(&outputs, 3000..4000);
    wait_until("all are delivered", || {
        counts(&outputs, "g").delivered == 4000
    });
    let accounts = outputs.finish();
    assert_eq!(accounts[0].counts.spooled, 0, "{accounts:?}");
    assert!(gate.numbers().into_iter().eq(0..4000));
    let mode = {
        use std::os::unix::fs::PermissionsExt;
        spool.metadata().expect("the spool").permissions().mode()
    };
    assert_eq!(mode & 0o077, 0, "only the owner may read alerts");
}

#[test]
fn more_than_memory_holds_comes_out_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = Gate::new(&folder.path().join("gate"));
    gate.set("away");
    let lane = spooled("g", &folder.path().join("g.redb"));
    let outputs = Outputs::start(vec![gate.planned(lane)]).expect("it starts");
    for block in 0..10 {
        push(&outputs, block * 1000..(block + 1) * 1000);
        wait_until("they are on disk", || {
            counts(&outputs, "g").stored == (block + 1) * 1000
        });
    }
    gate.unset("away");
    wait_until("all are delivered", || {
        counts(&outputs, "g").delivered == 10_000
    });
    assert!(gate.numbers().into_iter().eq(0..10_000));
    assert_eq!(outputs.finish()[0].counts.lost(), 0);
}

#[test]
fn a_spool_that_is_full_drops_the_oldest_and_its_file_is_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = Gate::new(&folder.path().join("gate"));
    let path = folder.path().join("g.redb");
    gate.set("away");
    let mut lane = spooled("g", &path);
    let size = 2 << 20;
    if let Some(spool) = &mut lane.spool {
        spool.size = size;
    }
    let outputs = Outputs::start(vec![gate.planned(lane)]).expect("it starts");
    let total = 20_000;
    for block in 0..total / 1000 {
        push(&outputs, block * 1000..(block + 1) * 1000);
        wait_until("they went to disk", || {
            counts(&outputs, "g").stored == (block + 1) * 1000
        });
    }
    // counters are written one after the other
    wait_until("they are counted", || {
        let counts = counts(&outputs, "g");
        counts.spooled + counts.evicted == total
    });
    let before = counts(&outputs, "g");
    assert!(
        before.evicted > 0 && before.spool_bytes <= size,
        "{before:?}"
    );
    let length = path.metadata().expect("the spool").len();
    assert!(length <= size * 5 / 2 + (1 << 20), "{length} bytes");
    gate.unset("away");
    wait_until("the rest is delivered", || {
        let counts = counts(&outputs, "g");
        counts.delivered + counts.evicted == total
    });
    let numbers = gate.numbers();
    assert!(numbers.is_sorted() && numbers.last() == Some(&(total - 1)));
    assert_eq!(numbers.len() as u64, counts(&outputs, "g").delivered);
}

#[test]
fn what_is_too_old_is_dropped_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = Gate::new(&folder.path().join("gate"));
    gate.set("away");
    let path = folder.path().join("g.redb");
    let outputs = Outputs::start(vec![gate.planned(spooled("g", &path))]).expect("it starts");
    push(&outputs, 0..500);
    wait_until("they are on disk", || counts(&outputs, "g").spooled == 500);
    assert_eq!(outputs.finish()[0].counts.spooled, 500);
    let mut lane = spooled("g", &path);
    if let Some(spool) = &mut lane.spool {
        spool.age = Some(Duration::from_millis(1));
    }
    let outputs = Outputs::start(vec![gate.planned(lane)]).expect("it starts");
    wait_until(
        "the old ones are gone, but for those that are being tried",
        || {
            let counts = counts(&outputs, "g");
            counts.expired >= 500 - 256 && counts.expired + counts.spooled == 500
        },
    );
}

#[test]
fn a_damaged_spool_is_set_aside_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = Gate::new(&folder.path().join("gate"));
    let path = folder.path().join("g.redb");
    let mut damaged = vec![0x5a; 1 << 20];
    damaged[..MAGIC.len()].copy_from_slice(MAGIC);
    std::fs::write(&path, damaged).expect("a file");
    let outputs = Outputs::start(vec![gate.planned(spooled("g", &path))]).expect("it starts");
    push(&outputs, 0..10);
    wait_until("they are delivered", || {
        counts(&outputs, "g").delivered == 10
    });
    let accounts = outputs.finish();
    assert_eq!(
        (accounts[0].counts.delivered, accounts[0].counts.unreadable),
        (10, 1)
    );
    let aside = std::fs::read_dir(folder.path())
        .expect("the folder")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .find(|name| name.starts_with("g.damaged-"));
    assert!(aside.is_some());
}

#[test]
fn a_file_that_is_no_spool_stays_where_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = Gate::new(&folder.path().join("gate"));
    for (name, text) in [("short", &b"text"[..]), ("long", &[b'x'; 10_000])] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        let error = Outputs::start(vec![gate.planned(spooled("g", &path))]);
        let error = driver_api::error::Chain(&error.expect_err("refused")).to_string();
        assert!(error.contains("that lanner has not made"), "{error}");
        assert_eq!(std::fs::read(&path).expect("the file"), text);
    }
    // lanner was killed while it made this one
    let path = folder.path().join("unfinished");
    std::fs::write(&path, vec![0; 100_000]).expect("a file");
    let outputs = Outputs::start(vec![gate.planned(spooled("g", &path))]).expect("it starts");
    push(&outputs, 0..10);
    wait_until("they are delivered", || {
        counts(&outputs, "g").delivered == 10
    });
}

#[test]
fn two_outputs_cannot_share_a_spool() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = Gate::new(&folder.path().join("gate"));
    let path = folder.path().join("g.redb");
    let error = Outputs::start(vec![
        gate.planned(spooled("a", &path)),
        gate.planned(spooled("b", &path)),
    ])
    .expect_err("the second is refused");
    let error = driver_api::error::Chain(&error).to_string();
    assert!(error.contains("output b"), "{error}");
    assert!(error.contains("another output, has it open"), "{error}");
}

#[test]
fn an_output_that_changes_keeps_its_spool() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = Gate::new(&folder.path().join("gate"));
    let path = folder.path().join("g.redb");
    gate.set("away");
    let outputs = Outputs::start(vec![gate.planned(spooled("g", &path))]).expect("it starts");
    push(&outputs, 0..3000);
    wait_until("they are on disk", || counts(&outputs, "g").stored == 3000);
    let mut other = spooled("g", &path);
    if let Some(spool) = &mut other.spool {
        spool.fsync = false;
    }
    let (_, errors) = outputs.replace(vec![gate.planned(other)]);
    assert!(errors.is_empty(), "{errors:?}");
    push(&outputs, 3000..4000);
    wait_until("the rest is on disk", || {
        counts(&outputs, "g").spooled == 4000
    });
    let (_, errors) = outputs.replace(vec![gate.planned(settings("g"))]);
    assert!(errors.is_empty(), "{errors:?}");
    gate.unset("away");
    push(&outputs, 4000..4100);
    wait_until("all are delivered", || {
        counts(&outputs, "g").delivered == 4100
    });
    assert!(gate.numbers().into_iter().eq(0..4100));
}
