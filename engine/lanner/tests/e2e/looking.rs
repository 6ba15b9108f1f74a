//! `lanner trace` beyond plain lines: conditions, templates, reports, and the letters that strace has.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use test_support::wait_until;

use crate::lanner::{BIN, run, stderr, usable};

/// Opens one file twice and another once, and one that is not there.
const SCRIPT: &str = "cat /etc/hosts /etc/hosts /etc/passwd /nonexistent; exit 0";
/// That cat(1) opens those files.
const OPENS: &str =
    "evt.type in (open, openat) and proc.name = cat and fd.name in (/etc/hosts, /etc/passwd)";

/// What lanner writes into the file of `-o` when it watches a shell with this script.
fn looked(driver: &str, args: &[&str], script: &str) -> (String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("out");
    let mut all = vec![
        "trace",
        "--driver",
        driver,
        "-o",
        file.to_str().expect("a text"),
    ];
    all.extend(args);
    all.extend(["--", "/bin/sh", "-c", script]);
    let output = run(&all);
    let said = stderr(&output);
    assert!(output.status.success(), "{driver} {args:?}: {said}");
    let text = fs::read(&file).expect("lanner wrote the file");
    (String::from_utf8_lossy(&text).into_owned(), said)
}

/// The words of each line.
fn rows(text: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(words).collect()
}

#[test]
fn a_condition_decides_which_events_a_template_shows() {
    for driver in usable() {
        let args = [
            "--where",
            OPENS,
            "--format",
            "%proc.name:%fd.name:%evt.failed",
        ];
        let (text, _) = looked(driver, &args, SCRIPT);
        assert_eq!(
            text, "cat:/etc/hosts:false\ncat:/etc/hosts:false\ncat:/etc/passwd:false\n",
            "{driver}"
        );
    }
}

#[test]
fn events_are_counted_alike_by_every_driver_and_in_a_recording() {
    for driver in usable() {
        let args = ["--where", OPENS, "--count", "fd.name", "--json"];
        let (text, _) = looked(driver, &args, SCRIPT);
        let report: Value = serde_json::from_str(&text).expect("one line of JSON");
        assert_eq!(
            report["rows"][0]["key"][0], "/etc/hosts",
            "{driver}: {text}"
        );
        assert_eq!(report["rows"][0]["count"], 2, "{driver}: {text}");
        assert_eq!(report["rows"][1]["count"], 1, "{driver}: {text}");
        assert_eq!(report["rows"][2], Value::Null, "{driver}: {text}");

        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("events");
        let file = file.to_str().expect("a text");
        run([
            "record", "--driver", driver, "-o", file, "--", "/bin/sh", "-c", SCRIPT,
        ]);
        let mut replay = vec!["trace", "--replay", file];
        replay.extend(args);
        let replayed = run(&replay);
        let again = String::from_utf8_lossy(&replayed.stdout).into_owned();
        assert_eq!(again, text, "{driver}: {}", stderr(&replayed));
    }
}

#[test]
fn a_summary_counts_calls_and_errors() {
    for driver in usable() {
        let args = [
            "-c",
            "--where",
            "proc.name = cat and evt.type in (open, openat)",
        ];
        let (text, _) = looked(driver, &args, SCRIPT);
        let rows = rows(&text);
        let head = "% time seconds usecs/call calls errors syscall";
        assert_eq!(rows[0], head, "{driver}");
        let calls: Vec<&String> = rows
            .iter()
            .filter(|row| row.ends_with(" openat") || row.ends_with(" open"))
            .collect();
        assert_eq!(calls.len(), 1, "{driver}: {text}");
        let words: Vec<&str> = calls[0].split(' ').collect();
        assert_eq!(words[0], "100.00", "{driver}: {text}");
        let seconds: f64 = words[1].parse().expect("a time");
        assert!(seconds > 0.0, "{driver}: {text}");
        let errors: u32 = words[4].parse().expect("a number of errors");
        assert!(errors >= 1, "{driver}: {text}");
    }
}

#[test]
fn histograms_and_statistics_measure_what_calls_returned() {
    let script = "head -c 300 /dev/zero > /dev/null; head -c 5 /dev/zero > /dev/null";
    let writes = "evt.type = write and proc.name = head and fd.name = /dev/null";
    for driver in usable() {
        let args = ["--where", writes, "--hist", "evt.rawres"];
        let (text, _) = looked(driver, &args, script);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "evt.rawres:", "{driver}");
        assert!(
            lines[1].starts_with("[4, 8)                 1 |@@@@"),
            "{driver}: {text}"
        );
        let last = lines.last().expect("a line");
        assert!(
            last.starts_with("[256, 512)             1 |@@@@"),
            "{driver}: {text}"
        );
        let args = [
            "--where",
            writes,
            "--stats",
            "evt.rawres",
            "--by",
            "proc.name,fd.name",
        ];
        let (text, _) = looked(driver, &args, script);
        assert_eq!(
            rows(&text)[1],
            "2 5 152.5 300 305 head /dev/null",
            "{driver}"
        );
    }
}

