//! Against servers that mean harm: none holds a call, fills the memory, or gets what it should not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lanner_plugin::testing::{self, Alert};
use serde_json::{Value, json};
use test_support::flood;

use super::*;

const INFO: &str = "INFO {\"headers\":true,\"max_payload\":1048576}\r\n";

/// A server that does this with the first connection. Gives what `serve` returns.
fn server<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || serve(listener.accept().unwrap().0));
    (port, thread)
}

fn open(port: u16, more: &Value) -> Output {
    let mut settings = json!({
        "servers": [format!("127.0.0.1:{port}")],
        "create_stream": false,
        "timeout": 1,
    });
    let members = settings.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    testing::open(&settings).unwrap()
}

/// Why one alert is not delivered.
fn reason(output: &mut Output) -> String {
    match testing::emit(output, &[Alert::new("A rule", "second")]) {
        Delivery::TryAgain {
            delivered: 0,
            reason,
        } => reason,
        other => panic!("{other:?}"),
    }
}

/// Sends `INFO`, and reads until the client waits for the answer to its first `PING`. Gives what it said.
fn greet(stream: &mut TcpStream) -> Vec<String> {
    stream.write_all(INFO.as_bytes()).unwrap();
    let mut said = Vec::new();
    // by the byte, so that nothing is taken from what follows
    let mut line = Vec::new();
    while said.last().is_none_or(|last| last != "PING") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
        if line.ends_with(b"\r\n") {
            said.push(String::from_utf8_lossy(&line).trim_end().to_owned());
            line.clear();
        }
    }
    stream.write_all(b"PONG\r\n").unwrap();
    said
}

#[test]
fn an_endless_line_is_cut_off_and_not_kept() {
    // What the sockets hold counts as well.
    const BUFFERS: usize = 64 << 20;
    for begin in ["", "INFO {\"x\":\"", "-ERR '", "MSG "] {
        for after_greeting in [false, true] {
            let (port, served) = server(move |mut stream| {
                if after_greeting {
                    greet(&mut stream);
                }
                stream.write_all(begin.as_bytes()).unwrap();
                flood(&stream, &[b'x'; 1 << 16])
            });
            let said = reason(&mut open(port, &json!({})));
            assert!(said.contains("line is longer than"), "{begin}: {said}");
            let taken = served.join().unwrap();
            assert!(taken < BUFFERS, "{begin}: it took {taken} bytes");
        }
    }
}

#[test]
fn sizes_of_messages_are_not_believed() {
    for (header, expected) in [
        ("MSG a 1 99999999999999999999\r\n", "something else"),
        ("MSG a 1 18446744073709551615\r\n", "the most are"),
        ("HMSG a 1 7 18446744073709551608\r\n", "the most are"),
        ("HMSG a 1 18446744073709551615 7\r\n", "something else"),
    ] {
        let (port, served) = server(move |mut stream| {
            greet(&mut stream);
            stream.write_all(header.as_bytes()).unwrap();
            flood(&stream, &[b'x'; 1 << 16])
        });
        let said = reason(&mut open(port, &json!({})));
        assert!(said.contains(expected), "{header}: {said}");
        served.join().unwrap();
    }
}

#[test]
fn no_server_holds_a_call() {
    type Serve = fn(TcpStream);
    let servers: [(Serve, &str); 7] = [
        (|stream| drop(stream), "clos"),
        // it says nothing until the client goes
        (
            |mut stream| drop(stream.read_to_end(&mut Vec::new())),
            "took longer than 1s",
        ),
        // a byte now and then
        (
            |mut stream| {
                for byte in INFO.bytes().cycle() {
                    if stream.write_all(&[byte]).is_err() {
                        return;
                    }
                    thread::sleep(Duration::from_millis(30));
                }
            },
            "took longer than 1s",
        ),
        // it never stops to ask
        (
            |mut stream| {
                stream.write_all(INFO.as_bytes()).unwrap();
                flood(&stream, &b"PING\r\n".repeat(1000));
            },
            "took longer than 1s",
        ),
        // it accepts everything, and answers with other things
        (
            |mut stream| {
                greet(&mut stream);
                let other = b"MSG other 1 2\r\nno\r\nMSG _INBOX.x.1 1 2\r\n{}\r\n+OK\r\n";
                flood(&stream, &other.repeat(1000));
            },
            "took longer than 1s",
        ),
        // it ends its side after the greeting
        (
            |mut stream| {
                greet(&mut stream);
                stream.shutdown(Shutdown::Write).unwrap();
                let _ = stream.read_to_end(&mut Vec::new());
            },
            "the server closed the connection",
        ),
        (
            |mut stream| {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
                let _ = stream.read_to_end(&mut Vec::new());
            },
            "something else than the protocol of NATS: \"HTTP/1.1 400",
        ),
    ];
    for (serve, expected) in servers {
        let (port, served) = server(serve);
        let mut output = open(port, &json!({}));
        let said = reason(&mut output);
        assert!(said.contains(expected), "{expected}: {said}");
        drop(output);
        served.join().unwrap();
    }
}

