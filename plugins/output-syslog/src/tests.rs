//! Against rsyslogd over every transport, with certificates made here, and against a receiver that closes connections.

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;

use lanner_plugin::testing::{self, Alert};
use serde_json::{Value, json};
use test_support::peers::{Authority, Rsyslogd};
use test_support::{PATIENCE, wait_for, wait_until};

use super::*;

fn open(settings: &Value) -> Output {
    testing::open(settings).unwrap()
}

fn emit(output: &mut Output, messages: &[&str]) -> Delivery {
    let alerts: Vec<Alert> = messages
        .iter()
        .map(|text| Alert::new("A \"rule\" [x]", text))
        .collect();
    testing::emit(output, &alerts)
}

/// Emits messages until they are delivered, then waits until the daemon has received `lines` lines in all.
fn deliver(daemon: &Rsyslogd, output: &mut Output, messages: &[&str], lines: usize) -> Vec<String> {
    wait_until("delivery", || emit(output, messages) == Delivery::Delivered);
    wait_for("rsyslogd's file", || {
        let got = daemon.received();
        (got.len() >= lines).then_some(got)
    })
}

/// Delivers to a daemon over the network. `certificates` has the settings for TLS and their files.
fn over_network(scheme: &str, input: &str, certificates: &[(&str, &str)]) {
    let Some(daemon) = Rsyslogd::start(input) else {
        return;
    };
    let mut settings = json!({"address": format!("{scheme}://localhost:{}", daemon.port())});
    for (setting, file) in certificates {
        settings[*setting] = json!(daemon.authority.path(file));
    }
    let mut local3 = settings.clone();
    local3["facility"] = json!("local3");
    let mut output = open(&local3);
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

    settings["json"] = json!(true);
    let got = deliver(&daemon, &mut open(&settings), &["three"], 3);
    let message = got[2].rsplit('|').next().unwrap().trim();
    let message: Value = serde_json::from_str(message).unwrap();
    assert_eq!(message["priority"], "Warning");
}

#[test]
fn rsyslogd_takes_what_comes_over_tcp() {
    over_network("tcp", Rsyslogd::TCP, &[]);
}

#[test]
fn rsyslogd_takes_what_comes_over_tls_with_a_client_certificate() {
    over_network(
        "tls",
        Rsyslogd::TLS,
        &[
            ("ca_cert", "ca.pem"),
            ("client_cert", "server.pem"),
            ("client_key", "server.key"),
        ],
    );
}

#[test]
fn a_receiver_that_wants_a_certificate_and_gets_none_is_a_failure() {
    let Some(daemon) = Rsyslogd::start(Rsyslogd::TLS) else {
        return;
    };
    let address = format!("tls://localhost:{}", daemon.port());
    let mut output = open(&json!({"address": address, "ca_cert": daemon.authority.path("ca.pem")}));
    let mut refused = || match emit(&mut output, &["one"]) {
        Delivery::TryAgain {
            delivered: 0,
            reason,
        } => reason.contains("client_cert"),
        other => panic!("{other:?}"),
    };
    wait_until("the refusal", &mut refused);
    assert!(refused());
    assert_eq!(daemon.received(), [""; 0]);
}

#[test]
fn rsyslogd_takes_what_comes_through_its_socket() {
    let Some(daemon) = Rsyslogd::start(Rsyslogd::SOCKET) else {
        return;
    };
    let socket = daemon.authority.path("log");
    let mut output = open(&json!({"address": format!("unix://{}", socket.display())}));
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
fn a_receiver_with_a_foreign_certificate_gets_nothing() {
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
    let mut output = open(&json!({
        "address": format!("tls://localhost:{port}"),
        "ca_cert": own.path("ca.pem"),
    }));
    let answer = emit(&mut output, &["secret"]);
    assert!(
        matches!(&answer, Delivery::TryAgain { delivered: 0, reason } if reason.contains("certificate")),
        "{answer:?}"
    );
    assert_eq!(taker.join().unwrap(), b"");
}

/// A receiver that does one byte of work at a time, for as long as it is connected.
fn sluggish(mut work: impl FnMut(&mut TcpStream) -> std::io::Result<()> + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while work(&mut stream).is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    port
}

/// What becomes of messages in the end, within the time that a test waits.
fn answer_in_time(settings: Value, messages: Vec<String>) -> Delivery {
    let (done, answer) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut output = open(&settings);
        let mut messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        let answer = loop {
            match emit(&mut output, &messages) {
                Delivery::GoOn { delivered, .. } => drop(messages.drain(..delivered)),
                answer => break answer,
            }
        };
        done.send(answer)
    });
    answer
        .recv_timeout(PATIENCE)
        .expect("the call ends, however slow the receiver is")
}

