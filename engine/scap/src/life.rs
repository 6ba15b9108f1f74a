//! Exec, fork and exit: the events that make processes, change what they run, and end them. Their parameters are facts about
//! the process, which lanner's events have as facts.

use driver_api::event::layout::FORK_SEEN;
use std::sync::LazyLock;

use driver_api::event::{EventKind, Fact, Flags, Header, Ids};
use driver_api::table::{Kind, Returns, SYMBOL_SETS, Syscall};
use inspect::AT_FDCWD;
use zerocopy::IntoBytes;

use super::bytes::{signed, text, unsigned};
use super::capture::ScapReplay;
use super::encode::{Draft, Who, finish};
use super::event::Raw;
use super::lists::{ProgramEntry, known_capabilities};
use super::merge::Merged;
use super::process::{Process, UNKNOWN, id};
use super::state::{Facts, StateWriter, argv, cgroup_text, program};
use super::symbols::{Set, Symbols};
use super::table::EventType;

pub(crate) const CLONE_VM: u64 = 0x100;
pub(crate) const CLONE_FS: u64 = 0x200;
pub(crate) const CLONE_FILES: u64 = 0x400;
pub(crate) const CLONE_SIGHAND: u64 = 0x800;
pub(crate) const CLONE_THREAD: u64 = 0x1_0000;
const CLONE_NEWPID: u64 = 0x2000_0000;
/// In Falco's flags of a program.
pub(crate) const EXE_WRITABLE: u64 = 1;
pub(crate) const EXE_UPPER: u64 = 2;
pub(crate) const EXE_MEMFD: u64 = 4;
pub(crate) const EXE_LOWER: u64 = 8;

/// Whether a call gives a process a new program.
pub(crate) fn is_exec(call: &Syscall) -> bool {
    call.params
        .iter()
        .any(|param| matches!(param.kind, Kind::Strv))
}

/// Whether a call returns twice.
pub(crate) fn makes_child(call: &Syscall) -> bool {
    call.returns == Returns::Child
}

/// Calls that set the effective id or the session, with the parameter that has the new id.
const SETS_UID: [(&str, &str); 3] = [
    ("setuid", "uid"),
    ("setreuid", "euid"),
    ("setresuid", "euid"),
];
const SETS_GID: [(&str, &str); 3] = [
    ("setgid", "gid"),
    ("setregid", "egid"),
    ("setresgid", "egid"),
];

/// Notes what a successful call changed and the next exec keeps.
pub(crate) fn note(replay: &mut ScapReplay, pid: u32, call: &Syscall, header: &Header) {
    let Some(process) = replay.processes.get_mut(pid) else {
        return;
    };
    let new = |table: &[(&str, &str)]| {
        let (_, param) = table.iter().find(|(name, _)| *name == call.name)?;
        let (at, _) = call.param(param)?;
        let value = header.args.get(at).copied()?;
        u32::try_from(value).ok().filter(|id| *id != UNKNOWN)
    };
    if let Some(uid) = new(&SETS_UID) {
        process.ids.euid = uid;
    }
    if let Some(gid) = new(&SETS_GID) {
        process.ids.egid = gid;
    }
    if matches!(call.name, "unshare" | "setns") {
        process.other_children = true;
    }
    if call.name == "setsid" {
        process.ids.sid = pid;
        process.ids.pgid = pid;
        process.ids.tty = 0;
    }
}

fn number(merged: &Merged<'_>, name: &str) -> Option<u32> {
    unsigned(merged.get(name)?).and_then(|value| u32::try_from(value).ok())
}

fn an_id(merged: &Merged<'_>, name: &str) -> Option<u32> {
    id(signed(merged.get(name)?)?)
}

/// The cgroups that an event names; 0: none.
fn cgroup(replay: &ScapReplay, merged: &Merged<'_>) -> u64 {
    let text = cgroup_text(merged.get("cgroups").unwrap_or_default());
    if text.is_empty() {
        0
    } else {
        replay.recorded().cgroup_id(&text)
    }
}

/// Notes the process of a thread, if the event names it.
fn meet(replay: &mut ScapReplay, tid: u32, merged: &Merged<'_>) {
    if replay.processes.pid(tid).is_none()
        && let Some(pid) = an_id(merged, "pid").filter(|pid| *pid != 0)
    {
        replay.processes.add(tid, pid, Process::unknown);
    }
}

