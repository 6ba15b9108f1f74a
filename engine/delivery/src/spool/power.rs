//! The loss of power, in tests: every step of a spool's file is noted, and files are made as a disk may have them when
//! the power goes at some step: all that was synced, and any part of what was written later, in pieces and in any order.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::{Alert, Spool, SpoolSettings};
use plugin_host::Priority;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What happened to the file.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Write(u64, Vec<u8>),
    Length(u64),
    Sync,
    /// From here on the spool says that alerts up to the second number are safe, and that those before the first are
    /// delivered.
    Says(u64, u64),
}

thread_local! {
    static NOTES: RefCell<Option<Vec<Step>>> = const { RefCell::new(None) };
}

/// Notes a step of this thread's spool, if steps are noted.
pub(super) fn note(step: impl FnOnce() -> Step) {
    NOTES.with_borrow_mut(|notes| {
        if let Some(notes) = notes {
            notes.push(step());
        }
    });
}

/// Numbers that look random, and are the same in each run (Knuth's MMIX generator).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }
}

pub(super) fn settings(path: &Path, fsync: bool) -> SpoolSettings {
    SpoolSettings {
        path: path.to_owned(),
        size: 64 << 20,
        age: None,
        fsync,
    }
}

pub(super) fn alert(number: u64, size: usize) -> Arc<Alert> {
    Arc::new(Alert {
        time_ns: number,
        rule: "r".to_owned(),
        priority: Priority::Notice,
        source: "syscall".to_owned(),
        hostname: "h".to_owned(),
        tags: Vec::new(),
        text: "x".repeat(size),
        json: String::new(),
        fields: Vec::new(),
        context: Vec::new(),
    })
}

fn apply(image: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Write(at, data) => {
            let at = usize::try_from(*at).unwrap();
            image.resize(image.len().max(at + data.len()), 0);
            image[at..at + data.len()].copy_from_slice(data);
        }
        Step::Length(len) => image.resize(usize::try_from(*len).unwrap(), 0),
        Step::Sync | Step::Says(..) => {}
    }
}

/// What the disk has after these steps, if only a part of those behind the last sync reached it.
fn image(steps: &[Step], dice: &mut Dice) -> Vec<u8> {
    let synced = steps
        .iter()
        .rposition(|step| matches!(step, Step::Sync))
        .map_or(0, |at| at + 1);
    let mut image = Vec::new();
    for step in &steps[..synced] {
        apply(&mut image, step);
    }
    let mut pieces = Vec::new();
    for step in &steps[synced..] {
        if let Step::Write(at, data) = step {
            for (part, piece) in data.chunks(SECTOR).enumerate() {
                let at = at + (part * SECTOR) as u64;
                pieces.push(Step::Write(at, piece.to_vec()));
            }
        } else {
            pieces.push(step.clone());
        }
    }
    while !pieces.is_empty() {
        let piece = pieces.swap_remove(dice.below(pieces.len()));
        if dice.below(2) == 0 {
            apply(&mut image, &piece);
        }
    }
    image
}

/// A spool's life: alerts are stored, taken and delivered. Its steps.
fn life(path: &Path, fsync: bool, dice: &mut Dice) -> Vec<Step> {
    NOTES.set(Some(Vec::new()));
    let (mut spool, _) = Spool::open(settings(path, fsync)).unwrap();
    let (mut stored, mut delivered) = (0, 0);
    for _ in 0..60 {
        let new: Vec<_> = (stored..)
            .take(dice.below(40))
            .map(|number| alert(number, dice.below(3000)))
            .collect();
        spool.commit(&new).unwrap();
        stored += new.len() as u64;
        let taken = spool.take(dice.below(30)).unwrap().0.len();
        spool.delivered(taken);
        delivered += taken as u64;
        // what is delivered goes with the next commit
        note(|| Step::Says(delivered, stored));
    }
    drop(spool);
    NOTES.take().unwrap()
}

/// Whether all that was safe is there, in order, when the power goes after these steps.
fn survives(path: &Path, steps: &[Step], dice: &mut Dice) -> bool {
    let said = steps.iter().rev().find_map(|step| match step {
        Step::Says(delivered, stored) => Some((*delivered, *stored)),
        _ => None,
    });
    let (delivered, stored) = said.unwrap();
    fs::write(path, image(steps, dice)).unwrap();
    let (mut spool, aside) = Spool::open(settings(path, false)).unwrap();
    let (alerts, unreadable) = spool.take(usize::MAX).unwrap();
    drop(spool);
    fs::remove_file(path).unwrap();
    let numbers: Vec<u64> = alerts.iter().map(|alert| alert.time_ns).collect();
    let whole = numbers.last().map_or(stored == delivered, |last| {
        numbers[0] <= delivered && last + 1 >= stored
    });
    let in_order = numbers.windows(2).all(|pair| pair[1] == pair[0] + 1);
    aside.is_none() && unreadable == 0 && in_order && whole
}

/// Lets the power go at 300 moments. Returns at how many of them alerts are lost.
fn costly(fsync: bool) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(7);
    let steps = life(&folder.path().join("spool"), fsync, &mut dice);
    let begin = steps.iter().position(|step| matches!(step, Step::Says(..)));
    let begin = begin.unwrap();
    let mut costly = 0;
    for round in 0..300 {
        let cut = begin + 1 + dice.below(steps.len() - begin);
        let path = folder.path().join(format!("{round}"));
        costly += usize::from(!survives(&path, &steps[..cut], &mut dice));
    }
    costly
}

#[test]
fn what_is_said_to_be_safe_survives_a_loss_of_power_at_any_moment() {
    assert_eq!(costly(true), 0);
}

#[test]
fn without_fsync_a_loss_of_power_is_costly() {
    assert!(costly(false) > 0);
}
