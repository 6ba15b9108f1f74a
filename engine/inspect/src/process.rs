//! A process: what is known of it.

use std::sync::Arc;

use driver_api::event::Header;

use super::containers::{self, Cgroups};
use super::descriptor::FilesId;
use super::directories::DirectoryId;
use super::process_table::ProcessKey;
use super::program::{Capabilities, ProgramFile};
use super::text::{Text, TextPool};
use super::thread_list::ThreadList;

/// A thread of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Thread {
    pub(super) tid: u32,
    /// Its name. None: that of the process.
    pub(super) name: Option<Text>,
    /// Its id in its own pid namespace. None: not known.
    pub(super) vtid: Option<u32>,
    /// What it does not share with the first thread. None: it shares it.
    pub(super) credentials: Option<Credentials>,
    pub(super) directory: Option<DirectoryId>,
    pub(super) files: Option<FilesId>,
}

impl Thread {
    /// A thread that shares everything with the first thread.
    pub(super) fn new(tid: u32) -> Self {
        Self {
            tid,
            name: None,
            vtid: None,
            credentials: None,
            directory: None,
            files: None,
        }
    }

    /// Whether there is something that it does not share.
    pub(super) fn is_separate(&self) -> bool {
        self.credentials.is_some() || self.directory.is_some() || self.files.is_some()
    }
}

/// The ids and capabilities with which a thread acts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Capabilities. None: not known; /proc may have them.
    pub capabilities: Option<Capabilities>,
    /// Saved user id. None: not known.
    pub(super) saved_uid: Option<u32>,
    /// Whether it has asked the kernel for another rule of what a change of user ids does to capabilities (prctl(2),
    /// `PR_SET_KEEPCAPS` and `PR_SET_SECUREBITS`).
    pub(super) keeps_capabilities: bool,
    /// Whether a call was entered that may change them. /proc has them.
    pub(super) stale: bool,
}

impl Credentials {
    /// Those that /proc has now. It does not say which rule the thread has asked for.
    pub(super) fn read_again(&mut self, found: Self) {
        let keeps_capabilities = self.keeps_capabilities;
        *self = Self {
            keeps_capabilities,
            ..found
        };
    }

    /// Those of a process that is known by an event alone. An event has no effective ids: they are taken to be the real ones.
    pub(super) fn of_event(header: &Header) -> Self {
        Self {
            uid: header.uid,
            euid: header.uid,
            gid: header.gid,
            egid: header.gid,
            capabilities: None,
            saved_uid: None,
            keeps_capabilities: false,
            stale: false,
        }
    }
}

/// What is known of a process. Texts are in the bytes that the kernel gave.
#[derive(Debug, Clone)]
pub struct Process {
    /// Thread-group id.
    pub pid: u32,
    /// Thread-group id of the parent.
    pub ppid: u32,
    /// Process id in its own pid namespace. None: not known.
    pub vpid: Option<u32>,
    /// The process that created this one, also after another has adopted it.
    pub parent: Option<ProcessKey>,
    /// Whether anything below was learnt, rather than only that the process exists.
    pub known: bool,
    /// The kernel's name for it (comm).
    pub name: Text,
    /// Resolved path of the executable; empty: not known.
    pub exe: Text,
    /// Arguments, each terminated by NUL.
    pub args: Text,
    /// Environment variables, each terminated by NUL.
    pub env: Text,
    /// Login user id; `u32::MAX`: none.
    pub loginuid: u32,
    /// Process group.
    pub pgid: u32,
    /// Process group, in the pid namespace of the process. None: not known.
    pub vpgid: Option<u32>,
    /// Session.
    pub sid: u32,
    /// Device number of the controlling terminal; 0: none.
    pub tty: u32,
    /// Whether the executable is a memfd.
    pub memfd: bool,
    /// The executable's file. None: not known.
    pub file: Option<ProgramFile>,
    /// Its cgroups, and the container that they belong to.
    pub cgroups: Arc<Cgroups>,
    /// When it started: `CLOCK_MONOTONIC`, in nanoseconds; 0: not known.
    pub start_ns: u64,
    /// Whether it has ended.
    pub ended: bool,
    /// When the process was read from /proc; 0: it has been followed since its fork.
    pub(super) scanned_ns: u64,
    /// The loss (`StaleProcesses::lives`) after which its program was known to be right.
    pub(super) checked: u32,
    /// Whether /proc has been asked, so that it need not be asked again.
    pub(super) probed: bool,
    pub(super) threads: ThreadList,
    /// The thread that ended last: the event of its end is about it.
    pub(super) gone: Option<Thread>,
    /// Whether a thread has something that it does not share with the first thread.
    pub(super) has_separate_threads: bool,
    /// The first thread's ids and capabilities, working directory and descriptor table.
    pub(super) main_credentials: Credentials,
    pub(super) directory: DirectoryId,
    pub(super) files: FilesId,
    /// The cgroup v2 id of its latest events; 0: its events had none.
    pub(super) cgroup_id: u64,
    /// Whether it adopts orphans among its descendants (prctl(2), `PR_SET_CHILD_SUBREAPER`).
    pub(super) subreaper: bool,
    /// Whether it is in another user namespace than lanner: ids that its calls name are not those of the host.
    pub(super) in_other_user_ns: bool,
    /// Whether a call was entered that may change its process group or session. /proc has them.
    pub(super) groups_stale: bool,
    /// Whether its children are in another pid namespace than it (unshare(2), setns(2)).
    pub(super) children_in_other_pid_ns: bool,
    /// Whether a program has opened a file `comm` in /proc, by which threads of this process can be renamed. Writing to it is
    /// not captured.
    pub(super) renamed_by_file: bool,
    /// Whether it, or the process that made it, has opened a file `loginuid` in /proc since its program began.
    pub(super) login_by_file: bool,
    /// The number of known processes that have this one as parent.
    pub(super) children: u32,
}