#[test]
fn classes_and_descriptors_are_shown_as_strace_shows_them() {
    for driver in usable() {
        let (text, said) = looked(
            driver,
            &["-qf", "-y", "-e", "trace=%desc", "-e", "!close"],
            SCRIPT,
        );
        assert!(
            said.is_empty() || said.contains("/nonexistent"),
            "{driver}: {said}"
        );
        assert!(!said.contains("lanner:"), "{driver}: {said}");
        assert!(text.contains("</etc/hosts>\n"), "{driver}: {text}");
        assert!(
            text.contains("</etc/hosts>, ") && text.contains("\tread("),
            "{driver}: {text}"
        );
        assert!(!text.contains("\tclose("), "{driver}: {text}");
        let (text, _) = looked(driver, &["-e", "%file", "-ttt"], SCRIPT);
        assert!(text.contains("\"/etc/hosts\""), "{driver}: {text}");
        assert!(!text.contains("read("), "{driver}: {text}");
    }
}

#[test]
fn a_report_comes_while_the_command_runs() {
    for driver in usable() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, done) = (folder.path().join("out"), folder.path().join("done"));
        let script = format!(
            "cat /etc/hosts > /dev/null; while [ ! -e {} ]; do sleep 0.05; done",
            done.display()
        );
        let mut child = Command::new(BIN)
            .args([
                "trace", "--driver", driver, "--where", OPENS, "--count", "fd.name",
            ])
            .args(["--interval", "100ms", "-o"])
            .arg(&file)
            .args(["--", "/bin/sh", "-c", &script])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("lanner can be started");
        let text = || fs::read_to_string(&file).unwrap_or_default();
        wait_until("the first report", || text().contains("1  /etc/hosts"));
        fs::write(&done, "").expect("written");
        let status = child.wait().expect("lanner ends");
        assert!(status.success(), "{driver}");
        // what was reported is not reported again
        assert_eq!(
            text().matches("/etc/hosts").count(),
            1,
            "{driver}: {}",
            text()
        );
    }
}

