//! Takes state from /proc: all processes at the start, and single processes whose fork was missed.

use std::collections::HashMap;
use std::sync::Arc;

use driver_api::event::Header;

use super::descriptor::{Descriptor, DescriptorKind, FilesId};
use super::directories::Directories;
use super::follow::TMPFILE;
use super::net_table::{self, NetTable};
use super::proc_fs::{ProcFs, Snapshot};
use super::process::{Credentials, Process, Thread};
use super::process_table::ProcessKey;
use super::resync::is_later;
use super::{Inspector, clock, containers, fd_passing, kcmp};

pub(super) const O_CLOEXEC: u64 = 0o2_000_000;
pub(super) const O_DIRECTORY: u64 = if cfg!(target_arch = "aarch64") {
    0o40_000
} else {
    0o200_000
};
/// The most pids that are remembered as absent.
const MAX_ABSENT: usize = 4096;

/// Socket tables by network namespace. A scan reads each once.
pub(super) type NetTables = HashMap<Vec<u8>, NetTable>;

impl Inspector {
    /// Takes in all processes of /proc. Call this after the capture was opened and before its first event is applied:
    /// no process is missed then, and events older than this reading are not applied twice.
    pub fn scan_proc(&mut self) {
        let Some(proc_fs) = self.proc_fs.clone() else {
            return;
        };
        let mut nets = NetTables::new();
        let mut found = Vec::new();
        for pid in proc_fs.pids() {
            if let Some(key) = self.read_process(&proc_fs, pid, Some(&mut nets), None) {
                found.push(key);
            }
        }
        for key in found {
            let ppid = self.processes.get(key).map_or(0, |process| process.ppid);
            if let Some(parent) = self.processes.key(ppid) {
                self.processes.set_parent(key, parent);
            }
        }
        self.sweep_at = self.sweep_at.max(self.processes.living() * 2);
    }

    /// Takes in lanner's own children and their ancestors. The command that lanner is about to start is one of the
    /// children, and a capture of a command needs no other processes; this is much cheaper than reading all of /proc.
    /// Call it when [`scan_proc`](Self::scan_proc) would be called.
    pub fn scan_children(&mut self) {
        let Some(proc_fs) = self.proc_fs.clone() else {
            return;
        };
        let Some(children) = proc_fs.children(std::process::id()) else {
            // a kernel without CONFIG_PROC_CHILDREN
            return self.scan_proc();
        };
        let mut nets = NetTables::new();
        for child in children {
            if let Some(key) = self.read_process(&proc_fs, child, Some(&mut nets), None) {
                // ancestors have no events, so their descriptors are not needed
                self.read_ancestors(&proc_fs, key, None, None);
            }
        }
    }

    /// The process of an event. An unknown process is looked up in /proc, once.
    pub(super) fn locate(&mut self, header: &Header) -> ProcessKey {
        if let Some((pid, key)) = self.last
            && pid == header.tgid
        {
            return key;
        }
        let key = self.locate_slowly(header);
        let key = self.resync(header, key);
        if !self.awaits_readings() && !self.may_have_changed(key) {
            self.last = Some((header.tgid, key));
        }
        key
    }

    fn locate_slowly(&mut self, header: &Header) -> ProcessKey {
        let former = self.processes.key(header.tgid);
        let living = former
            .and_then(|key| self.processes.get(key))
            .filter(|p| !p.ended);
        if let (Some(key), Some(process)) = (former, living)
            && (process.known || process.probed)
        {
            return key;
        }
        if let Some(key) = self.probe(header.tgid, Some(header.time_ns)) {
            return key;
        }
        let lives = self.stale.lives;
        if let Some(key) = former
            && let Some(process) = self.processes.get_mut(key)
            // if the birth of another process was lost since then, the event may be of that one
            && !(process.ended && process.checked != lives)
        {
            // it has ended, or /proc does not have it any more: what is known remains
            process.probed = true;
            return key;
        }
        // it ended before its event came, or /proc cannot be read: only the event says something about it
        self.stub(header)
    }

    /// A process that is known from a single event.
    pub(super) fn stub(&mut self, header: &Header) -> ProcessKey {
        let files = self.files.create();
        let mut process = Process::unknown(header.tgid, files);
        process.probed = true;
        process.checked = self.stale.lives;
        process.main_credentials = Credentials::of_event(header);
        process.threads.push(Thread::new(header.tid));
        self.last = None;
        self.processes.insert(process)
    }

    /// A process by its pid, for an event of this time. An unknown process is looked up in /proc.
    pub(super) fn locate_pid(&mut self, pid: u32, time_ns: u64) -> Option<ProcessKey> {
        (self.processes.key(pid)).or_else(|| self.probe(pid, Some(time_ns)))
    }

