//! A heartbeat: a call of lanner's own that must come back as an event. It passes everything that an event passes: the
//! programs in the kernel, their maps, the buffers, the reader and the event path. If it does not come back, lanner is blind,
//! for whatever reason, and reports it with an alert and at /healthz.
//!
//! The calls of lanner itself are not captured. So a process of its own makes the call: a copy of this one that has
//! nothing but a pipe, on which it is asked to call. Only captures of the whole host have a heartbeat: no process can remove
//! the ptrace driver's filter from a command, and if lanner stops, the command waits for it.
//!
//! The call is `sched_get_priority_max`. It changes nothing, every sandbox allows it, and few programs make it. Its arguments
//! are a number that only this session knows, and the number of the beat.

use std::io::{self, PipeWriter, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use driver_api::event::{Abi, Event, EventKind, Loss};
use driver_api::selection::Selection;
use driver_api::table::{self, Syscall};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::config::HeartbeatConfig;
use crate::telemetry::Telemetry;

/// The call.
const CALL: &str = "sched_get_priority_max";
/// The heartbeat is missing when this number of beats in a row has not come back.
const MISSED: u32 = 5;
/// The longest that the process is waited for at the end.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the event path and the other threads know of the heartbeat.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// The number that only this session knows; 0: there is no heartbeat.
    secret: AtomicU64,
    /// The id that the process which makes the calls has in events; 0: not known yet.
    process: AtomicU32,
    /// The latest beat that was asked for, and the latest that came back.
    asked: AtomicU64,
    back: AtomicU64,
    missing: AtomicBool,
}

impl Pulse {
    /// Whether an event is the heartbeat, or something else that its process did. No rule sees these.
    #[inline]
    pub(crate) fn takes(&self, event: &Event<'_>) -> bool {
        let process = self.process.load(Relaxed);
        self.is_beat(event) || (process != 0 && event.header().tgid == process)
    }

    #[inline]
    fn is_beat(&self, event: &Event<'_>) -> bool {
        let header = event.header();
        let secret = self.secret.load(Relaxed);
        if secret == 0 || header.args[0] != secret || event.kind() != EventKind::Syscall {
            return false;
        }
        self.back.fetch_max(header.args[1], Relaxed);
        self.process.store(header.tgid, Relaxed);
        true
    }

    /// Whether the heartbeat has not come back for too long.
    pub(crate) fn is_missing(&self) -> bool {
        self.missing.load(Relaxed)
    }

    /// Beats that were asked for, and beats that came back. None: there is no heartbeat.
    pub(crate) fn beats(&self) -> Option<(u64, u64)> {
        let some = self.secret.load(Relaxed) != 0;
        some.then(|| (self.asked.load(Relaxed), self.back.load(Relaxed)))
    }
}

/// The call that the heartbeat makes.
pub(crate) fn call() -> Option<&'static Syscall> {
    table::by_name(CALL)
}

/// A selection with all events of the heartbeat's call.
pub(crate) fn with_call(selection: &Selection) -> Selection {
    selection.with_all_of(&call().into_iter().collect())
}

/// Whether an event is a call of the heartbeat's kind. Other programs make some, too.
#[inline]
pub(crate) fn is_call(event: &Event<'_>) -> bool {
    event.kind() == EventKind::Syscall
        && event.abi() == Abi::NATIVE
        && i64::from(event.header().nr) == libc::SYS_sched_get_priority_max
}

/// What a look at the heartbeat has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It does not come back any more.
    Missing(&'static str),
    /// It comes back again.
    Back,
    /// Its process was ended by another.
    Killed(String),
}

/// The counters at a moment, by which the cause of a missing beat is found.
#[derive(Debug, Clone, Copy)]
struct Counters {
    captured: u64,
    full: u64,
}

