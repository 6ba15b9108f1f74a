//! Against the HTTP server of Python, with and without TLS. Needs python3.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lanner_plugin::testing::{self, Alert};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value;

use super::*;

struct Receiver {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Receiver {
    fn start(statuses: &str, tls: &[&Path]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/receiver.py");
        let mut process = Command::new("python3")
            .args(["-B", script])
            .arg(folder.path().join("notes"))
            .arg(statuses)
            .args(tls)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let printed = process.stdout.take().unwrap();
        BufReader::new(printed).read_line(&mut port).unwrap();
        let port = port.trim().parse().unwrap();
        Self {
            process,
            port,
            folder,
        }
    }

    fn notes(&self) -> Vec<Value> {
        let notes = fs::read_to_string(self.folder.path().join("notes")).unwrap_or_default();
        let notes = notes.lines().map(serde_json::from_str);
        notes.collect::<Result<_, _>>().unwrap()
    }

    fn open(&self, scheme: &str, more: &str) -> Output {
        let settings = format!(
            "{{\"url\":\"{scheme}://localhost:{}/in\"{more}}}",
            self.port
        );
        Output::open(testing::host(), serde_json::from_str(&settings).unwrap()).unwrap()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn emit(output: &mut Output, messages: &[&str]) -> Delivery {
    let alerts: Vec<Alert> = messages.iter().map(|text| Alert::new("r", text)).collect();
    testing::emit(output, &alerts)
}

/// The last words of the alerts of a request.
fn words(note: &Value) -> Vec<String> {
    let body = note["body"].as_str().unwrap();
    let alerts: Vec<Value> = match serde_json::from_str(body) {
        Ok(Value::Array(alerts)) => alerts,
        Ok(alert) => vec![alert],
        Err(_) => body
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    };
    let word = |alert: &Value| {
        alert["output"]
            .as_str()
            .unwrap()
            .rsplit(' ')
            .next()
            .unwrap()
            .to_owned()
    };
    alerts.iter().map(word).collect()
}

#[test]
fn each_alert_is_a_post_of_falcos_json_over_one_connection() {
    let receiver = Receiver::start("", &[]);
    let mut output = receiver.open("http", ",\"headers\":{\"X-Who\":\"me\"}");
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
    let mut output = receiver.open("http", ",\"keep_alive\":false");
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
        let more = format!(",\"batch\":\"{batch}\",\"compress_uploads\":true");
        let mut output = receiver.open("http", &more);
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
        let mut output = receiver.open("http", "");
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
    // refused for good: the others are delivered
    let receiver = Receiver::start("200,400", &[]);
    let (host, heard) = testing::host_with_ears();
    let settings = format!("{{\"url\":\"http://localhost:{}/\"}}", receiver.port);
    let mut output = Output::open(host, serde_json::from_str(&settings).unwrap()).unwrap();
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

/// An authority, and what it has signed.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        fs::write(folder.path().join("ca.pem"), pem).unwrap();
        let issuer = Issuer::new(params, key);
        Self { folder, issuer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes `NAME.pem` and `NAME.key`; an expired one, if asked to.
    fn sign(&self, name: &str, expired: bool) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        if expired {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        fs::write(self.path(&format!("{name}.pem")), pem).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn receiver(&self, client: Option<&str>) -> Receiver {
        self.sign("server", false);
        let mut files = vec![self.path("server.pem"), self.path("server.key")];
        files.extend(client.map(|name| self.path(name)));
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        Receiver::start("", &files)
    }
}

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
    let receiver = own.receiver(None);
    let ca = |of: &Authority| format!(",\"ca_cert\":{:?}", of.path("ca.pem"));
    assert_eq!(
        emit(&mut receiver.open("https", &ca(&own)), &["one"]),
        Delivery::Delivered
    );
    refused(&mut receiver.open("https", &ca(&other)));
    let folder = format!(",\"ca_path\":{:?}", own.folder.path());
    assert_eq!(
        emit(&mut receiver.open("https", &folder), &["two"]),
        Delivery::Delivered
    );
    let mut insecure = receiver.open("https", ",\"insecure\":true");
    assert_eq!(emit(&mut insecure, &["three"]), Delivery::Delivered);
    let words: Vec<String> = receiver.notes().iter().flat_map(words).collect();
    assert_eq!(words, ["one", "two", "three"]);
}

#[test]
fn the_client_shows_its_certificate_and_takes_a_new_one_when_reopened() {
    let own = Authority::new();
    let receiver = own.receiver(Some("ca.pem"));
    let ca = format!(",\"ca_cert\":{:?}", own.path("ca.pem"));
    refused(&mut receiver.open("https", &ca));
    own.sign("client", true);
    let client = format!(
        "{ca},\"mtls\":true,\"client_cert\":{:?},\"client_key\":{:?}",
        own.path("client.pem"),
        own.path("client.key")
    );
    let mut output = receiver.open("https", &client);
    refused(&mut output);
    own.sign("client", false);
    output.reopen().unwrap();
    assert_eq!(emit(&mut output, &["one", "two"]), Delivery::Delivered);
    assert_eq!(receiver.notes().len(), 2);
}

#[test]
fn mistakes_are_known_at_once() {
    for (settings, expected) in [
        (r#"{"url":"ftp://x/"}"#, "no http:// or https://"),
        (r#"{"url":"localhost:80"}"#, "`url`"),
        (r#"{"url":"http://x/","timeout":0}"#, "`timeout`"),
        (
            r#"{"url":"https://x/","ca_cert":"/nonexistent"}"#,
            "/nonexistent: No such file",
        ),
        (r#"{"url":"https://x/","mtls":true}"#, "`client_cert`"),
    ] {
        let settings = serde_json::from_str(settings).unwrap();
        let error = Output::open(testing::host(), settings)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}
