//! Against a client that shares no code with ours: grpcio, the system's and the current one, with a codec written from the
//! wire format; and against Falco's own client.

use std::fs;
use std::path::Path;

use lanner_plugin::testing::{self, Alert};
use lanner_plugin::{OwnedValue, Priority};
use serde_json::{Value, json};
use test_support::peers::{Authority, Client, Python, current_python, python};

use super::*;

/// All lines that a client prints.
fn printed(python: &Python, args: &[&str]) -> Vec<Value> {
    Client::start(python, args).rest()
}

/// The clients of today and of some years ago: they write requests differently.
fn pythons() -> Vec<&'static Python> {
    [python(), current_python()].into_iter().flatten().collect()
}

fn open(settings: &Value) -> Output {
    testing::open(settings).unwrap()
}

/// An output that listens at a Unix socket, and the address of that socket for the client. `more` has further settings.
fn at_socket(folder: &Path, more: &Value) -> (Output, String) {
    let path = folder.join("run/falco.sock");
    let mut settings = json!({"bind_address": format!("unix://{}", path.display())});
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    (open(&settings), format!("unix:{}", path.display()))
}

fn emit(output: &mut Output, rules: &[&str]) {
    let alerts: Vec<Alert> = rules
        .iter()
        .map(|rule| Alert::new(rule, "happened"))
        .collect();
    assert_eq!(testing::emit(output, &alerts), Delivery::Delivered);
}

fn rules(messages: &[Value]) -> Vec<&str> {
    let rule = |message: &Value| {
        message.get("alert").unwrap_or(message)["rule"]
            .as_str()
            .map(str::len)
    };
    assert!(
        messages.iter().all(|message| rule(message).is_some()),
        "{messages:?}"
    );
    messages
        .iter()
        .map(|message| {
            message.get("alert").unwrap_or(message)["rule"]
                .as_str()
                .unwrap()
        })
        .collect()
}

#[test]
fn falcos_clients_get_every_field_where_they_look_for_it() {
    pythons().into_iter().for_each(get_every_field);
}

