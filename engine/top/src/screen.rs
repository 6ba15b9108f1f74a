//! The terminal: takes it over, and gives it back, however the process ends.
//!
//! While lanner draws, standard output and standard error are a pipe, and standard input is `/dev/null`. The command
//! inherits these, so nothing that it or lanner writes can tear the picture; a pane shows it. The state is in atomics,
//! because signal handlers give the terminal back, too (signal-safety(7)).

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use crate::error::TopError;

/// The user's standard descriptors. -1: they are where they belong.
static SAVED: [AtomicI32; 3] = [const { AtomicI32::new(-1) }; 3];
/// How the terminal was before.
static BEFORE: OnceLock<libc::termios> = OnceLock::new();
/// lanner draws.
static DRAWS: AtomicBool = AtomicBool::new(false);
/// The thread that draws (gettid(2)). 0: none has begun to.
static DRAWER: AtomicI32 = AtomicI32::new(0);
/// Everything has to be drawn again.
static STALE: AtomicBool = AtomicBool::new(false);

/// Another screen, without a cursor; and the way back.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";

/// The terminal. Dropping this gives it back.
#[derive(Debug)]
pub struct Screen {
    /// What the command and lanner write.
    written: Option<File>,
}

impl Screen {
    /// Takes over the standard descriptors. The screen itself is taken when drawing begins. Do this before a command is
    /// started.
    ///
    /// # Errors
    ///
    /// Standard output is no terminal that lanner can draw on.
    pub fn take() -> Result<Self, TopError> {
        if !io::stdout().is_terminal() {
            return Err(TopError::NotATerminal);
        }
        match std::env::var("TERM") {
            Ok(term) if term != "dumb" && !term.is_empty() => {}
            term => return Err(TopError::Dumb(term.unwrap_or_default())),
        }
        // keys come from there, as standard input will be /dev/null
        File::open("/dev/tty").map_err(TopError::Terminal)?;
        let written = redirect().map_err(TopError::Terminal)?;
        Ok(Self {
            written: Some(written),
        })
    }

    /// What the command and lanner write to standard output and standard error. Once.
    pub(crate) fn written(&mut self) -> Option<File> {
        self.written.take()
    }

    /// Begins to draw.
    pub(crate) fn terminal(&self) -> io::Result<Terminal<CrosstermBackend<File>>> {
        let tty = duplicate(SAVED[1].load(SeqCst))?;
        let mut before = std::mem::MaybeUninit::<libc::termios>::uninit();
        // SAFETY: tcgetattr(3) writes the structure if it succeeds.
        if unsafe { libc::tcgetattr(tty.as_raw_fd(), before.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it succeeded.
        let _ = BEFORE.set(unsafe { before.assume_init() });
        // SAFETY: gettid(2) always succeeds.
        DRAWER.store(unsafe { libc::gettid() }, SeqCst);
        handle_signals();
        give_back_on_panic();
        enter();
        Terminal::new(CrosstermBackend::new(File::from(tty)))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Whether the screen has to be drawn as a whole, since something else was drawn there.
pub(crate) fn take_stale() -> bool {
    STALE.swap(false, SeqCst)
}

fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl(2) takes numbers; the new descriptor has no other owner.
    unsafe {
        let new = libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3);
        if new < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(new))
    }
}

/// Saves the standard descriptors and replaces them. Returns the end of the pipe that has what is written.
fn redirect() -> io::Result<File> {
    let (reader, writer) = io::pipe()?;
    let null = File::open("/dev/null")?;
    for (at, saved) in SAVED.iter().enumerate() {
        let fd = RawFd::try_from(at).unwrap_or(0);
        let copy = duplicate(fd)?;
        saved.store(copy.as_raw_fd(), SeqCst);
        // it is closed when it is given back
        std::mem::forget(copy);
    }
    let _ = io::stdout().flush();
    for (from, to) in [
        (null.as_raw_fd(), libc::STDIN_FILENO),
        (writer.as_raw_fd(), libc::STDOUT_FILENO),
        (writer.as_raw_fd(), libc::STDERR_FILENO),
    ] {
        // SAFETY: dup2(2) takes numbers. What the standard descriptors refer to is not cached anywhere.
        if unsafe { libc::dup2(from, to) } < 0 {
            let error = io::Error::last_os_error();
            give_back();
            return Err(error);
        }
    }
    Ok(File::from(OwnedFd::from(reader)))
}

/// Takes the screen. Async-signal-safe.
fn enter() {
    let Some(before) = BEFORE.get() else { return };
    let tty = SAVED[1].load(SeqCst);
    let mut raw = *before;
    // SAFETY: cfmakeraw(3) changes the structure; tcsetattr(3) reads it; write(2) reads the bytes.
    unsafe {
        libc::cfmakeraw(&raw mut raw);
        libc::tcsetattr(tty, libc::TCSADRAIN, &raw const raw);
        libc::write(tty, ENTER.as_ptr().cast(), ENTER.len());
    }
    DRAWS.store(true, SeqCst);
    STALE.store(true, SeqCst);
}

/// Gives the screen back. A second call does nothing. Async-signal-safe.
fn leave() {
    if !DRAWS.swap(false, SeqCst) {
        return;
    }
    let tty = SAVED[1].load(SeqCst);
    // SAFETY: write(2) reads the bytes; tcsetattr(3) reads the structure.
    unsafe {
        libc::write(tty, LEAVE.as_ptr().cast(), LEAVE.len());
        if let Some(before) = BEFORE.get() {
            libc::tcsetattr(tty, libc::TCSADRAIN, std::ptr::from_ref(before));
        }
    }
}

/// Gives the screen and the standard descriptors back. A second call does nothing. Async-signal-safe.
fn give_back() {
    leave();
    for (at, saved) in SAVED.iter().enumerate() {
        let fd = saved.swap(-1, SeqCst);
        if fd >= 0 {
            // SAFETY: the descriptor is this module's own, and is not used after this.
            unsafe {
                libc::dup2(fd, i32::try_from(at).unwrap_or(0));
                libc::close(fd);
            }
        }
    }
}

/// A panic gives the terminal back before its message is written.
fn give_back_on_panic() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
    });
}

