//! Functions of `evt.*`.

use driver_api::event::{Attachment, Encoding, Event, EventKind, Flags};
use driver_api::table::{Category, Returns, Syscall};

use decode::falco;
use inspect::{self, DescriptorKind};
use lanner_plugin::Value;
use scap::Subject;

use super::registry::{call_of_type, event_type_name};
use super::time;
use super::view::View;

pub(super) const O_ACCMODE: u64 = 3;
const O_RDONLY: u64 = 0;
const O_WRONLY: u64 = 1;
const O_RDWR: u64 = 2;
pub(super) const O_CREAT: u64 = 0o100;
const O_EXCL: u64 = 0o200;
/// `__O_TMPFILE` alone, as `O_TMPFILE` holds `O_DIRECTORY`, which differs between ABIs.
pub(super) const O_TMPFILE: u64 = 0o20_000_000;

/// A path or string, put together where it came in parts.
pub(super) fn text_of<'a>(view: &View<'a>, from: &Attachment<'a>) -> &'a [u8] {
    if from.encoding == Encoding::Parts {
        view.scratch.bytes(|out| from.append_text(out))
    } else {
        from.bytes
    }
}

pub(super) fn type_name<'a>(view: &View<'a>) -> Value<'a> {
    Value::String(event_type_name(view.event, view.seen).as_bytes())
}

/// The name of a call as the kernel has it.
pub(super) fn kernel_name<'a>(view: &View<'a>) -> Value<'a> {
    let (Some(call), header) = (view.seen.call, view.event.header()) else {
        return Value::None;
    };
    if call.is_unknown() {
        return Value::String(
            view.scratch
                .text(|out| out.push_str(&format!("syscall_{:#x}", header.nr))),
        );
    }
    let made_through = Syscall::made_through(view.event.abi(), header.nr);
    Value::String(made_through.unwrap_or(call).name.as_bytes())
}

/// A time as text.
pub(super) fn time_text<'a>(view: &View<'a>, write: fn(&mut String, u64)) -> Value<'a> {
    Value::String(view.scratch.text(|out| write(out, view.seen.time_ns)))
}

pub(super) fn iso8601<'a>(view: &View<'a>) -> Value<'a> {
    Value::String(
        view.scratch
            .text(|out| time::iso8601(out, view.seen.time_ns, "+0000")),
    )
}

/// Whether the event says how a call ended.
fn has_result(view: &View<'_>) -> bool {
    let event = view.event;
    matches!(event.kind(), EventKind::Syscall | EventKind::Exec)
        && !event.has(Flags::NO_RESULT)
        && view
            .seen
            .call
            .is_none_or(|call| call.returns != Returns::None)
}

/// The call is about to be made, and no event will report its result.
pub(super) fn at_entry(event: &Event<'_>) -> bool {
    event.has(Flags::ENTRY)
}

pub(super) fn has_failed(event: &Event<'_>) -> bool {
    !event.has(Flags::NO_RESULT) && (-4095..0).contains(&decode::returned(event))
}

pub(super) fn result<'a>(view: &View<'a>) -> Value<'a> {
    if !has_result(view) {
        return Value::None;
    }
    if !has_failed(view.event) {
        return Value::String(b"SUCCESS");
    }
    Value::String(view.scratch.text(|out| {
        falco::res(out, view.event);
    }))
}

pub(super) fn raw_result<'a>(view: &View<'a>) -> Value<'a> {
    if has_result(view) {
        Value::I64(decode::returned(view.event))
    } else {
        Value::None
    }
}

pub(super) fn failed<'a>(view: &View<'a>) -> Value<'a> {
    if has_result(view) {
        Value::Bool(has_failed(view.event))
    } else {
        Value::None
    }
}

/// The names of the parameters and facts whose memory fell short in this way.
pub(super) fn fell_short<'a>(view: &View<'a>, how: decode::Short) -> Value<'a> {
    let names = decode::fell_short(view.event, how).map(|(of, name)| {
        Value::String(view.scratch.text(|out| {
            out.push_str(of);
            out.push_str(name);
        }))
    });
    view.scratch.list(names)
}

