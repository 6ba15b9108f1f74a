//! What the kernel keeps for each thread: ids and capabilities, the working directory, the table of descriptors. Most
//! threads share them with the first thread of their process; a thread that does not has values of its own.

use std::borrow::Cow;

use super::Inspector;
use super::descriptor::FilesId;
use super::directories::DirectoryId;
use super::process::{Credentials, Process, Thread};
use super::process_table::ProcessKey;

impl Process {
    pub(super) fn thread(&self, tid: u32) -> Option<&Thread> {
        if tid == self.pid || !self.has_separate_threads {
            return None;
        }
        self.find_thread(tid)
    }

    /// A thread to give a value of its own. Not for the first thread.
    pub(super) fn separate(&mut self, tid: u32) -> &mut Thread {
        self.has_separate_threads = true;
        self.threads.get_or_add(tid)
    }

    /// All threads but the first, before the first gets a value that they do not share.
    fn others(&mut self) -> impl Iterator<Item = &mut Thread> {
        let first = self.pid;
        let others = self
            .threads
            .iter_mut()
            .filter(move |thread| thread.tid != first);
        let separate = &mut self.has_separate_threads;
        others.inspect(move |_| *separate = true)
    }

    /// The ids and capabilities of a thread.
    #[must_use]
    pub fn credentials(&self, tid: u32) -> Credentials {
        self.thread(tid)
            .and_then(|thread| thread.credentials)
            .unwrap_or(self.main_credentials)
    }

    /// Changes the ids and capabilities of one thread.
    pub(super) fn change_credentials(&mut self, tid: u32, change: impl FnOnce(&mut Credentials)) {
        let mut credentials = self.credentials(tid);
        let before = credentials;
        change(&mut credentials);
        if credentials == before {
            return;
        }
        if tid == self.pid {
            for other in self.others() {
                other.credentials.get_or_insert(before);
            }
            self.main_credentials = credentials;
        } else {
            let main = self.main_credentials;
            // not all threads are looked at: each of many may change its own
            self.separate(tid).credentials = Some(credentials).filter(|own| *own != main);
            return;
        }
        // a C library makes the call in every thread, and in the end all have the same again
        let main = self.main_credentials;
        let mut separate = false;
        for thread in self.threads.iter_mut() {
            thread.credentials = thread.credentials.filter(|own| *own != main);
            separate |= thread.is_separate();
        }
        self.has_separate_threads = separate;
    }

    /// The descriptor table of a thread.
    pub(super) fn files_of(&self, tid: u32) -> FilesId {
        self.thread(tid)
            .and_then(|thread| thread.files)
            .unwrap_or(self.files)
    }

    /// The working directory of a thread.
    pub(super) fn directory_of(&self, tid: u32) -> DirectoryId {
        self.thread(tid)
            .and_then(|thread| thread.directory)
            .unwrap_or(self.directory)
    }
}

impl Inspector {
    /// The descriptor table of a thread of a living process.
    pub(super) fn files_of(&self, key: ProcessKey, tid: u32) -> Option<FilesId> {
        self.processes
            .get(key)
            .filter(|process| !process.ended)
            .map(|process| process.files_of(tid))
    }

    /// Whether another thread or process can put other files behind the descriptors of this thread at any moment.
    #[must_use]
    pub fn shares_descriptors(&self, process: &Process, tid: u32) -> bool {
        process.threads.len() > 1 || self.files.is_shared(process.files_of(tid))
    }

    /// The working directory of a thread. Empty: it is not known.
    #[must_use]
    pub fn cwd(&self, process: &Process, tid: u32) -> &[u8] {
        self.directories.path(process.directory_of(tid))
    }

