//! Fork, exec and exit.

use driver_api::event::layout::FORK_SEEN;
use driver_api::event::{Event, Fact};
use driver_api::table;

use super::descriptor::FilesId;
use super::process::{ProcessKey, Thread};
use super::program::{Capabilities, ProgramFile};
use super::{Inspector, Seen};

const CLONE_FILES: u64 = 0x400;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_NEWPID: u64 = 0x2000_0000;
const CLONE_NEWUSER: u64 = 0x1000_0000;
/// clone3(2) alone.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// How a process was born.
struct Birth {
    /// Who called.
    maker: ProcessKey,
    /// Whose child it is.
    made_by: ProcessKey,
    tid: u32,
    tgid: u32,
    /// Its id in its own pid namespace.
    own: Option<u32>,
    /// Bits of `CLONE_*`.
    flags: u64,
    /// The driver has said what they share.
    looked_at: bool,
}

/// Whether two processes share their descriptors (kcmp(2), `KCMP_FILES`); false where nobody says so.
fn same_files(one: u32, other: u32) -> bool {
    const KCMP_FILES: libc::c_int = 2;
    // SAFETY: the call takes numbers alone.
    unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_FILES, 0, 0) == 0 }
}

impl Inspector {
    /// A thread or process was born.
    pub(super) fn fork(&mut self, event: &Event<'_>, seen: &Seen) {
        let header = event.header();
        let [tid, tgid, said, own, seen_flags, _] = header.args;
        let flags = said | seen_flags & !FORK_SEEN;
        let (Some(parent_key), Ok(tid), Ok(tgid)) =
            (seen.process, u32::try_from(tid), u32::try_from(tgid))
        else {
            return;
        };
        self.absent.remove(&tgid);
        let Some((parent, room)) = self.processes.edit(parent_key) else {
            return;
        };
        if tgid == header.tgid {
            // clone(2): a thread begins with its maker's name.
            let name = parent.thread_name(header.tid);
            let name = (*name != *parent.name).then(|| room.text(name));
            if !parent.threads.iter().any(|thread| thread.tid == tid) {
                parent.threads.push(Thread { tid, name });
            }
            return;
        }
        let mut made_by = parent_key;
        if flags & CLONE_PARENT != 0
            && let Some(grandparent) = parent.parent
        {
            made_by = grandparent;
        }
        if let Some(key) = self.processes.key(tgid)
            && let Some(child) = self.processes.get(key)
            && !child.ended
        {
            if child.scanned_ns > header.time_ns {
                // /proc was read later than this and knows better; but not who the parent was.
                self.processes.set_parent(key, made_by);
                return;
            }
            self.end_now(key);
        }
        let birth = Birth {
            maker: parent_key,
            made_by,
            tid,
            tgid,
            own: u32::try_from(own).ok().filter(|own| *own != 0),
            flags,
            looked_at: said != 0 || seen_flags & FORK_SEEN != 0,
        };
        self.birth(event, &birth);
    }

    fn birth(&mut self, event: &Event<'_>, birth: &Birth) {
        let Birth {
            maker,
            made_by,
            tid,
            tgid,
            own,
            flags,
            looked_at,
        } = *birth;
        let Some((parent, room)) = self.processes.edit(maker) else {
            return;
        };
        let files = parent.files;
        let mut child = parent.child(tgid, files);
        let thread_name = parent.thread_name(event.header().tid);
        if *thread_name != *child.name {
            child.name = room.text(thread_name);
        }
        let elsewhere = flags & CLONE_NEWPID != 0 || parent.children_elsewhere;
        let same_namespace = parent.vpid == Some(parent.pid) && !elsewhere;
        if flags & CLONE_NEWUSER != 0 {
            child.capabilities = None;
        }
        child.parent = Some(made_by);
        if let Some(parent) = self.processes.get(made_by) {
            child.ppid = parent.pid;
        }
        child.start_ns = event.header().time_ns;
        child.vpid = match &self.proc_fs {
            _ if own.is_some() => own,
            _ if same_namespace => Some(tgid),
            _ if flags & CLONE_NEWPID != 0 => Some(1),
            Some(proc_fs) => proc_fs.vpid(tgid),
            None => None,
        };
        let shares = flags & CLONE_FILES != 0
            || !looked_at && self.proc_fs.is_some() && same_files(event.header().tgid, tgid);
        child.files = if shares {
            self.files.share(files)
        } else {
            self.files.copy(files)
        };
        let key = self.processes.insert(child);
        if let Some(child) = self.processes.get_mut(key) {
            child.threads.push(Thread { tid, name: None });
        }
        if flags & CLONE_INTO_CGROUP != 0 {
            self.look_at_cgroups(key);
        }
        if self.processes.living() >= self.sweep_at {
            self.sweep();
        }
    }

