//! Against the HTTP server of Python, with and without TLS. Needs python3.

use lanner_plugin::testing::{self, emit_messages as emit};
use serde_json::{Value, json};
use test_support::peers::{Authority, Receiver, words};

use super::*;

/// Opens an output that posts to `receiver`. `more` has further settings.
fn open(receiver: &Receiver, scheme: &str, more: &Value) -> Output {
    let mut settings = more.clone();
    settings["url"] = json!(format!("{scheme}://localhost:{}/in", receiver.port));
    testing::open(&settings).unwrap()
}

#[test]
fn each_alert_is_a_post_of_falcos_json_over_one_connection() {
    let receiver = Receiver::start("", &[]);
    let mut output = open(&receiver, "http", &json!({"headers": {"X-Who": "me"}}));
    assert_eq!(emit(&mut output, &["one", "two"]), Delivery::Delivered);
    assert_eq!(emit(&mut output, &["three"]), Delivery::Delivered);
    let notes = receiver.notes();
    assert_eq!(
        notes.iter().flat_map(words).collect::<Vec<_>>(),
        ["one", "two", "three"]
    );
    for note in &notes {
        assert_eq!(
            (&note["connection"], &note["path"]),
            (&1.into(), &"/in".into())
        );
        assert_eq!(note["headers"]["content-type"], "application/json");
        assert_eq!(note["headers"]["x-who"], "me");
        assert!(
            note["headers"]["user-agent"]
                .as_str()
                .unwrap()
                .starts_with("lanner/")
        );
        let alert: Value = serde_json::from_str(note["body"].as_str().unwrap()).unwrap();
        for key in [
            "output",
            "priority",
            "rule",
            "time",
            "output_fields",
            "source",
            "hostname",
            "tags",
        ] {
            assert!(alert.get(key).is_some(), "falcosidekick reads {key}");
        }
    }
    let mut output = open(&receiver, "http", &json!({"keep_alive": false}));
    emit(&mut output, &["four", "five"]);
    let notes = receiver.notes();
    assert_ne!(notes[3]["connection"], notes[4]["connection"]);
    let kind = json!({"headers": {"content-type": "application/cloudevents+json"}});
    emit(&mut open(&receiver, "http", &kind), &["six"]);
    let notes = receiver.notes();
    let last = &notes[5]["headers"]["content-type"];
    assert_eq!(last, "application/cloudevents+json", "there is one");
}

#[test]
fn many_alerts_go_into_one_request_compressed_on_demand() {
    let receiver = Receiver::start("", &[]);
    for (batch, kind) in [
        ("array", "application/json"),
        ("lines", "application/x-ndjson"),
    ] {
        let more = json!({"batch": batch, "compress_uploads": true});
        let mut output = open(&receiver, "http", &more);
        assert_eq!(
            emit(&mut output, &["one", "two", "three"]),
            Delivery::Delivered
        );
        let notes = receiver.notes();
        let note = notes.last().unwrap();
        assert_eq!(words(note), ["one", "two", "three"]);
        assert_eq!(note["headers"]["content-encoding"], "gzip");
        assert_eq!(note["headers"]["content-type"], kind);
    }
    assert_eq!(receiver.notes().len(), 2);
}

#[test]
fn answers_decide_what_becomes_of_alerts() {
    for status in [301, 401, 404, 429, 500, 503] {
        let receiver = Receiver::start(&format!("200,{status}"), &[]);
        let mut output = open(&receiver, "http", &json!({}));
        match emit(&mut output, &["one", "two", "three"]) {
            Delivery::TryAgain { delivered, reason } => {
                assert_eq!(delivered, 1, "{status}");
                assert!(
                    reason.contains(&status.to_string()) && reason.contains("noted"),
                    "{reason}"
                );
            }
            other => panic!("{status}: {other:?}"),
        }
        assert_eq!(emit(&mut output, &["two", "three"]), Delivery::Delivered);
        let words: Vec<String> = receiver.notes().iter().flat_map(words).collect();
        assert_eq!(words, ["one", "two", "two", "three"], "{status}");
    }
}

/// An output that posts to a receiver, on a host that hears what it counts.
fn heard(receiver: &Receiver, more: &Value) -> (Output, &'static testing::Heard) {
    let (host, heard) = testing::host_with_ears();
    let mut settings = more.clone();
    settings["url"] = json!(format!("http://localhost:{}/", receiver.port));
    (testing::open_on(host, &settings).unwrap(), heard)
}

