//! Whom data goes to: in every mode of every driver, for calls that send several messages, and for sockets that were made
//! before lanner looked.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use serde_json::Value;
use test_support::wait_until;

use crate::lanner::{BIN, modes, run, usable};
use crate::state::{as_texts, values};

/// sendmmsg(2) for Python: to each address of a list. None: a message without name and data.
const SEND_MANY: &str = r#"
import struct
def send_many(one, ports):
    kept, all = [], b''
    for port in ports:
        to = struct.pack('=H', 2) + struct.pack('!H', port or 0) + bytes([127, 0, 0, 1]) + bytes(8)
        name, data = ctypes.create_string_buffer(to, 16), ctypes.create_string_buffer(b'x', 1)
        iov = ctypes.create_string_buffer(struct.pack('PN', ctypes.addressof(data), 1), 16)
        kept += [name, data, iov]
        at = [ctypes.addressof(name), 16, ctypes.addressof(iov), 1] if port else [0, 0, 0, 0]
        all += struct.pack('@PI4xPNPNi4xI4x', *at, 0, 0, 0, 0)
    return libc.sendmmsg(one.fileno(), ctypes.create_string_buffer(all, len(all)), len(ports), 0)

def receiver(port):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # tests run beside each other
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(('127.0.0.1', port))
    return one
receivers = [receiver(port) for port in (7301, 7302)]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
"#;

/// In notify mode lanner looks at a socket while its process lives.
const LIVE_ON: &str = "import time\ntime.sleep(1)\n";

/// Compares the values that are there, in every mode of every driver.
fn expect(question: (&str, &[&str]), program: &str, expected: &[&[&str]]) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = format!("{program}{LIVE_ON}");
    for driver in modes() {
        let found = values(&driver, folder.path(), question, &program);
        assert_eq!(as_texts(&found), expected, "{driver:?}");
    }
}

#[test]
fn every_mode_shows_whom_a_message_goes_to() {
    expect(
        (
            "evt.type in (connect, sendto, sendmsg, sendmmsg) and fd.rip = 127.0.0.1",
            &["evt.type", "fd.rport", "fd.sport", "fd.l4proto", "fd.type"],
        ),
        &format!(
            "{SEND_MANY}\
             s.sendto(b'x', ('127.0.0.1', 7301))\ns.sendmsg([b'x'], [], 0, ('127.0.0.1', 7302))\n\
             send_many(s, [7302, 7301])\n\
             libc.sendto(s.fileno(), b'x', 1, 0, bytes(2) + struct.pack('!H', 7302) + bytes([127, 0, 0, 1]) + bytes(8), 16)\n\
             t = socket.socket()\nt.setblocking(False)\nt.connect_ex(('127.0.0.1', 7303))\n"
        ),
        &[
            &["sendto", "7301", "7301", "udp", "ipv4"],
            &["sendmsg", "7302", "7302", "udp", "ipv4"],
            &["sendmmsg", "7302", "7302", "udp", "ipv4"],
            &["sendmmsg", "7301", "7301", "udp", "ipv4"],
            // AF_UNSPEC, which the kernel takes for AF_INET
            &["sendto", "7302", "7302", "udp", "ipv4"],
            &["connect", "7303", "7303", "tcp", "ipv4"],
        ],
    );
}

#[test]
fn no_message_of_a_call_is_hidden() {
    // the first one goes to the connected end
    expect(
        ("evt.type = sendmmsg", &["fd.rport", "evt.truncated"]),
        &format!("{SEND_MANY}s.connect(('127.0.0.1', 7301))\nsend_many(s, [None, 7302])\n"),
        &[&["7301"], &["7302"]],
    );
    // where there are more than are captured, a rule can ask for that
    let folder = tempfile::tempdir().expect("a folder");
    let question = ("evt.type = sendmmsg", &["fd.rport", "evt.truncated"][..]);
    let program = format!("{SEND_MANY}send_many(s, [7301] * 40)\n{LIVE_ON}");
    for driver in modes() {
        let found = values(&driver, folder.path(), question, &program);
        assert!(found.len() < 40, "{driver:?}");
        for row in found {
            assert_eq!(row[0], 7301, "{driver:?}");
            assert_eq!(row[1].to_string(), "[\"data\"]", "{driver:?}");
        }
    }
}

#[test]
fn data_behind_too_many_buffers_is_marked() {
    let question = ("evt.type = writev", &["evt.truncated", "evt.buffer"][..]);
    let program =
        "r, w = os.pipe()\nos.writev(w, [b''] * 39 + [b'HIDDEN'])\nos.writev(w, [b'a', b'b'])\n";
    let folder = tempfile::tempdir().expect("a folder");
    for driver in modes() {
        let found = values(&driver, folder.path(), question, program);
        assert_eq!(found.len(), 2, "{driver:?}");
        assert_eq!(found[0][0].to_string(), "[\"data\"]", "{driver:?}");
        assert_eq!(found[1], [Value::Null, "ab".into()], "{driver:?}");
    }
}

/// Makes sockets, says so, and uses them again and again.
const BEFORE: &str = r#"
import os, socket, sys, time
at = sys.argv[1]
INET, UNIX, DGRAM = socket.AF_INET, socket.AF_UNIX, socket.SOCK_DGRAM
def stream():
    listener = socket.socket(UNIX)
    listener.bind(at + '/stream')
    listener.listen()
    client = socket.socket(UNIX)
    client.connect(at + '/stream')
    return client, listener.accept()[0]
