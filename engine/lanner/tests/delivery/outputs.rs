//! The whole of lanner with every output and the real peers: what a rule sees arrives everywhere, all of it, in order,
//! also where a peer was away. Needs what the tests of the outputs need.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use test_support::peers::{
    Authority, Client, Journald, NatsServer, Receiver, Rsyslogd, current_python, python,
};
use test_support::{skipped, wait_for, wait_until};

use crate::session::{Folder, Lanner};

/// The number in what a rule said: `... A /tmp/.../watched/000000017`.
fn number(text: &str) -> u64 {
    let digits = text.rsplit('/').next().expect("a name").trim();
    digits.parse().expect("a number")
}

fn numbers<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<u64> {
    texts.into_iter().map(number).collect()
}

/// The numbers in Falco's JSON objects, whose fields are those that falcosidekick reads.
fn of_json<'a>(alerts: impl IntoIterator<Item = &'a Value>) -> Vec<u64> {
    let number_of = |alert: &'a Value| {
        for key in ["output", "priority", "time", "source", "hostname", "tags"] {
            assert!(alert.get(key).is_some(), "there is no {key}: {alert}");
        }
        assert_eq!(alert["rule"], "A", "{alert}");
        let name = &alert["output_fields"]["fd.name"];
        number(name.as_str().expect("a name"))
    };
    alerts.into_iter().map(number_of).collect()
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // the last one may not be whole yet
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

/// The numbers in the texts of the rule's alerts; lanner's own may be among them where the machine is slow.
fn of_text(lines: &[String]) -> Vec<u64> {
    let said = lines
        .iter()
        .filter_map(|line| line.split_once(": Notice A "));
    numbers(said.map(|(_, text)| text))
}

fn json_lines(path: &Path) -> Vec<Value> {
    let json = |line: &String| serde_json::from_str(line).expect("JSON");
    lines(path).iter().map(json).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a text")
}

/// Alerts of the rule, among those of lanner itself.
fn of_rule(alerts: Vec<Value>) -> Vec<Value> {
    let own = |alert: &Value| alert["source"] == "internal";
    alerts.into_iter().filter(|alert| !own(alert)).collect()
}

/// All numbers are there, in order, and none twice.
fn whole(what: &str, numbers: &[u64], made: u64) {
    assert!(
        numbers.iter().copied().eq(0..made),
        "{what}: {} of {made}, first odd one {:?}",
        numbers.len(),
        (0..).zip(numbers).find(|(at, number)| at != *number)
    );
}

/// Makes as many files as a line of the pipe says.
const ON_DEMAND: &str = "
import os, sys
number = 0
with open(sys.argv[2]) as orders:
    for order in orders:
        for _ in range(int(order)):
            name = f'{sys.argv[1]}/{number:09}'
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
            os.unlink(name)
            number += 1
";

/// A session of a command that makes files on request, and ends when the requests end: so all can be waited
/// for that has only moments when a session ends.
fn on_demand(folder: &Folder, driver: &str, config: &Path) -> (Lanner, fs::File) {
    let (watched, orders) = (folder.path("watched"), folder.path("orders"));
    nix::unistd::mkfifo(&orders, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let command = [
        "--",
        "python3",
        "-c",
        ON_DEMAND,
        text(&watched),
        text(&orders),
    ];
    let options = ["--driver", driver, "-c", text(config)];
    let mut lanner = Lanner::start(&[&options[..], &command].concat());
    let pipe = wait_for("the command's reading", || {
        let ended = lanner.child.try_wait().expect("its status");
        assert!(ended.is_none(), "{ended:?} {:?}", lanner.err);
        // opening it must not wait: if lanner cannot start, no one will read
        let opened = fs::OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&orders);
        opened.ok()
    });
    lanner.wait_for(&format!("driver {driver}"));
    (lanner, pipe)
}

fn order(pipe: &mut fs::File, files: u64) {
    writeln!(pipe, "{files}").expect("the command reads");
}

