//! Corrects the state after events were lost. A process may have another program or other descriptors by then, or may
//! have ended. Each process that was known at the loss is compared with /proc at its next event, up to a limit per
//! second. Processes that have ended are found within a second.

use std::collections::HashSet;

use driver_api::event::Header;

use super::Inspector;
use super::clock;
use super::fd_passing::Budget;
use super::fill::{self, NetTables};
use super::process::Thread;
use super::process_table::ProcessKey;
use super::program::ProgramFile;

/// The most processes that are compared in one second of event time.
const PROCESSES_PER_S: u32 = 100;

/// Processes whose state may be wrong.
#[derive(Debug, Default)]
pub(super) struct StaleProcesses {
    /// Whether events were lost since the processes were last collected.
    lost: bool,
    /// Processes that have not been compared yet.
    pids: HashSet<u32>,
    budget: Budget,
}

impl Inspector {
    /// Events were lost.
    pub(super) fn mark_stale(&mut self) {
        if self.proc_fs.is_none() {
            return;
        }
        // pids that did not exist may exist now
        self.absent.clear();
        self.last = None;
        if !self.stale.lost {
            self.stale.lost = true;
            self.collect_stale();
        }
    }

    fn collect_stale(&mut self) {
        let living = self.processes.living_keys();
        let pids = living
            .into_iter()
            .filter_map(|key| Some(self.processes.get(key)?.pid));
        self.stale.pids.extend(pids);
    }

    /// Once a second: ends processes whose exit was lost, and marks all others as stale again.
    pub(super) fn sweep_after_loss(&mut self) {
        if !std::mem::take(&mut self.stale.lost) {
            return;
        }
        self.sweep();
        self.collect_stale();
    }

    /// Compares the process of an event with /proc, if it is stale.
    #[inline]
    pub(super) fn resync(&mut self, header: &Header, key: ProcessKey) {
        if !self.stale.pids.is_empty() {
            self.resync_stale(header, key);
        }
    }

    #[cold]
    fn resync_stale(&mut self, header: &Header, key: ProcessKey) {
        let pid = header.tgid;
        if !self.stale.pids.contains(&pid)
            || !self.stale.budget.take(header.time_ns, PROCESSES_PER_S)
        {
            return;
        }
        self.stale.pids.remove(&pid);
        self.compare_process(key, pid);
    }

    fn compare_process(&mut self, key: ProcessKey, pid: u32) {
        let Some(proc_fs) = self.proc_fs.clone() else {
            return;
        };
        let now = clock::monotonic_ns();
        let Some(found) = proc_fs.snapshot(pid) else {
            return;
        };
        self.release_threads(key, None);
        let files = self.files.create();
        self.read_descriptors(&proc_fs, pid, files, &mut NetTables::new());
        let cgroups = self.containers.group(&found.cgroups, pid);
        let Some(process) = self.processes.get_mut(key).filter(|process| !process.ended) else {
            return self.files.release(files);
        };
        let new_program = *process.exe != *found.exe || *process.args != *found.args;
        if new_program {
            process.exe = found.exe.into();
            process.args = found.args.into();
            process.env = found.env.into();
            process.memfd = found.memfd;
            process.file = ProgramFile::at(&proc_fs.path(pid, "exe"));
        }
        process.known = true;
        process.name = found.name.into();
        process.ppid = found.ppid;
        process.vpid = found.vpid.or(process.vpid);
        process.main_credentials = found.credentials;
        process.pgid = found.pgid;
        process.sid = found.sid;
        process.tty = found.tty;
        process.cgroups = cgroups;
        process.scanned_ns = now;
        let former = std::mem::take(&mut process.threads);
        process.threads = found
            .threads
            .iter()
            .map(|&tid| Thread {
                name: former
                    .iter()
                    .find(|thread| thread.tid == tid)
                    .and_then(|thread| thread.name.clone()),
                ..Thread::new(tid)
            })
            .collect();
        process.has_separate_threads = false;
        let old = std::mem::replace(&mut process.files, files);
        self.files.release(old);
        self.set_cwd(key, pid, &found.cwd);
        if let Some(process) = self.processes.get_mut(key) {
            fill::read_threads(&mut self.directories, &proc_fs, process);
        }
    }
}