/// Makes the heartbeat. Dropping it ends its process.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    telemetry: Arc<Telemetry>,
    interval: Duration,
    process: Option<Process>,
    asked: Instant,
    /// Since when no beat has come back, and the counters then. None: the latest one came back.
    waits: Option<(Instant, Counters)>,
    /// The latest beat that was seen to come back.
    seen: u64,
}

impl Heartbeat {
    /// Starts the process. Call it early: it keeps a copy of the memory that this one has now.
    ///
    /// # Errors
    ///
    /// There is no process, or no random number.
    pub(crate) fn start(config: &HeartbeatConfig, telemetry: Arc<Telemetry>) -> io::Result<Self> {
        let secret = secret()?;
        let process = Process::start(secret)?;
        telemetry.pulse.secret.store(secret, Relaxed);
        Ok(Self {
            interval: config.interval.0,
            process: Some(process),
            asked: Instant::now(),
            waits: None,
            seen: 0,
            telemetry,
        })
    }

    /// How often [`look`](Self::look) is to be called.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// Asks for the next beat, if it is time, and looks whether beats come back.
    pub(crate) fn look(&mut self) -> Option<Sign> {
        let now = Instant::now();
        let pulse = &self.telemetry.pulse;
        let back = pulse.back.load(Relaxed);
        if back > self.seen {
            self.seen = back;
            self.waits = None;
            if pulse.missing.swap(false, Relaxed) {
                return Some(Sign::Back);
            }
        }
        if let Some((since, before)) = self.waits
            && now.duration_since(since) >= self.interval * MISSED
            && !pulse.missing.swap(true, Relaxed)
        {
            return Some(Sign::Missing(self.cause(before)));
        }
        if now.duration_since(self.asked) < self.interval {
            return None;
        }
        self.asked = now;
        let beat = pulse.asked.fetch_add(1, Relaxed) + 1;
        let asked = self.process.as_mut().map(|process| process.ask(beat));
        if matches!(asked, Some(Ok(()))) {
            if self.waits.is_none() {
                self.waits = Some((now, self.counters()));
            }
            return None;
        }
        self.restart()
    }

    /// Starts another process instead of one that has ended.
    fn restart(&mut self) -> Option<Sign> {
        let how = self.process.take().map(Process::end);
        let secret = self.telemetry.pulse.secret.load(Relaxed);
        match Process::start(secret) {
            Ok(process) => self.process = Some(process),
            Err(error) => {
                // no beat comes back, so an alert follows
                tracing::error!("the heartbeat's process cannot be started: {error}");
                if self.waits.is_none() {
                    self.waits = Some((Instant::now(), self.counters()));
                }
            }
        }
        match how {
            Some(Ok(WaitStatus::Signaled(_, signal, _))) => Some(Sign::Killed(signal.to_string())),
            Some(status) => {
                tracing::warn!("the heartbeat's process has ended: {status:?}");
                None
            }
            None => None,
        }
    }

    fn counters(&self) -> Counters {
        let (captured, lost) = self.telemetry.events();
        Counters {
            captured,
            full: lost[Loss::BufferFull as usize],
        }
    }

    /// Why no beat has come back since the counters were these.
    fn cause(&self, before: Counters) -> &'static str {
        let now = self.counters();
        if self.process.is_none() {
            "the process that makes it cannot be started"
        } else if !self.telemetry.is_alive() {
            "the event path has stopped, perhaps in a call of a rule plugin"
        } else if now.full > before.full {
            "the buffers are full: more events come than lanner can handle"
        } else if now.captured == before.captured {
            "no event at all arrives: another process with CAP_BPF or CAP_SYS_ADMIN may have detached lanner's programs in \
             the kernel, or changed their maps"
        } else {
            "other events arrive, but not this call: another process with CAP_BPF or CAP_SYS_ADMIN may have changed the maps \
             of lanner's programs in the kernel"
        }
    }
}

/// A number that only this session knows.
fn secret() -> io::Result<u64> {
    let mut bytes = [0_u8; 8];
    // SAFETY: the buffer is valid for this number of bytes.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if got != bytes.len().cast_signed() {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::from_ne_bytes(bytes) | 1)
}