struct Tls {
    authority: Authority,
    receiver: Receiver,
}

impl Tls {
    /// A receiver that wants a certificate of its clients.
    fn new() -> Self {
        let authority = Authority::new();
        authority.sign("server");
        authority.sign("client");
        let files = ["server.pem", "server.key", "ca.pem"].map(|name| authority.path(name));
        Self {
            receiver: Receiver::start("", &files),
            authority,
        }
    }

    /// Settings of a client.
    fn client(&self) -> String {
        let file = |name: &str| self.authority.path(name).display().to_string();
        format!(
            "ca_cert: {}, client_cert: {}, client_key: {}",
            file("ca.pem"),
            file("client.pem"),
            file("client.key")
        )
    }
}

#[test]
fn what_a_rule_sees_arrives_at_every_output_whole_and_in_order() {
    let (Some(python), Some(current), Some(nats), Some(syslog), Some(journal)) = (
        python(),
        current_python(),
        NatsServer::start(&[]),
        Rsyslogd::start(Rsyslogd::TLS),
        Journald::start(),
    ) else {
        return;
    };
    let tls = Tls::new();
    let folder = Folder::new();
    let rules = folder.rule("A", "");
    let socket = folder.path("falco.sock");
    let (file, fed) = (folder.path("alerts.json"), folder.path("fed"));
    let (syslog_at, port) = (syslog.authority.folder().display(), syslog.port());
    let config = folder.put(
        "lanner.yaml",
        &format!(
            "rules_files: [{rules}]
outputs:
- {{plugin: output-file, settings: {{filename: {file}, json: true}}}}
- {{plugin: output-program, settings: {{program: \"cat >> {fed}\", keep_alive: true}}}}
- plugin: output-syslog
  settings: {{address: \"tls://localhost:{port}\", facility: local3, ca_cert: {syslog_at}/ca.pem,
    client_cert: {syslog_at}/server.pem, client_key: {syslog_at}/server.key}}
- {{plugin: output-journald, settings: {{socket: {journal}}}}}
- plugin: output-http
  settings: {{url: \"https://localhost:{http}/\", mtls: true, {client}}}
- {{plugin: output-grpc, settings: {{bind_address: \"unix://{socket}\"}}}}
- {{plugin: output-nats, settings: {{servers: [\"nats://127.0.0.1:{nats_at}\"]}}}}
",
            rules = rules.display(),
            file = file.display(),
            fed = fed.display(),
            http = tls.receiver.port,
            client = tls.client(),
            socket = socket.display(),
            nats_at = nats.port,
            journal = journal.socket().display(),
        ),
    );
    let (lanner, mut pipe) = on_demand(&folder, "ptrace", &config);
    order(&mut pipe, 20);
    wait_until(&format!("alerts come {:?}", lanner.err), || {
        lanner.alerts("Notice A") == 20
    });
    // one that takes everything from the beginning, and one that listens as Falco's clients do
    let target = format!("unix:{}", socket.display());
    let mut own = Client::start(python, &[&target, "own", "0", r#"{"after":"oldest"}"#]);
    own.ready();
    let mut sub = Client::start(current, &[&target, "sub", "50"]);
    sub.ready();
    order(&mut pipe, 180);
    let made = 200;
    let falco = sub.rest();
    let has = |what: &str, count: &dyn Fn() -> usize| {
        wait_until(&format!("{what} has all {:?}", lanner.err), || {
            count() >= 200
        });
    };
    has("file", &|| of_rule(json_lines(&file)).len());
    has("program", &|| of_text(&lines(&fed)).len());
    has("syslog", &|| of_text(&syslog.received()).len());
    has("http", &|| of_rule(tls.receiver.alerts()).len());
    has("nats", &|| nats.messages().len());
    has("journal", &|| of_text(&journal.messages()).len());
    has("console", &|| lanner.alerts("Notice A"));
    drop(pipe);
    // the end of the stream is that of the session
    let streamed = own.rest();
    let (out, err) = lanner.end();
    assert!(!err.iter().any(|line| line.contains(" lost ")), "{err:?}");
    whole("console", &of_text(&out), made);
    whole("file", &of_json(&of_rule(json_lines(&file))), made);
    whole("program", &of_text(&lines(&fed)), made);
    let got = syslog.received();
    let head = "local3.notice|lanner|";
    let good = got[0].starts_with(head) && got[0].contains("rule=\"A\"");
    assert!(good, "{}", got[0]);
    whole("syslog", &of_text(&got), made);
    whole("journal", &of_text(&journal.messages()), made);
    whole("http", &of_json(&of_rule(tls.receiver.alerts())), made);
    let alerts = streamed.iter().map(|message| &message["alert"]);
    let texts = alerts.map(|alert| alert["text"].as_str().expect("a text").to_owned());
    whole(
        "our own service",
        &of_text(&texts.collect::<Vec<_>>()),
        made,
    );
    let first = &falco[0]["output_fields"]["fd.name"];
    let first = number(first.as_str().expect("a name"));
    let names = falco.iter().map(|alert| {
        assert_eq!(
            (&alert["rule"], &alert["priority"]),
            (&"A".into(), &5.into())
        );
        alert["output_fields"]["fd.name"].as_str().expect("a name")
    });
    let names = numbers(names);
    assert!(names.iter().copied().eq(first..first + 50), "{names:?}");
    let messages = nats.messages();
    let contents = messages.iter().map(|(_, content)| content.clone());
    whole("nats", &of_json(&of_rule(contents.collect())), made);
    assert!(messages[0].0.ends_with(".Notice"), "{}", messages[0].0);
}

/// Peers that go and come back, with the kernel's driver: what has a spool is delivered, whoever was away.
#[test]
fn peers_that_were_away_get_what_they_missed() {
    if !nix::unistd::geteuid().is_root() {
        skipped("the eBPF driver takes root");
        return;
    }
    let (Some(mut nats), Some(syslog)) =
        (NatsServer::start(&[]), Rsyslogd::start(Rsyslogd::SOCKET))
    else {
        return;
    };
    let mut tls = Tls::new();
    tls.receiver.kill();
    let folder = Folder::new();
    let rules = folder.rule("A", "");
    let gate = folder.path("gate");
    let fed = folder.path("fed");
    let spool = |name: &str| -> PathBuf { folder.path(&format!("{name}.redb")) };
    let config = folder.put(
        "lanner.yaml",
        &format!(
            "rules_files: [{rules}]
stdout_output: {{enabled: false}}
syslog_output: {{enabled: true, address: \"unix://{log}\"}}
outputs:
- plugin: output-http
  retry_max: 100ms
  settings: {{url: \"https://localhost:{http}/\", mtls: true, batch: array, compress_uploads: true, {client}}}
  spool: {{path: {http_spool}}}
- plugin: output-nats
  retry_max: 100ms
  settings: {{servers: [\"nats://127.0.0.1:{nats_at}\"], timeout: 1}}
  spool: {{path: {nats_spool}}}
- plugin: output-program
  retry_max: 100ms
  settings: {{program: \"[ -e {gate} ] && cat >> {fed}\", json: true}}
",
            rules = rules.display(),
            log = syslog.authority.path("log").display(),
            http = tls.receiver.port,
            client = tls.client(),
            http_spool = spool("http").display(),
            nats_at = nats.port,
            nats_spool = spool("nats").display(),
            gate = gate.display(),
            fed = fed.display(),
        ),
    );
    let (lanner, mut pipe) = on_demand(&folder, "ebpf-core", &config);
    let made = 300;
    let known = || of_text(&syslog.received()).len();
    order(&mut pipe, 100);
    wait_until(&format!("alerts come {:?}", lanner.err), || known() == 100);
    nats.kill();
    order(&mut pipe, 100);
    wait_until("the others go on", || known() == 200);
    nats.restart();
    tls.receiver.restart();
    fs::write(&gate, "").expect("a file");
    order(&mut pipe, 100);
    let has = |what: &str, count: &dyn Fn() -> usize| {
        wait_until(&format!("{what} has all {:?}", lanner.err), || {
            count() >= 300
        });
    };
    has("syslog", &known);
    has("http", &|| of_rule(tls.receiver.alerts()).len());
    has("program", &|| of_rule(json_lines(&fed)).len());
    has("nats", &|| nats.messages().len());
    drop(pipe);
    let (_, err) = lanner.end();
    assert!(!err.iter().any(|line| line.contains(" lost ")), "{err:?}");
    whole("syslog", &of_text(&syslog.received()), made);
    whole("program", &of_json(&of_rule(json_lines(&fed))), made);
    whole("http", &of_json(&of_rule(tls.receiver.alerts())), made);
    // what was on its way when the server died may come before what was offered again
    let contents = nats.messages().into_iter().map(|(_, content)| content);
    let mut got = of_json(&of_rule(contents.collect()));
    got.sort_unstable();
    whole("nats", &got, made);
}

/// Bytes that are resident.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|n| n.parse::<u64>().ok())
        .expect("a number")
        << 10
}

#[test]
fn ninety_subscribers_get_everything_while_ten_are_stuck_and_told_what_they_missed() {
    const ALERTS: u64 = 1500;
    const LONG: usize = 8000;
    let Some(python) = python() else { return };
    let folder = Folder::new();
    let (watched, socket) = (folder.path("watched"), folder.path("falco.sock"));
    let rule = |name: &str, condition: &str| {
        format!(
            "- rule: {name}\n  desc: d\n  condition: evt.type in (openat, open) and {condition}\n  output: {} \
             %fd.name\n  priority: NOTICE\n",
            "x".repeat(LONG)
        )
    };
    let rules = rule(
        "last",
        &format!("fd.name={}/{:09}", watched.display(), ALERTS - 1),
    ) + &rule("r", &format!("fd.name startswith {}/", watched.display()));
    let rules = folder.put("rules.yaml", &rules);
    let config = folder.put(
        "lanner.yaml",
        &format!(
            "rules_files: [{}]\nstdout_output: {{enabled: false}}\noutputs:\n- plugin: output-grpc\n  settings: \
             {{bind_address: \"unix://{}\", keep: 100, max_clients: 100}}\n",
            rules.display(),
            socket.display()
        ),
    );
    let (lanner, mut pipe) = on_demand(&folder, "ptrace", &config);
    let target = format!("unix:{}", socket.display());
    let mut clients = Client::start(python, &[&target, "many", "90", "10"]);
    clients.ready();
    let mut most = 0;
    let before = resident(lanner.child.id());
    for batch in 1..=ALERTS / 50 {
        order(&mut pipe, 50);
        // the fast ones are never behind by more than a batch
        assert_eq!(clients.line(), format!("all {}", batch * 50));
        most = most.max(resident(lanner.child.id()));
    }
    // if each of those that are stuck had its own alerts, these alone were 10 * 1500 * 16 kB
    let more = most.saturating_sub(before);
    assert!(more < 100 << 20, "{more} bytes more than at the start");
    println!("gRPC: at most {} KiB more than at the start", more >> 10);
    clients.write_line("wake");
    let summary: Value = serde_json::from_str(&clients.line()).expect("JSON");
    assert_eq!(summary["fast"], serde_json::json!(vec![ALERTS; 90]));
    for stuck in summary["stuck"].as_array().expect("a list") {
        let number = |key: &str| stuck[key].as_u64().expect("a number");
        assert!(number("lost") > 0 && number("notices") >= 1, "{stuck}");
        assert_eq!(number("alerts") + number("lost"), ALERTS, "{stuck}");
    }
    drop(pipe);
    let (_, err) = lanner.end();
    assert!(!err.iter().any(|line| line.contains("lost")), "{err:?}");
}