/// The process that the parent's thread belongs to.
fn parent(replay: &ScapReplay, merged: &Merged<'_>) -> Option<u32> {
    let tid = an_id(merged, "ptid")?;
    Some(replay.processes.pid(tid).unwrap_or(tid))
}

/// The name of a program that the capture does not give: the last component of its first argument, as the kernel cuts it.
fn comm<'a>(merged: &Merged<'a>) -> &'a [u8] {
    let first = text(merged.get("exe").unwrap_or_default());
    let comm = merged.get("comm").map(text);
    comm.unwrap_or_else(|| {
        let name = first
            .rsplit(|&byte| byte == b'/')
            .next()
            .unwrap_or_default();
        &name[..name.len().min(15)]
    })
}

fn arguments(merged: &Merged<'_>) -> Vec<u8> {
    let first = text(merged.get("exe").unwrap_or_default());
    argv(first, merged.get("args").unwrap_or_default())
}

/// The program that a process has begun to run.
pub(crate) fn exec(
    replay: &mut ScapReplay,
    raw: &Raw<'_>,
    call: &'static Syscall,
    merged: &Merged<'_>,
) {
    let tid = id(raw.tid).unwrap_or(0);
    meet(replay, tid, merged);
    let who = replay.who(raw);
    let Some(mut draft) = Draft::new(call, who) else {
        return;
    };
    draft.fill(merged);
    if draft.result() != Some(0) || who.tgid == 0 {
        draft.write(&mut replay.builder, &mut replay.ready);
        return;
    }
    let above = parent(replay, merged);
    let group = cgroup(replay, merged);
    let flags = merged.get("flags").and_then(unsigned);
    let Some(process) = replay.processes.get_mut(who.tgid) else {
        return;
    };
    let ids = &mut process.ids;
    if let Some(ppid) = above {
        ids.ppid = ppid;
    }
    if let Some(uid) = number(merged, "uid") {
        (ids.uid, ids.euid) = (uid, uid);
    }
    if let Some(gid) = number(merged, "gid") {
        (ids.gid, ids.egid) = (gid, gid);
    }
    ids.loginuid = number(merged, "loginuid").unwrap_or(ids.loginuid);
    ids.tty = number(merged, "tty").unwrap_or(ids.tty);
    ids.pgid = an_id(merged, "pgid").unwrap_or(ids.pgid);
    let has = |bit: u64| flags.is_some_and(|flags| flags & bit != 0);
    ids.memfd = has(EXE_MEMFD).into();
    if group != 0 {
        process.cgroup = group;
    }
    draft.header.cgroup = group;
    draft.header.uid = process.ids.uid;
    draft.header.gid = process.ids.gid;
    let ids: Ids = process.ids;
    replay.processes.thread_ids(tid, ids.uid, ids.gid);
    draft.becomes_exec();
    draft.fact(Fact::Ids, ids.as_bytes());
    draft.fact(Fact::Comm, comm(merged));
    draft.fact(Fact::Exe, &path_of(merged));
    if let Some(cwd) = merged.get("cwd").map(text).filter(|cwd| !cwd.is_empty()) {
        draft.fact(Fact::Cwd, cwd);
    }
    draft.fact(Fact::Argv, &arguments(merged));
    draft.fact(Fact::Env, merged.get("env").unwrap_or_default());
    let value = |name: &str| merged.get(name).and_then(unsigned);
    let sets = ["cap_inheritable", "cap_permitted", "cap_effective"];
    let entry = ProgramEntry {
        writable: has(EXE_WRITABLE),
        capabilities: known_capabilities(sets.map(value)),
        upper: has(EXE_UPPER),
        lower: has(EXE_LOWER),
        memfd: has(EXE_MEMFD),
        // the flags are older than the inode; an event with neither says nothing about the file
        inode: value("exe_ino").or_else(|| flags.is_none().then_some(0)),
        ctime_ns: value("exe_ino_ctime").unwrap_or(0),
        mtime_ns: value("exe_ino_mtime").unwrap_or(0),
    };
    if let Some(program) = program(&entry) {
        draft.fact(Fact::Program, program.as_bytes());
    }
    draft.write(&mut replay.builder, &mut replay.ready);
}

