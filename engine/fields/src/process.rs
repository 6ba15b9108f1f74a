//! Functions of `proc.*`, `thread.*`, `user.*` and `group.*`.

use std::borrow::Cow;

use driver_api::event::EventKind;
use inspect::{Descriptor, Process, ProgramFile, User};
use lanner_plugin::Value;

use super::argument::Arg;
use super::view::View;

/// Appends texts, with a space between each two. A text may be empty.
pub(super) fn join<'a>(out: &mut Vec<u8>, texts: impl Iterator<Item = &'a [u8]>) {
    for (at, text) in texts.enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(text);
    }
}

pub(super) fn text(text: Option<&[u8]>) -> Value<'_> {
    text.map_or(Value::None, Value::String)
}

/// A text that is not known where it is empty.
pub(super) fn some_text(text: Option<&[u8]>) -> Value<'_> {
    self::text(text.filter(|text| !text.is_empty()))
}

pub(super) fn number<'a>(number: Option<impl Into<i64>>) -> Value<'a> {
    number.map_or(Value::None, |number| Value::I64(number.into()))
}

pub(super) fn unsigned<'a>(number: Option<u32>) -> Value<'a> {
    number.map_or(Value::None, |number| Value::U64(number.into()))
}

/// Finds something about a process: the one of the event, or a relative of it.
pub(super) type About = for<'a> fn(&View<'a>, &'a Process) -> Value<'a>;

/// About the parent.
pub(super) fn of_parent<'a>(view: &View<'a>, about: About) -> Value<'a> {
    view.parent()
        .map_or(Value::None, |parent| about(view, parent))
}

/// About the process itself.
pub(super) fn of_process<'a>(view: &View<'a>, about: About) -> Value<'a> {
    view.known()
        .map_or(Value::None, |process| about(view, process))
}

/// About one ancestor, or a list about all of them. 0 is the process itself, 1 its parent; the list begins with the parent.
pub(super) fn of_ancestors<'a>(view: &View<'a>, arg: &Arg, about: About) -> Value<'a> {
    if let Some(generation) = arg.index() {
        return view
            .ancestor(generation)
            .map_or(Value::None, |process| about(view, process));
    }
    let Some(key) = view.seen.process else {
        return Value::None;
    };
    let ancestors = view
        .inspector
        .lineage(key)
        .skip(1)
        .filter(|process| process.known);
    view.scratch.list(
        ancestors
            .map(|process| about(view, process))
            .filter(|v| v.is_some()),
    )
}

/// The id of the process's session or group. A capture file may not have it.
pub(super) fn group(view: &View<'_>, id: fn(&Process) -> u32) -> Option<u32> {
    view.known().map(id).filter(|id| *id != u32::MAX)
}

/// Whether the process leads its session or group.
pub(super) fn leads<'a>(view: &View<'a>, id: fn(&Process) -> u32) -> Value<'a> {
    match group(view, id).zip(view.known()) {
        Some((id, process)) => Value::Bool(id == process.pid),
        None => Value::None,
    }
}

/// About the leader of a session or process group; if the leader has ended, about the oldest ancestor in it.
pub(super) fn of_leader<'a>(view: &View<'a>, id: fn(&Process) -> u32, about: About) -> Value<'a> {
    let Some((key, wanted)) = view.seen.process.zip(group(view, id)) else {
        return Value::None;
    };
    let leader = view
        .inspector
        .process_by_pid(wanted)
        .filter(|leader| id(leader) == wanted);
    let leader = leader.or_else(|| {
        view.inspector
            .lineage(key)
            .take_while(|ancestor| id(ancestor) == wanted)
            .last()
    });
    leader
        .filter(|leader| leader.known)
        .map_or(Value::None, |leader| about(view, leader))
}

/// The name of a thread.
fn name_of<'a>(view: &View<'a>, process: &'a Process, tid: u32) -> &'a [u8] {
    match view.inspector.thread_name(process, tid) {
        Cow::Borrowed(name) => name,
        Cow::Owned(name) => view.scratch.bytes(|out| out.extend_from_slice(&name)),
    }
}

pub(super) fn name<'a>(view: &View<'a>, process: &'a Process) -> Value<'a> {
    Value::String(name_of(view, process, process.pid))
}

/// The name of the thread that made the event.
pub(super) fn thread_name<'a>(view: &View<'a>) -> Value<'a> {
    text(
        view.known()
            .map(|process| name_of(view, process, view.seen.tid)),
    )
}

