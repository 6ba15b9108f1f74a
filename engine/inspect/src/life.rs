//! Fork, exec and exit.

use driver_api::event::layout::FORK_SEEN;
use driver_api::event::{Event, Fact};
use driver_api::table;

use super::descriptor::FilesId;
use super::directories::DirectoryId;
use super::kcmp;
use super::proc_fs::ProcFs;
use super::process::{Credentials, Process, Thread};
use super::process_table::ProcessKey;
use super::program::{self, Capabilities, ProgramFile};
use super::text::TextPool;
use super::threads::Shared;
use super::{Inspector, Seen};

const CLONE_FS: u64 = 0x200;
const CLONE_FILES: u64 = 0x400;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_NEWPID: u64 = 0x2000_0000;
const CLONE_NEWUSER: u64 = 0x1000_0000;
/// clone3(2) alone.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A fork that makes a process or a thread.
struct Birth {
    /// The process that called.
    caller: ProcessKey,
    /// The thread that called.
    caller_tid: u32,
    /// The parent: the caller, or its parent with `CLONE_PARENT`. None: that parent is not known.
    parent: Option<ProcessKey>,
    tid: u32,
    tgid: u32,
    /// Its tid in its own pid namespace.
    vpid: Option<u32>,
    /// Bits of `CLONE_*`.
    flags: u64,
    /// Whether the driver has reported the flags.
    flags_known: bool,
}

impl Birth {
    /// The new process with what the creator's state says of it.
    fn child(&self, creator: &Process, texts: &mut TextPool) -> Process {
        let mut child = creator.child(self.tgid, creator.files_of(self.caller_tid));
        child.main_credentials = creator.credentials(self.caller_tid);
        if self.flags & CLONE_NEWUSER != 0 {
            child.main_credentials.capabilities = None;
            child.in_other_user_ns = true;
        }
        let thread_name = creator.thread_name(self.caller_tid);
        if *thread_name != *child.name {
            child.name = texts.text(thread_name);
        }
        child
    }

    /// Asks /proc for what the creator's state does not say, or not reliably: name, environment, login id.
    fn look_up(
        &self,
        child: &mut Process,
        creator: &Process,
        reports_entries: bool,
        texts: &mut TextPool,
        proc_fs: &ProcFs,
    ) {
        // The child has the name of the thread that made it. It may end before its own can be read.
        let named = match (creator.renamed_by_file, reports_entries) {
            (true, false) => Some((creator.pid, self.caller_tid)),
            (_, true) => Some((self.tgid, self.tid)),
            (false, false) => None,
        };
        if let Some((pid, tid)) = named
            && let Some(name) = proc_fs.thread_name(pid, tid)
            && *name != *child.name
        {
            child.name = texts.text(&name);
        }
        if creator.ended {
            // the creator's environment has been given up with its state
            child.env = texts.text(&proc_fs.env(self.tgid));
        }
        if creator.login_by_file
            && let Some(login) = proc_fs.login(self.tgid, self.tid)
        {
            child.loginuid = login;
        }
    }

    /// Sets the child's ids in its own PID namespace.
    fn set_virtual_ids(&self, child: &mut Process, creator: &Process, proc_fs: Option<&ProcFs>) {
        let is_new_namespace = self.flags & CLONE_NEWPID != 0;
        let other_namespace = is_new_namespace || creator.children_in_other_pid_ns;
        let creator_is_outside = creator.vpid == Some(creator.pid);
        child.vpid = match proc_fs {
            _ if self.vpid.is_some() => self.vpid,
            _ if creator_is_outside && !other_namespace => Some(self.tgid),
            _ if is_new_namespace => Some(1),
            Some(proc_fs) => proc_fs.vpid(self.tgid),
            None => None,
        };
        let outside = creator_is_outside && child.vpid.is_some_and(|vpid| vpid != self.tgid);
        if other_namespace || outside || child.vpid == Some(1) {
            // the leader of its group is not in its namespace
            child.vpgid = Some(0);
        }
    }
}

