//! Measures how long rules take for an ordinary event that matches none of them, without the time to compute fields:
//! `cargo run --release -p rules-falco --example throughput -- FILE`

#![expect(clippy::expect_used, reason = "a measurement that cannot go on ends")]

#[path = "../tests/host/mod.rs"]
mod host;

use std::time::Instant;

use host::{ORDINARY, Rules};

const ROUNDS: u32 = 1_000_000;

#[expect(clippy::print_stdout, reason = "it prints the measurements")]
fn main() {
    let path = std::env::args().nth(1).expect("a rule file");
    let text = std::fs::read(&path).expect("a file that can be read");
    let begin = Instant::now();
    let mut rules = Rules::open(&text);
    println!(
        "{path}: loaded in {:.2} ms",
        begin.elapsed().as_secs_f64() * 1e3
    );
    let mut sum = 0.0;
    for (event_type, fields) in ORDINARY {
        let event = rules.prepare(event_type, fields);
        let begin = Instant::now();
        let matched: usize = (0..ROUNDS).map(|_| rules.run(&event)).sum();
        let each = begin.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS);
        sum += each;
        println!(
            "{event_type:<8} {each:6.1} ns, {} matches",
            matched / ROUNDS as usize
        );
    }
    let mean = sum / ORDINARY.len() as f64;
    println!(
        "mean {mean:.1} ns: {:.1} million events a second",
        1e3 / mean
    );
}