/// `cat22`, as Falco writes it.
pub(super) fn thread_name_and_id<'a>(view: &View<'a>) -> Value<'a> {
    let Some(process) = view.known() else {
        return Value::None;
    };
    let tid = view.seen.tid;
    let name = name_of(view, process, tid);
    Value::String(view.scratch.bytes(|out| {
        out.extend_from_slice(name);
        out.extend_from_slice(tid.to_string().as_bytes());
    }))
}

/// `argv[0]`
pub(super) fn exe<'a>(_: &View<'a>, process: &'a Process) -> Value<'a> {
    // A kernel thread has no arguments, and its name is all there is.
    Value::String(process.args().next().unwrap_or(&process.name))
}

pub(super) fn exe_path<'a>(_: &View<'a>, process: &'a Process) -> Value<'a> {
    some_text(Some(&process.exe))
}

pub(super) fn args<'a>(view: &View<'a>, process: &'a Process, arg: &Arg) -> Value<'a> {
    match arg.index().map(usize::try_from) {
        // As in Falco, there is an empty text where there is no such argument.
        Some(Ok(index)) => Value::String(process.args().skip(1).nth(index).unwrap_or_default()),
        Some(Err(_)) => Value::None,
        None => Value::String(view.scratch.bytes(|out| join(out, process.args().skip(1)))),
    }
}

/// All arguments but the first.
pub(super) fn all_args<'a>(view: &View<'a>, process: &'a Process) -> Value<'a> {
    args(view, process, &Arg::None)
}

/// `proc.aenv`: the environment of an ancestor, or a variable of the nearest ancestor that has it; an empty text if none has.
pub(super) fn ancestor_env<'a>(view: &View<'a>, arg: &Arg) -> Value<'a> {
    let Arg::Name(_) = arg else {
        return of_ancestors(view, arg, |view, process| env(view, process, &Arg::None));
    };
    let Some(key) = view.seen.process else {
        return Value::None;
    };
    let ancestors = view.inspector.lineage(key).skip(1);
    let mut variables = ancestors.map(|process| env(view, process, arg));
    let found = variables.find(|value| value.as_bytes().is_some_and(|text| !text.is_empty()));
    match view.known() {
        Some(_) => found.unwrap_or(Value::String(b"")),
        None => Value::None,
    }
}

/// Name and arguments.
pub(super) fn command_line<'a>(view: &View<'a>, process: &'a Process) -> Value<'a> {
    line(view, process, name_of(view, process, process.pid))
}

/// `argv[0]` and arguments.
pub(super) fn exe_line<'a>(view: &View<'a>, process: &'a Process) -> Value<'a> {
    line(
        view,
        process,
        process.args().next().unwrap_or(&process.name),
    )
}

/// The command line of the thread that made the event.
pub(super) fn thread_command_line<'a>(view: &View<'a>) -> Value<'a> {
    let Some(process) = view.known() else {
        return Value::None;
    };
    line(view, process, name_of(view, process, view.seen.tid))
}

fn line<'a>(view: &View<'a>, process: &'a Process, first: &'a [u8]) -> Value<'a> {
    Value::String(view.scratch.bytes(|out| {
        out.extend_from_slice(first);
        for arg in process.args().skip(1) {
            out.push(b' ');
            out.extend_from_slice(arg);
        }
    }))
}

pub(super) fn arg_count<'a>(view: &View<'a>) -> Value<'a> {
    let count = view.known().map(|process| process.args().skip(1).count());
    count.map_or(Value::None, |count| Value::U64(count as u64))
}

pub(super) fn arg_length<'a>(view: &View<'a>) -> Value<'a> {
    let length = view
        .known()
        .map(|process| process.args().skip(1).map(<[u8]>::len).sum::<usize>());
    length.map_or(Value::None, |length| Value::U64(length as u64))
}

/// The environment, or one variable. As in Falco, a variable that is not there is an empty text, and blanks around a value are
/// left out.
pub(super) fn env<'a>(view: &View<'a>, process: &'a Process, arg: &Arg) -> Value<'a> {
    match arg {
        Arg::Name(name) => {
            let of =
                |variable: &'a [u8]| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=");
            let value = process.env().find_map(of).unwrap_or_default();
            Value::String(without_spaces(value))
        }
        _ => Value::String(view.scratch.bytes(|out| join(out, process.env()))),
    }
}

/// A text without the spaces around it.
fn without_spaces(text: &[u8]) -> &[u8] {
    let space = |byte: &u8| *byte == b' ';
    let Some(first) = text.iter().position(|byte| !space(byte)) else {
        return b"";
    };
    let end = text
        .iter()
        .rposition(|byte| !space(byte))
        .map_or(0, |last| last + 1);
    &text[first..end]
}