impl Process {
    /// Takes file, arguments, environment and name from an exec event. What it does not have stays as it was, but for the
    /// name.
    fn take_texts(&mut self, event: &Event<'_>, texts: &mut TextPool, scratch: &mut Vec<u8>) {
        if let Some(exe) = event.fact(Fact::Exe) {
            scratch.clear();
            exe.append_text(scratch);
            texts.set(&mut self.exe, program::path_of(scratch));
        }
        if let Some(args) = event.fact(Fact::Argv) {
            texts.set(&mut self.args, args.bytes);
        }
        if let Some(env) = event.fact(Fact::Env) {
            texts.set(&mut self.env, env.bytes);
        }
        if let Some(comm) = event.fact(Fact::Comm) {
            texts.set(&mut self.name, comm.bytes);
        } else {
            // as the kernel does (begin_new_exec): the first 15 bytes of the file's name
            let name = self.exe.rsplit(|&b| b == b'/').next().unwrap_or_default();
            texts.set(&mut self.name, &name[..name.len().min(15)]);
        }
    }

    /// Takes ids, session and terminal from an exec event.
    fn take_ids_of_exec(&mut self, event: &Event<'_>) {
        let header = event.header();
        self.main_credentials.uid = header.uid;
        self.main_credentials.gid = header.gid;
        if let Some(ids) = event.ids() {
            self.ppid = ids.ppid;
            if self.pgid != ids.pgid {
                self.vpgid = None;
            }
            self.pgid = ids.pgid;
            self.sid = ids.sid;
            self.loginuid = ids.loginuid;
            self.login_by_file = false;
            self.main_credentials = Credentials {
                uid: ids.uid,
                euid: ids.euid,
                gid: ids.gid,
                egid: ids.egid,
                capabilities: None,
                saved_uid: Some(ids.euid),
                stale: false,
                ..self.main_credentials
            };
            self.tty = ids.tty;
            self.memfd = ids.memfd != 0;
        }
    }
}

/// Whether /proc still has the program that a process has executed.
fn runs(proc_fs: &ProcFs, process: &Process) -> bool {
    let is_memfd = |path: &[u8]| path.starts_with(b"memfd:");
    proc_fs
        .exe(process.pid)
        .is_some_and(|(exe, _)| exe == *process.exe || is_memfd(&exe) && is_memfd(&process.exe))
}

impl Inspector {
    /// A process forked: there is a new thread or process.
    pub(super) fn fork(&mut self, event: &Event<'_>, seen: &Seen) {
        let header = event.header();
        let [tid, tgid, called_flags, vpid, observed_flags, _] = header.args;
        let flags = called_flags | observed_flags & !FORK_SEEN;
        let flags_known = called_flags != 0 || observed_flags & FORK_SEEN != 0;
        let (Some(parent_key), Ok(tid), Ok(tgid)) =
            (seen.process, u32::try_from(tid), u32::try_from(tgid))
        else {
            return;
        };
        self.absent.remove(&tgid);
        let mut flags = flags;
        let mut vpid = u32::try_from(vpid).ok().filter(|vpid| *vpid != 0);
        if !flags_known
            && tgid != header.tgid
            && let Some((is_sibling, found)) = self.birth_in_proc(parent_key, tgid)
        {
            flags |= if is_sibling { CLONE_PARENT } else { 0 };
            vpid = vpid.or(found);
        }
        let Some(parent) = self.processes.get_mut(parent_key) else {
            return;
        };
        if (tid, tgid) == (header.tid, header.tgid) {
            // a capture file: the child itself says its id in its namespace, which the maker did not know
            parent.vpid = vpid.or(parent.vpid);
            if vpid == Some(1) {
                parent.vpgid = Some(0);
            }
            return;
        }
        let mut birth = Birth {
            caller: parent_key,
            caller_tid: header.tid,
            parent: Some(parent_key),
            tid,
            tgid,
            vpid,
            flags,
            flags_known,
        };
        if tgid == header.tgid {
            return self.thread_birth(&birth);
        }
        if flags & CLONE_PARENT != 0 {
            birth.parent = parent.parent;
        }
        if let Some(key) = self.processes.key(tgid)
            && let Some(child) = self.processes.get(key)
            && !child.ended
        {
            if child.scanned_ns > header.time_ns && child.known {
                // /proc was read after the fork, so its state is newer; but it does not say who forked
                if let Some(parent) = birth.parent {
                    self.processes.set_parent(key, parent);
                }
                return;
            }
            self.end_now(key);
        }
        self.birth(event, &birth);
    }

