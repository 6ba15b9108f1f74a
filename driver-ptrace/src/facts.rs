//! Facts: what the kernel did, read from /proc while the thread is stopped. Only other threads of its process can
//! change it meanwhile.

use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use driver_api::event::layout::FLAGS_UNKNOWN;
use driver_api::event::{
    Encoding, EventBuilder, Fact, Ids, Layer, OpenedFile, Part, Program, Status,
};
use proc_pid::Field;
use zerocopy::IntoBytes;

use crate::fuse;
use crate::memory::Memory;
use crate::proc_dir::{self, Link, ProcDir};
use crate::reader;
use crate::threads::Owner;

/// Attaches bytes as they are.
pub(crate) fn attach_raw(event: &mut EventBuilder, what: u8, bytes: &[u8]) {
    event.attach(what, Part::None, Status::Whole, Encoding::Raw, 0, bytes);
}

fn attach_text(event: &mut EventBuilder, what: u8, limit: usize, text: &[u8]) {
    let (status, text) = if text.len() > limit {
        (Status::Truncated, &text[..limit])
    } else {
        (Status::Whole, text)
    };
    event.attach(what, Part::None, status, Encoding::Raw, 0, text);
}

fn attach_link(event: &mut EventBuilder, what: u8, limit: usize, link: Option<&Link>) {
    if let Some(path) = link.and_then(Link::path) {
        attach_text(event, what, limit, path);
    }
}

/// Attaches the resolved path behind a descriptor.
pub(crate) fn path(event: &mut EventBuilder, what: u8, limit: usize, tid: u32, fd: i64) {
    attach_link(event, what, limit, proc_dir::descriptor(tid, fd).as_ref());
}

/// Attaches the file behind a descriptor. `with_flags`: also the flags that it was opened with.
pub(crate) fn file(event: &mut EventBuilder, tid: u32, fd: i64, with_flags: bool) {
    let Some(status) = proc_dir::descriptor_status(tid, fd) else {
        return;
    };
    let flags = with_flags.then(|| proc_dir::descriptor_flags(tid, fd));
    let file = OpenedFile {
        inode: status.st_ino,
        device: OpenedFile::device(libc::major(status.st_dev), libc::minor(status.st_dev)),
        mode: status.st_mode,
        flags: flags.flatten().unwrap_or(FLAGS_UNKNOWN),
        unused: 0,
    };
    attach_raw(event, Fact::File as u8, file.as_bytes());
}

/// Attaches the working directory.
pub(crate) fn working_directory(event: &mut EventBuilder, what: u8, limit: usize, tid: u32) {
    attach_link(event, what, limit, proc_dir::of_thread(tid, "cwd").as_ref());
}

/// Attaches the root directory, if it is not that of the mount namespace.
pub(crate) fn changed_root(event: &mut EventBuilder, limit: usize, tid: u32) {
    let root = proc_dir::of_thread(tid, "root").filter(|root| root.text() != b"/");
    attach_link(event, Fact::Root as u8, limit, root.as_ref());
}

/// Attaches a directory of the thread: its root directory if `what` says so, else its working directory.
pub(crate) fn directory(event: &mut EventBuilder, what: u8, limit: usize, tid: u32) {
    if what == Fact::Root as u8 {
        attach_link(
            event,
            what,
            limit,
            proc_dir::of_thread(tid, "root").as_ref(),
        );
    } else {
        working_directory(event, what, limit, tid);
    }
}

/// Attaches all facts of a new program; `owner` are the ids of its process.
pub(crate) fn exec(event: &mut EventBuilder, tid: u32, dir: &ProcDir, owner: Owner, limit: usize) {
    let exe = dir.link(c"exe");
    attach_link(event, Fact::Exe as u8, limit, exe.as_ref());
    attach_link(event, Fact::Cwd as u8, limit, dir.link(c"cwd").as_ref());
    let mut room = [0; 1024];
    let Some(stat) = dir.stat(&mut room) else {
        return;
    };
    let number = |field| stat.get::<i64>(field).unwrap_or(0);
    let ids = Ids {
        uid: owner.uid,
        gid: owner.gid,
        euid: owner.euid,
        egid: owner.egid,
        ppid: number(Field::Ppid) as u32,
        pgid: number(Field::Pgrp) as u32,
        sid: number(Field::Session) as u32,
        tty: number(Field::Tty) as u32,
        loginuid: loginuid(dir),
        memfd: u32::from(exe.is_some_and(|exe| exe.text().starts_with(b"/memfd:"))),
    };
    attach_raw(event, Fact::Ids as u8, ids.as_bytes());
    if stat.comm().contains(&b'\\') {
        // kernels before 4.18 escape a backslash in this file
        comm(event, dir, limit);
    } else {
        attach_text(event, Fact::Comm as u8, limit, stat.comm());
    }
    let memory = Memory::new(tid as i32, false);
    let argv = number(Field::ArgumentsStart)..number(Field::ArgumentsEnd);
    let env = number(Field::EnvironmentStart)..number(Field::EnvironmentEnd);
    for (fact, file, place) in [(Fact::Argv, c"cmdline", argv), (Fact::Env, c"environ", env)] {
        attach_strings(event, fact, limit, &memory, place)
            .unwrap_or_else(|| attach_file(event, fact, limit, tid, dir, file));
    }
    if let Some(program) = program(tid, dir) {
        attach_raw(event, Fact::Program as u8, program.as_bytes());
    }
}