/// The working directory. It ends with a slash, as in Falco.
pub(super) fn cwd<'a>(view: &View<'a>) -> Value<'a> {
    let Some(cwd) = view
        .known()
        .map(|process| view.inspector.cwd(process, view.seen.tid))
    else {
        return Value::None;
    };
    if cwd.is_empty() || cwd.ends_with(b"/") {
        return some_text(Some(cwd));
    }
    Value::String(view.scratch.bytes(|out| {
        out.extend_from_slice(cwd);
        out.push(b'/');
    }))
}

/// The controlling terminal. An exec event has that of its moment.
pub(super) fn tty(view: &View<'_>) -> Option<u32> {
    let process = view.known()?;
    Some(match view.event.kind() {
        EventKind::Exec => process.tty,
        EventKind::Syscall
        | EventKind::Fork
        | EventKind::Exit
        | EventKind::Signal
        | EventKind::Lost => view.inspector.tty(process),
    })
}

/// The oldest ancestor, or the process itself, that is a shell, as far up as there are shells.
pub(super) fn login_shell<'a>(view: &View<'a>) -> Value<'a> {
    let Some(key) = view.seen.process else {
        return Value::None;
    };
    let shells = view
        .inspector
        .lineage(key)
        .filter(|process| process.name.ends_with(b"sh"));
    number(shells.last().map(|process| process.pid))
}

/// Nanoseconds since a process began.
pub(super) fn age<'a>(view: &View<'a>, process: &'a Process) -> Value<'a> {
    let now = view.event.header().time_ns;
    match process.start_ns {
        0 => Value::None,
        start => Value::U64(now.saturating_sub(start)),
    }
}

/// When a process began, in nanoseconds since the epoch.
pub(super) fn start<'a>(view: &View<'a>, process: &'a Process) -> Value<'a> {
    match process.start_ns {
        0 => Value::None,
        start => Value::U64(view.inspector.clock().epoch_ns(start)),
    }
}

/// The user as whom the process acts.
pub(super) fn uid(view: &View<'_>) -> Option<u32> {
    let process = view.process();
    process
        .map(|process| process.credentials(view.seen.tid).euid)
        .or_else(|| has_user(view).then(|| view.event.header().uid))
}

fn has_user(view: &View<'_>) -> bool {
    view.event.kind() != EventKind::Lost
}

pub(super) fn gid(view: &View<'_>) -> Option<u32> {
    let process = view.process();
    process
        .map(|process| process.credentials(view.seen.tid).egid)
        .or_else(|| has_user(view).then(|| view.event.header().gid))
}

fn login_uid(view: &View<'_>) -> Option<u32> {
    view.known()
        .map(|process| view.inspector.login(process, view.seen.tid))
        .filter(|uid| *uid != u32::MAX)
}

pub(super) fn login_id<'a>(view: &View<'a>) -> Value<'a> {
    match view.known() {
        Some(_) => Value::I64(login_uid(view).map_or(-1, i64::from)),
        None => Value::None,
    }
}

/// The text for an id without an entry, as in Falco.
pub(super) const NO_ENTRY: &[u8] = b"<NA>";

/// Something about a user of the host, or of the container that the process is in: `about` finds it in the user's entry.
/// `root` is the value for user 0 if there is no entry.
pub(super) fn user<'a>(
    view: &View<'a>,
    about: fn(&User) -> &[u8],
    root: &'static [u8],
) -> Value<'a> {
    uid(view).map_or(Value::None, |uid| user_of(view, uid, about, root))
}

fn user_of<'a>(
    view: &View<'a>,
    uid: u32,
    about: fn(&User) -> &[u8],
    root: &'static [u8],
) -> Value<'a> {
    let without = if uid == 0 { root } else { NO_ENTRY };
    if let Some(process) = view.process()
        && process.cgroups.container.is_some()
    {
        let mut value = Value::String(without);
        view.inspector
            .users_of(process, view.seen.time_ns, |users| {
                if let Some(user) = users.user(uid) {
                    value =
                        Value::String(view.scratch.bytes(|out| out.extend_from_slice(about(user))));
                }
            });
        return value;
    }
    let user = view.inspector.users().user(uid);
    Value::String(user.map_or(without, about))
}

/// The name of a user, of the host or of the container that the process is in.
pub(super) fn user_name<'a>(view: &View<'a>, uid: u32) -> Value<'a> {
    user_of(view, uid, |user| &user.name, b"root")
}

pub(super) fn login_name<'a>(view: &View<'a>) -> Value<'a> {
    if view.known().is_none() {
        return Value::None;
    }
    // who logged in did so on the host
    let uid = login_uid(view);
    let user = uid.and_then(|uid| view.inspector.users().user(uid));
    let without: &[u8] = if uid == Some(0) { b"root" } else { NO_ENTRY };
    Value::String(user.map_or(without, |user| &*user.name))
}

