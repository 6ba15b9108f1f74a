//! Keeps a busy tracee and its tracer on one CPU: a stop is then two switches of context, else it is four
//! wake-ups of a sleeping CPU, which cost five to ten times as much.
//!
//! The tracer stays on the CPU of the tracee that it last worked for (its home). The kernel, though, wakes
//! a tracee on any idle CPU, never on its tracer's, which is busy at that moment; so the tracee's affinity
//! is narrowed to the home while it is woken, and is as it was before the tracee runs any code of its own; or,
//! as each change of it is dear, as soon as it has not stopped for a moment.
//! Calls that could show the mask meanwhile are left alone: while a thread asks for or sets an affinity, and
//! for a while after somebody has opened a `status` of /proc (only where opens are stopped at are threads
//! kept between their calls), nobody's is narrowed, and calls that read data are not touched. A child that is born with a narrow mask
//! stops before its first instruction, and gets its parent's there.
//!
//! Only tracees that would not lose by it are kept near: one that ran beside another on the home CPU is
//! left to the scheduler.

use std::mem::zeroed;
use std::time::{Duration, Instant};

use driver_api::event::Fact;
use driver_api::table::{Category, Kind, Returns, SYSCALLS, Syscall};
use libc::{cpu_set_t, pid_t};

use crate::proc_dir::ProcDir;
use crate::tracee::Stopped;

/// Stops that follow each other faster are worth a CPU of their own.
const BUSY: Duration = Duration::from_millis(1);
/// So many of them in a row.
const RUN: u32 = 8;
/// So long without a stop, and the tracer goes where it likes.
const IDLE: Duration = Duration::from_millis(20);
/// So long after its last stop a thread may be kept there.
const KEEP: Duration = Duration::from_millis(2);
/// So long nobody is kept there, once somebody may be about to read what shows it.
const AWAY: Duration = Duration::from_millis(100);
/// The longest path that there is (linux/limits.h).
pub(crate) const PATH_MAX: usize = 4096;
/// So many wake-ups on the home CPU between two looks at whether the tracee is still there.
const LOOK: u32 = 256;

/// What a tracee may be subjected to when it goes on from a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Stay {
    /// Nothing: what it is about to do could show its affinity.
    Free,
    /// It may be woken on the tracer's CPU.
    #[default]
    Woken,
    /// It may be kept on the tracer's CPU until its call is over: the call does not wait, and shows nothing.
    Kept,
}

impl Stay {
    /// What holds for a thread in a call.
    pub(crate) fn of(call: &Syscall) -> Self {
        // paths, and the vectors of an exec: the kernel would look for an idle CPU in the midst of it
        let path = |kind: &Kind| matches!(kind, Kind::Path(_) | Kind::Strv);
        if is_affinity(call) || matches!(call.category, Category::IoRead | Category::Io) {
            Self::Free
        } else if call.returns == Returns::Child || call.params.iter().any(|p| path(&p.kind)) {
            Self::Kept
        } else {
            Self::Woken
        }
    }
}

/// The calls that ask for and set an affinity.
pub(crate) const AFFINITY: [&str; 2] = ["sched_getaffinity", "sched_setaffinity"];

/// The calls that open a file by its path.
pub(crate) fn opens() -> impl Iterator<Item = &'static Syscall> {
    SYSCALLS.iter().filter(|call| opens_path(call).is_some())
}

/// The parameter that has the path of the file that a call opens.
pub(crate) fn opens_path(call: &Syscall) -> Option<usize> {
    call.facts
        .iter()
        .find(|fact| fact.fact == Fact::Path && fact.of.is_none())?;
    let path = |kind: &Kind| matches!(kind, Kind::Path(_));
    call.params.iter().position(|param| path(&param.kind))
}

/// Whether a path may be one of /proc that shows an affinity.
pub(crate) fn shows_affinity(path: &[u8]) -> bool {
    path.ends_with(b"/status") || path == b"status"
}

/// Whether a call is one of [`AFFINITY`].
pub(crate) fn is_affinity(call: &Syscall) -> bool {
    AFFINITY.contains(&call.name)
}

/// A set of CPUs.
#[derive(Clone, Copy)]
struct Mask(cpu_set_t);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} CPUs", self.count())
    }
}

impl PartialEq for Mask {
    fn eq(&self, other: &Self) -> bool {
        // SAFETY: both sets are whole.
        unsafe { libc::CPU_EQUAL(&self.0, &other.0) }
    }
}

impl Mask {
    fn one(cpu: usize) -> Self {
        // SAFETY: plain data; a CPU beyond the set is ignored.
        unsafe {
            let mut set: cpu_set_t = zeroed();
            libc::CPU_SET(cpu, &mut set);
            Self(set)
        }
    }

    fn every() -> Self {
        let mut all = Self::one(0);
        // SAFETY: as above.
        (0..libc::CPU_SETSIZE as usize).for_each(|cpu| unsafe { libc::CPU_SET(cpu, &mut all.0) });
        all
    }