    /// Looks up a process and its unknown ancestors in /proc. `time_ns`: when the process made its event.
    #[cold]
    pub(super) fn probe(&mut self, pid: u32, time_ns: Option<u64>) -> Option<ProcessKey> {
        if self.absent.contains(&pid) {
            return None;
        }
        let proc_fs = self.proc_fs.clone()?;
        let mut nets = NetTables::new();
        let Some(first) = self.read_process(&proc_fs, pid, Some(&mut nets), time_ns) else {
            if self.absent.len() >= MAX_ABSENT {
                self.absent.clear();
            }
            self.absent.insert(pid);
            return None;
        };
        self.probed += 1;
        self.read_ancestors(&proc_fs, first, Some(&mut nets), time_ns);
        Some(first)
    }

    /// Takes in the unknown ancestors of a process.
    fn read_ancestors(
        &mut self,
        proc_fs: &ProcFs,
        from: ProcessKey,
        mut nets: Option<&mut NetTables>,
        time_ns: Option<u64>,
    ) {
        /// The most ancestors that are read at once.
        const MAX_DEPTH: usize = 32;
        let mut child = from;
        for _ in 0..MAX_DEPTH {
            let ppid = self.processes.get(child).map_or(0, |process| process.ppid);
            if ppid == 0 {
                break;
            }
            if let Some(parent) = self.processes.key(ppid) {
                self.processes.set_parent(child, parent);
                break;
            }
            let Some(parent) = self.read_process(proc_fs, ppid, nets.as_deref_mut(), time_ns)
            else {
                break;
            };
            self.processes.set_parent(child, parent);
            child = parent;
        }
    }

    /// Takes in a process, and its descriptors if there are tables to look up sockets in. If an event of an earlier time
    /// (`time_ns`) asks for it after births or execs may have been lost, its program may be the next one: see `resync`.
    fn read_process(
        &mut self,
        proc_fs: &ProcFs,
        pid: u32,
        mut nets: Option<&mut NetTables>,
        time_ns: Option<u64>,
    ) -> Option<ProcessKey> {
        let now = clock::monotonic_ns();
        let snapshot = proc_fs.snapshot(pid)?;
        let doubted = time_ns.filter(|_| self.stale.lives > 0);
        if doubted.is_some_and(|time_ns| is_later(snapshot.start_ns, time_ns)) {
            return None;
        }
        let program = doubted.map(|time_ns| (time_ns, snapshot.clone()));
        let former = self.processes.key(pid);
        let parent = former
            .and_then(|key| self.processes.get(key))
            .and_then(|p| p.parent);
        if let Some(key) = former {
            self.end_now(key);
        }
        let files = self.files.create();
        if let Some(nets) = nets.as_deref_mut() {
            self.read_descriptors(proc_fs, pid, files, nets);
        }
        let cgroups = match &snapshot.cgroups[..] {
            // it is ending: it was where its parent is, most likely
            [] => {
                let parent = parent.or_else(|| self.processes.key(snapshot.ppid));
                let parent = parent.and_then(|parent| self.processes.get(parent));
                parent.map_or_else(containers::unknown, |parent| Arc::clone(&parent.cgroups))
            }
            text => self.containers.group(text, pid),
        };
        let directory = self.directories.create(&snapshot.cwd);
        self.directories.set_root(directory, &snapshot.root);
        let mut process = from_snapshot(pid, snapshot, files);
        process.directory = directory;
        process.cgroups = cgroups;
        process.scanned_ns = now;
        process.checked = match &program {
            Some((_, found)) if !found.settled => self.stale.lives.wrapping_sub(1),
            _ => self.stale.lives,
        };
        process.in_other_user_ns = proc_fs.is_in_other_user_ns(pid);
        for thread in process
            .threads
            .iter_mut()
            .filter(|thread| thread.tid != pid)
        {
            let name = proc_fs.thread_name(pid, thread.tid);
            thread.name = name.filter(|name| **name != *process.name).map(Into::into);
        }
        read_threads(&mut self.directories, proc_fs, &mut process);
        // a process that was known from its fork alone keeps its lineage
        process.parent = parent.filter(|parent| {
            self.processes
                .get(*parent)
                .is_some_and(|parent| parent.pid == process.ppid)
        });
        let key = self.processes.insert(process);
        if let Some(nets) = nets {
            self.separate_descriptors(proc_fs, key, nets);
        }
        if let Some((time_ns, found)) = program {
            self.withhold(key, time_ns, found);
        }
        Some(key)
    }

    /// Gives the threads of a process that do not share the descriptors of the first one tables of their own.
    pub(super) fn separate_descriptors(
        &mut self,
        proc_fs: &ProcFs,
        key: ProcessKey,
        nets: &mut NetTables,
    ) {
        let Some(process) = self.processes.get(key) else {
            return;
        };
        let pid = process.pid;
        let tids = process.threads.iter().map(|thread| thread.tid);
        let separate = |tid: &u32| *tid != pid && kcmp::same(pid, *tid, kcmp::FILES) == Some(false);
        let separate: Vec<u32> = tids.filter(separate).collect();
        for tid in separate {
            let files = self.files.create();
            self.read_descriptors(proc_fs, tid, files, nets);
            match self.processes.get_mut(key) {
                Some(process) => process.separate(tid).files = Some(files),
                None => self.files.release(files),
            }
        }
    }

