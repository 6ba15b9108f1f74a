//! /metrics, /healthz and /versions of a running lanner.

use std::fs;
use test_support::wait_until;

use crate::session::{Folder, Lanner, get};
use crate::stage::Gate;

#[test]
fn a_running_lanner_tells_how_it_is() {
    let folder = Folder::new();
    let gate = Gate::new(&folder.path("gate"));
    gate.set("away");
    let rules = folder.rule("A \"quoted\"", "");
    let socket = folder.path("web");
    let config = folder.put(
        "lanner.yaml",
        &format!(
            "rules_files: [{}]\nwebserver: {{enabled: true, unix_socket: {}}}\n\
             alert_limits: {{rules: {{'A \"quoted\"': {{rate: 0.001, max_burst: 5}}}}}}\n\
             outputs:\n- plugin: output-gate\n  name: away\n  settings: {{folder: {}}}\n  spool: {{path: {}}}\n",
            rules.display(),
            socket.display(),
            gate.0.display(),
            folder.path("spool.redb").display(),
        ),
    );
    let lanner = folder.lanner("ptrace", &config, "0.001");
    let metrics = || {
        get(&socket, "/metrics")
            .map(|(_, body)| body)
            .unwrap_or_default()
    };
    wait_until(&format!("alerts are on disk {:?}", lanner.err), || {
        metrics().contains("lanner_spool_alerts{output=\"away\"} 5\n")
    });
    wait_until("more are left out", || {
        metrics().contains(
            "lanner_alerts_suppressed_total{rule_name=\"A \\\"quoted\\\"\",cause=\"rate\"}",
        )
    });
    let page = metrics();
    for part in [
        "falcosecurity_scap_engine_name_info{engine_name=\"ptrace\",evt_source=\"syscall\"} 1\n",
        "lanner_driver_info{driver=\"ptrace\",reason=\"driver ptrace",
        "falcosecurity_falco_rules_matches_total{priority=\"5\",rule_name=\"A \\\"quoted\\\"\",source=\"syscall\",tags=\"\"} ",
        "lanner_output_delivered_total{output=\"output-console\"} 5\n",
        "lanner_output_lost_total{output=\"away\",cause=\"queue-full\"} 0\n",
        "falcosecurity_falco_outputs_queue_num_drops_total 0\n",
        "falcosecurity_scap_n_drops_total 0\n",
        "falcosecurity_falco_memory_rss_bytes ",
        "lanner_processes_living ",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    // counters are published now and then
    wait_until("events are counted", || {
        let page = metrics();
        let events = page
            .lines()
            .find_map(|line| line.strip_prefix("falcosecurity_scap_n_evts_total "));
        events.and_then(|number| number.parse::<u64>().ok()) > Some(5)
    });
    assert_eq!(
        get(&socket, "/healthz"),
        Some((
            "HTTP/1.1 200 OK".to_owned(),
            "{\"status\":\"ok\"}".to_owned()
        ))
    );
    let versions = get(&socket, "/versions").expect("it answers").1;
    assert!(versions.contains("\"lanner_version\""), "{versions}");
    assert!(
        get(&socket, "/nothing")
            .expect("it answers")
            .0
            .contains("404")
    );
    let mode = {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(&socket)
            .expect("the socket")
            .permissions()
            .mode()
    };
    assert_eq!(mode & 0o077, 0, "the socket is for its owner");
    folder.stop();
    let (_, err) = lanner.end();
    assert!(
        err.iter()
            .any(|line| line.contains("5 alerts wait on disk")),
        "{err:?}"
    );
}

#[test]
fn a_plugin_cannot_add_to_lanners_own_metrics() {
    let folder = Folder::new();
    let rules = folder.rule("A", "");
    let socket = folder.path("web");
    let config = folder.put(
        "lanner.yaml",
        &format!(
            "rules_files: [{}]\nwebserver: {{enabled: true, unix_socket: {}}}\noutputs: [{{plugin: output, name: joins}}]\n",
            rules.display(),
            socket.display(),
        ),
    );
    let lanner = folder.lanner("ptrace", &config, "0.001");
    let metrics = || {
        get(&socket, "/metrics")
            .map(|(_, body)| body)
            .unwrap_or_default()
    };
    wait_until(&format!("its own metric is there {:?}", lanner.err), || {
        metrics().contains("\nlanner_output_own_total{output=\"forged\"} 7\n")
    });
    let page = metrics();
    assert_eq!(page.matches("forged").count(), 1, "{page}");
    assert_eq!(
        page.matches("# TYPE lanner_output_delivered_total ")
            .count(),
        1
    );
    assert!(
        page.contains("lanner_output_delivered_total{output=\"joins\"}"),
        "{page}"
    );
    test_support::accepted_by_prometheus(&page);
    assert!(lanner.said("lanner_output_delivered_total is a metric of lanner's own") > 0);
    folder.stop();
    lanner.end();
}

#[test]
fn a_lost_alert_is_an_alert() {
    let folder = Folder::new();
    let gate = Gate::new(&folder.path("gate"));
    gate.set("gives-up");
    let rules = folder.rule("A", "");
    let config = folder.put(
        "lanner.yaml",
        &format!(
            "rules_files: [{}]\noutputs:\n- plugin: output-gate\n  name: loser\n  settings: {{folder: {}}}\n",
            rules.display(),
            gate.0.display(),
        ),
    );
    let lanner = folder.lanner("ptrace", &config, "0.001");
    wait_until(&format!("the others are notified {:?}", lanner.err), || {
        lanner.alerts("Critical lanner internal: alert loss. Output loser lost ") > 0
    });
    folder.stop();
    let (out, _) = lanner.end();
    assert!(
        out.iter()
            .any(|line| line.contains("lost.given-up=") && line.contains("output=loser")),
        "{out:?}"
    );
}

#[test]
fn clients_that_are_slow_keep_no_one_from_asking_for_health() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    let folder = Folder::new();
    let (lanner, socket) = folder.lanner_with_web(&folder.rule("A", ""), "");
    // half of them do not finish their request, the others do not read their answer
    let slow: Vec<UnixStream> = (0..200)
        .map(|at| {
            let mut stream = UnixStream::connect(&socket).expect("a connection");
            let end = if at % 2 == 0 { "" } else { "\r\n" };
            // the oldest are ended meanwhile
            let _ = write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\n{end}");
            stream
        })
        .collect();
    let mut stream = UnixStream::connect(&socket).expect("a connection");
    // lanner itself gives a slow client 10 seconds
    let patience = Some(Duration::from_secs(5));
    stream.set_read_timeout(patience).expect("a timeout");
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).expect("a request");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{read:?}: {answer}");
    drop(slow);
    folder.stop();
    lanner.end();
}