/// Offers alerts as the host does, until all are done. Returns those that were refused.
fn deliver<'a>(output: &mut Output, mut alerts: &[&'a str]) -> Vec<&'a str> {
    let mut refused_ones = Vec::new();
    loop {
        match emit(output, alerts) {
            Delivery::Delivered => return refused_ones,
            Delivery::GoOn {
                delivered,
                refused,
                reason,
            } => {
                assert!(delivered + refused > 0);
                assert!(refused == 0 || reason.contains(" answers 4"), "{reason}");
                refused_ones.extend(&alerts[delivered..delivered + refused]);
                alerts = &alerts[delivered + refused..];
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The alerts of the requests that the receiver took.
fn taken(receiver: &Receiver) -> Vec<String> {
    let notes = receiver.notes();
    let taken = notes.iter().filter(|note| note["status"] == 200);
    taken.flat_map(words).collect()
}

#[test]
fn of_a_batch_that_is_refused_all_alerts_but_the_one_at_fault_arrive() {
    let names: Vec<String> = (0..100).map(|number| format!("n{number}n")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for batch in ["none", "array", "lines"] {
        let receiver = Receiver::start("refuse=n7", &[]);
        let (mut output, heard) = heard(&receiver, &json!({"batch": batch}));
        let at_fault: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| name.starts_with("n7"))
            .collect();
        assert_eq!(deliver(&mut output, &names), at_fault, "{batch}");
        let rest = names.iter().filter(|name| !name.starts_with("n7"));
        assert!(taken(&receiver).iter().eq(rest), "{batch}");
        assert_eq!(heard.metric("rejected_total"), Some(11.0), "{batch}");
    }
}

#[test]
fn a_receiver_that_refuses_everything_gets_one_request_for_each_alert_and_few_more() {
    let names: Vec<String> = (0..300).map(|number| format!("n{number}n")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for batch in ["array", "lines"] {
        let receiver = Receiver::start("refuse=n", &[]);
        let (mut output, _) = heard(&receiver, &json!({"batch": batch}));
        assert_eq!(deliver(&mut output, &names), names, "{batch}");
        let requests = receiver.notes().len();
        assert!(requests <= 320, "{batch}: {requests} requests");
    }
}

#[test]
fn requests_keep_to_the_receivers_limit_and_to_our_own() {
    let names: Vec<String> = (0..200).map(|number| format!("n{number}")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    let long = "x".repeat(6000);
    names[50] = &long;
    // An alert has about 230 bytes, and its message twice.
    let receiver = Receiver::start("limit=5000", &[]);
    let (mut output, _) = heard(&receiver, &json!({"batch": "array"}));
    assert_eq!(deliver(&mut output, &names), [long.as_str()]);
    let rest = names.iter().filter(|name| **name != long);
    assert!(taken(&receiver).iter().eq(rest));

    let receiver = Receiver::start("", &[]);
    let limits = json!({"batch": "lines", "batch_alerts": 10, "batch_bytes": 1500});
    let (mut output, _) = heard(&receiver, &limits);
    assert!(deliver(&mut output, &names).is_empty());
    assert!(taken(&receiver).iter().eq(&names));
    for note in receiver.notes() {
        let bytes = note["body"].as_str().unwrap().len();
        assert!(bytes <= 1500 || words(&note) == [long.as_str()], "{bytes}");
    }
    let limits = json!({"batch": "lines", "batch_alerts": 10});
    let (mut output, _) = heard(&receiver, &limits);
    deliver(&mut output, &names[..15]);
    let notes = receiver.notes();
    let last = notes[notes.len() - 2..]
        .iter()
        .map(|note| words(note).len());
    assert!(last.eq([10, 5]));
}

#[test]
fn a_slow_receiver_gets_as_many_alerts_as_fit_into_a_second() {
    let receiver = Receiver::start("slow=0.3", &[]);
    let (mut output, _) = heard(&receiver, &json!({}));
    let answer = emit(&mut output, &["x"; 50]);
    let Delivery::GoOn {
        delivered,
        refused: 0,
        ..
    } = answer
    else {
        panic!("{answer:?}");
    };
    assert!((1..10).contains(&delivered), "{delivered}");
    assert_eq!(receiver.notes().len(), delivered);
}

#[test]
fn no_request_is_sent_before_the_time_that_the_receiver_asks_for() {
    let receiver = Receiver::start("503+2", &[]);
    let (mut output, _) = heard(&receiver, &json!({}));
    let begin = Instant::now();
    for expected in ["503", "asked to wait 2 more seconds"] {
        let answer = emit(&mut output, &["one"]);
        assert!(
            matches!(&answer, Delivery::TryAgain { delivered: 0, reason } if reason.contains(expected)),
            "{answer:?}"
        );
    }
    assert_eq!(receiver.notes().len(), 1);
    while emit(&mut output, &["one"]) != Delivery::Delivered {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(begin.elapsed() >= Duration::from_secs(2));
    assert_eq!(receiver.notes().len(), 2);
}

/// Starts a receiver with TLS. `client` names the authority that must have signed the certificates of clients.
fn over_tls(of: &Authority, client: Option<&str>) -> Receiver {
    of.sign("server");
    let mut files = vec![of.path("server.pem"), of.path("server.key")];
    files.extend(client.map(|name| of.path(name)));
    Receiver::start("", &files)
}

/// Checks that an alert is not delivered.
fn refused(output: &mut Output) {
    let answer = emit(output, &["secret"]);
    assert!(
        matches!(&answer, Delivery::TryAgain { delivered: 0, .. }),
        "{answer:?}"
    );
}

#[test]
fn the_receivers_certificate_is_checked() {
    let (own, other) = (Authority::new(), Authority::new());
    let receiver = over_tls(&own, None);
    let ca = |of: &Authority| json!({"ca_cert": of.path("ca.pem")});
    assert_eq!(
        emit(&mut open(&receiver, "https", &ca(&own)), &["one"]),
        Delivery::Delivered
    );
    refused(&mut open(&receiver, "https", &ca(&other)));
    let folder = json!({"ca_path": own.folder()});
    assert_eq!(
        emit(&mut open(&receiver, "https", &folder), &["two"]),
        Delivery::Delivered
    );
    let mut insecure = open(&receiver, "https", &json!({"insecure": true}));
    assert_eq!(emit(&mut insecure, &["three"]), Delivery::Delivered);
    let words: Vec<String> = receiver.notes().iter().flat_map(words).collect();
    assert_eq!(words, ["one", "two", "three"]);
}

#[test]
fn the_client_shows_its_certificate_and_takes_a_new_one_when_reopened() {
    let own = Authority::new();
    let receiver = over_tls(&own, Some("ca.pem"));
    let ca = json!({"ca_cert": own.path("ca.pem")});
    refused(&mut open(&receiver, "https", &ca));
    own.sign_expired("client");
    let client = json!({
        "ca_cert": own.path("ca.pem"),
        "mtls": true,
        "client_cert": own.path("client.pem"),
        "client_key": own.path("client.key"),
    });
    let mut output = open(&receiver, "https", &client);
    refused(&mut output);
    own.sign("client");
    output.reopen().unwrap();
    assert_eq!(emit(&mut output, &["one", "two"]), Delivery::Delivered);
    assert_eq!(receiver.notes().len(), 2);
}

#[test]
fn requests_show_the_token_of_a_file_which_is_read_again_when_reopened() {
    let receiver = Receiver::start("", &[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first\n").unwrap();
    let mut output = open(&receiver, "http", &json!({"bearer_token_file": file}));
    emit(&mut output, &["one"]);
    std::fs::write(&file, "second\n").unwrap();
    emit(&mut output, &["two"]);
    output.reopen().unwrap();
    emit(&mut output, &["three"]);
    let shown: Vec<Value> = receiver
        .notes()
        .iter()
        .map(|note| note["headers"]["authorization"].clone())
        .collect();
    assert_eq!(shown, ["Bearer first", "Bearer first", "Bearer second"]);
}

#[test]
fn a_receiver_that_repeats_the_token_does_not_bring_it_into_messages() {
    let receiver = Receiver::start("401,401,echo=authorization", &[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    for token in ["t0ken".repeat(2), "t0ken".repeat(100)] {
        std::fs::write(&file, &token).unwrap();
        let mut output = open(&receiver, "http", &json!({"bearer_token_file": file}));
        let Delivery::TryAgain { reason, .. } = emit(&mut output, &["one"]) else {
            panic!("401 is tried again");
        };
        assert!(reason.contains("Bearer ***noted"), "{reason}");
        assert!(!reason.contains("t0ken"), "{reason}");
    }
}

#[test]
fn mistakes_are_known_at_once() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    for (settings, expected) in [
        (json!({"url": "ftp://x/"}), "no http:// or https://"),
        (json!({"url": "localhost:80"}), "`url`"),
        (json!({"url": "http://x/", "timeout": 0}), "`timeout`"),
        (
            json!({"url": "http://x/", "batch_bytes": 0}),
            "`batch_bytes`",
        ),
        (
            json!({"url": "https://x/", "ca_cert": "/nonexistent"}),
            "/nonexistent: No such file",
        ),
        (json!({"url": "https://x/", "mtls": true}), "`client_cert`"),
        (
            json!({"url": "http://x/", "headers": {"Content-Length": "3"}}),
            "follows from the alerts",
        ),
        (
            json!({"url": "http://x/", "bearer_token_file": "/nonexistent"}),
            "/nonexistent: No such file",
        ),
        (
            json!({"url": "http://x/", "bearer_token_file": empty.path()}),
            "has no token",
        ),
        (
            json!({"url": "http://x/", "bearer_token_file": "/dev/null"}),
            "/dev/null is a device",
        ),
        (
            json!({
                "url": "http://x/",
                "bearer_token_file": empty.path(),
                "headers": {"authorization": "Basic eA=="},
            }),
            "`headers` has `Authorization`",
        ),
    ] {
        let error = testing::refusal::<Output>(&settings).unwrap();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_page_describes_the_settings() {
    let schema = schemars::schema_for!(Settings);
    test_support::assert_documented("output-http", schema.as_value());
}