    /// A process has a new program.
    pub(super) fn exec(&mut self, event: &Event<'_>, seen: &mut Seen) {
        let header = event.header();
        seen.call = table::by_number(event.abi(), header.nr);
        let mut key = self.locate(header);
        if self.processes.get(key).is_none_or(|process| process.ended) {
            // The pid is used again, and the birth of who has it now was missed.
            key = self.stub(header);
        }
        seen.process = Some(key);
        let Some((process, room)) = self.processes.edit(key) else {
            return;
        };
        process.known = true;
        process.probed = true;
        process.forget_threads(room);
        process.threads.push(Thread {
            tid: header.tid,
            name: None,
        });
        self.scratch.clear();
        if let Some(exe) = event.fact(Fact::Exe) {
            exe.append_text(&mut self.scratch);
            room.put(&mut process.exe, &self.scratch);
        }
        if let Some(cwd) = event.fact(Fact::Cwd) {
            self.scratch.clear();
            cwd.append_text(&mut self.scratch);
            room.put(&mut process.cwd, &self.scratch);
        }
        if let Some(args) = event.fact(Fact::Argv) {
            room.put(&mut process.args, args.bytes);
        }
        if let Some(env) = event.fact(Fact::Env) {
            room.put(&mut process.env, env.bytes);
        }
        if let Some(comm) = event.fact(Fact::Comm) {
            room.put(&mut process.name, comm.bytes);
        } else {
            // As the kernel makes it (begin_new_exec): the file's name, 15 bytes of it.
            let name = process
                .exe
                .rsplit(|&b| b == b'/')
                .next()
                .unwrap_or_default();
            room.put(&mut process.name, &name[..name.len().min(15)]);
        }
        process.uid = header.uid;
        process.gid = header.gid;
        if let Some(ids) = event.ids() {
            process.ppid = ids.ppid;
            process.pgid = ids.pgid;
            process.sid = ids.sid;
            process.loginuid = ids.loginuid;
            process.uid = ids.uid;
            process.euid = ids.euid;
            process.gid = ids.gid;
            process.egid = ids.egid;
            process.tty = ids.tty;
            process.memfd = ids.memfd != 0;
        }
        if let Some(program) = event.program() {
            process.file = Some(ProgramFile::of_kernel(&program));
            process.capabilities = Some(Capabilities::from(&program));
        } else {
            let proc_fs = self.proc_fs.as_ref().filter(|_| self.programs);
            process.file =
                proc_fs.and_then(|proc_fs| ProgramFile::at(&proc_fs.path(header.tgid, "exe")));
            // a process that stands still can be asked when somebody wants to know
            process.capabilities = proc_fs
                .filter(|_| !self.held)
                .and_then(|proc_fs| proc_fs.capabilities(header.tgid));
        }
        if process.vpid.is_none() {
            process.vpid = self
                .proc_fs
                .as_ref()
                .and_then(|proc_fs| proc_fs.vpid(header.tgid));
        }
        let (files, ppid, orphan) = (process.files, process.ppid, process.parent.is_none());
        if process.scanned_ns <= header.time_ns {
            process.files = self.files.exec(files);
        }
        self.look_at_cgroups_after_exec(header, key);
        self.keep_users(key, header.time_ns);
        if orphan && ppid != 0 && ppid != header.tgid {
            let parent = self.locate_pid(ppid);
            if let Some(parent) = parent {
                self.processes.set_parent(key, parent);
            }
        }
    }

    /// A thread ended; with the last one, the process.
    pub(super) fn exit(&mut self, event: &Event<'_>, seen: &Seen) {
        let Some(key) = seen.process else { return };
        let tid = event.header().tid;
        if let Some((process, room)) = self.processes.edit(key) {
            process.forget_thread(tid, room);
            if process.threads.is_empty() && !process.ended {
                self.files
                    .release(std::mem::replace(&mut process.files, FilesId::NONE));
                self.ended = Some(key);
            }
        }
    }

    /// Ends a process at once: its exit was missed.
    pub(super) fn end_now(&mut self, key: ProcessKey) {
        if let Some((process, room)) = self.processes.edit(key)
            && !process.ended
        {
            room.take(&mut process.env);
            self.files
                .release(std::mem::replace(&mut process.files, FilesId::NONE));
            self.processes.end(key);
        }
        self.last = None;
    }
}
