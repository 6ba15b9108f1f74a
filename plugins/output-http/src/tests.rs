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
    // One alert is refused for good. The others are delivered.
    let receiver = Receiver::start("200,400", &[]);
    let (host, heard) = testing::host_with_ears();
    let settings = json!({"url": format!("http://localhost:{}/", receiver.port)});
    let mut output: Output = testing::open_on(host, &settings).unwrap();
    assert_eq!(
        emit(&mut output, &["one", "two", "three"]),
        Delivery::Delivered
    );
    assert_eq!(heard.metric("rejected_total"), Some(1.0));
    assert_eq!(heard.metric("requests_total"), Some(3.0));
    assert!(
        heard.lines()[0].contains("refused for good"),
        "{:?}",
        heard.lines()
    );
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
fn mistakes_are_known_at_once() {
    for (settings, expected) in [
        (json!({"url": "ftp://x/"}), "no http:// or https://"),
        (json!({"url": "localhost:80"}), "`url`"),
        (json!({"url": "http://x/", "timeout": 0}), "`timeout`"),
        (
            json!({"url": "https://x/", "ca_cert": "/nonexistent"}),
            "/nonexistent: No such file",
        ),
        (json!({"url": "https://x/", "mtls": true}), "`client_cert`"),
        (
            json!({"url": "http://x/", "bearer_token_file": "/nonexistent"}),
            "/nonexistent: No such file",
        ),
        (
            json!({"url": "http://x/", "bearer_token_file": "/dev/null"}),
            "/dev/null has no token",
        ),
        (
            json!({
                "url": "http://x/",
                "bearer_token_file": "/dev/null",
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