/// Signals that end or stop the process. Those for which something else has a handler are left to it, except crashes.
const ENDING: [i32; 4] = [libc::SIGQUIT, libc::SIGALRM, libc::SIGUSR1, libc::SIGUSR2];
const CRASHES: [i32; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
];
/// What signals did before, by their number.
static ACTIONS: [OnceLock<libc::sigaction>; 32] = [const { OnceLock::new() }; 32];

fn handle_signals() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        for signal in CRASHES {
            handle(signal, give_back_and_end, true);
        }
        for signal in ENDING {
            handle(signal, give_back_and_end, false);
        }
        handle(libc::SIGTSTP, stop, false);
        handle(libc::SIGCONT, go_on, false);
    });
}

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

fn handle(signal: i32, handler: Handler, replaces: bool) {
    let slot = usize::try_from(signal).ok().and_then(|at| ACTIONS.get(at));
    let Some(slot) = slot else { return };
    // SAFETY: sigaction(2) reads and writes plain structures. The handlers call async-signal-safe functions and touch
    // nothing but atomics and what is never changed.
    unsafe {
        let mut before: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(signal, std::ptr::null(), &raw mut before) != 0 {
            return;
        }
        if !replaces && before.sa_sigaction != libc::SIG_DFL {
            return;
        }
        let _ = slot.set(before);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART | libc::SA_NODEFER;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut());
    }
}

fn before(signal: i32) -> Option<&'static libc::sigaction> {
    let at = usize::try_from(signal).ok()?;
    ACTIONS.get(at)?.get()
}

/// Gives the terminal back, and lets the signal do what it did before.
extern "C" fn give_back_and_end(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    give_back();
    let Some(before) = before(signal) else { return };
    // SAFETY: as in `handle`. The kernel's siginfo outlives the handler.
    unsafe {
        libc::sigaction(signal, std::ptr::from_ref(before), std::ptr::null_mut());
        // a fault comes again by itself; a signal that was sent does not
        if (*info).si_code <= 0 {
            libc::raise(signal);
        }
    }
}

/// Stops as a shell's job does, and draws again when it goes on. The thread that draws does it, whichever thread the kernel
/// has chosen, so that nothing is drawn after the terminal was given back.
extern "C" fn stop(signal: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let drawer = DRAWER.load(SeqCst);
    // SAFETY: as in `handle`; errno belongs to the interrupted code, and is restored.
    unsafe {
        let errno = *libc::__errno_location();
        let elsewhere = drawer != 0
            && drawer != libc::gettid()
            && libc::syscall(libc::SYS_tgkill, libc::getpid(), drawer, signal) == 0;
        if !elsewhere {
            stop_here(signal);
        }
        *libc::__errno_location() = errno;
    }
}

/// # Safety
///
/// Only for the handler of this signal. It changes errno.
unsafe fn stop_here(signal: i32) {
    let drew = DRAWS.load(SeqCst);
    leave();
    if let Some(before) = before(signal) {
        // SAFETY: as in `handle`. The signal is for this thread: another one could take it only after this one has taken the
        // screen again.
        unsafe {
            let mut ours: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::from_ref(before), &raw mut ours);
            libc::raise(signal);
            libc::sigaction(signal, &raw const ours, std::ptr::null_mut());
        }
    }
    if drew {
        enter();
    }
}

/// Takes the screen again after a stop without notice (SIGSTOP): a shell has drawn there, and has set the terminal's modes.
extern "C" fn go_on(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: errno belongs to the interrupted code, and is restored.
    let errno = unsafe { *libc::__errno_location() };
    if DRAWS.load(SeqCst) {
        enter();
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Stops lanner and the command, as ^Z does where the terminal makes signals.
pub(crate) fn suspend() {
    // SAFETY: kill(2) takes numbers; 0 is the own process group.
    unsafe {
        libc::kill(0, libc::SIGTSTP);
    }
}
