//! Corrects the state after events were lost. Descriptors, ids and the working directory of a process may be others by then:
//! each process that was known at the loss is compared with /proc at its next event, up to a limit per second.
//!
//! Births, execs and ends may be among the lost events. Then a process may have another program, or its id may be another
//! process's. /proc says what is there now, and an event is older: between the two, the process can have executed its next
//! program, whose event still waits. So what /proc says about a program is used
//!
//! - as a confirmation, if it is the program that the state has;
//! - otherwise, for events that are later than the reading. For earlier events nothing is known of the program, and its
//!   fields have no value. The exec event that may come in between has the new program.
//!
//! Processes that have ended are found within a second.

use std::collections::{HashSet, VecDeque};

use driver_api::event::Header;

use super::Inspector;
use super::clock;
use super::fd_passing::Budget;
use super::fill::{self, NetTables};
use super::proc_fs::{ProcFs, Snapshot};
use super::process::{Credentials, Process, Thread};
use super::process_table::ProcessKey;
use super::text::TextPool;

/// The most processes that are compared in one second of event time.
const PROCESSES_PER_S: u32 = 100;
/// The most processes whose program is compared in one second of event time. The rest have no program until later.
const PROGRAMS_PER_S: u32 = 1000;
/// The most readings of /proc that wait for later events.
const MAX_READINGS: usize = 1024;
/// /proc says starts of processes in ticks of 10 ms.
const TICK_NS: u64 = 20_000_000;
/// The most ancestors whose programs are compared.
const MAX_DEPTH: usize = 32;

/// Processes whose state may be wrong.
#[derive(Debug, Default)]
pub(super) struct StaleProcesses {
    /// Whether events were lost since the processes were last collected.
    lost: bool,
    /// Processes that have not been compared yet.
    pids: HashSet<u32>,
    budget: Budget,
    /// How often events were lost among which births, execs or ends may be. A process whose
    /// [`checked`](Process::checked) is another number may have another program.
    pub(super) lives: u32,
    /// When that was reported the last time. What was lost lies anywhere before that.
    lives_ns: u64,
    /// What /proc said of processes that no event has reached yet, oldest first.
    readings: VecDeque<Reading>,
    checks: Budget,
}

/// What /proc said of a process.
#[derive(Debug)]
struct Reading {
    key: ProcessKey,
    /// Monotonic time. For a later event it is right.
    at_ns: u64,
    /// The process. None: it is to be compared then.
    found: Option<Snapshot>,
}

/// What a look into /proc says about a process of the state.
enum Look {
    /// The same process with the same program.
    Same,
    /// The same process with this program.
    OtherProgram(Box<Snapshot>),
    /// Another process has the id, since this time.
    OtherProcess(u64),
    /// No process has the id.
    Gone,
    /// It cannot be found out now: there were too many looks in this second, or it is executing a program.
    Unknown,
}

/// Whether a process that started at `start` (monotonic; 0: not known) may be the one that started at `in_proc` (since
/// boot, which goes on while the host sleeps).
fn may_be_same(start: u64, in_proc: u64) -> bool {
    let slept = clock::slept_ns();
    let earliest = in_proc.saturating_sub(slept).saturating_sub(TICK_NS);
    start == 0 || in_proc == 0 || (earliest..=in_proc.saturating_add(TICK_NS)).contains(&start)
}

/// Whether a process that started at `in_proc` did not exist yet at a time.
pub(super) fn is_later(in_proc: u64, time_ns: u64) -> bool {
    in_proc.saturating_sub(clock::slept_ns()) > time_ns.saturating_add(TICK_NS)
}

impl Process {
    /// Forgets which program it runs.
    fn forget_program(&mut self, texts: &mut TextPool) {
        for text in [&mut self.name, &mut self.exe, &mut self.args, &mut self.env] {
            texts.recycle(text);
        }
        self.known = false;
        self.probed = true;
        self.memfd = false;
        self.file = None;
        self.main_credentials.capabilities = None;
        for thread in self.threads.iter_mut() {
            thread.name.iter_mut().for_each(|name| texts.recycle(name));
            thread.name = None;
        }
    }

    /// Takes the user and the group of an event, whose program is not known.
    fn take_ids(&mut self, header: &Header) {
        let own = &mut self.main_credentials;
        if (own.uid, own.gid) != (header.uid, header.gid) {
            *own = Credentials::of_event(header);
        }
    }

    fn take_program(&mut self, found: Snapshot) {
        self.known = true;
        self.name = found.name.into();
        self.exe = found.exe.into();
        self.args = found.args.into();
        self.env = found.env.into();
        self.memfd = found.memfd;
        self.file = found.file;
        self.ppid = found.ppid;
        self.pgid = found.pgid;
        self.vpgid = found.vpgid;
        self.sid = found.sid;
        self.tty = found.tty;
        self.loginuid = found.loginuid;
        self.main_credentials = found.credentials;
    }
}

