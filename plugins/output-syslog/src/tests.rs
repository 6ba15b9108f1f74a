//! Against rsyslogd over every way, with certificates made here; and against a receiver that closes.

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use lanner_plugin::testing::{self, Alert};
use peers::{Authority, Rsyslogd, wait_for};

use super::*;

fn open(settings: &str) -> Output {
    let settings = serde_json::from_str(settings).unwrap();
    Output::open(testing::host(), settings).unwrap()
}

fn emit(output: &mut Output, messages: &[&str]) -> Delivery {
    let alerts: Vec<Alert> = messages
        .iter()
        .map(|text| Alert::new("A \"rule\" [x]", text))
        .collect();
    testing::emit(output, &alerts)
}

/// Emits until it is delivered, then waits for so many lines in all.
fn deliver(daemon: &Rsyslogd, output: &mut Output, messages: &[&str], lines: usize) -> Vec<String> {
    let mut last = Delivery::Delivered;
    wait_for("delivery", || {
        last = emit(output, messages);
        (last == Delivery::Delivered).then_some(())
    });
    wait_for("rsyslogd's file", || {
        let got = daemon.got();
        (got.len() >= lines).then_some(got)
    })
}

fn over_network(scheme: &str, input: &str, more: &str) {
    let Some(daemon) = Rsyslogd::start(input) else {
        return;
    };
    let port = daemon.port();
    let folder = daemon.authority.folder().display();
    let more = more.replace("FOLDER", &folder.to_string());
    let address = format!("{scheme}://localhost:{port}");
    let mut output = open(&format!(
        "{{\"address\":{address:?},\"facility\":\"local3\"{more}}}"
    ));
    let got = deliver(&daemon, &mut output, &["one", "two\nlines"], 2);
    let head = "local3.warning|lanner|tester|2026-01-01T00:00:00.123456";
    let data =
        r#"[lanner@32473 rule="A \"rule\" [x\]" priority="Warning" source="syscall" tags="t1"]"#;
    assert!(got[0].starts_with(head), "{got:?}");
    assert!(got[0].contains(data), "{got:?}");
    assert!(
        got[0].ends_with("00:00:00.123456789: Warning one"),
        "{got:?}"
    );
    assert!(got[1].ends_with("Warning two lines"), "{got:?}");

    let mut json = open(&format!("{{\"address\":{address:?},\"json\":true{more}}}"));
    let got = deliver(&daemon, &mut json, &["three"], 3);
    let message = got[2].rsplit('|').next().unwrap().trim();
    let message: serde_json::Value = serde_json::from_str(message).unwrap();
    assert_eq!(message["priority"], "Warning");
}

#[test]
fn rsyslogd_takes_what_comes_over_tcp() {
    over_network("tcp", Rsyslogd::TCP, "");
}

#[test]
fn rsyslogd_takes_what_comes_over_tls_with_a_client_certificate() {
    over_network(
        "tls",
        Rsyslogd::TLS,
        r#","ca_cert":"FOLDER/ca.pem","client_cert":"FOLDER/server.pem","client_key":"FOLDER/server.key""#,
    );
}

#[test]
fn rsyslogd_takes_what_comes_through_its_socket() {
    let Some(daemon) = Rsyslogd::start(Rsyslogd::SOCKET) else {
        return;
    };
    let socket = daemon.authority.path("log");
    let mut output = open(&format!("{{\"address\":\"unix://{}\"}}", socket.display()));
    let got = deliver(&daemon, &mut output, &["one", "two"], 2);
    assert!(got[0].starts_with("user.warning|lanner|"), "{got:?}");
    assert!(
        got[1]
            .trim_end()
            .ends_with("00:00:00.123456789: Warning two"),
        "{got:?}"
    );
}

