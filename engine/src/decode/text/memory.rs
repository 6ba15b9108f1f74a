//! Memory with a structure of its own, as strace writes it: socket addresses, messages, `struct`s.

use std::fmt::Write as _;

use super::super::sockaddr::SockAddr;
use super::super::structs::{CloneArgs, Struct};
use super::super::symbols::{self, Remark, hex, write_enum, write_flags};
use super::super::value::Message;
use super::{attachment, mode, pointer, quote, signal};

fn family(out: &mut String, number: u16) {
    if let Some(set) = symbols::set("sock_domain") {
        write_enum(out, set, u64::from(number), Remark::With);
    }
}

fn named(out: &mut String, set: &str, number: u64) {
    match symbols::set(set) {
        Some(set) => write_enum(out, set, number, Remark::With),
        None => hex(out, number),
    }
}

pub(super) fn sockaddr(out: &mut String, addr: &SockAddr<'_>) {
    out.push_str("{sa_family=");
    family(out, addr.family());
    match addr {
        SockAddr::Inet { ip, port } => {
            let _ = write!(
                out,
                ", sin_port=htons({port}), sin_addr=inet_addr(\"{ip}\")"
            );
        }
        SockAddr::Inet6 {
            ip,
            port,
            flow,
            scope,
        } => {
            let _ = write!(
                out,
                ", sin6_port=htons({port}), sin6_flowinfo=htonl({flow}), \
                 inet_pton(AF_INET6, \"{ip}\", &sin6_addr)"
            );
            if let Some(scope) = scope {
                let _ = write!(out, ", sin6_scope_id={scope}");
            }
        }
        SockAddr::Unix(path) => {
            out.push_str(", sun_path=");
            quote(out, path);
        }
        SockAddr::Abstract(name) => {
            out.push_str(", sun_path=@");
            quote(out, name);
        }
        SockAddr::Unnamed => {}
        SockAddr::Netlink { pid, groups } => {
            let _ = write!(out, ", nl_pid={pid}, nl_groups=");
            if *groups == 0 {
                out.push_str("00000000");
            } else {
                let _ = write!(out, "{groups:#08x}");
            }
        }
        SockAddr::Packet {
            protocol,
            index,
            hatype,
            kind,
            length,
            addr,
        } => {
            out.push_str(", sll_protocol=htons(");
            named(out, "eth_proto", u64::from(*protocol));
            let _ = write!(out, "), sll_ifindex={index}, sll_hatype=");
            named(out, "arphrd", u64::from(*hatype));
            out.push_str(", sll_pkttype=");
            named(out, "packet_type", u64::from(*kind));
            let _ = write!(out, ", sll_halen={length}");
            for (at, byte) in addr.iter().enumerate() {
                out.push_str(if at == 0 { ", sll_addr=[" } else { ", " });
                if *byte == 0 {
                    out.push('0');
                }
                hex(out, u64::from(*byte));
            }
            if !addr.is_empty() {
                out.push(']');
            }
        }
        SockAddr::Other { data: [], .. } => {}
        SockAddr::Other { data, .. } => {
            out.push_str(", sa_data=");
            quote(out, data);
        }
    }
    out.push('}');
}

pub(super) fn message(out: &mut String, parts: &Message<'_>) {
    out.push_str("{msg_name=");
    match &parts.name {
        Some(name) => sockaddr(out, name),
        None => out.push_str("NULL"),
    }
    for (name, part) in [
        (", msg_iov=", &parts.data),
        (", msg_control=", &parts.control),
    ] {
        if let Some(part) = part {
            out.push_str(name);
            attachment(out, part);
        }
    }
    out.push('}');
}

fn capabilities(out: &mut String, bits: u64) {
    let names = symbols::set("cap");
    if bits == 0 {
        out.push('0');
    }
    let mut bar = "";
    for at in (0..64).filter(|at| bits & 1 << at != 0) {
        let _ = match names.and_then(|set| symbols::name(set, at)) {
            Some(name) => write!(out, "{bar}1<<{name}"),
            None => write!(out, "{bar}1<<{at}"),
        };
        bar = "|";
    }
}

fn flags(out: &mut String, set: &str, bits: u64) {
    match symbols::set(set) {
        Some(set) => write_flags(out, set, bits, Remark::With),
        None => hex(out, bits),
    }
}

pub(super) fn write_struct(out: &mut String, structure: &Struct<'_>) {
    out.push('{');
    match structure {
        Struct::OpenHow {
            flags: bits,
            mode: m,
            resolve,
        } => {
            out.push_str("flags=");
            flags(out, "open", *bits);
            // O_CREAT or O_TMPFILE
            if bits & 0x40_0040 != 0 || *m != 0 {
                out.push_str(", mode=");
                mode(out, *m);
            }
            out.push_str(", resolve=");
            flags(out, "resolve", *resolve);
        }
        Struct::CloneArgs(args) => clone_args(out, args),
        Struct::CapHeader { version, pid } => {
            out.push_str("version=");
            named(out, "cap_version", u64::from(*version));
            let _ = write!(out, ", pid={pid}");
        }
        Struct::CapData {
            effective,
            permitted,
            inheritable,
        } => {
            out.push_str("effective=");
            capabilities(out, *effective);
            out.push_str(", permitted=");
            capabilities(out, *permitted);
            out.push_str(", inheritable=");
            capabilities(out, *inheritable);
        }
        Struct::Raw(bytes) => {
            out.pop();
            quote(out, bytes);
            return;
        }
    }
    out.push('}');
}

fn clone_args(out: &mut String, args: &CloneArgs) {
    let asked = |bits: u64| args.flags & bits != 0;
    out.push_str("flags=");
    flags(out, "clone3", args.flags);
    for (shown, name, address) in [
        (asked(0x1000), "pidfd", args.pidfd),
        (asked(0x120_0000), "child_tid", args.child_tid),
        (asked(0x10_0000), "parent_tid", args.parent_tid),
    ] {
        if shown {
            let _ = write!(out, ", {name}=");
            pointer(out, address);
        }
    }
    out.push_str(", exit_signal=");
    signal(out, args.exit_signal);
    out.push_str(", stack=");
    pointer(out, args.stack);
    out.push_str(", stack_size=");
    hex(out, args.stack_size);
    if asked(0x8_0000) {
        out.push_str(", tls=");
        hex(out, args.tls);
    }
    if args.set_tid != 0 || args.set_tid_size != 0 {
        out.push_str(", set_tid=");
        pointer(out, args.set_tid);
        let _ = write!(out, ", set_tid_size={}", args.set_tid_size);
    }
    if asked(0x2_0000_0000) {
        let _ = write!(out, ", cgroup={}", args.cgroup);
    }
}
