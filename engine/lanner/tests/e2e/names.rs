//! Which host names lanner asks the resolver for: those that a rule tests `fd.sip.name` and similar fields for equality
//! with, and no others. A name in a rule can be an indicator that must not leave the host.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::lanner::{BIN, stderr};
use test_support::{is_root, skipped};

/// A name server that writes down each name that it is asked for, and knows none.
const SERVER: &str = r#"
import socket, sys

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
open(sys.argv[1], "w").close()
while True:
    query, client = server.recvfrom(512)
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    with open(sys.argv[1], "a") as asked:
        asked.write(".".join(labels) + "\n")
    server.sendto(query[:2] + b"\x81\x83" + query[4:6] + bytes(6) + query[12:], client)
"#;

/// Runs lanner in a network of its own, where the name server is the one above. The watched command waits for the last
/// name: lanner asks in alphabetical order.
const STAGE: &str = r#"
ip link set lo up
mount --bind "$1/resolv.conf" /etc/resolv.conf
mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf
python3 "$1/server.py" "$1/asked" &
server=$!
for _ in $(seq 300); do [ -e "$1/asked" ] && break; sleep 0.1; done
"$2" run --driver ptrace -r "$1/rules.yaml" -- sh -c \
    'for _ in $(seq 300); do grep -q zz.example "$0" && break; sleep 0.1; done' "$1/asked"
status=$?
kill $server
exit $status
"#;

const RULES: &str = r#"
- list: listed
  items: [one.example, "two.example"]
- macro: quoted
  condition: proc.cmdline contains "fd.sip.name = evil.example"
- rule: names
  desc: d
  condition: >
    evt.type = connect and not quoted and (fd.sip.name contains example or fd.rip.name startswith prefix.example
    or fd.sip.name glob pattern.example or fd.sip.name exists or proc.name = process.example
    or tolower(fd.sip.name) = lower.example or fd.cip.name in (listed) or fd.lip.name != zz.example
    or concat("x.", fd.sip.name) = x.made.example)
  output: o
  priority: INFO
  exceptions:
    - name: known
      fields: fd.cip.name
      values: [exception.example]
- rule: disabled
  desc: d
  condition: evt.type = connect and fd.sip.name = disabled.example
  output: o
  priority: INFO
  enabled: false
"#;

#[test]
fn only_names_that_a_rule_tests_for_equality_are_looked_up() {
    if !is_root() {
        skipped("a network and a name server of its own need root");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("write a file");
    };
    write("rules.yaml", RULES);
    write("server.py", SERVER);
    write("nsswitch.conf", "hosts: dns\n");
    write(
        "resolv.conf",
        "nameserver 127.0.0.1\noptions attempts:1 timeout:5\n",
    );
    let output = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c", STAGE, "sh"])
        .arg(folder.path())
        .arg(BIN)
        .output()
        .expect("run unshare");
    assert!(output.status.success(), "{}", stderr(&output));
    let asked = fs::read_to_string(folder.path().join("asked")).expect("the server wrote its file");
    let asked: BTreeSet<&str> = asked.lines().collect();
    let expected = [
        "exception.example",
        "lower.example",
        "one.example",
        "two.example",
        "zz.example",
    ];
    assert_eq!(asked, BTreeSet::from(expected), "{}", stderr(&output));
}