#[test]
fn a_receiver_that_works_byte_by_byte_does_not_hold_a_call() {
    // a record of the handshake, of 16384 bytes
    let mut hello = vec![22, 3, 3, 64, 0];
    let port = sluggish(move |stream| {
        let next = if hello.is_empty() { 0 } else { hello.remove(0) };
        std::io::Write::write_all(stream, &[next])
    });
    let authority = Authority::new();
    let settings = json!({
        "address": format!("tls://localhost:{port}"),
        "ca_cert": authority.path("ca.pem"),
        "timeout": 1,
    });
    let answer = answer_in_time(settings, vec!["one".to_owned()]);
    assert!(
        matches!(&answer, Delivery::TryAgain { delivered: 0, reason } if reason.contains("longer than 1s")),
        "{answer:?}"
    );

    let port = sluggish(|stream| stream.read_exact(&mut [0]));
    let settings = json!({"address": format!("tcp://localhost:{port}"), "timeout": 1});
    // more than the buffers of both sockets hold
    let messages = vec!["long ".repeat(1500); 4000];
    let answer = answer_in_time(settings, messages);
    assert!(
        matches!(&answer, Delivery::TryAgain { reason, .. } if reason.contains("longer than 1s")),
        "{answer:?}"
    );
}

#[test]
fn a_socket_whose_queue_is_full_does_not_hold_a_call() {
    const SERVER: &str = "import socket, sys, time\n\
        server = socket.socket(socket.AF_UNIX)\n\
        server.bind(sys.argv[1])\n\
        server.listen(0)\n\
        time.sleep(600)\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut server = std::process::Command::new("python3")
        .args(["-c", SERVER])
        .arg(&path)
        .spawn()
        .unwrap();
    // the queue holds one that was not accepted
    let _first = wait_for("the server listens", || {
        std::os::unix::net::UnixStream::connect(&path).ok()
    });
    let settings = json!({"address": format!("unix://{}", path.display()), "timeout": 1});
    let answer = answer_in_time(settings, vec!["one".to_owned()]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(
        matches!(&answer, Delivery::TryAgain { delivered: 0, reason } if reason.contains("longer than 1s")),
        "{answer:?}"
    );
}

#[test]
fn udp_carries_one_message_each() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = receiver.local_addr().unwrap().port();
    let mut output = open(&json!({
        "address": format!("udp://127.0.0.1:{port}"),
        "structured_data": false,
    }));
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
    let mut output = open(&json!({"address": format!("tcp://127.0.0.1:{port}")}));
    for word in ["one", "two", "three"] {
        // Each message has a connection of its own, which the receiver closes after it.
        wait_until("delivery", || {
            emit(&mut output, &[word]) == Delivery::Delivered
        });
        let (stream, _) = listener.accept().unwrap();
        let mut stream = BufReader::new(stream);
        assert!(counted(&mut stream).ends_with(word));
        drop(stream);
        let connection = output.connection.as_mut().unwrap();
        wait_until("the end of the connection", || connection.is_over());
    }
}

#[test]
fn long_messages_are_cut_between_characters_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let receiver = UnixDatagram::bind(&path).unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let (host, heard) = testing::host_with_ears();
    let address = format!("unix://{}", path.display());
    let settings = json!({"address": address, "max_length": 480});
    let mut output: Output = testing::open_on(host, &settings).unwrap();
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
fn an_absent_receiver_is_tried_again_and_wrong_settings_are_refused() {
    for address in [
        "unix:///nonexistent/log".to_owned(),
        // Nothing listens at the port of tcpmux.
        "tcp://127.0.0.1:1".to_owned(),
    ] {
        let mut output = open(&json!({"address": address}));
        let answer = emit(&mut output, &["one"]);
        assert!(
            matches!(&answer, Delivery::TryAgain { delivered: 0, reason } if reason.starts_with(&address)),
            "{answer:?}"
        );
    }
    for settings in [
        json!({"address": "/dev/log"}),
        json!({"address": "tcp://host"}),
        json!({"address": "tls://host:6514", "ca_cert": "/nonexistent"}),
        json!({"timeout": 0}),
    ] {
        assert!(testing::refusal::<Output>(&settings).is_some());
    }
}

#[test]
fn the_page_describes_the_settings() {
    let schema = schemars::schema_for!(Settings);
    test_support::assert_documented("output-syslog", schema.as_value());
}
