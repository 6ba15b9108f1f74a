//! Against receivers that mean harm: none holds a call, fills the memory, or sends alerts elsewhere.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lanner_plugin::testing::{self, Alert};
use serde_json::json;
use test_support::flood;

use super::*;

/// A receiver that reads the request's head and does this with each connection, until the output has gone. Gives how many
/// bytes clients took.
struct Harm {
    port: u16,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Harm {
    fn start(harm: fn(&TcpStream) -> usize) -> Self {
        use std::sync::atomic::{AtomicBool, Ordering};
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut taken = 0;
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && (&stream).read_exact(&mut byte).is_ok() {
                    head.push(byte[0]);
                }
                taken += harm(&stream);
            }
            taken
        });
        Self {
            port,
            stop,
            thread: Some(thread),
        }
    }

    fn taken(mut self) -> usize {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.thread.take().unwrap().join().unwrap()
    }
}

fn say(mut stream: &TcpStream, text: &str) -> usize {
    stream.write(text.as_bytes()).unwrap_or(0)
}

#[test]
fn no_receiver_holds_a_call_or_fills_the_memory() {
    // What the sockets hold counts as well.
    const BUFFERS: usize = 64 << 20;
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    type Case = (&'static str, bool, fn(&TcpStream) -> usize);
    let cases: [Case; 11] = [
        ("an endless header", false, |stream| {
            say(stream, &format!("{OK}X: ")) + flood(stream, &[b'x'; 1 << 16])
        }),
        ("endless headers", false, |stream| {
            say(stream, OK) + flood(stream, &b"X: y\r\n".repeat(10_000))
        }),
        ("endless first line", false, |stream| {
            say(stream, "HTTP/1.1 200 ") + flood(stream, &[b'x'; 1 << 16])
        }),
        ("endless interim answers", false, |stream| {
            flood(stream, &b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000))
        }),
        ("no HTTP", false, |stream| flood(stream, &[0; 1 << 16])),
        ("half a head, and the end", false, |stream| {
            let said = say(stream, OK);
            stream.shutdown(Shutdown::Write).unwrap();
            said
        }),
        ("a byte now and then", false, |mut stream| {
            let mut taken = 0;
            for byte in OK.bytes().chain(std::iter::repeat(b'x')) {
                if stream.write_all(&[byte]).is_err() {
                    break;
                }
                taken += 1;
                thread::sleep(Duration::from_millis(20));
            }
            taken
        }),
        // the status has come, so the alert has arrived
        ("an endless body", true, |stream| {
            say(stream, &format!("{OK}\r\n")) + flood(stream, &[b'x'; 1 << 16])
        }),
        ("an endless body in chunks", true, |stream| {
            say(stream, &format!("{OK}Transfer-Encoding: chunked\r\n\r\n"))
                + flood(stream, &b"1\r\nx\r\n".repeat(1000))
        }),
        ("a body that never comes", true, |mut stream| {
            let said = say(
                stream,
                &format!("{OK}Content-Length: 18446744073709551615\r\n\r\n"),
            );
            let _ = stream.read(&mut [0; 1 << 12]);
            said
        }),
        ("a body of wrong chunks", true, |stream| {
            say(
                stream,
                &format!("{OK}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx"),
            )
        }),
    ];
    for (what, arrives, harm) in cases {
        let receiver = Harm::start(harm);
        let settings = json!({
            "url": format!("http://127.0.0.1:{}/", receiver.port),
            "timeout": 1,
        });
        let mut output: Output = testing::open(&settings).unwrap();
        // the second comes over another connection, or over one that is in disorder
        for _ in 0..2 {
            let answer = testing::emit(&mut output, &[Alert::new("A rule", "text")]);
            match answer {
                Delivery::Delivered => assert!(arrives, "{what}"),
                Delivery::TryAgain { delivered: 0, .. } => assert!(!arrives, "{what}: {answer:?}"),
                other => panic!("{what}: {other:?}"),
            }
        }
        drop(output);
        let taken = receiver.taken();
        assert!(taken < BUFFERS, "{what}: it took {taken} bytes");
    }
}

#[test]
fn alerts_do_not_follow_a_receiver_elsewhere() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let port = elsewhere.local_addr().unwrap().port();
    for status in [301, 302, 303, 307, 308] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap().port();
        let served = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let answer = format!(
                "HTTP/1.1 {status} Go\r\nLocation: http://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n"
            );
            say(&stream, &answer);
            let _ = (&stream).read_to_end(&mut Vec::new());
        });
        let url = format!("http://127.0.0.1:{here}/");
        let settings = json!({"url": url, "timeout": 1, "headers": {"Authorization": "secret"}});
        let mut output: Output = testing::open(&settings).unwrap();
        match testing::emit(&mut output, &[Alert::new("A rule", "text")]) {
            Delivery::TryAgain {
                delivered: 0,
                reason,
            } => assert!(reason.contains(&status.to_string()), "{reason}"),
            other => panic!("{other:?}"),
        }
        drop(output);
        served.join().unwrap();
    }
    assert!(elsewhere.accept().is_err(), "an alert went elsewhere");
}