/// Processes that make more calls than lanner can look at.
struct Load(Vec<std::process::Child>);

impl Load {
    fn start() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let dd = |_| {
            std::process::Command::new("dd")
                .args(["if=/dev/zero", "of=/dev/null", "bs=1"])
                .stderr(std::process::Stdio::null())
                .spawn()
                .expect("dd")
        };
        Self((0..=cpus).map(dd).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn under_overload_health_is_answered_and_a_signal_ends_lanner() {
    for driver in ["ebpf-core", "ebpf-legacy"] {
        if !test_support::is_root() {
            return test_support::skipped("only root can capture the whole host");
        }
        let folder = Folder::new();
        let rules = folder.put(
            "rules.yaml",
            "- rule: A\n  desc: d\n  condition: evt.type in (read, write) and proc.name = nosuch\n  output: o\n  \
             priority: INFO\n",
        );
        let socket = folder.path("web");
        let config = folder.put(
            "lanner.yaml",
            &format!(
                "rules_files: [{}]\nwebserver: {{enabled: true, unix_socket: {}}}\n",
                rules.display(),
                socket.display(),
            ),
        );
        let config = config.to_str().expect("a text");
        let load = Load::start();
        let mut lanner = Lanner::start(&["--driver", driver, "--buffer", "64K", "-c", config]);
        wait_until(&format!("events are lost {:?}", lanner.err), || {
            let page = get(&socket, "/metrics").map_or(String::new(), |(_, page)| page);
            let lost = page.lines().find_map(|line| {
                let lost = line.strip_prefix("falcosecurity_scap_n_drops_total")?;
                lost.rsplit(' ').next()?.parse::<f64>().ok()
            });
            lost.is_some_and(|lost| lost > 1000.0)
        });
        for _ in 0..20 {
            let (status, body) = get(&socket, "/healthz").expect("an answer");
            assert!(status.contains("200"), "{driver}: {status} {body}");
        }
        lanner.signal(nix::sys::signal::Signal::SIGTERM);
        wait_until(&format!("it ends {:?}", lanner.err), || {
            lanner.child.try_wait().expect("its status").is_some()
        });
        drop(load);
        let (_, err, status) = lanner.end_with_status();
        assert!(status.success(), "{driver}: {err:?}");
    }
}
