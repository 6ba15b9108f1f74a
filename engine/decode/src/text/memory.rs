//! Memory with a structure of its own, as strace writes it: socket addresses, messages, `struct`s.

use std::fmt::Write as _;

use super::super::control;
use super::super::dirents::Dirents;
use super::super::sockaddr::SockAddr;
use super::super::structs::{Array, Struct};
use super::super::symbols::{self, Remark, hex, write_enum};
use super::super::value::{Bits, Message, Messages, Value};
use super::{attachment, mode, quote, write};

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
    if let Some(data) = &parts.data {
        out.push_str(", msg_iov=");
        attachment(out, data);
    }
    if let Some(control) = &parts.control {
        out.push_str(", msg_control=");
        controls(out, control.bytes, parts.narrow);
    }
    out.push('}');
}

pub(super) fn messages(out: &mut String, all: &Messages<'_>) {
    let mut count = 0;
    list(out, all.iter(), |out, one| {
        count += 1;
        out.push_str("{msg_hdr=");
        message(out, &one);
        let len = one.data.map_or(0, |data| data.full);
        let _ = write!(out, ", msg_len={len}}}");
    });
    if count < all.count {
        out.pop();
        out.push_str(", ...]");
    }
}

fn list<T>(out: &mut String, items: impl Iterator<Item = T>, mut each: impl FnMut(&mut String, T)) {
    out.push('[');
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        each(out, item);
    }
    out.push(']');
}

fn controls(out: &mut String, bytes: &[u8], narrow: bool) {
    list(out, control::messages(bytes, narrow), |out, one| {
        let _ = write!(out, "{{cmsg_len={}, cmsg_level=", one.len);
        named(out, "sockopt_level", u64::from(one.level));
        out.push_str(", cmsg_type=");
        named(out, symbols::control_types(one.level), u64::from(one.kind));
        out.push_str(", cmsg_data=");
        if let Some(descriptors) = one.descriptors() {
            list(out, descriptors, |out, fd| {
                let _ = write!(out, "{fd}");
            });
        } else if let Some([pid, uid, gid]) = one.credentials() {
            let _ = write!(out, "{{pid={pid}, uid={uid}, gid={gid}}}");
        } else {
            quote(out, one.data);
        }
        out.push('}');
    });
}

pub(super) fn dirents(out: &mut String, entries: &Dirents<'_>) {
    list(out, entries.iter(), |out, entry| {
        let _ = write!(
            out,
            "{{d_ino={}, d_off={}, d_reclen={}, d_type=",
            entry.ino, entry.off, entry.len
        );
        named(out, "dirent_type", u64::from(entry.kind));
        out.push_str(", d_name=");
        quote(out, entry.name);
        out.push('}');
    });
    if entries.cut {
        out.pop();
        out.push_str(", ...]");
    }
}

pub(super) fn capabilities(out: &mut String, bits: u64) {
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

/// Signals without their prefix; where more than half are in the set, those that are not.
pub(super) fn signals(out: &mut String, bits: u64) {
    let inverted = bits.count_ones() > 32;
    let shown = if inverted { !bits } else { bits };
    out.push_str(if inverted { "~[" } else { "[" });
    let mut space = "";
    for at in (0..64).filter(|at| shown & 1 << at != 0) {
        let _ = match symbols::signal(at + 1) {
            Some(name) => write!(out, "{space}{}", name.trim_start_matches("SIG")),
            None => write!(out, "{space}{}", at + 1),
        };
        space = " ";
    }
    out.push(']');
}

pub(super) fn bits(out: &mut String, bits: &Bits<'_>) {
    let places: Vec<String> = bits.iter().map(|place| place.to_string()).collect();
    let _ = write!(out, "[{}]", places.join(" "));
    if bits.cut {
        out.push_str("...");
    }
}

pub(super) fn filetype(out: &mut String, bits: u32) {
    let kind = match bits & 0o170_000 {
        0o140_000 => "S_IFSOCK",
        0o120_000 => "S_IFLNK",
        0o100_000 => "S_IFREG",
        0o060_000 => "S_IFBLK",
        0o040_000 => "S_IFDIR",
        0o020_000 => "S_IFCHR",
        0o010_000 => "S_IFIFO",
        _ => return mode(out, u64::from(bits)),
    };
    out.push_str(kind);
    for (bit, name) in [
        (0o4000, "S_ISUID"),
        (0o2000, "S_ISGID"),
        (0o1000, "S_ISVTX"),
    ] {
        if bits & bit != 0 {
            let _ = write!(out, "|{name}");
        }
    }
    out.push('|');
    mode(out, u64::from(bits & 0o777));
}

/// As strace takes a wait status apart.
pub(super) fn wait_status(out: &mut String, status: u32) {
    let signal = |out: &mut String, number: u32| match symbols::signal(u64::from(number)) {
        Some(name) => out.push_str(name),
        None => {
            let _ = write!(out, "{number}");
        }
    };
    out.push('{');
    if status == 0xffff {
        out.push_str("WIFCONTINUED(s)");
    } else if status & 0xff == 0x7f {
        out.push_str("WIFSTOPPED(s) && WSTOPSIG(s) == ");
        signal(out, status >> 8 & 0xff);
    } else if status & 0x7f == 0 {
        let _ = write!(
            out,
            "WIFEXITED(s) && WEXITSTATUS(s) == {}",
            status >> 8 & 0xff
        );
    } else {
        out.push_str("WIFSIGNALED(s) && WTERMSIG(s) == ");
        signal(out, status & 0x7f);
        if status & 0x80 != 0 {
            out.push_str(" && WCOREDUMP(s)");
        }
    }
    out.push('}');
}

pub(super) fn limit(out: &mut String, number: u64, none: &str) {
    let _ = match number {
        u64::MAX => write!(out, "{none}"),
        0xffff_ffff if none == "RLIM_INFINITY" => write!(out, "{none}"),
        _ if number > 1024 && number.is_multiple_of(1024) => write!(out, "{}*1024", number / 1024),
        _ => write!(out, "{number}"),
    };
}

pub(super) fn ioprio(out: &mut String, number: u32) {
    let class = match number >> 13 {
        0 => "IOPRIO_CLASS_NONE",
        1 => "IOPRIO_CLASS_RT",
        2 => "IOPRIO_CLASS_BE",
        3 => "IOPRIO_CLASS_IDLE",
        _ => return hex(out, u64::from(number)),
    };
    let _ = write!(out, "IOPRIO_PRIO_VALUE({class}, {})", number & 0x1fff);
}

pub(super) fn write_struct(out: &mut String, structure: &Struct<'_>) {
    out.push('{');
    let mut first = true;
    let cut = structure.fields(&mut |field| {
        if !field.counts {
            return;
        }
        if !first {
            out.push_str(", ");
        }
        first = false;
        out.push_str(field.name);
        out.push('=');
        write(out, &field.value);
    });
    if cut {
        out.push_str(if first { "..." } else { ", ..." });
    }
    out.push('}');
}

pub(super) fn array(out: &mut String, array: &Array<'_>) {
    // one structure behind a pointer stands without brackets
    if array.single
        && let Some(Value::Struct(only)) = array.iter().next()
    {
        return write_struct(out, &only);
    }
    list(out, array.iter(), |out, value| write(out, &value));
    if array.cut {
        out.pop();
        out.push_str(", ...]");
    }
}