impl Process {
    /// A process about which nothing is known but that it exists.
    pub(super) fn unknown(pid: u32, files: FilesId) -> Self {
        Self {
            pid,
            ppid: 0,
            vpid: None,
            parent: None,
            known: false,
            name: Text::default(),
            exe: Text::default(),
            args: Text::default(),
            env: Text::default(),
            loginuid: u32::MAX,
            pgid: 0,
            vpgid: None,
            sid: 0,
            tty: 0,
            memfd: false,
            file: None,
            cgroups: containers::unknown(),
            cgroup_id: 0,
            subreaper: false,
            in_other_user_ns: false,
            groups_stale: false,
            children_in_other_pid_ns: false,
            renamed_by_file: false,
            login_by_file: false,
            start_ns: 0,
            ended: false,
            scanned_ns: 0,
            checked: 0,
            probed: false,
            threads: ThreadList::new(),
            gone: None,
            has_separate_threads: false,
            main_credentials: Credentials::default(),
            directory: DirectoryId::NONE,
            files,
            children: 0,
        }
    }

    /// A child as fork makes it: it inherits everything but ids, threads and descriptors.
    pub(super) fn child(&self, pid: u32, files: FilesId) -> Self {
        Self {
            pid,
            ppid: self.pid,
            vpid: None,
            parent: self.parent,
            known: self.known,
            name: self.name.clone(),
            exe: self.exe.clone(),
            args: self.args.clone(),
            env: self.env.clone(),
            cgroups: Arc::clone(&self.cgroups),
            // a clone of everything would allocate memory for the threads
            scanned_ns: 0,
            probed: false,
            ended: false,
            threads: ThreadList::new(),
            gone: None,
            has_separate_threads: false,
            directory: DirectoryId::NONE,
            files,
            children: 0,
            subreaper: false,
            children_in_other_pid_ns: false,
            ..*self
        }
    }

    /// Recycles its texts and forgets its threads. The memory of the thread list is kept.
    pub(super) fn clear(&mut self, texts: &mut TextPool) {
        for text in [&mut self.name, &mut self.exe, &mut self.args, &mut self.env] {
            texts.recycle(text);
        }
        self.forget_threads(texts);
        self.cgroups = containers::unknown();
    }

    /// A thread has ended.
    pub(super) fn forget_thread(&mut self, tid: u32, texts: &mut TextPool) {
        let gone = self.threads.remove(tid);
        if let Some(mut before) = std::mem::replace(&mut self.gone, gone) {
            before.name.iter_mut().for_each(|name| texts.recycle(name));
        }
    }

    /// All threads have ended.
    pub(super) fn forget_threads(&mut self, texts: &mut TextPool) {
        self.has_separate_threads = false;
        for mut thread in self.threads.drain().chain(self.gone.take()) {
            thread.name.iter_mut().for_each(|name| texts.recycle(name));
        }
    }

    /// The number of its threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// The ids of its threads.
    pub fn thread_ids(&self) -> impl Iterator<Item = u32> {
        self.threads.iter().map(|thread| thread.tid)
    }

    /// The arguments.
    pub fn args(&self) -> impl Iterator<Item = &[u8]> {
        strings(&self.args)
    }

    /// The environment variables.
    pub fn env(&self) -> impl Iterator<Item = &[u8]> {
        strings(&self.env)
    }

    /// The name of one of its threads.
    #[must_use]
    pub fn thread_name(&self, tid: u32) -> &[u8] {
        if tid == self.pid {
            return &self.name;
        }
        self.find_thread(tid)
            .and_then(|thread| thread.name.as_deref())
            .unwrap_or(&self.name)
    }

    /// The id of one of its threads in the pid namespace of the process, if it is known.
    #[must_use]
    pub fn virtual_thread(&self, tid: u32) -> Option<u32> {
        if tid == self.pid {
            self.vpid
        } else if self.vpid == Some(self.pid) {
            Some(tid)
        } else {
            self.find_thread(tid)?.vtid
        }
    }

    /// A thread that lives, or has just ended.
    pub(super) fn find_thread(&self, tid: u32) -> Option<&Thread> {
        let gone = self.gone.as_ref().filter(|thread| thread.tid == tid);
        self.threads.get(tid).or(gone)
    }
}

/// The strings in a list whose elements are terminated by NUL.
fn strings(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let inner = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    inner.split(|&b| b == 0).filter(|_| !bytes.is_empty())
}