/// The file of a new program, and the capabilities of its process.
fn program(tid: u32, dir: &ProcDir) -> Option<Program> {
    let file = dir.status(c"exe")?;
    let ns = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
    let [cap_effective, cap_permitted, cap_inheritable] = capabilities(tid)?;
    Some(Program {
        inode: file.st_ino,
        ctime_ns: ns(file.st_ctime, file.st_ctime_nsec).cast_unsigned(),
        mtime_ns: ns(file.st_mtime, file.st_mtime_nsec).cast_unsigned(),
        cap_inheritable,
        cap_permitted,
        cap_effective,
        mode: file.st_mode,
        uid: file.st_uid,
        gid: file.st_gid,
        layer: layer(tid, dir, file.st_dev),
    })
}

/// A thread's effective, permitted and inheritable capabilities (capget(2)).
fn capabilities(tid: u32) -> Option<[u64; 3]> {
    /// `_LINUX_CAPABILITY_VERSION_3`
    const VERSION: u32 = 0x2008_0522;
    // the kernel writes its own version here if it does not know this one
    let mut header = [VERSION, tid];
    let mut halves = [[0_u32; 3]; 2];
    // SAFETY: the kernel reads and writes two words of the header, and writes six others.
    let error = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, &raw mut halves) };
    let [low, high] = halves;
    let whole = |at: usize| u64::from(high[at]) << 32 | u64::from(low[at]);
    (error == 0).then(|| [whole(0), whole(1), whole(2)])
}

/// `OVERLAYFS_SUPER_MAGIC` (linux/magic.h)
const OVERLAY: u32 = 0x794c_7630;

/// Whether a program's file, on that device, is in an overlay file system. /proc does not show in which layer.
fn layer(tid: u32, dir: &ProcDir, device: libc::dev_t) -> u32 {
    if libc::major(device) != 0 {
        return Layer::None as u32;
    }
    let found = dir
        .place(c"exe")
        .and_then(|exe| file_system(tid, exe.as_fd()));
    match found {
        Some(found) if found != OVERLAY => Layer::None as u32,
        Some(_) | None => Layer::UNKNOWN,
    }
}

/// The type of the file system of a thread's file (statfs(2)).
fn file_system(tid: u32, file: BorrowedFd<'_>) -> Option<u32> {
    if fuse::is_possible() {
        return reader::file_system(tid.cast_signed(), file);
    }
    let mut found = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the kernel writes one struct statfs, for which all bit patterns are valid.
    let (error, found) = unsafe {
        let error = libc::fstatfs(file.as_raw_fd(), found.as_mut_ptr());
        (error, found.assume_init())
    };
    (error == 0).then_some(reader::type_of(&found))
}

/// Attaches the name of the thread.
pub(crate) fn comm(event: &mut EventBuilder, dir: &ProcDir, limit: usize) {
    let mut room = [0; 64];
    let comm = dir.read(c"comm", &mut room).unwrap_or_default();
    let comm = comm.strip_suffix(b"\n").unwrap_or(comm);
    attach_text(event, Fact::Comm as u8, limit, comm);
}

/// Attaches a vector of a new program from where the kernel put it. None: the place is not known, or cannot be read.
fn attach_strings(
    event: &mut EventBuilder,
    fact: Fact,
    limit: usize,
    memory: &Memory,
    place: std::ops::Range<i64>,
) -> Option<()> {
    let full = usize::try_from(place.end - place.start).ok()?;
    let at = u64::try_from(place.start).ok().filter(|at| *at != 0)?;
    let mut room = [0; 4096];
    let shown = room.get_mut(..full.min(limit))?;
    if memory.read(at, shown) < shown.len() {
        return None;
    }
    let status = if full > limit {
        Status::Truncated
    } else {
        Status::Whole
    };
    event.attach(
        fact as u8,
        Part::None,
        status,
        Encoding::Strings,
        full as u64,
        shown,
    );
    Some(())
}

/// As much of a vector as another process reads.
const ROOM_OF_STRINGS: usize = 1 << 17;

/// Attaches a vector from its file in /proc.
fn attach_file(
    event: &mut EventBuilder,
    fact: Fact,
    limit: usize,
    tid: u32,
    dir: &ProcDir,
    name: &CStr,
) {
    let Ok(file) = dir.file(name) else {
        return;
    };
    let mut strings = Vec::new();
    if fuse::is_possible() {
        // the file is read from the program's memory
        strings.resize(ROOM_OF_STRINGS, 0);
        let got = reader::file(tid.cast_signed(), file.as_fd(), 0, &mut strings);
        strings.truncate(got);
    } else if File::from(file).read_to_end(&mut strings).is_err() {
        return;
    }
    let (status, shown) = if strings.len() > limit {
        (Status::Truncated, &strings[..limit])
    } else {
        (Status::Whole, &strings[..])
    };
    event.attach(
        fact as u8,
        Part::None,
        status,
        Encoding::Strings,
        strings.len() as u64,
        shown,
    );
}

/// The login id; all ones if it is not set, or if the kernel has no auditing.
fn loginuid(dir: &ProcDir) -> u32 {
    let mut room = [0; 32];
    dir.read(c"loginuid", &mut room)
        .and_then(|text| std::str::from_utf8(text).ok()?.trim().parse().ok())
        .unwrap_or(u32::MAX)
}
