//! The whole of lanner, killed twice while its output is away: needs the eBPF driver and so root.
//!
//! `LANNER_SOAK_SECONDS=600 cargo test -p lanner --test delivery soak -- --nocapture` takes as long as it says.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use test_support::{skipped, wait_until};

use crate::session::{Folder, Lanner, MAKER};
use crate::stage::Gate;

#[test]
fn what_was_raised_before_a_kill_is_delivered_after_it() {
    if !nix::unistd::geteuid().is_root() {
        skipped("the eBPF driver takes root");
        return;
    }
    let seconds: u64 = std::env::var("LANNER_SOAK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(6);
    let folder = Folder::new();
    let gate = Gate::new(&folder.path("gate"));
    gate.set("away");
    let rules = folder.rule("A", "");
    let (watched, stop) = (folder.path("watched"), folder.path("stop"));
    let config = folder.put(
        "lanner.yaml",
        &format!(
            "rules_files: [{}]\nstdout_output: {{enabled: false}}\noutputs:\n- plugin: output-gate\n  \
             settings: {{folder: {}}}\n  retry_max: 1s\n  spool: {{path: {}}}\n",
            rules.display(),
            gate.0.display(),
            folder.path("spool.redb").display(),
        ),
    );
    // a hundred a second: to make a file takes a while, too
    let mut maker = Command::new("python3")
        .args(["-c", MAKER])
        .args([&watched, &stop])
        .arg("0.007")
        .stdout(Stdio::null())
        .spawn()
        .expect("python3");
    let pid = maker.id().to_string();
    let args = [
        "--driver",
        "ebpf-core",
        "-p",
        &pid,
        "-c",
        config.to_str().expect("a text"),
    ];
    let part = Duration::from_secs(seconds) / 3;
    for _ in 0..2 {
        let mut lanner = Lanner::start(&args);
        lanner.wait_for("driver ebpf-core");
        let end = Instant::now() + part;
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
        lanner.child.kill().expect("SIGKILL");
        drop(lanner.end());
    }
    let lanner = Lanner::start(&args);
    lanner.wait_for("driver ebpf-core");
    std::thread::sleep(part);
    fs::write(&stop, "").expect("a file");
    maker.wait().expect("it ends");
    // the session ends with the process, and the output comes back at last
    gate.unset("away");
    let (_, err) = lanner.end();
    let mut again = Lanner::start(&[
        "--driver",
        "ebpf-core",
        "-c",
        config.to_str().expect("a text"),
        "--",
        "true",
    ]);
    again.child.wait().expect("it ends");
    let (_, last) = again.end();
    assert!(
        !err.iter().chain(&last).any(|line| line.contains("lost")),
        "{err:?} {last:?}"
    );
    wait_until("something was delivered", || !numbers(&gate).is_empty());
    let numbers = numbers(&gate);
    // what was made while no lanner lived was not seen: a gap for each kill
    let (mut gaps, mut missing, mut twice, mut back) = (0, 0, 0, 0);
    let mut next = numbers[0];
    for (at, number) in numbers.iter().enumerate() {
        gaps += usize::from(*number > next);
        missing += number.saturating_sub(next);
        twice += usize::from(*number < next);
        back += usize::from(at > 0 && *number < numbers[at - 1]);
        next = next.max(number + 1);
    }
    println!(
        "soak: {seconds} s, {} alerts came out, {twice} of them twice, {back} steps back, {gaps} gaps with {missing} \
         files that were not seen",
        numbers.len()
    );
    assert!(gaps <= 2, "{gaps} gaps with 2 kills");
    assert!(
        numbers.len() as u64 >= seconds * 20,
        "{} alerts",
        numbers.len()
    );
    assert!(back <= 3, "{back} steps back with 2 kills and an end");
    // the batch that was under way, and the one before it (256 each)
    assert!(twice <= 3 * 512, "{twice} alerts came twice");
}

fn numbers(gate: &Gate) -> Vec<u64> {
    fs::read_to_string(gate.0.join("out"))
        .unwrap_or_default()
        .lines()
        .map(|line| {
            line.rsplit('/')
                .next()
                .and_then(|n| n.parse().ok())
                .expect("a number")
        })
        .collect()
}