pub(super) fn category<'a>(view: &View<'a>) -> Value<'a> {
    let Some(call) = view.seen.call else {
        return Value::String(match view.event.kind() {
            EventKind::Fork | EventKind::Exit => b"process",
            EventKind::Signal => b"signal",
            _ => b"internal",
        });
    };
    let category = match subject(call).category {
        // What is read or written says what it is about.
        "io_read" | "io_write" | "io_other" => match view.descriptor().map(|d| d.kind) {
            Some(DescriptorKind::File | DescriptorKind::Directory) => "file",
            Some(DescriptorKind::Ipv4 | DescriptorKind::Ipv6) => "net",
            // not "IPC", which Falco's library says of calls
            Some(
                DescriptorKind::Unix
                | DescriptorKind::Pipe
                | DescriptorKind::Event
                | DescriptorKind::Signal
                | DescriptorKind::Inotify
                | DescriptorKind::Userfault,
            ) => "ipc",
            Some(
                DescriptorKind::Netlink
                | DescriptorKind::Epoll
                | DescriptorKind::Timer
                | DescriptorKind::Memfd
                | DescriptorKind::Bpf
                | DescriptorKind::IoUring
                | DescriptorKind::Pidfd
                | DescriptorKind::Other,
            )
            | None => "unknown",
        },
        other => other,
    };
    Value::String(category.as_bytes())
}

/// What Falco says about a call. A call without a type of events of its own is of the category `other` there; of these, the
/// table of calls says which read and write.
fn subject(call: &Syscall) -> Subject {
    scap::subject(call).unwrap_or(Subject {
        category: "other",
        reads: call.category == Category::IoRead,
        writes: call.category == Category::IoWrite,
    })
}

pub(super) fn args<'a>(view: &View<'a>) -> Value<'a> {
    let Some(call) = view.seen.call else {
        let mut there = false;
        let text = view.scratch.text(|out| {
            there = scap::args(out, view.event, view.seen, view.inspector, &|_| None);
        });
        return if there {
            Value::String(text)
        } else {
            Value::None
        };
    };
    let absolute = |name: &'static str| {
        let (at, param) = call.param(name)?;
        let is_path = matches!(param.kind, driver_api::table::Kind::Path(_));
        let said = (view.event).argument(call.register(view.event.abi(), at))?;
        let relative = is_path && !said.text().is_empty() && !said.text().starts_with(b"/");
        // of some calls, Falco leaves a relative path as it is
        let path =
            super::path::argument(view, at).filter(|path| relative && path.starts_with(b"/"))?;
        Some(String::from_utf8_lossy(path).into_owned())
    };
    Value::String(view.scratch.text(|out| {
        // what Falco has no type of events for is in lanner's own form, if a capture has any of it
        let known = |at| !view.event.lacks(call.register(view.event.abi(), at));
        if !scap::args(out, view.event, view.seen, view.inspector, &absolute)
            && (!view.event.has(Flags::NO_RESULT) || (0..call.params.len()).any(known))
        {
            falco::args(out, view.event, call);
        }
    }))
}

/// Whether open(2) with these flags fails if there is something at the path, a symbolic link included.
pub(super) fn takes_no_existing(flags: u64) -> bool {
    flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL
}

pub(super) fn open_flags(view: &View<'_>) -> Option<u64> {
    inspect::flags_of_open(view.event, inspect::open_flags(view.seen.call?)?)
}

/// Whether a call asks for a file to be opened for one of these accesses; false for other calls.
fn opens_for<'a>(view: &View<'a>, accesses: [u64; 2]) -> Value<'a> {
    Value::Bool(open_flags(view).is_some_and(|flags| accesses.contains(&(flags & O_ACCMODE))))
}

pub(super) fn is_open_read<'a>(view: &View<'a>) -> Value<'a> {
    opens_for(view, [O_RDONLY, O_RDWR])
}

pub(super) fn is_open_write<'a>(view: &View<'a>) -> Value<'a> {
    opens_for(view, [O_WRONLY, O_RDWR])
}