    fn has(&self, cpu: usize) -> bool {
        // SAFETY: the set is whole; a CPU beyond it is not in it.
        cpu < libc::CPU_SETSIZE as usize && unsafe { libc::CPU_ISSET(cpu, &self.0) }
    }

    fn count(&self) -> i32 {
        // SAFETY: the set is whole.
        unsafe { libc::CPU_COUNT(&self.0) }
    }

    /// A thread's; 0: our own.
    fn get(tid: pid_t) -> Option<Self> {
        // SAFETY: the kernel writes at most one set.
        unsafe {
            let mut set: cpu_set_t = zeroed();
            let error = libc::sched_getaffinity(tid, size_of::<cpu_set_t>(), &raw mut set);
            (error == 0).then_some(Self(set))
        }
    }

    fn set(&self, tid: pid_t) -> bool {
        // SAFETY: the kernel reads one set.
        unsafe { libc::sched_setaffinity(tid, size_of::<cpu_set_t>(), &raw const self.0) == 0 }
    }
}

/// A thread that is kept at home.
#[derive(Debug)]
struct Kept {
    tid: pid_t,
    /// Its mask was this.
    wide: Mask,
    /// Its last stop.
    when: Instant,
}

/// Where the tracer is, and whom it keeps there.
#[derive(Debug)]
pub(crate) struct Follower {
    /// The CPUs that the tracer may use; none: it follows nobody.
    own: Option<Mask>,
    /// The one where it stays.
    home: Option<usize>,
    /// The home CPU's set.
    narrow: Mask,
    /// All there could ever be.
    every: Mask,
    /// What a thread has that was restricted by nobody, once known: it gets all CPUs back, not just those
    /// that there are now.
    unrestricted: Option<Mask>,
    /// Who was woken there last.
    resident: pid_t,
    /// Threads whose masks are narrow.
    kept: Vec<Kept>,
    /// Threads are kept between their calls, too.
    keeps: bool,
    /// Not before then.
    away: Option<Instant>,
    /// Threads in a call about affinities.
    asking: Vec<pid_t>,
    /// Whose stop was the last, how many stops it had in a row, how many were quick, when it was.
    latest: pid_t,
    alone: u32,
    quick: u32,
    when: Instant,
    /// Wake-ups since the last look.
    woken: u32,
}

impl Follower {
    /// `wanted`: the tracees end with us, so that none is left with a narrow mask.
    pub(crate) fn new(wanted: bool) -> Self {
        Self {
            own: Mask::get(0).filter(|mask| wanted && mask.count() > 1),
            home: None,
            narrow: Mask::one(0),
            every: Mask::every(),
            unrestricted: None,
            resident: 0,
            kept: Vec::new(),
            keeps: false,
            away: None,
            asking: Vec::new(),
            latest: 0,
            alone: 0,
            quick: 0,
            when: Instant::now(),
            woken: 0,
        }
    }

    /// A thread has stopped.
    pub(crate) fn seen(&mut self, tid: pid_t, now: Instant) {
        if self.own.is_none() {
            return;
        }
        let quick = now.saturating_duration_since(self.when) < BUSY;
        self.when = now;
        while let Some(kept) = self
            .kept
            .iter()
            .find(|kept| self.keeps && kept.when + KEEP < now)
        {
            self.free(kept.tid);
        }
        self.quick = if quick {
            self.quick.saturating_add(1)
        } else {
            0
        };
        self.alone = if tid == self.latest {
            self.alone.saturating_add(1)
        } else {
            0
        };
        self.latest = tid;
        let astray = self.home.is_none() || (tid != self.resident && self.alone >= RUN);
        if self.quick >= RUN && (astray || self.woken >= LOOK) {
            self.woken = 0;
            if let Some(cpu) = cpu_of(tid) {
                self.settle(cpu, tid);
            }
        }
    }

    /// Moves to where a tracee is.
    fn settle(&mut self, cpu: usize, tid: pid_t) {
        if self.own.is_none_or(|own| !own.has(cpu)) {
            return;
        }
        if self.home != Some(cpu) {
            self.free_all();
            self.narrow = Mask::one(cpu);
            if !self.narrow.set(0) {
                self.own = None;
                self.home = None;
                return;
            }
            self.home = Some(cpu);
        }
        self.resident = tid;
    }

    /// From now on threads are kept between their calls. To be asked for where
    /// [`look_away`](Self::look_away) is called when somebody opens what shows their masks.
    pub(crate) fn keep(&mut self) {
        self.keeps = true;
    }

    /// Somebody is about to read /proc/PID/status: everybody's mask is the own one for a while.
    pub(crate) fn look_away(&mut self) {
        self.free_all();
        self.away = Some(self.when + AWAY);
    }

    /// Whether threads are kept between their calls just now.
    fn keeping(&self) -> bool {
        self.keeps && self.away.is_none_or(|until| until < self.when)
    }

    /// How long to wait for the next stop until [`idle`](Self::idle) has something to do.
    pub(crate) fn patience(&self) -> Option<Duration> {
        (self.keeps && !self.kept.is_empty()).then_some(KEEP)
    }

