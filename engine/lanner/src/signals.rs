//! Signals: some end a session, others are passed on to the command.
//!
//! A command under lanner gets the signals that it would get without lanner. The terminal signals the whole foreground
//! process group, so the command has those already. Signals that are sent to lanner alone are passed on. lanner then ends
//! when the command ends, with its status. So lanner can also be the first process of a container, which gets no signal
//! that it has no handler for (pid_namespaces(7)).

use std::mem::zeroed;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use session::{Control, Observer, SourceConfig};

use super::Failure;

/// Signals that are passed on, besides real-time signals.
const PASSED_ON: [i32; 9] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGWINCH,
    libc::SIGPWR,
];
/// Signals that the first process of a container also passes on, because no shell waits for lanner itself to stop.
const BY_FIRST: [i32; 2] = [libc::SIGTSTP, libc::SIGCONT];
/// Signals that end a session if there is no command or the command has ended.
const ENDING: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// The session that signals ask to end, to reload or to reopen.
static CONTROL: OnceLock<Arc<Control>> = OnceLock::new();

/// The command's process id, and a pidfd where the kernel has them (Linux 5.3). 0 and -1: the command has not begun.
static COMMAND: AtomicI32 = AtomicI32::new(0);
static HANDLE: AtomicI32 = AtomicI32::new(-1);
/// Signals that came before the command began, one bit each.
static EARLY: AtomicU64 = AtomicU64::new(0);

/// Whether lanner is the first process of its PID namespace.
fn is_first() -> bool {
    std::process::id() == 1
}

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// Installs the handlers, which end the session or pass signals on to a command. Call it before the command is started:
/// signals that come before the command runs are kept for it.
pub(crate) fn watch(
    source: &SourceConfig,
    reloads: bool,
    observer: Box<dyn Observer>,
) -> Result<Arc<Control>, Failure> {
    let control = CONTROL.get_or_init(|| Arc::new(Control::new(observer)));
    handle_all(!source.command.is_empty(), reloads)?;
    Ok(Arc::clone(control))
}

fn handle_all(command: bool, reloads: bool) -> Result<(), Failure> {
    if !command {
        for signal in [libc::SIGTERM, libc::SIGINT] {
            handle(signal, end, 0)?;
        }
        if !reloads {
            return handle(libc::SIGHUP, end, 0);
        }
        handle(libc::SIGHUP, hang_up, libc::SA_RESTART)?;
        return handle(libc::SIGUSR1, reopen, libc::SA_RESTART);
    }
    // libc::SIGRTMIN() excludes the C library's own signals
    let reserved: Vec<i32> = ::drivers::registered()
        .iter()
        .flat_map(|driver| driver.reserved_signals())
        .collect();
    let real_time =
        (libc::SIGRTMIN()..=libc::SIGRTMAX()).filter(|signal| !reserved.contains(signal));
    let first: &[i32] = if is_first() { &BY_FIRST } else { &[] };
    for signal in PASSED_ON
        .iter()
        .chain(first)
        .copied()
        .chain(real_time)
        .filter(|signal| !is_ignored(*signal))
    {
        handle(signal, pass_on, libc::SA_RESTART)?;
    }
    Ok(())
}

/// Whether lanner was started with this signal ignored (nohup(1)). The command ignores it as well.
fn is_ignored(signal: i32) -> bool {
    // SAFETY: sigaction(2) writes one plain struct.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        libc::sigaction(signal, null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

fn handle(signal: i32, handler: Handler, flags: i32) -> Result<(), Failure> {
    // SAFETY: the handlers call nothing but async-signal-safe functions, and touch nothing but atomics.
    let error = unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = flags | libc::SA_SIGINFO;
        libc::sigaction(signal, &raw const action, null_mut())
    };
    if error == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(Failure::broken(format!(
        "cannot watch for signal {signal}: {error}"
    )))
}

/// A file that would become larger than the limit (`ulimit -f`) is an error of the write, and does not kill lanner. A
/// handler does that, because a command would inherit an ignored signal.
pub(crate) fn survive_file_limit() {
    if let Err(failure) = handle(libc::SIGXFSZ, nothing, libc::SA_RESTART) {
        tracing::debug!("{}", failure.message);
    }
}