fn get_every_field(python: &Python) {
    let folder = tempfile::tempdir().unwrap();
    let (mut output, target) = at_socket(folder.path(), &json!({}));
    let version = printed(python, &[&target, "version"]);
    assert_eq!(version[0]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(version[0]["parts"], json!([0, 1, 0]));
    assert_eq!(version[0]["engine"], json!(["0.63.0", [0, 63, 0]]));
    let rules = include_str!("../../rules-falco/src/versions.rs");
    assert!(rules.contains("const ENGINE: (u64, u64, u64) = (0, 63, 0);"));

    let mut client = Client::start(python, &[&target, "sub", "2"]);
    client.ready();
    let mut alert = Alert::new("A rule", "something happened");
    alert
        .fields
        .push(("evt.num".to_owned(), OwnedValue::U64(7)));
    alert.fields.push(("fd.name".to_owned(), OwnedValue::None));
    let worst = Alert {
        priority: Priority::Emergency,
        ..alert.clone()
    };
    testing::emit(&mut output, &[alert, worst]);
    let got = client.rest();
    assert_eq!(
        got[0],
        json!({
            "time": 1_767_225_600_123_456_789_u64,
            "priority": 4,
            "rule": "A rule",
            "output": "00:00:00.123456789: Warning something happened",
            "output_fields": {"proc.name": "cat", "evt.num": "7", "fd.name": "<NA>"},
            "hostname": "tester",
            "tags": ["t1"],
            "source": "syscall",
        })
    );
    assert_eq!(got[1]["priority"], 0);
}

#[test]
fn get_has_what_this_client_has_not_got_yet_and_ends() {
    pythons().into_iter().for_each(get_what_is_new);
}

fn get_what_is_new(python: &Python) {
    let folder = tempfile::tempdir().unwrap();
    let (mut output, target) = at_socket(folder.path(), &json!({"keep": 3}));
    emit(&mut output, &["one", "two"]);
    assert_eq!(rules(&printed(python, &[&target, "get"])), ["one", "two"]);
    assert_eq!(printed(python, &[&target, "get"]), [] as [Value; 0]);
    // Three of five more alerts are kept. A notice replaces the others.
    emit(&mut output, &["3", "4", "5", "6", "7"]);
    let got = printed(python, &[&target, "get"]);
    assert_eq!(
        rules(&got),
        ["lanner internal: alerts dropped", "5", "6", "7"]
    );
    assert_eq!(got[0]["output_fields"], json!({"n_drops": "2"}));
}

#[test]
fn our_own_service_filters_and_goes_on_from_a_cursor() {
    pythons().into_iter().for_each(filter_and_go_on);
}

fn filter_and_go_on(python: &Python) {
    let folder = tempfile::tempdir().unwrap();
    let (mut output, target) = at_socket(folder.path(), &json!({"keep": 4}));
    let own = |count: &str, request: Value| {
        let mut client = Client::start(python, &[&target, "own", count, &request.to_string()]);
        client.ready();
        client
    };
    let mut following = own("3", json!({}));
    let mut picky = own("1", json!({"rules": ["two", "three"], "priority": 3}));
    let mut tagged = own("1", json!({"tags": ["other"], "sources": ["syscall"]}));
    let mut alerts = ["one", "two", "three"].map(|rule| Alert::new(rule, "happened"));
    alerts[2].priority = Priority::Error;
    alerts[1].tags = vec!["this".to_owned(), "other".to_owned()];
    alerts[0].fields = vec![
        ("text".to_owned(), OwnedValue::String(b"cat".to_vec())),
        ("raw".to_owned(), OwnedValue::String(b"\xff".to_vec())),
        ("number".to_owned(), OwnedValue::U64(7)),
        ("address".to_owned(), OwnedValue::Ip([127, 0, 0, 1].into())),
        ("none".to_owned(), OwnedValue::None),
    ];
    testing::emit(&mut output, &alerts);
    let got = following.rest();
    assert_eq!(rules(&got), ["one", "two", "three"]);
    assert_eq!(rules(&picky.rest()), ["three"]);
    assert_eq!(rules(&tagged.rest()), ["two"]);
    assert_eq!(
        got[0]["alert"]["fields"],
        json!({
            "text": {"5": "b'cat'"},
            "raw": {"6": "b'\\xff'"},
            "number": {"3": "7"},
            "address": {"7": "b'\\x7f\\x00\\x00\\x01'"},
            "none": {},
        })
    );
    assert_eq!(got[0]["alert"]["json"], alerts[0].json);

    // The client goes on after the first alert. Then six more come; four are kept.
    let after = |cursor: &Value| json!({"after": cursor, "no_follow": true});
    let cursor = &got[0]["cursor"];
    assert_eq!(rules(&own("0", after(cursor)).rest()), ["two", "three"]);
    emit(&mut output, &["4", "5", "6", "7", "8", "9"]);
    let late = own("0", after(cursor)).rest();
    assert_eq!(late[0]["loss"], json!({"cause": 1, "count": 4}));
    assert_eq!(rules(&late[1..]), ["6", "7", "8", "9"]);
    // The notice has a cursor as well.
    let again = own("0", after(&late[0]["cursor"])).rest();
    assert_eq!(rules(&again), ["6", "7", "8", "9"]);
    assert_eq!(
        rules(&own("0", after(&json!("oldest"))).rest()),
        ["6", "7", "8", "9"]
    );

    // Another process only knows that alerts can be missing.
    drop(output);
    let (mut output, target) = at_socket(folder.path(), &json!({}));
    emit(&mut output, &["new"]);
    let request = after(cursor).to_string();
    let got = subscribe(python, &target, &request);
    assert_eq!(got[0]["loss"], json!({"cause": 2, "count": 0}));
    assert_eq!(rules(&got[1..]), ["new"]);
    let error = subscribe(python, &target, r#"{"after":"nonsense"}"#);
    assert_eq!(error[0]["error"], "INVALID_ARGUMENT");
}

#[test]
fn falcos_own_client_works_with_the_current_grpcio() {
    let Some(python) = current_python() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (mut output, target) = at_socket(folder.path(), &json!({}));
    let endpoint = target.replacen("unix:", "unix://", 1);
    let falcos =
        |args: &[&str]| Client::start_falcos(python, &[&[endpoint.as_str()], args].concat()).rest();
    assert_eq!(
        falcos(&["version"]),
        [json!({"version": env!("CARGO_PKG_VERSION")})]
    );
    emit(&mut output, &["one", "two"]);
    assert_eq!(rules(&falcos(&["get"])), ["one", "two"]);
    emit(&mut output, &["three"]);
    std::thread::scope(|scope| {
        let got = scope.spawn(|| falcos(&["sub", "2"]));
        // The subscription begins at a time that this test does not see.
        while !got.is_finished() {
            emit(&mut output, &["more"]);
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert_eq!(rules(&got.join().unwrap()).len(), 2);
    });
}

/// All messages that our own service sends for a request.
fn subscribe(python: &Python, target: &str, request: &str) -> Vec<Value> {
    let mut client = Client::start(python, &[target, "own", "0", request]);
    client.ready();
    client.rest()
}

#[test]
fn one_client_more_than_is_allowed_is_refused() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (_output, target) = at_socket(folder.path(), &json!({"max_clients": 1}));
    let mut client = Client::start(python, &[&target, "own", "0", "{}"]);
    client.ready();
    let refused = printed(python, &[&target, "get"]);
    assert_eq!(refused[0]["error"], "RESOURCE_EXHAUSTED");
}

#[test]
fn connections_without_a_request_take_no_more_than_their_places() {
    use std::io::{ErrorKind, Read};
    use std::os::unix::net::UnixStream;
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (_output, target) = at_socket(folder.path(), &json!({"max_clients": 1}));
    let path = target.strip_prefix("unix:").unwrap();
    let idle: Vec<UnixStream> = (0..100)
        .map(|_| UnixStream::connect(path).unwrap())
        .collect();
    // A server sends its settings first, so an accepted client hears something (RFC 9113, section 3.4).
    let mut heard = vec![false; idle.len()];
    let mut count = || {
        for (mut stream, heard) in idle.iter().zip(&mut heard) {
            stream.set_nonblocking(true).unwrap();
            *heard |= match stream.read_exact(&mut [0; 1]) {
                Ok(()) => true,
                Err(error) => error.kind() != ErrorKind::WouldBlock,
            };
        }
        heard.iter().filter(|heard| **heard).count()
    };
    test_support::wait_until("the first ones are accepted", || count() >= 17);
    assert_eq!(count(), 17);
    // When these clients have gone, their places are free.
    drop(idle);
    let version = printed(python, &[&target, "version"]);
    assert_eq!(version[0]["version"], env!("CARGO_PKG_VERSION"));
}

/// An authority that has signed the certificates of a server, of two clients, and an expired one.
fn authority() -> Authority {
    let authority = Authority::new();
    for name in ["server", "one", "two"] {
        authority.sign(name);
    }
    authority.sign_expired("old");
    authority
}

#[test]
fn over_tcp_clients_show_a_certificate_that_the_authority_has_signed() {
    let Some(python) = python() else { return };
    let (own, other) = (authority(), authority());
    let mut output = open(&json!({
        "bind_address": "127.0.0.1:0",
        "private_key": own.path("server.key"),
        "cert_chain": own.path("server.pem"),
        "root_certs": own.path("ca.pem"),
    }));
    let target = format!("127.0.0.1:{}", output.server.port());
    let ask = |certificate: Option<(&Authority, &str)>, mode: &str| {
        let ca = own.path("ca.pem").display().to_string();
        let mut args = vec![target.clone(), "--ca".to_owned(), ca];
        if let Some((of, name)) = certificate {
            for (option, file) in [("--cert", "pem"), ("--key", "key")] {
                let path = of.path(&format!("{name}.{file}"));
                args.extend([option.to_owned(), path.display().to_string()]);
            }
        }
        args.push(mode.to_owned());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        printed(python, &args)
    };
    emit(&mut output, &["a", "b"]);
    // Each client gets all alerts.
    assert_eq!(rules(&ask(Some((&own, "one")), "get")), ["a", "b"]);
    assert_eq!(rules(&ask(Some((&own, "two")), "get")), ["a", "b"]);
    emit(&mut output, &["c"]);
    assert_eq!(rules(&ask(Some((&own, "one")), "get")), ["c"]);
    for stranger in [None, Some((&own, "old")), Some((&other, "one"))] {
        let answer = ask(stranger, "version");
        assert_eq!(answer[0]["error"], "UNAVAILABLE", "{answer:?}");
    }
    // New certificates are used without a restart.
    for name in ["ca.pem", "server.pem", "server.key"] {
        fs::copy(other.path(name), own.path(name)).unwrap();
    }
    output.reopen().unwrap();
    assert_eq!(
        ask(Some((&own, "one")), "version")[0]["error"],
        "UNAVAILABLE"
    );
    assert_eq!(ask(Some((&other, "two")), "version").len(), 1);
    assert_eq!(rules(&ask(Some((&other, "two")), "get")), ["a", "b", "c"]);
}

#[test]
fn the_end_comes_after_the_last_alert() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (mut output, target) = at_socket(folder.path(), &json!({}));
    let mut client = Client::start(python, &[&target, "own", "0", "{}"]);
    client.ready();
    emit(&mut output, &["one", "two"]);
    drop(output);
    assert_eq!(rules(&client.rest()), ["one", "two"]);
    assert!(!folder.path().join("run/falco.sock").exists());
}

#[test]
fn mistakes_are_known_at_once_and_a_socket_in_use_is_left_alone() {
    for (settings, expected) in [
        (
            json!({"bind_address": "127.0.0.1:0"}),
            "`private_key`, `cert_chain` and `root_certs`",
        ),
        (json!({"bind_address": "unix://here"}), "unix:///PATH"),
        (
            json!({"bind_address": "unix:///tmp/x", "socket_mode": "rw"}),
            "`socket_mode`",
        ),
        (json!({"keep": 0}), "`keep`"),
    ] {
        let error = testing::refusal::<Output>(&settings).unwrap();
        assert!(error.contains(expected), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let (output, _) = at_socket(folder.path(), &json!({}));
    let path = folder.path().join("run/falco.sock");
    let settings = json!({"bind_address": format!("unix://{}", path.display())});
    let second = testing::refusal::<Output>(&settings).unwrap();
    assert!(second.contains("in use"), "{second}");
    assert!(path.exists());
    drop(output);
    // A socket that was left behind is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    at_socket(folder.path(), &json!({}));
}

#[test]
fn the_page_describes_the_settings() {
    let schema = schemars::schema_for!(Settings);
    test_support::assert_documented("output-grpc", schema.as_value());
}