def tcp():
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen()
    client = socket.socket()
    client.connect(listener.getsockname())
    return client, listener.accept()[0], listener
client, server = stream()
log, logs = socket.socket(UNIX, DGRAM), socket.socket(UNIX, DGRAM)
logs.bind(at + '/log')
log.connect(at + '/log')
tclient, tserver, listener = tcp()
inet = socket.socket(INET, DGRAM)
sink = socket.socket(INET, DGRAM)
sink.bind(('127.0.0.1', 0))
copy = os.dup(inet.fileno())
with open(at + '/ports', 'w') as ports:
    ports.write('%d %d %d' % (tclient.getsockname()[1], listener.getsockname()[1], sink.getsockname()[1]))
os.rename(at + '/ports', at + '/ready')
while True:
    client.send(b'mark-client')
    server.send(b'mark-server')
    log.send(b'mark-log')
    tclient.send(b'mark-tclient')
    tserver.send(b'mark-tserver')
    inet.connect(sink.getsockname())
    os.write(copy, b'mark-copy')
    for one in (client, server, logs, tclient, tserver, sink):
        one.recv(100)
    time.sleep(0.02)
"#;

/// Ends with the test, however that ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the sockets of [`BEFORE`] are called, as `mark: name (role)`.
fn seen_later(driver: &str, folder: &Path, pid: u32, wanted: &BTreeSet<String>) {
    let rules = folder.join("rules.yaml");
    let rule = format!(
        "- rule: sockets\n  desc: d\n  condition: evt.type in (write, sendto) and evt.buffer startswith mark- and proc.pid = {pid}\n  \
         output: '%evt.buffer %fd.name %fd.is_server %fd.rport'\n  priority: INFO\n"
    );
    fs::write(&rules, rule).expect("write the rules");
    let mut lanner = Command::new(BIN);
    lanner.args(["run", "--json", "--driver", driver, "-r"]);
    lanner.arg(&rules).args(["-p", &pid.to_string()]);
    let lanner = lanner.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut lanner = Killed(lanner.spawn().expect("lanner can be started"));
    let stdout = lanner.0.stdout.take().expect("piped");
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    let mut found = BTreeSet::new();
    wait_until("alerts of all sockets", || {
        for line in lines.try_iter() {
            let Ok(alert) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            let of = |field: &str| match &alert["output_fields"][field] {
                Value::String(text) => text.clone(),
                Value::Null => "-".to_owned(),
                other => other.to_string(),
            };
            let name = match of("fd.rport") {
                port if port == "-" => of("fd.name"),
                port => format!("{port} {}", of("fd.is_server")),
            };
            found.insert(format!("{}: {name}", of("evt.buffer")));
        }
        found.len() >= wanted.len()
    });
    assert_eq!(&found, wanted, "{driver}");
}

#[test]
fn sockets_that_were_made_before_have_names() {
    for driver in usable() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        let mut program = Command::new("python3");
        program.args(["-c", BEFORE]).arg(at).stdin(Stdio::null());
        let program = Killed(program.spawn().expect("python3"));
        let ready = at.join("ready");
        wait_until("the sockets are made", || ready.exists());
        let ports = fs::read_to_string(&ready).expect("ports");
        let ports: Vec<&str> = ports.split(' ').collect();
        let wanted = BTreeSet::from([
            format!("mark-client: {}/stream", at.display()),
            format!("mark-server: {}/stream", at.display()),
            format!("mark-log: {}/log", at.display()),
            format!("mark-tclient: {} false", ports[1]),
            format!("mark-tserver: {} true", ports[0]),
            format!("mark-copy: {} false", ports[2]),
        ]);
        seen_later(driver, at, program.0.id(), &wanted);
    }
}

#[test]
fn every_mode_shows_messages_of_netlink_sockets() {
    let program = "import socket, struct, time\n\
        s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\n\
        s.bind((0, 0))\n\
        name = struct.pack('=HH', 7, 3) + b'lo\\0\\0'\n\
        link = struct.pack('=BxHiII', 0, 0, 1, 0, 0)\n\
        s.sendto(struct.pack('=IHHII', 40, 18, 1, 7, 0) + link + name, (0, 0))\n\
        s.sendmsg([struct.pack('=IHHII', 17, 22, 0x301, 8, 0), bytes(4)])\n\
        time.sleep(1)\n";
    let sent = [
        "[{nlmsg_len=40, nlmsg_type=RTM_GETLINK, nlmsg_flags=NLM_F_REQUEST, nlmsg_seq=7, nlmsg_pid=0}, \
         {ifi_family=AF_UNSPEC, ifi_type=ARPHRD_NETROM, ifi_index=1, ifi_flags=0, ifi_change=0}, \
         [{nla_len=7, nla_type=IFLA_IFNAME}, \"lo\"]]",
        "msg_iov=[{nlmsg_len=17, nlmsg_type=RTM_GETADDR, nlmsg_flags=NLM_F_REQUEST|NLM_F_DUMP, nlmsg_seq=8, nlmsg_pid=0}, \
         {ifa_family=AF_UNSPEC, ...}]",
    ];
    for driver in modes() {
        let mut args: Vec<&str> = vec!["trace"];
        args.extend(driver.iter().map(String::as_str));
        args.extend([
            "-e",
            "sendto,sendmsg",
            "-s",
            "4096",
            "--",
            "python3",
            "-c",
            program,
        ]);
        let text = String::from_utf8_lossy(&run(&args).stdout).into_owned();
        for sent in sent {
            assert!(text.contains(sent), "{driver:?}: {sent}\n{text}");
        }
    }
}
