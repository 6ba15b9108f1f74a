//! A full disk, which takes a file system of its own and so root.

use std::path::{Path, PathBuf};
use std::process::Command;

use delivery::Outputs;
use test_support::{skipped, wait_until};

use crate::disk::spooled;
use crate::session::BIN;
use crate::stage::{Gate, counts, push};

/// A small tmpfs that goes with it.
pub(crate) struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    pub(crate) fn new(folder: &'a Path) -> Option<Self> {
        std::fs::create_dir(folder).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m,mode=700", "lanner-test"])
            .arg(folder)
            .status()
            .is_ok_and(|status| status.success());
        mounted.then_some(Self(folder))
    }

    /// Fills it. Removing the file that is returned makes room again.
    pub(crate) fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        let file = std::fs::File::create(&ballast).expect("a file");
        let mut at = 0;
        while std::os::unix::fs::FileExt::write_at(&file, &[1; 4096], at).is_ok_and(|n| n == 4096) {
            at += 4096;
        }
        ballast
    }

    /// Makes it read-only (`ro`) or writable (`rw`).
    fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        let done = Command::new("mount")
            .args(["-o", &option])
            .arg(self.0)
            .status();
        assert!(done.is_ok_and(|status| status.success()));
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_costs_the_oldest_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let mount = folder.path().join("disk");
    let Some(disk) = Disk::new(&mount) else {
        skipped("a full disk takes a mount, and so root");
        return;
    };
    let gate = Gate::new(&folder.path().join("gate"));
    gate.set("away");
    let lane = spooled("g", &disk.0.join("g.redb"));
    let outputs = Outputs::start(vec![gate.planned(lane.clone())]).expect("it starts");
    let total = 20_000;
    for block in 0..total / 500 {
        push(&outputs, block * 500..(block + 1) * 500);
        wait_until("they went to disk", || {
            counts(&outputs, "g").stored == (block + 1) * 500
        });
        if block == 4 {
            // somebody else takes what is left
            let ballast = std::fs::File::create(disk.0.join("ballast")).expect("a file");
            let mut at = 0;
            while std::os::unix::fs::FileExt::write_at(&ballast, &[1; 65536], at)
                .is_ok_and(|written| written == 65536)
            {
                at += 65536;
            }
        }
    }
    // counters are written one after the other
    wait_until("they are counted", || {
        let counts = counts(&outputs, "g");
        counts.spooled + counts.disk_full == total
    });
    let before = counts(&outputs, "g");
    assert!(before.disk_full > 0, "{before:?}");
    assert_eq!(before.spooled + before.disk_full, total, "{before:?}");
    assert_eq!(outputs.finish()[0].counts.abandoned, 0);

    // the disk is still full, and the next lanner delivers what is there
    let outputs = Outputs::start(vec![gate.planned(lane)]).expect("it starts");
    gate.unset("away");
    wait_until("the rest is delivered", || {
        counts(&outputs, "g").delivered == before.spooled
    });
    let numbers = gate.numbers();
    assert_eq!(numbers.len() as u64, before.spooled);
    assert!(numbers.is_sorted() && numbers.last() == Some(&(total - 1)));
}

/// The disk cannot be written when lanner begins: an output that works gets its alerts, once each.
#[test]
fn a_broken_disk_at_the_start_does_not_keep_alerts_from_an_output() {
    for remount in [None, Some("ro")] {
        let folder = tempfile::tempdir().expect("a folder");
        let mount = folder.path().join("disk");
        let Some(disk) = Disk::new(&mount) else {
            skipped("a full disk takes a mount, and so root");
            return;
        };
        let ballast = disk.fill();
        remount.iter().for_each(|option| disk.remount(option));
        let gate = Gate::new(&folder.path().join("gate"));
        let lane = spooled("g", &disk.0.join("g.redb"));
        let outputs = Outputs::start(vec![gate.planned(lane)]).expect("it starts");
        for block in 0..4 {
            push(&outputs, block * 1000..(block + 1) * 1000);
            wait_until("they are delivered from memory", || {
                counts(&outputs, "g").delivered == (block + 1) * 1000
            });
        }
        gate.set("away");
        push(&outputs, 4000..4010);
        wait_until("they are offered", || counts(&outputs, "g").retries > 0);
        remount.iter().for_each(|_| disk.remount("rw"));
        std::fs::remove_file(&ballast).expect("it is there");
        wait_until("what is left goes to the disk", || {
            counts(&outputs, "g").stored == 10
        });
        gate.unset("away");
        push(&outputs, 4010..5000);
        wait_until("all are delivered", || {
            counts(&outputs, "g").delivered == 5000
        });
        assert!(gate.numbers().into_iter().eq(0..5000));
        assert_eq!(outputs.finish()[0].counts.lost(), 0);
    }
}

/// The disk is full before lanner begins: alerts wait in memory, and go on when there is room.
#[test]
fn a_disk_that_is_full_at_the_start_does_not_stop_the_capture() {
    let folder = tempfile::tempdir().expect("a folder");
    let mount = folder.path().join("disk");
    let Some(disk) = Disk::new(&mount) else {
        skipped("a full disk takes a mount, and so root");
        return;
    };
    let ballast = disk.fill();
    let gate = Gate::new(&folder.path().join("gate"));
    let lane = spooled("g", &disk.0.join("g.redb"));
    let outputs = Outputs::start(vec![gate.planned(lane)]).expect("it starts without its disk");
    assert!(counts(&outputs, "g").spool_errors > 0);
    push(&outputs, 0..10);
    std::fs::remove_file(&ballast).expect("it is there");
    wait_until("they are delivered once there is room", || {
        counts(&outputs, "g").delivered == 10
    });
    assert_eq!(gate.numbers(), (0..10).collect::<Vec<_>>());
    assert_eq!(outputs.finish()[0].counts.lost(), 0);
}

/// The disk of the alerts' files is read-only when lanner begins: a warning, and the capture goes on.
#[test]
fn a_read_only_disk_for_captures_does_not_stop_the_capture() {
    let folder = tempfile::tempdir().expect("a folder");
    let mount = folder.path().join("disk");
    let Some(disk) = Disk::new(&mount) else {
        skipped("a read-only disk takes a mount, and so root");
        return;
    };
    disk.remount("ro");
    let place = mount.join("alert");
    let capture = format!(
        "capture={{enabled: true, mode: all_rules, path_prefix: {}}}",
        place.display()
    );
    let run = ["run", "--driver", "ptrace", "-o", &capture, "--", "true"];
    for arguments in [&run[..], &["config", "check", "-o", &capture]] {
        let output = Command::new(BIN).args(arguments).output();
        let output = output.expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        let warns = said.contains("alerts have no files until");
        assert!(warns, "{arguments:?}: {said}");
    }
}
