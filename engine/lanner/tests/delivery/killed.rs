//! Killed with SIGKILL while alerts flow and the output is away: what was on disk is delivered, in order, and
//! twice only where the process died.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use delivery::Outputs;
use test_support::wait_until;

use crate::disk::spooled;
use crate::stage::{Gate, counts, push};

/// Alerts that the feeder pushes before it says how many are on disk.
const STEP: u64 = 50;

/// Pushes alerts from a number on, for ever, and says which are on disk. Killed by the test below.
#[test]
#[ignore = "it is the process that the other test kills"]
fn feeder() {
    let from: u64 = word("FEEDER_FROM").parse().expect("a number");
    let folder = std::path::PathBuf::from(word("FEEDER_FOLDER"));
    let gate = Gate::new(&folder.join("gate"));
    let lane = spooled("g", &folder.join("g.redb"));
    let outputs = Outputs::start(vec![gate.planned(lane)]).expect("it starts");
    for at in (from..).step_by(usize::try_from(STEP).expect("small")) {
        push(&outputs, at..at + STEP);
        wait_until("they are on disk", || {
            counts(&outputs, "g").stored >= at + STEP - from
        });
        println!("stored {}", at + STEP);
    }
}

fn word(name: &str) -> String {
    std::env::var(name).expect("the test sets it")
}

struct Feeder {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Feeder {
    fn start(folder: &std::path::Path, from: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "killed::feeder", "--ignored", "--nocapture"])
            .env("FEEDER_FROM", from.to_string())
            .env("FEEDER_FOLDER", folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the feeder starts");
        let lines = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, lines }
    }

    /// Reads on until this many alerts are on disk, and returns how many are known to be.
    fn until(&mut self, wanted: u64) -> u64 {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.lines.read_line(&mut line).expect("a line");
            assert!(read > 0, "the feeder ended by itself");
            if let Some((_, number)) = line.trim_end().split_once("stored ") {
                let stored = number.parse().expect("a number");
                if stored >= wanted {
                    return stored;
                }
            }
        }
    }

    /// Kills it in the middle of whatever it does; returns the last that it said.
    fn kill(mut self, mut stored: u64) -> u64 {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("it is dead");
        for line in self.lines.lines().map_while(Result::ok) {
            if let Some((_, number)) = line.split_once("stored ") {
                stored = number.parse().unwrap_or(stored);
            }
        }
        stored
    }
}

#[test]
fn everything_on_disk_is_delivered_in_order_with_duplicates_at_the_seams_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = Gate::new(&folder.path().join("gate"));
    gate.set("away");
    let (mut stored, mut seams) = (0, Vec::new());
    for life in 1..=4 {
        let mut feeder = Feeder::start(folder.path(), stored);
        if life == 3 {
            // from here on it is delivered while it is fed
            gate.unset("away");
        }
        let seen = feeder.until(stored + 2000);
        stored = feeder.kill(seen);
        seams.push(stored);
    }
    let lane = spooled("g", &folder.path().join("g.redb"));
    let outputs = Outputs::start(vec![gate.planned(lane)]).expect("it starts");
    wait_until("nothing is left", || {
        let counts = counts(&outputs, "g");
        counts.spooled == 0 && counts.waiting == 0
    });
    let accounts = outputs.finish();
    assert_eq!(accounts[0].counts.lost(), 0, "{accounts:?}");

    let numbers = gate.numbers();
    let mut next = 0;
    let mut backwards = 0;
    for number in &numbers {
        assert!(*number <= next, "{next} is missing before {number}");
        if *number < next {
            backwards += 1;
        }
        next = next.max(number + 1);
    }
    assert!(next >= stored, "{next} of {stored} alerts came out");
    // A seam: the batch that was under way and the one before it come again, and the feeder repeats what it
    // did not know to be on disk.
    let twice = 2 * 256 + usize::try_from(STEP).expect("small");
    assert!(
        backwards <= seams.len() * twice,
        "{backwards} alerts came twice, with {} seams",
        seams.len()
    );
}