fn may_create(flags: u64) -> bool {
    flags & (O_CREAT | O_TMPFILE) != 0
}

pub(super) fn is_open_create<'a>(view: &View<'a>) -> Value<'a> {
    let event = view.event;
    if at_entry(event) {
        return Value::None;
    }
    let Some(flags) = open_flags(view) else {
        return Value::Bool(false);
    };
    if has_failed(event) || event.has(Flags::CREATED) {
        return Value::Bool(!has_failed(event));
    }
    // a handle is of a file that exists (open_by_handle_at(2))
    if super::path::of_open(view).is_none() {
        return Value::Bool(false);
    }
    let always = flags & O_TMPFILE != 0 || takes_no_existing(flags);
    Value::Bool(always || may_create(flags) && !event.has(Flags::EXISTED))
}

pub(super) fn is_open_exec<'a>(view: &View<'a>) -> Value<'a> {
    let creates = open_flags(view).is_some_and(may_create);
    Value::Bool(creates && open_mode(view).is_some_and(|mode| mode & 0o111 != 0))
}

fn open_mode(view: &View<'_>) -> Option<u64> {
    let call = view.seen.call?;
    if let Some((at, _)) = call.param("mode") {
        return Some(view.event.header().args[at]);
    }
    let (at, _) = call.param("how")?;
    let how = view.event.argument(at)?;
    Some(u64::from_ne_bytes(how.bytes.get(8..16)?.try_into().ok()?))
}

/// What was read, written, sent or received.
pub(super) fn buffer<'a>(view: &View<'a>) -> Value<'a> {
    buffer_of(view).map_or(Value::None, |said| Value::Bytes(said.bytes))
}

fn buffer_of<'a>(view: &View<'a>) -> Option<Attachment<'a>> {
    use driver_api::event::Part;
    use driver_api::table::{Buffer, Kind};
    let call = view.seen.call?;
    let part = |at: usize, kind: &Kind| match kind {
        Kind::Buffer(Buffer::Bytes | Buffer::Pages | Buffer::Iovec, _) => view.event.argument(at),
        Kind::Msghdr | Kind::Buffer(Buffer::Mmsghdr, _) => {
            let mut parts = view.event.parts(at);
            parts.find(|part| part.part == Part::Data && part.index == view.seen.message)
        }
        _ => None,
    };
    call.params
        .iter()
        .enumerate()
        .find_map(|(at, param)| part(at, &param.kind))
}

/// Bytes of what was read, written, sent or received, also where not all of them were captured.
pub(super) fn buffer_length<'a>(view: &View<'a>) -> Value<'a> {
    let Some(said) = buffer_of(view) else {
        return Value::None;
    };
    let returned = view.event.header().ret;
    let moved = view
        .seen
        .call
        .is_some_and(|call| call.returns == Returns::Size)
        && !at_entry(view.event)
        && !has_failed(view.event);
    let length = if moved {
        returned.cast_unsigned()
    } else {
        said.full.max(said.bytes.len() as u64)
    };
    Value::U64(length)
}

/// Whether a call reads or writes.
fn moves(view: &View<'_>) -> Option<bool> {
    match view.seen.call?.category {
        Category::IoRead => Some(false),
        Category::IoWrite => Some(true),
        _ => None,
    }
}

/// `evt.buflen` of calls that move data, or only of those that read or write, on such descriptors.
pub(super) fn length_of<'a>(
    view: &View<'a>,
    writes: Option<bool>,
    fits: fn(DescriptorKind) -> bool,
) -> Value<'a> {
    let moves = moves(view).filter(|moves| writes.is_none_or(|writes| writes == *moves));
    let kind = view.descriptor().map(|descriptor| descriptor.kind);
    if moves.is_some() && kind.is_some_and(fits) {
        buffer_length(view)
    } else {
        Value::None
    }
}

pub(super) fn is_file(kind: DescriptorKind) -> bool {
    kind == DescriptorKind::File
}

pub(super) fn is_inet(kind: DescriptorKind) -> bool {
    kind.is_inet()
}