/// The process that makes the calls.
#[derive(Debug)]
struct Process {
    pid: Pid,
    pipe: PipeWriter,
}

impl Process {
    fn start(secret: u64) -> io::Result<Self> {
        let (asks, pipe) = io::pipe()?;
        // SAFETY: the child calls only `beat`, which keeps to what is allowed after fork(2) in a process with threads.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => beat(asks.as_raw_fd(), secret),
            pid => {
                // SAFETY: fcntl(2) takes numbers here.
                unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
                Ok(Self {
                    pid: Pid::from_raw(pid),
                    pipe,
                })
            }
        }
    }

    /// Asks for a beat. An error says that the process has ended.
    fn ask(&mut self, beat: u64) -> io::Result<()> {
        match self.pipe.write_all(&beat.to_ne_bytes()) {
            // thousands of beats wait in the pipe: the process was stopped, and is missing by now
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            asked => asked,
        }
    }

    /// Ends it, and says how it has ended.
    fn end(self) -> nix::Result<WaitStatus> {
        let Self { pid, pipe } = self;
        drop(pipe);
        let begun = Instant::now();
        loop {
            match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) if begun.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(WaitStatus::StillAlive) => {
                    // somebody has stopped it
                    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
                    return waitpid(pid, None);
                }
                other => return other,
            }
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            // it ends with the pipe, in any case
            let _ = process.end();
        }
    }
}

/// The heartbeat's process: makes a call for each number that it reads, and ends with lanner. It calls nothing but system
/// calls, since another thread may have held any lock when it was forked.
fn beat(asks: RawFd, secret: u64) -> ! {
    // SAFETY: these calls take numbers, or pointers to what is on this stack.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::prctl(libc::PR_SET_NAME, c"lanner-beat".as_ptr());
        // these are for lanner, which ends this process
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1] {
            libc::signal(signal, libc::SIG_IGN);
        }
        close_others(asks);
        let mut number = [0_u8; 8];
        while libc::read(asks, number.as_mut_ptr().cast(), number.len()) == 8 {
            let number = u64::from_ne_bytes(number);
            libc::syscall(libc::SYS_sched_get_priority_max, secret, number);
        }
        libc::_exit(0)
    }
}

/// Closes every descriptor but one: whoever waits for lanner to close a file, a pipe or a connection must not wait for this
/// process.
///
/// # Safety
///
/// Nothing in this process uses the descriptors any more.
unsafe fn close_others(but: RawFd) {
    /// The most descriptors on kernels without close_range(2).
    const MOST: RawFd = 1 << 16;
    let but_u32 = but.cast_unsigned();
    // SAFETY: by the function's contract.
    unsafe {
        let below = but == 0 || libc::syscall(libc::SYS_close_range, 0, but_u32 - 1, 0) == 0;
        let above = libc::syscall(libc::SYS_close_range, but_u32 + 1, u32::MAX, 0) == 0;
        if below && above {
            return;
        }
        for fd in (0..MOST).filter(|fd| *fd != but) {
            libc::close(fd);
        }
    }
}

#[cfg(test)]
mod tests {
    use driver_api::event::{EventBuilder, Header};
    use driver_api::stats::Stats;
    use inspect::InspectorStats;
    use test_support::wait_until;

    use super::*;
    use crate::config::Time;

    fn heartbeat(telemetry: &Arc<Telemetry>) -> Heartbeat {
        let config = HeartbeatConfig {
            enabled: true,
            interval: Time(Duration::from_millis(1)),
        };
        Heartbeat::start(&config, Arc::clone(telemetry)).unwrap()
    }

    fn deliver(pulse: &Pulse, args: [u64; 6], tgid: u32) -> bool {
        let mut builder = EventBuilder::new();
        builder.begin(&Header {
            kind: EventKind::Syscall as u8,
            abi: Abi::NATIVE as u8,
            nr: u32::try_from(libc::SYS_sched_get_priority_max).unwrap(),
            tgid,
            args,
            ..Header::default()
        });
        pulse.takes(&builder.finish().unwrap())
    }

