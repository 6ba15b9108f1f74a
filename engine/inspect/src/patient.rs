//! Reads that a process can hold up. They are done on other threads, and are given up when they take too long.
//!
//! The kernel makes some files of /proc from a process's memory, and a process can keep its memory locked: one thread waits
//! for a page of a file system that is a program (FUSE) and never answers, and another one wants to change the memory.
//! Whoever reads the memory then waits for both. The files of a container can be on such a file system, too. So another
//! thread reads. If it does not come back in time, it is left alone, and lanner reads nothing about that process until it does.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use proc_pid::{Stat, State};

/// How long the first answer is waited for. Where others have not come, each is waited for a part of this.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the asking thread is looked at, and the shortest wait.
const LOOK: Duration = Duration::from_millis(50);
/// The longest wait for a thread that wants to go on and gets no CPU.
const STARVED: Duration = Duration::from_mins(1);
/// How many threads may wait. While that number waits, nothing is asked.
const MOST: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

/// A thread that asks. It ends when this is dropped and its last job is done.
struct Asker {
    tid: u32,
    jobs: Sender<Job>,
    done: Receiver<()>,
}

#[derive(Default)]
struct Askers {
    idle: Option<Asker>,
    /// Those that have not come back, each with the folder in /proc of the process that holds it up.
    stuck: Vec<(PathBuf, Asker)>,
}

static ASKERS: Mutex<Askers> = Mutex::new(Askers {
    idle: None,
    stuck: Vec::new(),
});

/// The answer of a job that only the process with this folder in /proc can hold up. None: it does not come.
pub(super) fn ask<T: Send + 'static>(
    process: &Path,
    job: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let mut askers = ASKERS.lock().unwrap_or_else(PoisonError::into_inner);
    askers.ask(process, job)
}

/// Reads a file of the host, which a listener of fanotify(7) can hold up. None: it cannot be read, or not in time.
#[must_use]
pub fn read(path: &Path) -> Option<Vec<u8>> {
    let file = path.to_owned();
    ask(path, move || std::fs::read(file).ok()).flatten()
}

impl Askers {
    fn ask<T: Send + 'static>(
        &mut self,
        process: &Path,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        // those that have come back end
        let waits = |asker: &Asker| matches!(asker.done.try_recv(), Err(TryRecvError::Empty));
        self.stuck.retain(|(_, asker)| waits(asker));
        if self.stuck.len() >= MOST || self.stuck.iter().any(|(other, _)| other == process) {
            return None;
        }
        let asker = match self.idle.take() {
            Some(asker) => asker,
            None => Asker::new()?,
        };
        let (answers, answer) = mpsc::channel();
        let job = move || drop(answers.send(job()));
        asker.jobs.send(Box::new(job)).ok()?;
        let divisor = u32::try_from(self.stuck.len()).map_or(u32::MAX, |stuck| stuck + 1);
        if asker.wait((PATIENCE / divisor).max(LOOK)) {
            self.idle = Some(asker);
        } else {
            self.stuck.push((process.to_owned(), asker));
        }
        answer.try_recv().ok()
    }
}

impl Asker {
    fn new() -> Option<Self> {
        let (jobs, to_do) = mpsc::channel::<Job>();
        let (says, done) = mpsc::channel();
        let (says_id, id) = mpsc::channel();
        let serve = move || {
            // SAFETY: gettid(2) always succeeds.
            let tid = unsafe { libc::gettid() };
            if says_id.send(tid.unsigned_abs()).is_err() {
                return;
            }
            for job in to_do {
                job();
                if says.send(()).is_err() {
                    return;
                }
            }
        };
        let name = "proc reader".to_owned();
        thread::Builder::new().name(name).spawn(serve).ok()?;
        Some(Self {
            tid: id.recv().ok()?,
            jobs,
            done,
        })
    }

    /// Waits as long as there is patience, and longer while the thread only lacks a CPU. False: it is not done.
    fn wait(&self, patience: Duration) -> bool {
        let begun = Instant::now();
        loop {
            match self.done.recv_timeout(LOOK) {
                Ok(()) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let waited = begun.elapsed();
            if waited > STARVED || (waited >= patience && self.waits()) {
                return false;
            }
        }
    }

    /// Whether the thread waits for something else than a CPU.
    fn waits(&self) -> bool {
        let state = Stat::of_thread(std::process::id(), self.tid).map(|stat| stat.state());
        !matches!(state, Ok(State::Running))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn an_answer_that_does_not_come_holds_nobody_up_for_long() {
        let [one, other] = ["/proc/1", "/proc/2"].map(Path::new);
        let mut askers = Askers::default();
        assert_eq!(askers.ask(one, || 5), Some(5));
        let late = Arc::new(Barrier::new(2));
        let waits = Arc::clone(&late);
        assert_eq!(askers.ask(one, move || waits.wait().is_leader()), None);
        assert_eq!(askers.ask(one, || 6), None, "it keeps the rest, too");
        assert_eq!(askers.ask(other, || 7), Some(7));
        late.wait();
        test_support::wait_until("the thread comes back", || askers.ask(one, || 8) == Some(8));
    }
}