    /// A process has a new thread.
    fn thread_birth(&mut self, birth: &Birth) {
        let Some((process, texts)) = self.processes.edit(birth.caller) else {
            return;
        };
        // a new thread has the name of the thread that created it
        let name = process.thread_name(birth.caller_tid);
        let name = (*name != *process.name).then(|| texts.text(name));
        let vtid = birth.vpid.or_else(|| match process.vpid {
            Some(own) if own == process.pid => Some(birth.tid),
            _ => (self.proc_fs.as_ref()?).virtual_thread(birth.tgid, birth.tid),
        });
        let new = Thread {
            name,
            vtid,
            ..Thread::new(birth.tid)
        };
        let shares = |flag| !birth.flags_known || birth.flags & flag != 0;
        let shared = Shared {
            files: shares(CLONE_FILES),
            directory: shares(CLONE_FS),
        };
        self.add_thread(birth.caller, new, birth.caller_tid, shared);
    }

    /// What /proc says about a birth, for drivers that do not report the flags: whether the child has the same parent as
    /// its creator (`CLONE_PARENT`), and its id in its own pid namespace.
    fn birth_in_proc(&self, creator: ProcessKey, child: u32) -> Option<(bool, Option<u32>)> {
        let proc_fs = self.proc_fs.as_ref()?;
        let creator = self.processes.get(creator)?;
        let status = proc_fs.status(child)?;
        let ppid = status.ppid()?;
        // an orphan may have the same parent, too
        let is_sibling = ppid != creator.pid
            && ppid == self.processes.parent_pid(creator)
            && (proc_fs.status(creator.pid)?.state()).is_some_and(|state| !state.has_ended());
        Some((is_sibling, status.innermost_pid()))
    }

    /// Gives a child the descriptor table and the directories of its creator, or copies of them. Each comes with whether the
    /// child shares it.
    fn share_or_copy(
        &mut self,
        child: &mut Process,
        (files, shares_files): (FilesId, bool),
        (directory, shares_directory): (DirectoryId, bool),
    ) {
        child.files = if shares_files {
            self.files.share(files)
        } else {
            self.files.copy(files)
        };
        child.directory = if shares_directory {
            self.directories.share(directory)
        } else {
            self.directories.copy(directory)
        };
    }

    fn birth(&mut self, event: &Event<'_>, birth: &Birth) {
        let (tid, tgid, caller_tid) = (birth.tid, birth.tgid, birth.caller_tid);
        let proc_fs = self.proc_fs.as_ref();
        let Some((creator, texts)) = self.processes.edit(birth.caller) else {
            return;
        };
        let files = creator.files_of(caller_tid);
        let directory = creator.directory_of(caller_tid);
        let (sibling_of, orphan) = (creator.ppid, creator.ended);
        let mut child = birth.child(creator, texts);
        // which thread has made it is not known
        child.main_credentials.stale |= self.reports_entries;
        if let Some(proc_fs) = proc_fs {
            birth.look_up(&mut child, creator, self.reports_entries, texts, proc_fs);
        }
        birth.set_virtual_ids(&mut child, creator, proc_fs);
        child.parent = birth.parent;
        child.ppid = match birth.parent {
            None => sibling_of,
            Some(parent) => (self.processes.get(parent)).map_or(child.ppid, |parent| parent.pid),
        };
        child.start_ns = event.header().time_ns;
        child.checked = self.checked_by(event.header().time_ns);
        let asks = !birth.flags_known && self.proc_fs.is_some();
        let shares = |flag, asked| {
            birth.flags & flag != 0 || asks && kcmp::same(caller_tid, tgid, asked) == Some(true)
        };
        self.share_or_copy(
            &mut child,
            (files, shares(CLONE_FILES, kcmp::FILES)),
            (directory, shares(CLONE_FS, kcmp::FS)),
        );
        let key = self.processes.insert(child);
        if let Some(child) = self.processes.get_mut(key) {
            child.threads.push(Thread::new(tid));
        }
        if orphan && let Some(cwd) = self.proc_fs.as_ref().and_then(|all| all.link(tgid, "cwd")) {
            self.set_cwd(key, tid, &cwd);
        }
        if birth.flags & CLONE_INTO_CGROUP != 0 {
            self.look_at_cgroups(key);
        }
        if self.processes.living() >= self.sweep_at {
            self.sweep();
        }
    }