/// What people type who know strace: no `--`, classes without `%`, and a table that is not mixed with the command's output.
#[test]
fn fingers_that_know_strace_find_what_they_expect() {
    for driver in usable() {
        let output = run([
            "trace",
            "--driver",
            driver,
            "-cf",
            "-e",
            "trace=file",
            "cat",
            "/etc/hosts",
            "-",
        ]);
        assert!(output.status.success(), "{driver}: {}", stderr(&output));
        let hosts = fs::read("/etc/hosts").expect("the hosts");
        assert_eq!(output.stdout, hosts, "{driver}");
        let said = stderr(&output);
        assert!(said.contains("% time"), "{driver}: {said}");
        assert!(said.contains(" openat"), "{driver}: {said}");
        assert!(!said.contains(" write"), "{driver}: {said}");

        // a table for programs, and one that no command's output can be mixed with
        let output = run(["trace", "--driver", driver, "-c", "--json", "true"]);
        let report: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
        assert!(report["rows"][0]["calls"].is_u64(), "{driver}: {report}");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("events");
        let file = file.to_str().expect("a text");
        run(["record", "--driver", driver, "-o", file, "true"]);
        let output = run(["trace", "-c", "--replay", file]);
        assert!(
            output.stdout.starts_with(b"% calls"),
            "{driver}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn warnings_about_a_condition_do_not_show_the_rule_that_is_made_of_it() {
    let cases = [
        (
            "evt.type = openat and fd.name = proc.name",
            "val(proc.name)",
        ),
        ("fd.name contains hosts", ""),
    ];
    for (condition, word) in cases {
        let output = run(["trace", "-q", "--where", condition, "--", "true"]);
        let said = stderr(&output);
        assert!(output.status.success(), "{condition}: {said}");
        assert!(!said.contains("priority"), "{condition}: {said}");
        assert_eq!(
            said.lines().count(),
            word.len().min(1),
            "{condition}: {said}"
        );
        assert!(said.contains(word), "{condition}: {said}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let cases: [(&[&str], &str); 10] = [
        (&["--where", "proc.nam = x"], "proc.name"),
        (&["--where", "evt.type = openat and"], "--where"),
        (&["--format", "%proc.nam"], "proc.name"),
        (&["--count", "proc.nam"], "proc.name"),
        (&["--hist", "proc.name"], "no number"),
        (&["--by", "proc.name"], "--hist"),
        (&["--interval", "1s"], "--count"),
        (&["-c", "--interval", "0s"], "some time"),
        (&["--top", "3"], "--count"),
        (&["-e", "%fil"], "%file"),
    ];
    for (args, word) in cases {
        let mut all = vec!["trace"];
        all.extend(args);
        all.extend(["--", "touch", "/nonexistent/marker"]);
        let output = run(&all);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
        assert!(message.contains(word), "{args:?}: {message}");
    }
}

/// A call of sleep(1) that takes 30 ms.
const SLEEPS: &str = "evt.type in (nanosleep, clock_nanosleep) and proc.name = sleep";

#[test]
fn the_time_in_calls_is_shown_as_strace_shows_it() {
    for driver in usable() {
        let args = ["-T", "--where", SLEEPS];
        let (text, said) = looked(driver, &args, "sleep 0.03");
        let took = text
            .trim_end()
            .strip_suffix('>')
            .and_then(|line| line.rsplit_once(" = 0 <"))
            .unwrap_or_else(|| panic!("{driver}: {text}"))
            .1;
        assert_eq!(
            took.split_once('.').map(|(_, micros)| micros.len()),
            Some(6)
        );
        let took: f64 = took.parse().expect("a time");
        assert!(took >= 0.03, "{driver}: {text}");
        assert!(!said.contains("-T:"), "{driver}: {said}");
    }
}

#[test]
fn rules_templates_and_reports_know_how_long_calls_take() {
    let slow = format!("{SLEEPS} and evt.latency >= 30000000");
    for driver in usable() {
        let args = ["--where", &slow, "--format", "%evt.type %evt.latency"];
        let (text, _) = looked(driver, &args, "sleep 0.03; sleep 0");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1, "{driver}: {text}");
        let (_, ns) = lines[0].split_once(' ').expect("two words");
        let ns: u64 = ns.parse().expect("nanoseconds");
        assert!(ns >= 30_000_000, "{driver}: {text}");
        let args = ["--where", SLEEPS, "--stats", "evt.latency", "--json"];
        let (text, _) = looked(driver, &args, "sleep 0.03");
        let report: Value = serde_json::from_str(&text).expect("one line of JSON");
        let least = report["rows"][0]["min"].as_u64().expect("a number");
        assert!(least >= 30_000_000, "{driver}: {text}");
    }
}

#[test]
fn a_recording_keeps_the_time_in_calls_if_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| {
        folder
            .path()
            .join(name)
            .to_str()
            .expect("a text")
            .to_owned()
    };
    let with_times = file("times.rec");
    let without = file("plain.rec");
    for driver in usable() {
        for (file, times) in [(&with_times, Some("--times")), (&without, None)] {
            let mut args = vec!["record", "--driver", driver, "-o", file];
            args.extend(times);
            args.extend(["--", "sleep", "0.03"]);
            let output = run(&args);
            assert!(output.status.success(), "{driver}: {}", stderr(&output));
        }
        let replayed = |file: &str, args: &[&str]| {
            let mut all = vec!["trace", "--where", SLEEPS, "--replay", file];
            all.extend(args);
            let output = run(&all);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            (text, stderr(&output))
        };
        let latency = ["--format", "%evt.latency"];
        let (text, _) = replayed(&with_times, &latency);
        let ns: u64 = text.trim().parse().expect("nanoseconds");
        assert!(ns >= 30_000_000, "{driver}: {text}");
        let (text, _) = replayed(&with_times, &["-T"]);
        assert!(text.trim_end().ends_with('>'), "{driver}: {text}");
        // as in Falco
        assert_eq!(replayed(&without, &latency).0.trim(), "0", "{driver}");
        let (text, said) = replayed(&without, &["-T"]);
        assert!(text.trim_end().ends_with(" = 0"), "{driver}: {text}");
        assert!(said.contains("-T: how long calls took"), "{driver}: {said}");
    }
    let refused = run(["record", "--times", "-o", &file("x.scap"), "--", "true"]);
    assert!(!refused.status.success());
    assert!(
        stderr(&refused).contains("--format lanner"),
        "{}",
        stderr(&refused)
    );
    assert!(!folder.path().join("x.scap").exists());
}
