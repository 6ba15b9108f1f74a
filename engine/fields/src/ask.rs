//! Fields that rules rarely use and whose values lanner does not track. They are read from /proc when a rule asks, and have
//! no value if the process or descriptor is gone by then.

use driver_api::event::Layer;
use inspect::{Capabilities, DescriptorKind, FileId, Process};
use lanner_plugin::Value;
use proc_pid::{Field, Stat, Status, TICKS_PER_SECOND};

use super::process::{number, text};
use super::view::View;

const NS_PER_TICK: u64 = 1_000_000_000 / TICKS_PER_SECOND;

/// `/proc/PID/status` of the event's process.
fn status(view: &View<'_>) -> Option<Status<Vec<u8>>> {
    let text = view.inspector.ask(view.known()?, "status")?;
    Some(Status::parse(text))
}

/// `VmSize`, `VmRSS` or `VmSwap`, in units of that many bytes. A kernel thread has none.
fn memory_in<'a>(view: &View<'a>, key: &str, unit: u64) -> Value<'a> {
    let bytes = status(view).and_then(|status| status.memory(key));
    bytes.map_or(Value::None, |bytes| Value::U64(bytes / unit))
}

/// `VmSize`, `VmRSS` or `VmSwap`, in bytes.
pub(super) fn memory_bytes<'a>(view: &View<'a>, key: &str) -> Value<'a> {
    memory_in(view, key, 1)
}

/// The same in KiB.
pub(super) fn memory<'a>(view: &View<'a>, key: &str) -> Value<'a> {
    memory_in(view, key, 1024)
}

/// The process group's id in the process's own pid namespace.
pub(super) fn virtual_group(view: &View<'_>) -> Option<u32> {
    let process = view.known()?;
    let group = super::process::group(view, |process| process.pgid)?;
    if process.vpid == Some(process.pid) {
        return Some(group);
    }
    if process.pgid == process.pid {
        return process.vpid;
    }
    process.vpgid.or_else(|| status(view)?.innermost_group())
}

/// The thread's id in its own pid namespace.
pub(super) fn virtual_thread<'a>(view: &View<'a>) -> Value<'a> {
    let Some(process) = view.process() else {
        return Value::None;
    };
    let known = process.virtual_thread(view.seen.tid);
    if known.is_some() || view.seen.tid == process.pid {
        return number(known);
    }
    let text = view
        .inspector
        .ask(process, &format!("task/{}/status", view.seen.tid));
    number(text.and_then(|text| Status::parse(text).innermost_pid()))
}

/// A number of `/proc/PID/task/TID/stat`.
fn thread_stat(view: &View<'_>, field: Field) -> Option<u64> {
    let text = view
        .inspector
        .ask(view.process()?, &format!("task/{}/stat", view.seen.tid))?;
    Stat::parse(text).ok()?.get(field)
}

/// How many page faults a thread has had, of one of the two sorts.
pub(super) fn page_faults<'a>(view: &View<'a>, field: Field) -> Value<'a> {
    thread_stat(view, field).map_or(Value::None, Value::U64)
}

/// The share of one CPU that these times in `stat` take since the thread's process began, in percent.
pub(super) fn cpu<'a>(view: &View<'a>, fields: &[Field]) -> Value<'a> {
    let ticks = fields
        .iter()
        .try_fold(0_u64, |sum, field| Some(sum + thread_stat(view, *field)?));
    let age = view.known().and_then(|process| {
        let begun = Some(process.start_ns).filter(|start| *start != 0)?;
        let age = view.event.header().time_ns.saturating_sub(begun);
        (age > 0).then_some(age)
    });
    match ticks.zip(age) {
        #[expect(clippy::cast_precision_loss, reason = "a share in percent")]
        Some((ticks, age)) => Value::F64((ticks * NS_PER_TICK) as f64 * 100.0 / age as f64),
        None => Value::None,
    }
}

/// Nanoseconds that the thread has run, from `schedstat`.
pub(super) fn run_time<'a>(view: &View<'a>) -> Value<'a> {
    let run = view.process().and_then(|process| {
        let file = format!("task/{}/schedstat", view.seen.tid);
        let text = view.inspector.ask(process, &file)?;
        let text = String::from_utf8(text).ok()?;
        text.split_ascii_whitespace().next()?.parse().ok()
    });
    run.map_or(Value::None, Value::U64)
}

/// How many descriptors the process may have: the soft limit of `RLIMIT_NOFILE`.
fn limit(view: &View<'_>) -> Option<i64> {
    let text = view.inspector.ask(view.known()?, "limits")?;
    let text = String::from_utf8(text).ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with("Max open files"))?;
    line["Max open files".len()..]
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()
}

pub(super) fn descriptor_limit<'a>(view: &View<'a>) -> Value<'a> {
    limit(view).map_or(Value::None, Value::I64)
}