    /// The root directory of a thread (chroot(2)). Empty: that of its mount namespace, or it is not known.
    #[must_use]
    pub fn root(&self, process: &Process, tid: u32) -> Cow<'_, [u8]> {
        match self.proc_fs.as_ref().filter(|_| self.reports_entries) {
            // the thread waits
            Some(proc_fs) => Cow::Owned(proc_fs.root_of(tid)),
            None => Cow::Borrowed(self.directories.root(process.directory_of(tid))),
        }
    }

    /// Changes the root directory of a thread, and of all that share it. `/` is that of the mount namespace.
    pub(super) fn set_root(&mut self, key: ProcessKey, tid: u32, root: &[u8]) {
        if let Some(process) = self.processes.get(key) {
            let root = if root == b"/" { &[] } else { root };
            self.directories.set_root(process.directory_of(tid), root);
        }
    }

    /// Changes the working directory of a thread, and of all that share it.
    pub(super) fn set_cwd(&mut self, key: ProcessKey, tid: u32, path: &[u8]) {
        let Some(process) = self.processes.get_mut(key) else {
            return;
        };
        if !self.directories.set(process.directory_of(tid), path) {
            process.directory = self.directories.create(path);
        }
    }

    /// A thread gets a working directory of its own (unshare(2), `CLONE_FS`).
    pub(super) fn unshare_directory(&mut self, key: ProcessKey, tid: u32) {
        let Some(process) = self.processes.get_mut(key) else {
            return;
        };
        let all = &mut self.directories;
        let shared = process.directory_of(tid);
        if tid != process.pid {
            let own = process.separate(tid);
            own.directory = Some(match own.directory {
                Some(directory) => all.unshare(directory),
                None => all.copy(shared),
            });
            return;
        }
        for other in process.others() {
            other.directory.get_or_insert_with(|| all.share(shared));
        }
        process.directory = all.unshare(shared);
    }

    /// A thread gets a descriptor table of its own (unshare(2), `CLONE_FILES`).
    pub(super) fn unshare_files(&mut self, key: ProcessKey, tid: u32) {
        let Some(process) = self.processes.get_mut(key).filter(|process| !process.ended) else {
            return;
        };
        let all = &mut self.files;
        let shared = process.files_of(tid);
        if tid != process.pid {
            let own = process.separate(tid);
            own.files = Some(match own.files {
                Some(files) => all.unshare(files),
                None => all.copy(shared),
            });
            return;
        }
        for other in process.others() {
            other.files.get_or_insert_with(|| all.share(shared));
        }
        process.files = all.unshare(shared);
    }

    /// A thread was created. Besides its name, it has what its creator has.
    pub(super) fn add_thread(
        &mut self,
        key: ProcessKey,
        new: Thread,
        creator: u32,
        shared: Shared,
    ) {
        let Some(process) = self.processes.get_mut(key).filter(|process| !process.ended) else {
            return;
        };
        let tid = new.tid;
        if process.threads.get(tid).is_some() {
            return;
        }
        process.threads.push(new);
        let credentials = Credentials {
            // which thread has made it is not known
            stale: self.reports_entries,
            ..process.credentials(creator)
        };
        process.change_credentials(tid, |own| *own = credentials);
        let (files, directory) = (process.files_of(creator), process.directory_of(creator));
        if files != process.files || !shared.files {
            process.separate(tid).files = Some(if shared.files {
                self.files.share(files)
            } else {
                self.files.copy(files)
            });
        }
        if directory != process.directory || !shared.directory {
            process.separate(tid).directory = Some(if shared.directory {
                self.directories.share(directory)
            } else {
                self.directories.copy(directory)
            });
        }
    }

    /// Gives up what a thread that ended did not share; without a thread, what all threads of the process did not
    /// share.
    pub(super) fn release_threads(&mut self, key: ProcessKey, tid: Option<u32>) {
        let Some(process) = (self.processes.get_mut(key)).filter(|one| one.has_separate_threads)
        else {
            return;
        };
        let (files, directories) = (&mut self.files, &mut self.directories);
        let mut release = |thread: &mut Thread| {
            if let Some(own) = thread.files.take() {
                files.release(own);
            }
            if let Some(own) = thread.directory.take() {
                directories.release(own);
            }
        };
        match tid {
            Some(tid) => process.threads.get_mut(tid).map_or((), release),
            None => process.threads.iter_mut().for_each(&mut release),
        }
    }

    /// A thread executes a program: the process has what this thread had, and its other threads are gone. The kernel
    /// ends them first, so the thread that is left is the one that executes.
    pub(super) fn keep_executing_thread(&mut self, key: ProcessKey) {
        let Some(process) = self
            .processes
            .get_mut(key)
            .filter(|process| process.has_separate_threads)
        else {
            return;
        };
        let first = process.pid;
        let mut left = process
            .threads
            .iter_mut()
            .filter(|thread| thread.tid != first);
        if let (Some(thread), None) = (left.next(), left.next()) {
            if let Some(credentials) = thread.credentials {
                process.main_credentials = credentials;
            }
            if let Some(files) = &mut thread.files {
                std::mem::swap(files, &mut process.files);
            }
            if let Some(directory) = &mut thread.directory {
                std::mem::swap(directory, &mut process.directory);
            }
        }
        self.release_threads(key, None);
    }
}

/// What a new thread shares with its creator.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared {
    /// `CLONE_FILES`
    pub(super) files: bool,
    /// `CLONE_FS`
    pub(super) directory: bool,
}
