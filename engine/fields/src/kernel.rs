//! Functions of `kernel.*`: what the kernel did, and whether it differs from what the program passed. A program can change
//! its memory while the kernel reads it, and can use symbolic links and `..`. It cannot change what the kernel did.

use driver_api::event::Fact;
use driver_api::table::Kind;

use decode::sockaddr::SockAddr;
use lanner_plugin::Value;

use super::event::{O_TMPFILE, open_flags, text_of};
use super::path;
use super::process::text;
use super::view::View;

fn fact<'a>(view: &View<'a>, fact: Fact) -> Option<&'a [u8]> {
    let found = view.event.fact(fact)?;
    Some(text_of(view, &found))
}

/// The path of the file that was opened.
pub(super) fn path<'a>(view: &View<'a>) -> Value<'a> {
    text(fact(view, Fact::Path))
}

/// Whether the file that was opened has another path than the one that the program passed.
pub(super) fn path_differs<'a>(view: &View<'a>) -> Value<'a> {
    let said = path::of_open(view).and_then(|param| path::resolved(view, param));
    differ(said, fact(view, Fact::Path))
}

/// Whether the file behind the descriptor may be another one than the call has opened.
pub(super) fn path_in_doubt<'a>(view: &View<'a>) -> Value<'a> {
    let (Some(opened), Some(process)) = (fact(view, Fact::Path), view.process()) else {
        return Value::None;
    };
    let Some(param) = path::of_open(view) else {
        return Value::None;
    };
    if !view.inspector.shares_descriptors(process, view.seen.tid) {
        return Value::Bool(false);
    }
    // the kernel made the name: no program gave it
    if open_flags(view).is_some_and(|flags| flags & O_TMPFILE != 0) {
        return Value::Bool(false);
    }
    let Some(named) = path::resolved(view, param) else {
        return Value::Bool(true);
    };
    let is_named = match opened.strip_prefix(b"...") {
        // its beginning is missing
        Some(end) => named.ends_with(end),
        None => named == opened,
    };
    Value::Bool(!is_named && !path::leads_to(view, param, named, opened))
}

/// The path of the new program.
pub(super) fn exe<'a>(view: &View<'a>) -> Value<'a> {
    text(fact(view, Fact::Exe))
}

/// Whether the new program is another file than the path in the call says: a script, a link, or a race.
pub(super) fn exe_differs<'a>(view: &View<'a>) -> Value<'a> {
    let said = path::of_open(view).and_then(|param| path::resolved(view, param));
    differ(said, fact(view, Fact::Exe))
}

/// Whether the new program has other arguments than the call: those of a script's interpreter, or a race.
pub(super) fn args_differ<'a>(view: &View<'a>) -> Value<'a> {
    let said = view.seen.call.and_then(|call| {
        let at = call
            .params
            .iter()
            .position(|param| matches!(param.kind, Kind::Strv))?;
        view.event.argument(at)
    });
    match said.zip(view.event.fact(Fact::Argv)) {
        Some((said, did)) => {
            let count = said.bytes.len().min(did.bytes.len());
            // a limit may have cut one of them
            let cut = said.bytes.len() != did.bytes.len()
                && (said.status != driver_api::event::Status::Whole
                    || did.status != driver_api::event::Status::Whole);
            let same = said.bytes[..count] == did.bytes[..count]
                && (cut || said.bytes.len() == did.bytes.len());
            Value::Bool(!same)
        }
        None => Value::None,
    }
}

fn differ<'a>(said: Option<&[u8]>, did: Option<&[u8]>) -> Value<'a> {
    match said.zip(did) {
        // a relative path whose directory is not known says nothing
        Some((said, did)) if said.first() == Some(&b'/') => Value::Bool(said != did),
        _ => Value::None,
    }
}

/// Both ends of the socket, from the kernel. None: it is not connected.
fn ends(view: &View<'_>) -> Option<(std::net::SocketAddr, std::net::SocketAddr)> {
    let is_connected =
        |(_, to): &(_, std::net::SocketAddr)| to.port() != 0 || !to.ip().is_unspecified();
    inspect::ends(&view.event.tuple()?).filter(is_connected)
}

pub(super) fn remote_ip<'a>(view: &View<'a>) -> Value<'a> {
    ends(view).map_or(Value::None, |(_, remote)| {
        Value::Ip(remote.ip().to_canonical())
    })
}

pub(super) fn remote_port<'a>(view: &View<'a>) -> Value<'a> {
    ends(view).map_or(Value::None, |(_, remote)| Value::U64(remote.port().into()))
}

/// Whether the other end has another address than the one in the call.
pub(super) fn remote_differs<'a>(view: &View<'a>) -> Value<'a> {
    let said = view.seen.call.and_then(|call| {
        let at = call.params.iter().position(|param| param.name == "addr")?;
        match decode::param(view.event, call, at)? {
            decode::Value::SockAddr(SockAddr::Inet { ip, port }) => {
                Some((std::net::IpAddr::from(ip), port))
            }
            decode::Value::SockAddr(SockAddr::Inet6 { ip, port, .. }) => {
                Some((std::net::IpAddr::from(ip).to_canonical(), port))
            }
            _ => None,
        }
    });
    match said.zip(ends(view)) {
        // 0.0.0.0 means this host
        Some(((ip, _), _)) if ip.is_unspecified() => Value::Bool(false),
        Some((said, (_, did))) => Value::Bool(said != (did.ip().to_canonical(), did.port())),
        None => Value::None,
    }
}