/// Open descriptors in percent of the limit.
pub(super) fn descriptor_usage<'a>(view: &View<'a>) -> Value<'a> {
    let open = super::process::open_count(view);
    match open.zip(limit(view)) {
        #[expect(clippy::cast_precision_loss, reason = "a share in percent")]
        Some((open, limit)) if limit > 0 => Value::F64(open as f64 * 100.0 / limit as f64),
        _ => Value::None,
    }
}

/// A set of capabilities, by their names.
pub(super) fn capabilities<'a>(view: &View<'a>, set: fn(Capabilities) -> u64) -> Value<'a> {
    let Some(bits) = view
        .known()
        .and_then(|process| view.inspector.capabilities(process, view.seen.tid))
        .map(set)
    else {
        return Value::None;
    };
    Value::String(view.scratch.text(|out| {
        for bit in (0..64).filter(|bit| bits >> bit & 1 == 1) {
            if !out.is_empty() {
                out.push(' ');
            }
            match decode::capability(bit) {
                Some(name) => out.push_str(name),
                None => {
                    use std::fmt::Write as _;
                    let _ = write!(out, "CAP_{bit}");
                }
            }
        }
    }))
}

/// Whether the file of the event's descriptor is in that layer of its overlay file system.
pub(super) fn file_layer<'a>(view: &View<'a>, layer: Layer) -> Value<'a> {
    let Some((process, descriptor)) = view.known().zip(view.descriptor()) else {
        return Value::None;
    };
    if descriptor.kind != DescriptorKind::File {
        return Value::Bool(false);
    }
    let found = view.inspector.layer(process, &descriptor.name);
    Value::Bool(found == Some(layer))
}

/// Whether the executable is in that layer of its overlay file system.
pub(super) fn program_layer<'a>(view: &View<'a>, layer: Layer) -> Value<'a> {
    view.known().map_or(Value::None, |process| {
        Value::Bool(view.inspector.program_layer(process) == Some(layer))
    })
}

/// Something about the file behind the event's descriptor, as the kernel had it when the file was opened; or as /proc has
/// it now, if lanner did not see that.
pub(super) fn file<'a>(view: &View<'a>, about: fn(&FileId) -> i64) -> Value<'a> {
    if let Some(opened) = view.descriptor().and_then(|descriptor| descriptor.file) {
        return Value::I64(about(&opened));
    }
    let open = view
        .seen
        .fd
        .zip(view.known())
        .and_then(|(fd, process)| view.inspector.ask_file(process, fd));
    open.map_or(Value::None, |file| Value::I64(about(&file)))
}

pub(super) fn device(file: &FileId) -> i64 {
    i64::try_from(libc::makedev(file.major, file.minor)).unwrap_or(-1)
}

pub(super) fn device_major(file: &FileId) -> i64 {
    file.major.into()
}

pub(super) fn device_minor(file: &FileId) -> i64 {
    file.minor.into()
}

pub(super) fn inode(file: &FileId) -> i64 {
    file.inode.cast_signed()
}

/// `cpu=/ memory=/x`: the path of every controller; that of cgroup v2 as `unified`.
pub(super) fn cgroups<'a>(view: &View<'a>) -> Value<'a> {
    let Some(process) = view.known().filter(|p| !p.cgroups.text.is_empty()) else {
        return Value::None;
    };
    Value::String(view.scratch.bytes(|out| {
        for (controllers, path) in hierarchies(process) {
            for controller in controllers.split(|&b| b == b',') {
                if !out.is_empty() {
                    out.push(b' ');
                }
                let name = controller.strip_prefix(b"name=").unwrap_or(controller);
                out.extend_from_slice(if name.is_empty() { b"unified" } else { name });
                out.push(b'=');
                out.extend_from_slice(path);
            }
        }
    }))
}

/// The path of one controller; under cgroup v2 all have the same.
pub(super) fn cgroup<'a>(view: &View<'a>, wanted: &str) -> Value<'a> {
    let Some(process) = view.known() else {
        return Value::None;
    };
    let has = |controllers: &[u8]| {
        controllers
            .split(|&b| b == b',')
            .any(|c| c.strip_prefix(b"name=").unwrap_or(c) == wanted.as_bytes())
    };
    let own = hierarchies(process).find(|(controllers, _)| has(controllers));
    let found =
        own.or_else(|| hierarchies(process).find(|(controllers, _)| controllers.is_empty()));
    text(found.map(|(_, path)| path))
}

fn hierarchies(process: &Process) -> impl Iterator<Item = (&[u8], &[u8])> {
    process
        .cgroups
        .text
        .split(|&b| b == b'\n')
        .filter_map(|line| {
            let mut parts = line.splitn(3, |&b| b == b':').skip(1);
            Some((parts.next()?, parts.next()?))
        })
}