/// The path of the new program. Later captures have the kernel's. In earlier ones there is the path that was passed, which
/// says where the file is only if it begins at the root or at a directory that the same event names. Empty: not known.
fn path_of(merged: &Merged<'_>) -> Vec<u8> {
    if let Some(path) = merged.get("trusted_exepath").map(text) {
        return path.to_vec();
    }
    let said = merged.get("filename").or_else(|| merged.get("pathname"));
    let said = text(said.unwrap_or_default());
    let at_cwd = merged
        .get("dirfd")
        .and_then(signed)
        .is_none_or(|fd| fd == i64::from(AT_FDCWD));
    let cwd = text(merged.get("cwd").unwrap_or_default());
    let mut path = Vec::new();
    match said.first() {
        Some(b'/') => inspect::path::resolve(b"/", said, &mut path),
        Some(_) if at_cwd && !cwd.is_empty() => inspect::path::resolve(cwd, said, &mut path),
        _ => {}
    }
    path
}

static CLONE_SYMBOLS: LazyLock<Option<Symbols>> = LazyLock::new(|| {
    let ours = SYMBOL_SETS
        .iter()
        .copied()
        .find(|set| set.name == "clone")?;
    let theirs = Set::named("clone_flags")?;
    Some(Symbols::new(theirs, ours, false, |_| {}))
});

/// The kernel's flags of a clone.
fn clone_flags(merged: &Merged<'_>) -> u64 {
    let theirs = merged.get("flags").and_then(unsigned).unwrap_or(0);
    let symbols = CLONE_SYMBOLS.as_ref();
    symbols
        .and_then(|symbols| symbols.kernel(theirs))
        .unwrap_or(0)
}

/// Falco's flags of a clone.
pub(crate) fn falco_clone_flags(kernel: u64) -> u64 {
    let symbols = CLONE_SYMBOLS.as_ref();
    symbols.map_or(0, |symbols| symbols.falco(kernel))
}

/// A call returned that makes a child, in the parent or in the child.
pub(crate) fn birth(
    replay: &mut ScapReplay,
    raw: &Raw<'_>,
    call: &'static Syscall,
    merged: &Merged<'_>,
) {
    let tid = id(raw.tid).unwrap_or(0);
    let flags = clone_flags(merged);
    let result = merged.get("res").and_then(signed);
    let vtid = an_id(merged, "vtid");
    match result {
        Some(0) => born(replay, raw, merged, tid, flags, vtid),
        Some(child) if child > 0 => {
            meet(replay, tid, merged);
            // in a pid namespace of its own, the result is the child's id there
            let same_namespace = vtid.is_none_or(|vtid| vtid == tid);
            if let Some(child) = id(child).filter(|_| same_namespace && flags & CLONE_NEWPID == 0) {
                let by = replay.who(raw);
                // the child has the same id in both, if there is one namespace alone
                let maker = replay.processes.get(by.tgid);
                let one_namespace = !maker.is_some_and(|maker| maker.other_children);
                let vpid = vtid.filter(|_| one_namespace).map_or(0, |_| child);
                fork(replay, by, child, None, flags, vpid, merged);
            }
        }
        _ => meet(replay, tid, merged),
    }
    let mut who = replay.who(raw);
    if result == Some(0) {
        let group = cgroup(replay, merged);
        if let Some(process) = replay.processes.get_mut(who.tgid)
            && group != 0
            && process.cgroup != group
        {
            process.cgroup = group;
            who.cgroup = group;
        }
    }
    if let Some(mut draft) = Draft::new(call, who) {
        draft.fill(merged);
        draft.write(&mut replay.builder, &mut replay.ready);
    }
}

/// The call returned in the child. The return in the parent may have come before.
fn born(
    replay: &mut ScapReplay,
    raw: &Raw<'_>,
    merged: &Merged<'_>,
    tid: u32,
    flags: u64,
    vtid: Option<u32>,
) {
    if replay.processes.pid(tid).is_some() {
        says_own_id(replay, raw, tid, vtid);
        return;
    }
    let Some(pid) = an_id(merged, "pid") else {
        return;
    };
    let above = parent(replay, merged).filter(|above| replay.processes.get(*above).is_some());
    let by = replay.who(raw);
    let maker = if pid == tid { above } else { Some(pid) };
    if let Some(maker) = maker.filter(|maker| replay.processes.get(*maker).is_some()) {
        let ids = replay.processes.get(maker).map(|process| process.ids);
        let by = Who {
            tgid: maker,
            tid: maker,
            uid: ids.map_or(UNKNOWN, |ids| ids.uid),
            gid: ids.map_or(UNKNOWN, |ids| ids.gid),
            ..by
        };
        fork(replay, by, tid, Some(pid), flags, vtid.unwrap_or(0), merged);
        return;
    }
    // the parent is not known: what the event says about the child is all
    replay.processes.add(tid, pid, Process::unknown);
    let ppid = parent(replay, merged);
    let group = cgroup(replay, merged);
    let Some(process) = replay.processes.get_mut(pid) else {
        return;
    };
    process.ids.ppid = ppid.unwrap_or(0);
    if let (Some(uid), Some(gid)) = (number(merged, "uid"), number(merged, "gid")) {
        (process.ids.uid, process.ids.euid) = (uid, uid);
        (process.ids.gid, process.ids.egid) = (gid, gid);
    }
    process.cgroup = group;
    let ids = process.ids;
    let who = Who {
        tgid: pid,
        uid: ids.uid,
        gid: ids.gid,
        cgroup: group,
        flags: Flags::UNSELECTED,
        ..by
    };
    let facts = Facts {
        comm: comm(merged),
        cwd: text(merged.get("cwd").unwrap_or_default()),
        argv: arguments(merged),
        ..Facts::default()
    };
    let mut writer = StateWriter {
        builder: &mut replay.builder,
        out: &mut replay.ready,
        time_ns: raw.time_ns,
    };
    writer.exec(who, &ids, &facts);
    says_own_id(replay, raw, tid, vtid);
}