#[test]
fn a_stranger_is_not_told_anything() {
    let (own, other) = (Authority::new(), Authority::new());
    other.sign("server");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = rustls::ServerConfig::builder_with_provider(
        rustls::crypto::ring::default_provider().into(),
    )
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth();
    let server = {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let chain = CertificateDer::pem_file_iter(other.path("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(other.path("server.key")).unwrap();
        server
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap()
    };
    let taker = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = rustls::ServerConnection::new(server.into()).unwrap();
        let mut got = Vec::new();
        let _ = rustls::StreamOwned::new(connection, stream).read_to_end(&mut got);
        got
    });
    let mut output = open(&format!(
        "{{\"address\":\"tls://localhost:{port}\",\"ca_cert\":{:?}}}",
        own.path("ca.pem")
    ));
    let answer = emit(&mut output, &["secret"]);
    assert!(
        matches!(&answer, Delivery::TryAgain { delivered: 0, reason } if reason.contains("certificate")),
        "{answer:?}"
    );
    assert_eq!(taker.join().unwrap(), b"");
}

#[test]
fn udp_carries_one_message_each() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let port = receiver.local_addr().unwrap().port();
    let mut output = open(&format!(
        "{{\"address\":\"udp://127.0.0.1:{port}\",\"structured_data\":false}}"
    ));
    assert_eq!(emit(&mut output, &["one", "two"]), Delivery::Delivered);
    let mut buffer = [0; 2000];
    for word in ["one", "two"] {
        let length = receiver.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        let expected = format!(
            "<12>1 2026-01-01T00:00:00.123456Z tester lanner {} alert - 00:00:00.123456789: Warning {word}",
            std::process::id()
        );
        assert_eq!(text, expected);
    }
}

fn counted(stream: &mut BufReader<TcpStream>) -> String {
    let mut length = Vec::new();
    stream.read_until(b' ', &mut length).unwrap();
    let length = std::str::from_utf8(&length)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let mut message = vec![0; length];
    stream.read_exact(&mut message).unwrap();
    String::from_utf8(message).unwrap()
}

#[test]
fn a_receiver_that_closed_is_connected_anew_before_anything_is_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut output = open(&format!("{{\"address\":\"tcp://127.0.0.1:{port}\"}}"));
    for word in ["one", "two", "three"] {
        // each is taken by a connection of its own, which the receiver closes
        wait_for("delivery", || {
            (emit(&mut output, &[word]) == Delivery::Delivered).then_some(())
        });
        let (stream, _) = listener.accept().unwrap();
        let mut stream = BufReader::new(stream);
        assert!(counted(&mut stream).ends_with(word));
        drop(stream);
        let connection = output.connection.as_mut().unwrap();
        wait_for("the end", || connection.is_over().then_some(()));
    }
}

#[test]
fn long_messages_are_cut_between_characters_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let receiver = UnixDatagram::bind(&path).unwrap();
    receiver
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let (host, heard) = testing::host_with_ears();
    let settings = format!(
        "{{\"address\":\"unix://{}\",\"max_length\":480}}",
        path.display()
    );
    let mut output = Output::open(host, serde_json::from_str(&settings).unwrap()).unwrap();
    assert_eq!(
        emit(&mut output, &["short", &"ä".repeat(1000)]),
        Delivery::Delivered
    );
    let mut buffer = [0; 4000];
    receiver.recv(&mut buffer).unwrap();
    let length = receiver.recv(&mut buffer).unwrap();
    assert!((478..=480).contains(&length), "{length}");
    assert!(std::str::from_utf8(&buffer[..length]).is_ok());
    assert_eq!(heard.metric("truncated_total"), Some(1.0));
}

#[test]
fn nobody_there_is_tried_again_and_nonsense_refused() {
    for address in [
        "unix:///nonexistent/log".to_owned(),
        // tcpmux, which nobody has
        "tcp://127.0.0.1:1".to_owned(),
    ] {
        let mut output = open(&format!("{{\"address\":{address:?}}}"));
        let answer = emit(&mut output, &["one"]);
        assert!(
            matches!(&answer, Delivery::TryAgain { delivered: 0, reason } if reason.starts_with(&address)),
            "{answer:?}"
        );
    }
    for settings in [
        r#"{"address":"/dev/log"}"#,
        r#"{"address":"tcp://host"}"#,
        r#"{"address":"tls://host:6514","ca_cert":"/nonexistent"}"#,
        r#"{"timeout":0}"#,
    ] {
        let settings: Settings = serde_json::from_str(settings).unwrap();
        assert!(Output::open(testing::host(), settings).is_err());
    }
}
