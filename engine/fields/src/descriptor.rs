//! Functions of `fd.*`.

use std::net::{IpAddr, SocketAddr};

use driver_api::table::{Category, Returns, Syscall};
use inspect::{Connection, Descriptor, DescriptorKind, Role, Socket};
use lanner_plugin::Value;

use super::argument::Arg;
use super::event::{at_entry, has_failed, text_of};
use super::path;
use super::process::{number, text};
use super::view::View;

/// The number of the descriptor. As in Falco, -1: the call is about no descriptor, or has made none because it failed.
pub(super) fn fd<'a>(view: &View<'a>) -> Value<'a> {
    let makes_one = |call: &Syscall| call.returns == Returns::Fd;
    match (view.seen.fd, view.seen.call) {
        (None, Some(call)) if !(makes_one(call) && at_entry(view.event)) => Value::I64(-1),
        (fd, _) => number(fd),
    }
}

/// The path of an open that failed, or that has not returned yet.
fn failed_name<'a>(view: &View<'a>) -> Option<&'a [u8]> {
    if !(has_failed(view.event) || at_entry(view.event))
        || view
            .seen
            .call
            .is_none_or(|c| inspect::open_flags(c).is_none())
    {
        return None;
    }
    path::resolved(view, path::of_open(view)?)
}

pub(super) fn name<'a>(view: &View<'a>) -> Value<'a> {
    let name = view.descriptor().map(|descriptor| &*descriptor.name);
    text(name.or_else(|| failed_name(view)))
}

pub(super) fn raw_name<'a>(view: &View<'a>) -> Value<'a> {
    if let Some(descriptor) = view.descriptor() {
        return Value::String(descriptor.raw_name());
    }
    let said = failed_name(view)
        .and_then(|_| path::of_open(view))
        .and_then(|param| {
            let said = view.event.argument(param.at)?;
            Some(text_of(view, &said))
        });
    text(said)
}

fn is_path(descriptor: &Descriptor) -> bool {
    matches!(
        descriptor.kind,
        DescriptorKind::File | DescriptorKind::Directory
    )
}

pub(super) fn directory<'a>(view: &View<'a>) -> Value<'a> {
    let name = match view.descriptor() {
        Some(descriptor) if descriptor.kind == DescriptorKind::Directory => {
            return Value::String(&descriptor.name);
        }
        Some(descriptor) if is_path(descriptor) => Some(&*descriptor.name),
        Some(_) => None,
        None => failed_name(view),
    };
    text(
        name.map(|name| match name.iter().rposition(|&b| b == b'/') {
            None | Some(0) => b"/",
            Some(last) if last + 1 == name.len() => name,
            Some(last) => &name[..last],
        }),
    )
}

pub(super) fn file_name<'a>(view: &View<'a>) -> Value<'a> {
    let name = match view.descriptor() {
        Some(file) if file.kind == DescriptorKind::File => Some(&*file.name),
        Some(_) => None,
        // as in Falco, there is none if the open has failed
        None if at_entry(view.event) => failed_name(view),
        None => None,
    };
    text(
        name.map(|name| match name.iter().rposition(|&b| b == b'/') {
            None => &b"/"[..],
            Some(last) if last + 1 == name.len() => name,
            Some(last) => &name[last + 1..],
        }),
    )
}

fn kind(view: &View<'_>) -> Option<DescriptorKind> {
    view.descriptor().map(|descriptor| descriptor.kind)
}

pub(super) fn type_name<'a>(view: &View<'a>) -> Value<'a> {
    text(kind(view).map(|kind| kind.name().as_bytes()))
}

pub(super) fn type_letter<'a>(view: &View<'a>) -> Value<'a> {
    let kind = kind(view).or_else(|| failed_name(view).map(|_| DescriptorKind::File));
    text(kind.map(|kind| kind.letter().as_bytes()))
}

/// The types of all open descriptors, each once; with a number, the type of that descriptor.
pub(super) fn types<'a>(view: &View<'a>, arg: &Arg) -> Value<'a> {
    let Some(key) = view.seen.process else {
        return Value::None;
    };
    let tid = view.seen.tid;
    if let Some(fd) = arg.index() {
        let fd = i32::try_from(fd).ok();
        let open = fd.and_then(|fd| view.inspector.current_descriptor(key, tid, fd));
        return text(open.map(|open| open.kind.name().as_bytes()));
    }
    let mut seen = 0_u32;
    let mut is_new = |kind: DescriptorKind| {
        let bit = 1 << (kind as u32);
        let new = seen & bit == 0;
        seen |= bit;
        new
    };
    let open = view.inspector.current_descriptors(key, tid);
    let kinds = open.into_iter().map(|(_, kind)| kind);
    let names = kinds
        .filter(|kind| is_new(*kind))
        .map(|kind| Value::String(kind.name().as_bytes()));
    view.scratch.list(names)
}

fn socket<'a>(view: &View<'a>) -> Option<&'a Socket> {
    view.descriptor()?.socket.as_ref()
}

/// One end of a connection.
pub(super) type End = fn(&Socket) -> Option<SocketAddr>;

pub(super) fn local(socket: &Socket) -> Option<SocketAddr> {
    socket.local.filter(|_| socket.remote.is_some())
}

pub(super) fn remote(socket: &Socket) -> Option<SocketAddr> {
    socket.remote
}

pub(super) fn ip<'a>(view: &View<'a>, end: End) -> Value<'a> {
    let ip: Option<IpAddr> = socket(view).and_then(end).map(|end| end.ip());
    ip.map_or(Value::None, Value::Ip)
}

pub(super) fn port<'a>(view: &View<'a>, end: End) -> Value<'a> {
    let port = socket(view).and_then(end).map(|end| end.port());
    port.map_or(Value::None, |port| Value::U64(port.into()))
}