    /// A process executed a program.
    pub(super) fn exec(&mut self, event: &Event<'_>, seen: &mut Seen) {
        let header = event.header();
        seen.call = Some(table::of_number(event.abi(), header.nr));
        let mut key = self.locate(header);
        if self.processes.get(key).is_none_or(|process| process.ended) {
            // the pid has been reused, and the new process's fork was missed
            key = self.stub(header);
        }
        seen.process = Some(key);
        self.keep_executing_thread(key);
        if let Some(cwd) = event.fact(Fact::Cwd) {
            let mut path = std::mem::take(&mut self.scratch);
            path.clear();
            cwd.append_text(&mut path);
            self.set_cwd(key, header.tid, &path);
            self.scratch = path;
        }
        let checked = self.checked_by(header.time_ns);
        // if a later exec may be lost, the next event is compared with /proc
        if checked != self.stale.lives {
            self.last = None;
        }
        let Some((process, texts)) = self.processes.edit(key) else {
            return;
        };
        process.known = true;
        process.probed = true;
        process.checked = checked;
        process.renamed_by_file = false;
        process.forget_threads(texts);
        process.threads.push(Thread::new(header.tid));
        process.take_texts(event, texts, &mut self.scratch);
        process.take_ids_of_exec(event);
        self.take_program_of_exec(event, key);
        let Some(process) = self.processes.get_mut(key) else {
            return;
        };
        let (files, ppid, orphan) = (process.files, process.ppid, process.parent.is_none());
        if process.scanned_ns <= header.time_ns {
            process.files = self.files.exec(files);
        }
        self.look_at_cgroups_after_exec(header, key);
        self.keep_users(key, header.time_ns);
        if orphan && ppid != 0 && ppid != header.tgid {
            let parent = self.locate_pid(ppid, header.time_ns);
            if let Some(parent) = parent {
                self.processes.set_parent(key, parent);
            }
        }
    }

    /// Takes the program's file and capabilities from an exec event, or from /proc, and from there the id in the process's
    /// own PID namespace if that is not known.
    fn take_program_of_exec(&mut self, event: &Event<'_>, key: ProcessKey) {
        let Some(process) = self.processes.get_mut(key) else {
            return;
        };
        let tgid = event.header().tgid;
        let proc_fs = self.proc_fs.as_ref();
        if let Some(program) = event.program() {
            process.file = ProgramFile::of_fact(&program);
            process.main_credentials.capabilities = Capabilities::of_fact(&program);
        } else {
            let proc_fs = proc_fs.filter(|_| self.programs);
            process.file = proc_fs.and_then(|proc_fs| ProgramFile::at(&proc_fs.path(tgid, "exe")));
            // a stopped process can be asked later, when a rule wants to know
            process.main_credentials.capabilities = proc_fs
                .filter(|_| !self.held)
                .and_then(|proc_fs| proc_fs.capabilities(tgid));
            // another one may run the next program already
            if !self.held && !proc_fs.is_some_and(|proc_fs| runs(proc_fs, process)) {
                process.file = None;
                process.main_credentials.capabilities = None;
            }
        }
        if process.vpid.is_none() {
            process.vpid = proc_fs.and_then(|proc_fs| proc_fs.vpid(tgid));
        }
    }

    /// A thread ended. A process ends with its last thread.
    pub(super) fn exit(&mut self, event: &Event<'_>, seen: &Seen) {
        let Some(key) = seen.process else { return };
        let tid = event.header().tid;
        self.release_threads(key, Some(tid));
        if let Some((process, texts)) = self.processes.edit(key) {
            process.forget_thread(tid, texts);
            if process.threads.is_empty() && !process.ended {
                self.files
                    .release(std::mem::replace(&mut process.files, FilesId::NONE));
                self.ended = Some(key);
            }
        }
    }

    /// Ends a process at once, because its exit was missed.
    pub(super) fn end_now(&mut self, key: ProcessKey) {
        if let Some(process) = self.processes.get_mut(key)
            && !process.ended
        {
            self.files
                .release(std::mem::replace(&mut process.files, FilesId::NONE));
            self.end_process(key);
        }
        self.last = None;
    }

    /// Marks a process as ended, and gives up what is of no use any more.
    pub(super) fn end_process(&mut self, key: ProcessKey) {
        self.release_threads(key, None);
        if let Some((process, texts)) = self.processes.edit(key) {
            self.movers.forget(process.pid);
            texts.recycle(&mut process.env);
            let directory = std::mem::replace(&mut process.directory, DirectoryId::NONE);
            self.directories.release(directory);
        }
        self.processes.end(key);
        self.last = None;
    }
}