extern "C" fn nothing(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// Notes that the command has begun, and sends it the signals that came before.
pub(crate) fn begun(pid: u32) {
    let pid = pid.cast_signed();
    if COMMAND.swap(pid, Ordering::SeqCst) != pid {
        // SAFETY: pidfd_open(2) takes numbers; the command is a child that has not been waited for.
        let handle = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        HANDLE.store(i32::try_from(handle).unwrap_or(-1), Ordering::SeqCst);
    }
    let early = EARLY.swap(0, Ordering::SeqCst);
    for signal in (1..=64).filter(|signal| early >> (signal - 1) & 1 == 1) {
        send(signal, null());
    }
}

/// Asks the command to end.
pub(crate) fn end_command() {
    send(libc::SIGTERM, null());
}

/// Notes that the command has ended: another process may soon have its id.
pub(crate) fn ended() {
    COMMAND.store(-1, Ordering::SeqCst);
}

/// Sends a signal to the command. Returns whether the command exists. Async-signal-safe.
fn send(signal: i32, info: *const libc::siginfo_t) -> bool {
    let (pid, handle) = (
        COMMAND.load(Ordering::SeqCst),
        HANDLE.load(Ordering::SeqCst),
    );
    // SAFETY: both calls take numbers, and a siginfo that outlives them or is null.
    unsafe {
        if handle >= 0 {
            libc::syscall(libc::SYS_pidfd_send_signal, handle, signal, info, 0) == 0
        } else {
            pid > 0 && libc::kill(pid, signal) == 0
        }
    }
}

/// Asks the session for something. Async-signal-safe: a look at an initialized `OnceLock`, and an atomic store.
fn ask(request: fn(&Control)) {
    if let Some(control) = CONTROL.get() {
        request(control);
    }
}

/// When the last signal came that would end the session if there were no command, in milliseconds of the clock that
/// `now_ms` reads. 0: none came.
static LAST_ENDING: AtomicU64 = AtomicU64::new(0);
/// For how long a writer that waits takes it for a request to end, if the command has not ended. A command that handles the
/// signal and goes on is not cut off later.
const COUNTS_MS: u64 = 2_000;

/// Whether signals ask to end: the session, or the command while lanner waits and cannot look after it.
pub(crate) fn ask_to_end() -> bool {
    let last = LAST_ENDING.load(Ordering::SeqCst);
    CONTROL
        .get()
        .is_some_and(|control| control.is_asked_to_end())
        || (last > 0
            && (COMMAND.load(Ordering::SeqCst) < 0 || now_ms().saturating_sub(last) < COUNTS_MS))
}

/// Async-signal-safe.
fn now_ms() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: clock_gettime(2) writes one plain struct.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let ms = now.tv_sec.saturating_mul(1000) + now.tv_nsec / 1_000_000;
    u64::try_from(ms).unwrap_or(0).max(1)
}

extern "C" fn end(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    ask(Control::end);
}

/// SIGHUP. From the kernel, it means that the terminal hung up, and ends the session; from a process, it asks for a reload.
extern "C" fn hang_up(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel's siginfo outlives the handler.
    if unsafe { (*info).si_code } == libc::SI_KERNEL {
        ask(Control::end);
    } else {
        ask(Control::reload);
    }
}

extern "C" fn reopen(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    ask(Control::reopen);
}

extern "C" fn pass_on(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    if ENDING.contains(&signal) {
        LAST_ENDING.store(now_ms(), Ordering::SeqCst);
    }
    // SAFETY: errno belongs to the interrupted code, and is restored; the kernel's siginfo outlives the handler.
    unsafe {
        let errno = *libc::__errno_location();
        route(signal, &*info);
        *libc::__errno_location() = errno;
    }
}

fn route(signal: i32, info: &libc::siginfo_t) {
    let command = COMMAND.load(Ordering::SeqCst);
    // the terminal's signals come from the kernel; only the session leader gets SIGHUP when the terminal hangs up
    // SAFETY: getsid(2) and getpid(2) have no invalid arguments here.
    let leads = || unsafe { libc::getsid(0) == libc::getpid() };
    let has_it = info.si_code == libc::SI_KERNEL && !(signal == libc::SIGHUP && leads());
    if command == 0 {
        if !has_it {
            EARLY.fetch_or(1 << (signal - 1), Ordering::SeqCst);
        }
        return;
    }
    // a command that signals its process group does not want its own signal back
    // SAFETY: every siginfo that a process sends has its id.
    let own = info.si_code <= libc::SI_USER && unsafe { info.si_pid() } == command;
    let info = if info.si_code == libc::SI_QUEUE {
        std::ptr::from_ref(info)
    } else {
        null()
    };
    let there = if has_it || own {
        send(0, null())
    } else {
        send(signal, info)
    };
    if !there && ENDING.contains(&signal) {
        ask(Control::end);
    }
}