/// The child of a process says its id in its own namespace. The maker knows only its own.
fn says_own_id(replay: &mut ScapReplay, raw: &Raw<'_>, tid: u32, vtid: Option<u32>) {
    let own = replay.who(raw);
    let Some(vtid) = vtid.filter(|_| own.tgid == tid) else {
        return;
    };
    let own = Who {
        flags: Flags::UNSELECTED,
        ..own
    };
    let mut writer = StateWriter {
        builder: &mut replay.builder,
        out: &mut replay.ready,
        time_ns: raw.time_ns,
    };
    writer.fork(own, tid, tid, 0, vtid);
}

/// There is a new thread or process.
fn fork(
    replay: &mut ScapReplay,
    by: Who,
    tid: u32,
    pid: Option<u32>,
    flags: u64,
    vpid: u32,
    merged: &Merged<'_>,
) {
    if by.tgid == 0 || replay.processes.pid(tid).is_some() {
        return;
    }
    let is_thread = pid.map_or(flags & CLONE_THREAD != 0, |pid| pid != tid);
    let pid = if is_thread { by.tgid } else { tid };
    let mut child = replay
        .processes
        .get(by.tgid)
        .cloned()
        .unwrap_or_else(Process::unknown);
    child.ids.ppid = by.tgid;
    if let (Some(uid), Some(gid)) = (number(merged, "uid"), number(merged, "gid"))
        && child.ids.uid == UNKNOWN
    {
        (child.ids.uid, child.ids.euid) = (uid, uid);
        (child.ids.gid, child.ids.egid) = (gid, gid);
    }
    replay.processes.add(tid, pid, || child.as_new());
    if is_thread && let (Some(uid), Some(gid)) = (number(merged, "uid"), number(merged, "gid")) {
        replay.processes.thread_ids(tid, uid, gid);
    }
    let header = Header {
        flags: Flags::UNSELECTED,
        args: [tid.into(), pid.into(), flags, vpid.into(), FORK_SEEN, 0],
        ..by.header(EventKind::Fork)
    };
    replay.builder.begin(&header);
    finish(&mut replay.builder, &mut replay.ready);
    // the maker may have changed its name by a call whose parameters the capture does not have
    if let Some(name) = merged.get("comm").map(text).filter(|name| !name.is_empty()) {
        let child = Who {
            tgid: pid,
            tid,
            flags: Flags::UNSELECTED,
            ..by
        };
        let mut writer = StateWriter {
            builder: &mut replay.builder,
            out: &mut replay.ready,
            time_ns: by.time_ns,
        };
        writer.named(child, name);
    }
}

/// A thread ended.
pub(crate) fn exit(replay: &mut ScapReplay, raw: &Raw<'_>, kind: &EventType) {
    let who = replay.who(raw);
    let params = raw.params.as_slice();
    let status = kind
        .params
        .iter()
        .position(|param| param.name == "status")
        .and_then(|at| signed(params.get(at)?));
    let header = Header {
        ret: status.unwrap_or(0),
        flags: who.flags | if status.is_none() { Flags::ENTRY } else { 0 },
        ..who.header(EventKind::Exit)
    };
    replay.builder.begin(&header);
    finish(&mut replay.builder, &mut replay.ready);
    replay.processes.remove(who.tid);
}