    pub(super) fn read_descriptors(
        &mut self,
        proc_fs: &ProcFs,
        pid: u32,
        files: FilesId,
        nets: &mut NetTables,
    ) {
        let mut namespace = None;
        for (fd, link, flags) in proc_fs.descriptors(pid, self.max_descriptors) {
            let descriptor = match socket_inode(&link) {
                None => Arc::new(from_proc(proc_fs, pid, fd, &link, flags)),
                Some(inode) => {
                    let namespace = namespace.get_or_insert_with(|| {
                        let name = proc_fs.link(pid, "ns/net").unwrap_or_default();
                        nets.entry(name.clone())
                            .or_insert_with(|| net_table::all(proc_fs, pid));
                        name
                    });
                    let unlisted = || Arc::new(net_table::unlisted(proc_fs, pid, fd));
                    match nets.get_mut(namespace) {
                        Some(net) => Arc::clone(net.entry(inode).or_insert_with(unlisted)),
                        None => unlisted(),
                    }
                }
            };
            self.files
                .insert(files, fd, descriptor, flags & O_CLOEXEC != 0);
        }
    }

    /// Ends processes that /proc no longer has, because their exit was missed.
    #[cold]
    pub(super) fn sweep(&mut self) {
        if let Some(proc_fs) = self.proc_fs.clone() {
            for key in self.processes.living_keys() {
                let gone = self
                    .processes
                    .get(key)
                    .is_some_and(|p| !proc_fs.exists(p.pid));
                if gone {
                    self.end_now(key);
                }
            }
        }
        self.sweep_at = (self.processes.living() * 2).max(4096);
    }
}

/// Takes in what the threads of a process do not share with the first one: ids, capabilities, working directory.
pub(super) fn read_threads(all: &mut Directories, proc_fs: &ProcFs, process: &mut Process) {
    let pid = process.pid;
    let others = process.threads.iter_mut().filter(|one| one.tid != pid);
    for thread in others {
        let own = proc_fs.credentials(pid, thread.tid);
        thread.credentials = own.filter(|own| *own != process.main_credentials);
        let cwd = proc_fs.link(pid, &format!("task/{}/cwd", thread.tid));
        let cwd = cwd.filter(|cwd| **cwd != *all.path(process.directory));
        thread.directory = cwd.map(|cwd| {
            let own = all.copy(process.directory);
            all.set(own, &cwd);
            own
        });
    }
    process.has_separate_threads = process.threads.iter().any(Thread::is_separate);
}

fn from_snapshot(pid: u32, from: Snapshot, files: FilesId) -> Process {
    Process {
        ppid: from.ppid,
        vpid: from.vpid,
        known: true,
        probed: true,
        name: from.name.into(),
        exe: from.exe.into(),
        args: from.args.into(),
        env: from.env.into(),
        main_credentials: from.credentials,
        loginuid: from.loginuid,
        pgid: from.pgid,
        vpgid: from.vpgid,
        sid: from.sid,
        tty: from.tty,
        memfd: from.memfd,
        file: from.file,
        start_ns: from.start_ns,
        threads: from.threads.iter().copied().map(Thread::new).collect(),
        ..Process::unknown(pid, files)
    }
}

/// The inode in a link `socket:[INODE]`.
pub(super) fn socket_inode(link: &[u8]) -> Option<u64> {
    let inode = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(inode).ok()?.parse().ok()
}

/// What /proc says about a descriptor with this link and these flags of open(2). Not for sockets.
pub(super) fn from_proc(
    proc_fs: &ProcFs,
    pid: u32,
    fd: i32,
    link: &[u8],
    flags: u64,
) -> Descriptor {
    let mut found = from_link(link, flags);
    // a directory can be opened without O_DIRECTORY
    if found.kind == DescriptorKind::File && proc_fs.is_directory(pid, fd) {
        found.kind = DescriptorKind::Directory;
    }
    if found.kind == DescriptorKind::Pidfd
        && let Some(target) = proc_fs.pidfd_target(pid, fd)
    {
        return fd_passing::pidfd_of(target);
    }
    found
}

/// What a link in `/proc/PID/fd` says about a descriptor with these flags of open(2). Not for sockets.
pub(super) fn from_link(link: &[u8], flags: u64) -> Descriptor {
    if link.starts_with(b"pipe:") {
        return Descriptor::bare(DescriptorKind::Pipe);
    }
    if let Some(name) = link.strip_prefix(b"anon_inode:") {
        return Descriptor::bare(DescriptorKind::of_anonymous(name));
    }
    let name = link.strip_suffix(b" (deleted)").unwrap_or(link);
    if name.starts_with(b"/memfd:") {
        return Descriptor::named(DescriptorKind::Memfd, name);
    }
    // O_TMPFILE has the bit of O_DIRECTORY, and makes a file
    let is_directory = flags & O_DIRECTORY != 0 && flags & TMPFILE == 0;
    let kind = match link.first() {
        Some(b'/') if is_directory => DescriptorKind::Directory,
        Some(b'/') => DescriptorKind::File,
        _ => DescriptorKind::Other,
    };
    Descriptor::named(kind, name)
}
