//! The page as text, and for Prometheus' own parser.

use plugin_host::{Priority, Rule};

use super::*;
use crate::counters::Board;

/// A page with contents that are hard to write.
fn hard() -> String {
    let telemetry = Telemetry::default();
    telemetry.set_driver(super::super::DriverFacts {
        name: "ptrace".to_owned(),
        reason: "because \"x\\y\"\nz".to_owned(),
        gaps: vec!["g".to_owned()],
    });
    let rule = Rule {
        name: "A \"rule\"".to_owned(),
        description: String::new(),
        priority: Priority::Warning,
        source: "syscall".to_owned(),
        tags: ["T1059.004", "T1059_004", "a b", "ü"]
            .map(str::to_owned)
            .to_vec(),
        output: String::new(),
        enabled: true,
    };
    let sums = vec![("r\"s.yaml".to_owned(), "abc".to_owned())];
    let board = Board::new(&[rule], &Board::default()).with_sums(sums, Vec::new());
    board.count(0, delivery::Verdict::Pass);
    telemetry.set_board(board.into());
    let accounts = [Account {
        output: "o".to_owned(),
        counts: delivery::Counts {
            overflowed: 3,
            ..Default::default()
        },
        capacity: 8,
    }];
    let mut made = Page(page(&telemetry, &accounts));
    made.one(gauge("lanner_test", "One\\\ntwo \"three\"."), 1);
    made.0
}

#[test]
fn labels_are_escaped_and_every_line_is_in_the_format() {
    let text = hard();
    assert!(text.contains(r#"reason="because \"x\\y\"\nz""#), "{text}");
    assert!(text.contains("# HELP lanner_test One\\\\\\ntwo \"three\".\n"));
    assert!(text.contains("\nfalcosecurity_falco_outputs_queue_num_drops_total 3\n"));
    assert!(text.contains("lanner_output_lost_total{output=\"o\",cause=\"queue-full\"} 3"));
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = name.split('{').next().unwrap();
        assert!(text.contains(&format!("# TYPE {name} ")), "{line}");
    }
}

#[test]
fn the_page_has_falcos_metrics() {
    let text = hard();
    let version = env!("CARGO_PKG_VERSION");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    for line in [
        format!("falcosecurity_falco_version_info{{version=\"{version}\"}} 1"),
        format!(
            "falcosecurity_falco_kernel_release_info{{kernel_release=\"{}\"}} 1",
            release.trim()
        ),
        r#"falcosecurity_falco_sha256_rules_files_info{file_name="r\"s.yaml",sha256="abc"} 1"#
            .to_owned(),
        r#"falcosecurity_scap_n_drops_buffer_total{drop="all",dir="all"} 0"#.to_owned(),
        r#"source="syscall",tags="T1059.004,T1059_004,a b,ü",tag_T1059_004="true",tag__="true",tag_a_b="true"} 1"#
            .to_owned(),
    ] {
        assert!(text.lines().any(|found| found.ends_with(&line)), "{line}\n{text}");
    }
}

/// The page is searched as text, because some families are there only now and then.
#[test]
fn all_families_of_lanners_own_are_known_to_plugin_host_which_keeps_plugins_from_them() {
    let source = include_str!("../prometheus.rs");
    let mut families: Vec<&str> = source
        .split('"')
        .filter(|text| text.starts_with("lanner_") && !text.contains(' '))
        .collect();
    families.push("lanner_plugin_faults_total");
    families.sort_unstable();
    families.dedup();
    assert_eq!(metrics::OWN_FAMILIES.as_slice(), families);
}

/// Prometheus' own parser, as a scrape uses it.
#[test]
fn promtool_accepts_the_page() {
    test_support::accepted_by_prometheus(&hard());
}