/// What came in plain text before TLS began would be taken for what the server says.
#[test]
fn nothing_that_came_before_tls_counts() {
    let (port, served) = server(|mut stream| {
        let both = "INFO {\"headers\":true,\"tls_required\":true}\r\nPONG\r\n";
        stream.write_all(both.as_bytes()).unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        said
    });
    let secret = json!({"user": "me", "password": "secret"});
    let said = reason(&mut open(port, &secret));
    assert!(said.contains("before TLS began"), "{said}");
    assert!(
        served.join().unwrap().is_empty(),
        "the client said something"
    );
}

#[test]
fn a_password_is_not_sent_where_tls_is_wanted_and_not_spoken() {
    let (port, served) = server(|mut stream| {
        stream.write_all(INFO.as_bytes()).unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        said
    });
    let settings = json!({
        "servers": [format!("tls://127.0.0.1:{port}")],
        "user": "me",
        "password": "secret",
    });
    let said = reason(&mut open(port, &settings));
    assert!(said.contains("TLS handshake"), "{said}");
    let sent = served.join().unwrap();
    let secret = b"secret";
    assert!(!sent.windows(secret.len()).any(|part| part == secret));
}

/// Answers every message with this, until the client goes. Gives how many messages came, and all that the client said.
fn answer_all(stream: TcpStream, answer: impl Fn(usize) -> String) -> (usize, String) {
    let mut writer = stream.try_clone().unwrap();
    let (mut count, mut said) = (0, String::new());
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if let Some(words) = line.strip_prefix("HPUB ") {
            let reply = words.split(' ').nth(1).unwrap();
            let text = answer(count);
            let _ = write!(writer, "MSG {reply} 1 {}\r\n{text}\r\n", text.len());
            count += 1;
        }
        said.push_str(&line);
        said.push('\n');
    }
    (count, said)
}

#[test]
fn alerts_count_as_delivered_only_where_the_stream_says_so() {
    const STORED: &str = "{\"stream\":\"LANNER\",\"seq\":1}";
    for (third, expected) in [
        ("", "cannot understand"),
        ("{}", "did not store the alert: {}"),
        ("[]", "did not store"),
        ("{\"stream\":\"\"}", "did not store"),
        (
            "{\"error\":{\"code\":503,\"description\":\"full\"},\"stream\":\"LANNER\"}",
            "did not store the alert: full",
        ),
    ] {
        let (port, served) = server(move |mut stream| {
            greet(&mut stream);
            answer_all(stream, |at| if at == 2 { third } else { STORED }.to_owned())
        });
        let mut output = open(port, &json!({}));
        let alerts: Vec<Alert> = (0..5)
            .map(|at| Alert::new("A rule", &at.to_string()))
            .collect();
        match testing::emit(&mut output, &alerts) {
            Delivery::TryAgain {
                delivered: 2,
                reason,
            } => assert!(reason.contains(expected), "{third}: {reason}"),
            other => panic!("{third}: {other:?}"),
        }
        drop(output);
        let (count, _) = served.join().unwrap();
        assert_eq!(count, 5);
    }
}

#[test]
fn pings_between_two_batches_are_answered() {
    let (port, served) = server(|mut stream| {
        greet(&mut stream);
        stream.write_all(b"PING\r\n").unwrap();
        answer_all(stream, |_| "{\"stream\":\"LANNER\",\"seq\":1}".to_owned())
    });
    let mut output = open(port, &json!({}));
    for text in ["first", "second"] {
        let answer = testing::emit(&mut output, &[Alert::new("A rule", text)]);
        assert_eq!(answer, Delivery::Delivered);
    }
    drop(output);
    let (count, said) = served.join().unwrap();
    assert_eq!((count, said.matches("PONG\n").count()), (2, 1), "{said}");
}

#[test]
fn a_server_that_ends_is_left_for_another() {
    let (port, served) = server(|mut stream| {
        greet(&mut stream);
        let ends = "INFO {\"headers\":true,\"ldm\":true}\r\n";
        let (_, said) = answer_all(stream.try_clone().unwrap(), |_| {
            let _ = (&stream).write_all(ends.as_bytes());
            "{\"stream\":\"LANNER\",\"seq\":1}".to_owned()
        });
        said
    });
    let mut output = open(port, &json!({}));
    let first = testing::emit(&mut output, &[Alert::new("A rule", "first")]);
    assert_eq!(first, Delivery::Delivered, "an answer comes before the end");
    // that server is not there for anyone else, and there is no other
    assert!(!reason(&mut output).is_empty());
    assert!(!served.join().unwrap().contains("second"));
}
