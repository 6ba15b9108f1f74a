//! When events were lost, what is known may be wrong: a process may have another program, other descriptors, or may be
//! gone. Every process that was known then is compared with /proc when its next event comes, so many in a second; those
//! that are gone are found within a second.

use std::collections::HashSet;

use driver_api::event::Header;

use super::Inspector;
use super::clock;
use super::fd_passing::Budget;
use super::fill::NetTables;
use super::process::{ProcessKey, Thread};
use super::program::ProgramFile;

/// In a second of event time at most so many processes are compared.
const PROCESSES_PER_S: u32 = 100;

/// What may be wrong.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Events were lost since these were last collected.
    lost: bool,
    /// Processes that have not been compared yet.
    pids: HashSet<u32>,
    budget: Budget,
}

impl Inspector {
    /// Events are missing.
    pub(super) fn doubt(&mut self) {
        if self.proc_fs.is_none() {
            return;
        }
        // those that were not found may have been born meanwhile
        self.absent.clear();
        self.last = None;
        if !self.doubts.lost {
            self.doubts.lost = true;
            self.collect_doubts();
        }
    }

    fn collect_doubts(&mut self) {
        let living = self.processes.living_keys();
        let pids = living
            .into_iter()
            .filter_map(|key| Some(self.processes.get(key)?.pid));
        self.doubts.pids.extend(pids);
    }

    /// Once a second: ends processes whose end was lost, and doubts those that were known by now.
    pub(super) fn sweep_after_loss(&mut self) {
        if !std::mem::take(&mut self.doubts.lost) {
            return;
        }
        self.sweep();
        self.collect_doubts();
    }

    /// Compares the process of an event with /proc, if it is in doubt.
    #[inline]
    pub(super) fn heal(&mut self, header: &Header, key: ProcessKey) {
        if !self.doubts.pids.is_empty() {
            self.heal_one(header, key);
        }
    }

    #[cold]
    fn heal_one(&mut self, header: &Header, key: ProcessKey) {
        let pid = header.tgid;
        if !self.doubts.pids.contains(&pid)
            || !self.doubts.budget.take(header.time_ns, PROCESSES_PER_S)
        {
            return;
        }
        self.doubts.pids.remove(&pid);
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
        process.cwd = found.cwd.into();
        process.ppid = found.ppid;
        process.vpid = found.vpid.or(process.vpid);
        [process.uid, process.euid] = found.uids;
        [process.gid, process.egid] = found.gids;
        process.capabilities = found.capabilities;
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
                tid,
                name: former
                    .iter()
                    .find(|thread| thread.tid == tid)
                    .and_then(|thread| thread.name.clone()),
            })
            .collect();
        let old = std::mem::replace(&mut process.files, files);
        self.files.release(old);
    }
}