/// Whether a call reads from its descriptor, and whether it writes to it.
fn directions(view: &View<'_>) -> (bool, bool) {
    let subject = view.seen.call.map(subject);
    subject.map_or((false, false), |subject| (subject.reads, subject.writes))
}

pub(super) fn is_io<'a>(view: &View<'a>) -> Value<'a> {
    let (reads, writes) = directions(view);
    Value::Bool(reads || writes)
}

pub(super) fn is_io_read<'a>(view: &View<'a>) -> Value<'a> {
    Value::Bool(directions(view).0)
}

pub(super) fn is_io_write<'a>(view: &View<'a>) -> Value<'a> {
    Value::Bool(directions(view).1)
}

pub(super) fn io_direction<'a>(view: &View<'a>) -> Value<'a> {
    match directions(view) {
        (_, true) => Value::String(b"write"),
        (true, false) => Value::String(b"read"),
        (false, false) => Value::None,
    }
}

pub(super) fn is_wait<'a>(view: &View<'a>) -> Value<'a> {
    /// The names of a parameter that says how long to wait.
    const HOW_LONG: [&str; 3] = ["timeout", "tvp", "tsp"];
    let waits = |call: &Syscall| match call.category {
        Category::Sleep => true,
        // the category also has calls that only say what to wait for, and those have no timeout
        Category::Wait => HOW_LONG.iter().any(|name| call.param(name).is_some()),
        _ => false,
    };
    let call = view.seen.call.map(Syscall::event_type);
    Value::Bool(call.is_some_and(waits))
}

/// Whether something was written to the system's log.
pub(super) fn is_syslog<'a>(view: &View<'a>) -> Value<'a> {
    let (_, writes) = directions(view);
    let log = || {
        let name = view.descriptor().map(|descriptor| &*descriptor.name);
        name.is_some_and(|name| {
            [
                &b"/dev/log"[..],
                b"/run/systemd/journal/dev-log",
                b"/dev/syslog",
            ]
            .contains(&name)
        })
    };
    Value::Bool(writes && log())
}

/// What a failed call was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Any,
    File,
    Net,
    Memory,
    Other,
}

/// 1 for a failed call of that sort.
pub(super) fn count_failure<'a>(view: &View<'a>, sort: Failure) -> Value<'a> {
    if !has_result(view) || !has_failed(view.event) {
        return Value::None;
    }
    if sort == Failure::Any || is_about(view, sort) {
        Value::U64(1)
    } else {
        Value::None
    }
}

/// As in Falco, a call is about the descriptor that it uses, and one that makes a descriptor is about what it would be. A call
/// about memory may be about a file, too.
fn is_about(view: &View<'_>, sort: Failure) -> bool {
    let Some(call) = view.seen.call else {
        return false;
    };
    let memory = subject(call).category == "memory";
    let kind = view.descriptor().map(|descriptor| descriptor.kind);
    let file = kind.map_or(inspect::open_flags(call).is_some(), |kind| {
        matches!(kind, DescriptorKind::File | DescriptorKind::Directory)
    });
    let net = kind.map_or(inspect::makes_connection(call), |kind| {
        kind.is_inet() || kind == DescriptorKind::Unix
    });
    match sort {
        Failure::Any => true,
        Failure::File => file,
        Failure::Net => net,
        Failure::Memory => memory,
        Failure::Other => !(file || net || memory && kind.is_none()),
    }
}

/// 1 if the event has this type.
pub(super) fn is_of_type<'a>(view: &View<'a>, arg: &super::argument::Arg) -> Value<'a> {
    match arg {
        super::argument::Arg::Name(name) => {
            let wanted = call_of_type(name).map_or(&**name, |call| call.name);
            Value::U64(u64::from(event_type_name(view.event, view.seen) == wanted))
        }
        _ => Value::None,
    }
}

/// 1 for the end of a thread, and for calls that have returned.
pub(super) fn is_return<'a>(view: &View<'a>) -> Value<'a> {
    if has_result(view) || view.event.kind() == EventKind::Exit {
        Value::U64(1)
    } else {
        Value::None
    }
}