    /// A thread has taken another one's id (execve(2)).
    pub(crate) fn renamed(&mut self, former: pid_t, tid: pid_t) {
        self.forget(tid);
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.tid == former) {
            kept.tid = tid;
        }
    }

    /// Nothing has stopped for a while.
    pub(crate) fn idle(&mut self) {
        if self.keeps && self.when.elapsed() >= KEEP {
            self.free_all();
        }
        if self.home.is_some() && self.when.elapsed() > IDLE {
            self.leave();
        }
    }

    /// Goes where it likes, and lets all others do so.
    pub(crate) fn leave(&mut self) {
        self.free_all();
        if self.home.take().is_some()
            && let Some(own) = self.own
        {
            own.set(0);
        }
    }

    /// Who was woken on the home CPU last; none: there is no home, so that nobody is to be.
    pub(crate) fn resident(&self) -> Option<pid_t> {
        self.home
            .filter(|_| self.asking.is_empty())
            .map(|_| self.resident)
    }

    /// A thread is about to ask for or to set an affinity: everybody has the own one until it has.
    pub(crate) fn begin_asking(&mut self, tid: pid_t) {
        self.free_all();
        self.asking.push(tid);
    }

    /// A thread's call is over.
    pub(crate) fn end_asking(&mut self, tid: pid_t) {
        self.asking.retain(|asking| *asking != tid);
    }

    /// A thread has ended.
    pub(crate) fn forget(&mut self, tid: pid_t) {
        self.end_asking(tid);
        self.kept.retain(|kept| kept.tid != tid);
    }

    /// A child stands before its first instruction: it has the mask that its parent has, or would have.
    pub(crate) fn born(&self, child: pid_t, parent: pid_t) {
        if self.home.is_none() || Mask::get(child) != Some(self.narrow) {
            return;
        }
        let kept = self.kept.iter().find(|kept| kept.tid == parent);
        let wide = match kept {
            Some(kept) => Some(kept.wide),
            None => Mask::get(parent).or(Some(self.every)),
        };
        if let Some(wide) = wide.filter(|wide| *wide != self.narrow) {
            self.widen(child, &wide);
        }
    }

    /// Goes on from a stop, on the home CPU if the thread is `near`.
    pub(crate) fn resume(
        &mut self,
        stopped: Stopped,
        to_exit: bool,
        signal: i32,
        stay: Stay,
        near: bool,
    ) {
        let tid = stopped.tid();
        // for whoever looks, a mask is not narrow even while its thread is woken
        let away = self.keeps && !self.keeping();
        if self.home.is_none() || stay == Stay::Free || !near || away {
            self.free(tid);
            stopped.resume(to_exit, signal);
            return;
        }
        self.resident = tid;
        self.woken += 1;
        let keeping = self.keeping();
        if keeping && let Some(kept) = self.kept.iter_mut().find(|kept| kept.tid == tid) {
            kept.when = self.when;
            stopped.resume(to_exit, signal);
            return;
        }
        let wide = self.take(tid).or_else(|| self.narrow_down(tid));
        stopped.resume(to_exit, signal);
        match wide {
            Some(wide) if keeping || stay == Stay::Kept => self.kept.push(Kept {
                tid,
                wide,
                when: self.when,
            }),
            Some(wide) => self.widen(tid, &wide),
            None => {}
        }
    }

    /// Narrows a mask; answers with what it was, if that had to be and could be done.
    fn narrow_down(&mut self, tid: pid_t) -> Option<Mask> {
        let wide = Mask::get(tid)?;
        let home = self.home?;
        if wide == self.narrow || !wide.has(home) {
            return None;
        }
        if self.unrestricted.is_none() && self.every.set(tid) {
            self.unrestricted = Mask::get(tid);
        }
        self.narrow.set(tid).then_some(wide)
    }

    fn widen(&self, tid: pid_t, wide: &Mask) {
        if self.unrestricted == Some(*wide) {
            self.every.set(tid);
        } else {
            wide.set(tid);
        }
    }

    /// What a kept thread had, unless somebody else has given it another mask meanwhile.
    fn take(&mut self, tid: pid_t) -> Option<Mask> {
        let at = self.kept.iter().position(|kept| kept.tid == tid)?;
        let wide = self.kept.swap_remove(at).wide;
        (Mask::get(tid) == Some(self.narrow)).then_some(wide)
    }

    fn free(&mut self, tid: pid_t) {
        if let Some(wide) = self.take(tid) {
            self.widen(tid, &wide);
        }
    }

    fn free_all(&mut self) {
        while let Some(kept) = self.kept.last() {
            self.free(kept.tid);
        }
    }
}

/// Where a thread was last (proc(5), /proc/PID/stat, field 39).
fn cpu_of(tid: pid_t) -> Option<usize> {
    let mut room = [0; 1024];
    let stat = ProcDir::open(tid.unsigned_abs())?.read(c"stat", &mut room)?;
    let behind = stat.iter().rposition(|b| *b == b')')?;
    let words = std::str::from_utf8(stat.get(behind + 2..)?).ok()?;
    words.split_ascii_whitespace().nth(39 - 3)?.parse().ok()
}
