//! What the server answers.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use test_support::{usable_drivers, wait_for, wait_until};

use super::{Served, ask, facts};
use crate::session::{BIN, Folder, get};

#[test]
fn the_page_gets_alerts_counts_drivers_and_the_meaning_of_a_rule() {
    for driver in usable_drivers(BIN, &["ptrace", "ebpf-core", "ebpf-legacy"]) {
        facts_of(driver);
    }
}

fn facts_of(driver: &str) {
    let folder = Folder::new();
    let rules = folder.rule("Made a \"file\"", "");
    let served = Served::start(driver, folder, &rules, &["one"]);
    let alerts = wait_for("there is an alert", || {
        let alerts = facts(&served, "/page/alerts")?;
        let some = alerts["alerts"].as_array()?.len();
        (some > 0).then_some(alerts)
    });
    let row = &alerts["alerts"][0];
    assert_eq!(row["rule"], "Made a \"file\"");
    // the rule's output has neither
    assert_eq!(row["process"], "python3");
    assert!(
        row["pid"]
            .as_str()
            .is_some_and(|pid| pid.parse::<u32>().is_ok()),
        "{row}"
    );
    assert!(row["fields"].get("proc.name").is_none(), "{row}");
    let next =
        facts(&served, &format!("/page/alerts?after={}", alerts["last"])).expect("an answer");
    assert_eq!(next["missed"], 0);
    let state = facts(&served, "/page/state").expect("a state");
    assert_eq!(state["driver"]["name"], driver);
    assert_eq!(state["problem"], serde_json::Value::Null);
    assert_eq!(state["outputs"][0]["name"], "output-console");
    assert!(state["outputs"][0]["capacity"].as_u64() > Some(0));
    assert!(state["rules"][0]["matches"].as_u64() > Some(0));
    let drivers = facts(&served, "/page/drivers").expect("drivers");
    let names = drivers["drivers"].as_array().expect("a list");
    assert!(
        names.iter().any(|driver| driver["name"] == "ptrace"),
        "{drivers}"
    );
    let rule = facts(&served, "/page/rule?name=Made%20a%20%22file%22").expect("a rule");
    let condition = rule["condition"].as_str().expect("a text");
    assert!(condition.contains("O_CREAT"), "{condition}");
    // what runs is not what the file says then
    served.folder.put("rules.yaml", "- rule: [");
    let head = format!(
        "GET /page/rule?name=Made%20a%20%22file%22 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n",
        served.token
    );
    let (status, _, why) = ask(&served.address, &head, "").expect("an answer");
    assert_eq!(status, 409, "{}", String::from_utf8_lossy(&why));
    served.end();
}

#[test]
fn pages_that_wait_leave_the_places_of_health_and_metrics() {
    let folder = Folder::new();
    let none = folder.put("none.yaml", "[]");
    let (lanner, socket) = folder.lanner_with_web(&none, ", page: {enabled: true}");
    lanner.wait_for("page: at the socket");
    // Only the owner can connect, so no token is needed; the name counts all the same.
    let ask = |path: &str, host: &str| {
        let mut stream = UnixStream::connect(&socket).expect("a connection");
        let asked = write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        asked.map(|()| stream)
    };
    let first = |stream: std::io::Result<UnixStream>| {
        let mut answer = String::new();
        stream
            .and_then(|mut stream| stream.read_to_string(&mut answer))
            .map(|_| answer)
    };
    let answer = first(ask("/page/state", "localhost")).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = first(ask("/page/state", "evil.example")).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    // no rule matches: they wait
    let pages: Vec<_> = (0..100)
        .map(|_| ask("/page/alerts?after=0", "localhost"))
        .collect();
    wait_until("one more is refused", || {
        first(ask("/page/alerts?after=0", "localhost"))
            .is_ok_and(|answer| answer.starts_with("HTTP/1.1 503"))
    });
    for path in ["/healthz", "/metrics"] {
        let (status, _) = get(&socket, path).expect("an answer");
        assert!(status.ends_with("200 OK"), "{path}: {status}");
    }
    drop(pages);
    wait_until("their places are free again", || {
        // an answer that waits says nothing
        let stream = ask("/page/alerts?after=0", "localhost").expect("a request");
        let patience = std::time::Duration::from_millis(200);
        stream.set_read_timeout(Some(patience)).expect("a timeout");
        (&stream).read(&mut [0; 1]).is_err()
    });
    folder.stop();
    lanner.end();
}

#[test]
fn without_the_setting_there_is_no_page() {
    let folder = Folder::new();
    let (lanner, socket) = folder.lanner_with_web(&folder.rule("A", ""), "");
    for path in ["/", "/page/page.js", "/page/state", "/page/alerts"] {
        let (status, _) = get(&socket, path).expect("an answer");
        assert!(status.contains(" 404 "), "{path}: {status}");
    }
    folder.stop();
    lanner.end();
}