pub(super) fn group_name<'a>(view: &View<'a>) -> Value<'a> {
    gid(view).map_or(Value::None, |gid| name_of_group(view, gid))
}

/// The name of a group, of the host or of the container that the process is in.
pub(super) fn name_of_group<'a>(view: &View<'a>, gid: u32) -> Value<'a> {
    let without: &[u8] = if gid == 0 { b"root" } else { NO_ENTRY };
    if let Some(process) = view.process()
        && process.cgroups.container.is_some()
    {
        let mut value = Value::String(without);
        view.inspector
            .users_of(process, view.seen.time_ns, |users| {
                if let Some(name) = users.group(gid) {
                    value = Value::String(view.scratch.bytes(|out| out.extend_from_slice(name)));
                }
            });
        return value;
    }
    Value::String(view.inspector.users().group(gid).unwrap_or(without))
}

/// When the first process of the pid namespace began, in nanoseconds since the epoch: an ancestor, or the process
/// itself, that is number 1 there.
pub(super) fn namespace_start(view: &View<'_>) -> Option<u64> {
    let first = view
        .inspector
        .lineage(view.seen.process?)
        .find(|process| process.vpid == Some(1))?;
    let start = Some(first.start_ns).filter(|start| *start != 0)?;
    Some(view.inspector.clock().epoch_ns(start))
}

/// Something about the executable's file.
pub(super) fn file<'a>(view: &View<'a>) -> Option<&'a ProgramFile> {
    view.known()?.file.as_ref()
}

/// Nanoseconds from one time to a later one.
pub(super) fn between<'a>(from: Option<u64>, to: Option<u64>) -> Value<'a> {
    match from.zip(to) {
        Some((from, to)) => Value::U64(to.saturating_sub(from)),
        None => Value::None,
    }
}

/// When the process began, in nanoseconds since the epoch.
pub(super) fn start_ns(view: &View<'_>) -> Option<u64> {
    let start = Some(view.known()?.start_ns).filter(|start| *start != 0)?;
    Some(view.inspector.clock().epoch_ns(start))
}

pub(super) fn is_exe_writable<'a>(view: &View<'a>) -> Value<'a> {
    match view.known().zip(file(view)) {
        Some((process, file)) => {
            let user = process.credentials(view.seen.tid);
            Value::Bool(file.is_writable_by(user.euid, user.egid))
        }
        None => Value::None,
    }
}

/// What exec's `flags` are in Falco: facts about the executable.
pub(super) fn exe_flags<'a>(view: &View<'a>) -> Value<'a> {
    use driver_api::event::Layer;
    let Some(process) = view.known() else {
        return Value::None;
    };
    let layer = view.inspector.program_layer(process);
    let writable = is_exe_writable(view);
    if matches!(writable, Value::None) && layer.is_none() && !process.memfd {
        return Value::None;
    }
    let writable = matches!(writable, Value::Bool(true));
    let flags = [
        ("EXE_WRITABLE", writable),
        ("EXE_UPPER_LAYER", layer == Some(Layer::Upper)),
        ("EXE_FROM_MEMFD", process.memfd),
        ("EXE_LOWER_LAYER", layer == Some(Layer::Lower)),
    ];
    Value::String(view.scratch.bytes(|out| {
        for (name, _) in flags.iter().filter(|(_, set)| *set) {
            if !out.is_empty() {
                out.push(b'|');
            }
            out.extend_from_slice(name.as_bytes());
        }
        if out.is_empty() {
            out.push(b'0');
        }
    }))
}

/// A property of the descriptor with this number.
pub(super) fn stream<'a>(view: &View<'a>, fd: i32, about: fn(&Descriptor) -> &[u8]) -> Value<'a> {
    let tid = view.seen.tid;
    let open = (view.seen.process).and_then(|key| view.inspector.current_descriptor(key, tid, fd));
    text(open.map(|open| {
        view.scratch
            .bytes(|out| out.extend_from_slice(about(&open)))
    }))
}

/// The number of descriptors that the thread has open.
pub(super) fn open_count(view: &View<'_>) -> Option<usize> {
    let key = view.seen.process?;
    Some(view.inspector.current_descriptors(key, view.seen.tid).len())
}

/// Whether the process is the leader of its process group, by the ids of its PID namespace.
pub(super) fn is_virtual_group_leader<'a>(view: &View<'a>) -> Value<'a> {
    let own = view.known().and_then(|process| process.vpid);
    match own.zip(super::ask::virtual_group(view)) {
        Some((own, group)) => Value::Bool(own == group),
        None => Value::None,
    }
}
