//! An event that matches no rule causes no allocation, whatever the rules compare.

mod host;

use host::{ORDINARY, Rules};
use test_support::{Counting, allocations as allocated};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(text: &[u8]) -> usize {
    let mut rules = Rules::open(text);
    let events: Vec<_> = ORDINARY
        .iter()
        .map(|(event_type, fields)| rules.prepare(event_type, fields))
        .collect();
    // The first round allocates the buffers.
    for event in &events {
        assert_eq!(rules.run(event), 0);
    }
    let before = allocated();
    for event in events.iter().cycle().take(1000) {
        assert_eq!(rules.run(event), 0);
    }
    allocated() - before
}

#[test]
fn the_default_rules_allocate_nothing() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../rules/lanner_rules.yaml");
    assert_eq!(
        allocations(&std::fs::read(path).expect("the default rules")),
        0
    );
}

#[test]
fn no_operator_allocates() {
    let conditions = [
        "tolower(proc.name) = x",
        "toupper(basename(proc.exepath)) in (A, B)",
        "concat(proc.name, \":\", proc.pid) = x",
        "getopt(proc.args, \"ab:\") intersects (x)",
        "getopt(proc.args, \"ab:\")[b] = x",
        "len(proc.cmdline) > 1000",
        "proc.name = val(proc.pname)",
        "proc.cmdline regex \"nothing[0-9]+\"",
        "proc.cmdline glob 'nothing*'",
        "proc.exepath pmatch (/nowhere)",
        "proc.cmdline icontains NOTHING or proc.cmdline icontains NOBODY",
        "proc.cmdline contains oneof (nothing, nobody)",
        "fd.sip in (203.0.113.0/24, 198.51.100.1)",
        "fd.sport in (1, 2, 3)",
        "proc.name startswith nothing or proc.name endswith nothing",
    ];
    let rules: String = conditions
        .iter()
        .enumerate()
        .map(|(at, condition)| {
            format!(
                "- rule: r{at}\n  desc: d\n  output: o\n  priority: INFO\n  condition: >\n    evt.type \
                 in (openat, execve, connect) and ({condition})\n"
            )
        })
        .collect();
    assert_eq!(allocations(rules.as_bytes()), 0);
}