    /// Looks until there is a sign.
    fn sign(heart: &mut Heartbeat) -> Sign {
        let mut sign = None;
        wait_until("there is a sign", || {
            sign = heart.look();
            sign.is_some()
        });
        sign.unwrap()
    }

    #[test]
    fn the_call_is_in_the_table_and_selected() {
        let call = call().unwrap();
        let number = call.number(Abi::NATIVE).map(i64::from);
        assert_eq!(number, Some(libc::SYS_sched_get_priority_max));
        assert!(with_call(&Selection::default()).contains(call));
    }

    #[test]
    fn a_heartbeat_that_does_not_come_back_is_missing_until_it_does() {
        let telemetry = Arc::new(Telemetry::default());
        telemetry.beat();
        let pulse = &telemetry.pulse;
        let mut heart = heartbeat(&telemetry);
        let secret = pulse.secret.load(Relaxed);
        let Sign::Missing(cause) = sign(&mut heart) else {
            panic!("it is missing")
        };
        assert!(cause.starts_with("no event at all arrives"), "{cause}");
        assert!(pulse.is_missing());
        assert!(!deliver(pulse, [secret ^ 2, u64::MAX, 0, 0, 0, 0], 9));
        assert!(deliver(pulse, [secret, 1, 0, 0, 0, 0], 8));
        assert!(deliver(pulse, [0; 6], 8), "something else that it did");
        assert_eq!(sign(&mut heart), Sign::Back);
        assert!(!pulse.is_missing());
        for beat in 2..1000 {
            assert!(deliver(pulse, [secret, beat, 0, 0, 0, 0], 8));
            assert_eq!(pulse.beats().unwrap().1, beat);
        }
    }

    #[test]
    fn counters_tell_why_a_beat_is_missing() {
        let full = {
            let mut stats = Stats::default();
            stats.lost[Loss::BufferFull as usize] = 1;
            stats
        };
        let others = Stats {
            captured: 1,
            ..Stats::default()
        };
        let causes = [
            (full, "the buffers are full"),
            (others, "other events arrive, but not this call"),
            (Stats::default(), "no event at all arrives"),
        ];
        for (stats, expected) in causes {
            let telemetry = Arc::new(Telemetry::default());
            telemetry.beat();
            let mut heart = heartbeat(&telemetry);
            wait_until("a beat is asked for", || {
                heart.look();
                heart.waits.is_some()
            });
            telemetry.publish(&stats, &InspectorStats::default());
            let Sign::Missing(cause) = sign(&mut heart) else {
                panic!("it is missing")
            };
            assert!(cause.starts_with(expected), "{cause}");
        }
    }

    #[test]
    fn a_process_that_another_kills_is_started_again() {
        let telemetry = Arc::new(Telemetry::default());
        telemetry.beat();
        let mut heart = heartbeat(&telemetry);
        let first = heart.process.as_ref().unwrap().pid;
        nix::sys::signal::kill(first, nix::sys::signal::Signal::SIGKILL).unwrap();
        let mut killed = None;
        wait_until("it is noticed", || {
            if let Some(Sign::Killed(signal)) = heart.look() {
                killed = Some(signal);
            }
            killed.is_some()
        });
        assert_eq!(killed.as_deref(), Some("SIGKILL"));
        assert_ne!(heart.process.as_ref().unwrap().pid, first);
    }

    #[test]
    fn the_process_has_no_descriptor_but_its_pipe_and_ends_with_the_heartbeat() {
        let telemetry = Arc::new(Telemetry::default());
        let heart = heartbeat(&telemetry);
        let pid = heart.process.as_ref().unwrap().pid;
        let open = || std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        wait_until("the others are closed", || open() == 1);
        drop(heart);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}
