//! The facts of an event as JSON: what the kernel did. The program cannot forge them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use driver_api::event::layout::FLAGS_UNKNOWN;
use driver_api::event::{
    Attachment, Encoding, Event, Fact, Ids, Layer, OpenedFile, Program, Tuple,
};

use super::json::{self, Members};
use super::program;
use super::sockaddr::{INET, INET6};
use super::symbols;

/// Appends the object of an event's facts; it is empty if the event has none.
pub(super) fn object(out: &mut String, event: &Event<'_>) {
    let mut members = Members::object(out);
    for attached in event.attachments() {
        let Some(fact) = Fact::from_u8(attached.what) else {
            continue;
        };
        match fact {
            Fact::Tuple => {
                if let Some(found) = event.tuple() {
                    tuple(members.key(fact.name()), &found, event);
                }
            }
            Fact::Ids => {
                if let Some(found) = event.ids() {
                    ids(members.key(fact.name()), &found);
                }
            }
            Fact::Program => {
                if let Some(found) = event.program() {
                    program_fact(members.key(fact.name()), &found);
                }
            }
            // Part of the tuple, if there is one.
            Fact::Local | Fact::Peer if event.tuple().is_some() => {}
            Fact::Argv | Fact::Env => json::strings(members.key(fact.name()), &attached),
            Fact::File => {
                if let Some(found) = event.opened() {
                    file(members.key(fact.name()), &found);
                }
            }
            Fact::Took => {
                if let Some(ns) = event.took_ns() {
                    members.number(fact.name(), ns);
                }
            }
            Fact::Path
            | Fact::Exe
            | Fact::Cwd
            | Fact::Comm
            | Fact::Local
            | Fact::Peer
            | Fact::Base
            | Fact::Base2
            | Fact::Root
            | Fact::Cgroups
            | Fact::Container
            | Fact::Users
            | Fact::Groups => text(members.key(fact.name()), &attached),
        }
    }
    members.end();
}

fn text(out: &mut String, attached: &Attachment<'_>) {
    if attached.encoding == Encoding::Strings {
        json::strings(out, attached);
    } else {
        json::string(out, &attached.text());
    }
}

/// One end of an internet socket.
fn end(family: u16, bytes: [u8; 16], port: u16) -> Option<SocketAddr> {
    let [a, b, c, d, ..] = bytes;
    let ip = match family {
        INET => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        INET6 => IpAddr::V6(Ipv6Addr::from(bytes)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn tuple(out: &mut String, tuple: &Tuple, event: &Event<'_>) {
    let mut members = Members::object(out);
    json::family(members.key("family"), tuple.family);
    let local = end(tuple.family, tuple.local, tuple.local_port);
    let remote = end(tuple.family, tuple.remote, tuple.remote_port);
    if let (Some(local), Some(remote)) = (local, remote) {
        let protocol = symbols::set("ip_proto")
            .and_then(|set| symbols::name(set, u64::from(tuple.protocol)))
            .and_then(|name| name.strip_prefix("IPPROTO_"))
            .map_or_else(|| tuple.protocol.to_string(), str::to_ascii_lowercase);
        members.word("protocol", &protocol);
        members.word("local", &local.to_string());
        members.word("remote", &remote.to_string());
    } else {
        for fact in [Fact::Local, Fact::Peer] {
            if let Some(name) = event.fact(fact) {
                text(members.key(fact.name()), &name);
            }
        }
    }
    members.end();
}

fn ids(out: &mut String, ids: &Ids) {
    let mut members = Members::object(out);
    members.number("ppid", ids.ppid);
    members.number("pgid", ids.pgid);
    members.number("sid", ids.sid);
    match ids.loginuid {
        u32::MAX => members.number("loginuid", -1),
        uid => members.number("loginuid", uid),
    }
    members.number("uid", ids.uid);
    members.number("euid", ids.euid);
    members.number("gid", ids.gid);
    members.number("egid", ids.egid);
    members.number("tty", ids.tty);
    members.number("memfd", ids.memfd);
    members.end();
}

fn file(out: &mut String, file: &OpenedFile) {
    let mut members = Members::object(out);
    members.number("inode", file.inode);
    members.number("device", file.device);
    members.word("mode", &format!("0{:o}", file.mode));
    if file.flags != FLAGS_UNKNOWN {
        members.word("flags", &format!("{:#x}", file.flags));
    }
    members.end();
}

fn program_fact(out: &mut String, fact: &Program) {
    let mut members = Members::object(out);
    if program::has_file(fact) {
        members.number("inode", fact.inode);
        members.number("ctime_ns", fact.ctime_ns);
        members.number("mtime_ns", fact.mtime_ns);
        members.word("mode", &format!("0{:o}", fact.mode));
        members.number("uid", fact.uid);
        members.number("gid", fact.gid);
    }
    match Layer::from_u32(fact.layer) {
        Some(Layer::None) | None => {}
        Some(Layer::Lower) => members.word("layer", "lower"),
        Some(Layer::Upper) => members.word("layer", "upper"),
    }
    if program::has_capabilities(fact) {
        for (name, set) in [
            ("cap_inheritable", fact.cap_inheritable),
            ("cap_permitted", fact.cap_permitted),
            ("cap_effective", fact.cap_effective),
        ] {
            members.word(name, &format!("{set:#x}"));
        }
    }
    members.end();
}