impl Inspector {
    /// Events were lost, as is reported at this time. `lives`: births, execs or ends may be among them.
    pub(super) fn mark_stale(&mut self, time_ns: u64, lives: bool) {
        if self.proc_fs.is_none() {
            return;
        }
        // pids that did not exist may exist now
        self.absent.clear();
        self.last = None;
        if lives {
            self.stale.lives = self.stale.lives.wrapping_add(1);
            self.stale.lives_ns = time_ns;
        }
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

    /// Compares the process of an event with /proc, if it is stale. Returns the process that made the event.
    #[inline]
    pub(super) fn resync(&mut self, header: &Header, key: ProcessKey) -> ProcessKey {
        let stale = &self.stale;
        if stale.lives == 0 && stale.pids.is_empty() && stale.readings.is_empty() {
            return key;
        }
        self.resync_stale(header, key)
    }

    /// Whether a reading of /proc still waits for a later event.
    #[inline]
    pub(super) fn awaits_readings(&self) -> bool {
        !self.stale.readings.is_empty()
    }

    #[cfg(test)]
    pub(super) fn readings(&self) -> usize {
        self.stale.readings.len()
    }

    #[cold]
    fn resync_stale(&mut self, header: &Header, key: ProcessKey) -> ProcessKey {
        self.apply_readings(header.time_ns);
        let mut key = key;
        if self.may_have_changed(key) {
            key = self.verify(header, key);
        }
        if self.stale.lives > 0 {
            self.verify_ancestors(header.time_ns, key);
        }
        let pid = header.tgid;
        if self.stale.pids.contains(&pid) && self.stale.budget.take(header.time_ns, PROCESSES_PER_S)
        {
            self.stale.pids.remove(&pid);
            self.compare_process(header.time_ns, key);
        }
        if let Some(process) = self.processes.get_mut(key)
            && !process.known
        {
            process.take_ids(header);
        }
        key
    }

    /// [`Process::checked`] of a process whose program an event of this time says. If a later event may be lost, it stays to
    /// be compared.
    pub(super) fn checked_by(&self, time_ns: u64) -> u32 {
        let StaleProcesses {
            lives, lives_ns, ..
        } = self.stale;
        lives.wrapping_sub(u32::from(lives > 0 && time_ns <= lives_ns))
    }

    /// Whether a birth, an exec or an end may have been lost since the program of a process was known.
    pub(super) fn may_have_changed(&self, key: ProcessKey) -> bool {
        let process = self.processes.get(key);
        process.is_some_and(|process| !process.ended && process.checked != self.stale.lives)
    }

    /// Uses the readings of /proc that an event is later than.
    fn apply_readings(&mut self, time_ns: u64) {
        let is_due = |reading: &mut Reading| reading.at_ns < time_ns;
        while let Some(Reading { key, found, .. }) = self.stale.readings.pop_front_if(is_due) {
            let lives = |process: &&mut Process| !process.ended;
            let Some(process) = self.processes.get_mut(key).filter(lives) else {
                continue;
            };
            let pid = process.pid;
            if let Some(found) = found
                && !process.known
            {
                process.take_program(found);
                let ppid = process.ppid;
                if let Some(parent) = self.processes.key(ppid) {
                    self.processes.set_parent(key, parent);
                }
            }
            self.stale.pids.insert(pid);
        }
    }

    /// Looks at a process whose program may have changed.
    fn look(&mut self, time_ns: u64, key: ProcessKey) -> Look {
        let Some((process, proc_fs)) = self.processes.get(key).zip(self.proc_fs.as_ref()) else {
            return Look::Gone;
        };
        if !self.stale.checks.take(time_ns, PROGRAMS_PER_S) {
            return Look::Unknown;
        }
        let Some(start_ns) = proc_fs.start_ns(process.pid) else {
            return Look::Gone;
        };
        if !may_be_same(process.start_ns, start_ns) {
            return Look::OtherProcess(start_ns);
        }
        if process.known && is_program(proc_fs, process) {
            return Look::Same;
        }
        match proc_fs.snapshot(process.pid) {
            Some(found) if found.settled => Look::OtherProgram(Box::new(found)),
            Some(_) => Look::Unknown,
            None => Look::Gone,
        }
    }

    /// Finds out whether the process of an event is the one that the state has, and runs the same program.
    fn verify(&mut self, header: &Header, key: ProcessKey) -> ProcessKey {
        match self.look(header.time_ns, key) {
            Look::Same => self.note_checked(key),
            Look::OtherProgram(found) => self.withhold(key, header.time_ns, *found),
            Look::Unknown => self.forget_program(key),
            Look::OtherProcess(start_ns) if !is_later(start_ns, header.time_ns) => {
                self.end_now(key);
                if let Some(key) = self.probe(header.tgid, Some(header.time_ns)) {
                    return key;
                }
                return self.stub(header);
            }
            // it has ended meanwhile, and nothing says whether it or another process made the event
            look @ (Look::OtherProcess(_) | Look::Gone) => {
                self.end_now(key);
                let key = self.stub(header);
                if matches!(look, Look::OtherProcess(_))
                    && let Some(process) = self.processes.get_mut(key)
                {
                    // a later event looks again
                    process.checked = process.checked.wrapping_sub(1);
                }
                return key;
            }
        }
        key
    }

    fn verify_ancestors(&mut self, time_ns: u64, of: ProcessKey) {
        let above = |of| self.processes.get(of).and_then(|process| process.parent);
        let chain: Vec<ProcessKey> = std::iter::successors(above(of), |key| above(*key))
            .take(MAX_DEPTH)
            .filter(|key| self.may_have_changed(*key))
            .collect();
        for key in chain {
            match self.look(time_ns, key) {
                Look::Same => self.note_checked(key),
                Look::OtherProgram(found) => self.withhold(key, time_ns, *found),
                Look::Gone | Look::Unknown => self.forget_program(key),
                Look::OtherProcess(_) => {
                    self.forget_program(key);
                    self.end_now(key);
                }
            }
        }
    }

    fn note_checked(&mut self, key: ProcessKey) {
        let lives = self.stale.lives;
        if let Some(process) = self.processes.get_mut(key) {
            process.checked = lives;
        }
    }

    fn forget_program(&mut self, key: ProcessKey) {
        if let Some((process, texts)) = self.processes.edit(key) {
            process.forget_program(texts);
        }
    }

    /// Forgets the program of a process. What /proc said is used for later events. It is used at once if the event itself
    /// is later than the look at /proc, or if its thread is stopped.
    pub(super) fn withhold(&mut self, key: ProcessKey, time_ns: u64, found: Snapshot) {
        if !found.settled {
            // a later event looks again
            return self.forget_program(key);
        }
        let at_ns = found.at_ns;
        let now = self.held || time_ns > at_ns;
        if self.stale.readings.len() >= MAX_READINGS && !now {
            // a later event looks again
            return self.forget_program(key);
        }
        self.note_checked(key);
        let Some((process, texts)) = self.processes.edit(key) else {
            return;
        };
        process.forget_program(texts);
        if now {
            process.take_program(found);
            return;
        }
        self.stale.readings.push_back(Reading {
            key,
            at_ns,
            found: Some(found),
        });
    }

    fn compare_process(&mut self, time_ns: u64, key: ProcessKey) {
        let living = self.processes.get(key).filter(|process| !process.ended);
        let Some((process, proc_fs)) = living.zip(self.proc_fs.clone()) else {
            return;
        };
        let (pid, now) = (process.pid, clock::monotonic_ns());
        let Some(found) = proc_fs.snapshot(pid) else {
            return;
        };
        if !may_be_same(process.start_ns, found.start_ns) {
            return;
        }
        if !found.settled || *process.exe != *found.exe {
            // of its next program, or of one that is not known yet: it is compared when the events have come so far
            if time_ns <= now && self.stale.readings.len() < MAX_READINGS {
                let (at_ns, found) = (now, None);
                self.stale.readings.push_back(Reading { key, at_ns, found });
            }
            return;
        }
        self.release_threads(key, None);
        let files = self.files.create();
        let mut nets = NetTables::new();
        self.read_descriptors(&proc_fs, pid, files, &mut nets);
        // a process that is ending does not say them
        let cgroups =
            (!found.cgroups.is_empty()).then(|| self.containers.group(&found.cgroups, pid));
        let Some(process) = self.processes.get_mut(key) else {
            return self.files.release(files);
        };
        if *process.args == *found.args {
            process.name = found.name.into();
        }
        process.ppid = found.ppid;
        process.vpid = found.vpid.or(process.vpid);
        process.main_credentials.read_again(found.credentials);
        process.pgid = found.pgid;
        process.vpgid = found.vpgid;
        process.sid = found.sid;
        process.tty = found.tty;
        if let Some(cgroups) = cgroups {
            process.cgroups = cgroups;
        }
        process.scanned_ns = now;
        let former = std::mem::take(&mut process.threads);
        process.threads = found
            .threads
            .iter()
            .map(|&tid| Thread {
                name: former.get(tid).and_then(|thread| thread.name.clone()),
                vtid: former.get(tid).and_then(|thread| thread.vtid),
                ..Thread::new(tid)
            })
            .collect();
        process.has_separate_threads = false;
        let old = std::mem::replace(&mut process.files, files);
        self.files.release(old);
        self.set_cwd(key, pid, &found.cwd);
        self.set_root(key, pid, &found.root);
        if let Some(process) = self.processes.get_mut(key) {
            fill::read_threads(&mut self.directories, &proc_fs, process);
        }
        self.separate_descriptors(&proc_fs, key, &mut nets);
    }
}

/// Whether a process runs the program now that the state has.
fn is_program(proc_fs: &ProcFs, process: &Process) -> bool {
    proc_fs
        .exe(process.pid)
        .is_some_and(|(exe, _)| exe == *process.exe)
        && proc_fs.args(process.pid) == *process.args
}