/// Both ends, or the one that is known.
fn ends<'a>(view: &View<'a>, of: fn(SocketAddr) -> Value<'static>) -> Value<'a> {
    let Some(socket) = socket(view) else {
        return Value::None;
    };
    let ends = [socket.client(), socket.server()].into_iter().flatten();
    view.scratch.list(ends.map(of))
}

pub(super) fn both_ips<'a>(view: &View<'a>) -> Value<'a> {
    ends(view, |end| Value::Ip(end.ip()))
}

pub(super) fn both_ports<'a>(view: &View<'a>) -> Value<'a> {
    ends(view, |end| Value::U64(end.port().into()))
}

pub(super) fn protocol<'a>(view: &View<'a>) -> Value<'a> {
    let name = match socket(view).map(|socket| socket.protocol) {
        // Multipath TCP and UDP-Lite, too
        Some(6 | 262) => "tcp",
        Some(17 | 136) => "udp",
        Some(1 | 58) => "icmp",
        Some(255) => "raw",
        _ => return Value::None,
    };
    Value::String(name.as_bytes())
}

pub(super) fn family<'a>(view: &View<'a>) -> Value<'a> {
    match kind(view) {
        Some(kind) if kind.is_inet() => Value::String(b"ip"),
        Some(DescriptorKind::Unix) => Value::String(b"unix"),
        _ => Value::None,
    }
}

pub(super) fn is_server<'a>(view: &View<'a>) -> Value<'a> {
    socket(view).map_or(Value::None, |socket| {
        Value::Bool(socket.role == Role::Server)
    })
}

/// Whether a socket is connected. If connect(2) was in progress, the socket is connected once it has sent or received.
pub(super) fn is_connected<'a>(view: &View<'a>) -> Value<'a> {
    let Some(socket) = socket(view) else {
        return Value::None;
    };
    let used = || {
        let io = view
            .seen
            .call
            .is_some_and(|call| matches!(call.category, Category::IoRead | Category::IoWrite));
        io && !has_failed(view.event) && !at_entry(view.event)
    };
    Value::Bool(match socket.connection {
        Connection::None => false,
        Connection::Pending => used(),
        Connection::Made => true,
    })
}

/// The id of the thread, followed by the number of the descriptor.
pub(super) fn unique<'a>(view: &View<'a>) -> Value<'a> {
    use std::fmt::Write as _;
    match view.seen.fd {
        Some(fd) => Value::String(view.scratch.text(|out| {
            let _ = write!(out, "{}{fd}", view.seen.tid);
        })),
        None => Value::None,
    }
}

/// The container's id, a colon, and a name.
pub(super) fn in_container<'a>(view: &View<'a>, name: Value<'a>) -> Value<'a> {
    let Value::String(name) = name else {
        return Value::None;
    };
    let id = view
        .container()
        .map_or("host", |container| container.short_id());
    Value::String(view.scratch.bytes(|out| {
        out.extend_from_slice(id.as_bytes());
        out.push(b':');
        out.extend_from_slice(name);
    }))
}

/// The name of a port in /etc/services; the number if it has no name.
pub(super) fn service<'a>(view: &View<'a>, end: End) -> Value<'a> {
    use std::fmt::Write as _;
    let Some(socket) = socket(view) else {
        return Value::None;
    };
    let Some(port) = end(socket).map(|end| end.port()) else {
        return Value::None;
    };
    match super::services::name(port, socket.protocol) {
        Some(name) => Value::String(name.as_bytes()),
        None => Value::String(view.scratch.text(|out| {
            let _ = write!(out, "{port}");
        })),
    }
}

/// The name of one end's address, if it is known.
pub(super) fn host_name<'a>(view: &View<'a>, end: End) -> Value<'a> {
    let ip = socket(view).and_then(end).map(|end| end.ip());
    let name = ip.and_then(|ip| view.fields.names.name_of(ip, view.scratch));
    text(name)
}

/// A property of each descriptor that poll(2) waits for, with commas between.
pub(super) fn polled<'a>(
    view: &View<'a>,
    about: fn(&mut String, i32, Option<&Descriptor>),
) -> Value<'a> {
    let Some((call, key)) = view.seen.call.zip(view.seen.process) else {
        return Value::None;
    };
    let polls = |param: &driver_api::table::Param| {
        use driver_api::table::Kind;
        matches!(param.kind, Kind::Array(Kind::Struct(of, _), _) if of.name == "pollfd")
    };
    let Some(at) = call.params.iter().position(polls) else {
        return Value::None;
    };
    let Some(decode::Value::Array(array)) = decode::param(view.event, call, at) else {
        return Value::None;
    };
    Value::String(view.scratch.text(|out| {
        for element in array.iter() {
            let decode::Value::Struct(of) = element else {
                continue;
            };
            let Some(decode::Value::Number(fd)) = of.field("fd") else {
                continue;
            };
            let Ok(fd) = i32::try_from(fd.signed()) else {
                continue;
            };
            let mark = out.len();
            if !out.is_empty() {
                out.push(',');
            }
            let before = out.len();
            about(
                out,
                fd,
                view.inspector.descriptor_of(key, view.seen.tid, fd),
            );
            if out.len() == before {
                out.truncate(mark);
            }
        }
    }))
}

pub(super) fn polled_end(out: &mut String, descriptor: Option<&Descriptor>, end: End, port: bool) {
    use std::fmt::Write as _;
    let socket = descriptor.and_then(|descriptor| descriptor.socket.as_ref());
    if let Some(end) = socket.and_then(end) {
        let _ = if port {
            write!(out, "{}", end.port())
        } else {
            write!(out, "{}", end.ip())
        };
    }
}
