//! The program that the drivers watch: it plays the script and writes down what happened.

use std::path::Path;
use std::process::ExitCode;

use driver_api::event::Abi;
use driver_api::request::{Limits, Omit};
use driver_api::table::{Multiplexed, Returns, Syscall, X32_BIT};

use crate::arena::Arena;
use crate::raw;
use crate::reference::{self, Made};
use crate::scenery::Scenery;
use crate::script::{Case, Play, script};
use crate::truth::{self, Truth};
use crate::{exec, words};

/// How long between signals, in microseconds.
const TICK: i64 = 5000;

/// What all cases share.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) arena: Arena,
    pub(crate) scenery: Scenery,
    /// The limits that the driver captures with.
    pub(crate) limits: Limits,
}

/// Limits so low that most attachments are cut off.
pub(crate) const LOW: Limits = Limits {
    bytes: 16,
    path: 20,
    strings: 24,
    arrays: 24,
    entries: 1,
    omit: Omit::NOTHING,
};

/// Plays the cases that `names` names, or all, and writes the truth into the folder.
pub(crate) fn play(folder: &Path, low: bool, names: &[String]) -> ExitCode {
    let mut actor = Actor {
        arena: Arena::new(),
        scenery: Scenery::new(folder),
        limits: if low { LOW } else { Limits::default() },
    };
    prepare();
    let mut truths = Vec::new();
    for (place, case) in script().iter().enumerate() {
        if names.is_empty() || names.iter().any(|name| name == case.call.name) {
            actor.arena.reset();
            truths.push(actor.case(place, case));
            actor.scenery.clear();
        }
    }
    std::fs::write(folder.join("truth"), truth::encode(&truths)).expect("the truth can be written");
    ExitCode::SUCCESS
}

extern "C" fn nothing(_: i32) {}

/// A session of our own, and signals that do no harm.
fn prepare() {
    let handler: extern "C" fn(i32) = nothing;
    // SAFETY: the handler does nothing; neither call touches memory.
    unsafe {
        libc::setsid();
        libc::umask(0o22);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        // the calls that wait end with EINTR in spite of it; in notify mode, a call that is not seen yet is made again
        action.sa_flags = libc::SA_RESTART;
        for signal in [libc::SIGALRM, libc::SIGILL, libc::SIGPIPE, libc::SIGUSR1] {
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// The arguments of tkill(2): a signal with a handler, to the actor itself.
fn signal_self() -> [u64; 6] {
    [std::process::id().into(), libc::SIGUSR1 as u64, 0, 0, 0, 0]
}

/// Sets the timer that interrupts calls. 0 stops it.
fn tick(every: i64) {
    let time = libc::timeval {
        tv_sec: 0,
        tv_usec: every,
    };
    let timer = libc::itimerval {
        it_interval: time,
        it_value: time,
    };
    // SAFETY: setitimer(2) reads the timer, which outlives the call.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

impl Actor {
    fn case(&mut self, place: usize, case: &Case) -> Truth {
        let args = words::args(self, case);
        let nr = if case.abi == Abi::X32 {
            case.nr | X32_BIT
        } else {
            case.nr
        };
        let mut truth = Truth {
            place: (place, 0),
            label: case.label.clone(),
            abi: case.abi,
            nr,
            args,
            ret: None,
            exec: false,
            want: Vec::new(),
            more_written: Vec::new(),
        };
        match case.play {
            Play::Ends => in_child(|| {
                raw::mark(place, 0);
                // SAFETY: the child ends here.
                unsafe { raw::call(case.abi, case.nr, &args) };
            }),
            Play::Execs => {
                truth.exec = true;
                truth.ret = Some(0);
                truth.want = exec::wants(self, case, args);
                in_child(|| {
                    // A child's pages are not accessible before it touches them, where the CPU does not mark
                    // accesses by itself (arm64 without FEAT_HAFDBS).
                    self.arena.remember();
                    raw::mark(place, 0);
                    // SAFETY: the child becomes another program or fails.
                    unsafe { raw::call(case.abi, case.nr, &args) };
                });
            }
            Play::Signals => {
                raw::mark(place, 0);
                // SAFETY: the handler does nothing, and returns to the end of this call.
                let sent =
                    unsafe { raw::call(Abi::NATIVE, libc::SYS_tkill as u32, &signal_self()) };
                truth.ret = Some(sent);
            }
            Play::Plain | Play::Births => {
                self.arena.remember();
                let ret = seen(case.abi, made(place, case, &args));
                truth.ret = Some(ret);
                let (call, nr, args) = self.meant(case, nr, args);
                truth.nr = nr;
                truth.args = args;
                let made = Made {
                    arena: &self.arena,
                    call,
                    abi: case.abi,
                    nr,
                    args,
                    ret,
                    limits: self.limits,
                };
                truth.want = reference::wants(&made);
                truth.more_written = reference::more_written(&made, &truth.want);
                let fd = i32::try_from(ret).unwrap_or(-1);
                // closing a ring interrupts later calls in which its process waits
                let stays = case.call.name == "io_uring_setup";
                if case.call.returns == Returns::Fd && fd > 2 && !stays {
                    // SAFETY: the call has made this descriptor, and nothing else uses it.
                    unsafe { libc::close(fd) };
                }
            }
        }
        truth
    }
}

impl Actor {
    /// The call that a case means, which it may make through socketcall(2) or ipc(2), its number and its arguments.
    fn meant(&self, case: &Case, nr: u32, args: [u64; 6]) -> (&'static Syscall, u32, [u64; 6]) {
        let meant = Multiplexed::of(case.abi, nr, args[0]);
        let words = meant.and_then(|meant| {
            let len = 4 * usize::from(meant.words);
            let bytes = match len {
                0 => Some(Vec::new()),
                _ => self.arena.read(args[usize::from(meant.base)], len),
            };
            let word = |bytes: &[u8]| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            Some(bytes?.chunks_exact(4).map(word).collect::<Vec<u32>>())
        });
        match (meant, words) {
            (Some(meant), Some(words)) => {
                (meant.call(), meant.number(), meant.arguments(&args, &words))
            }
            _ => (case.call, nr, args),
        }
    }
}

/// The return value as the program sees it: a 32-bit program sees the lower half.
fn seen(abi: Abi, ret: i64) -> i64 {
    let narrow = ret as i32;
    if abi == Abi::I386 && (-4095..0).contains(&narrow) {
        narrow.into()
    } else {
        ret
    }
}

fn made(place: usize, case: &Case, args: &[u64; 6]) -> i64 {
    if case.interrupted {
        tick(TICK);
    }
    raw::mark(place, 0);
    // SAFETY: the tables are written so that no call of the script harms this process.
    let ret = unsafe {
        if case.play == Play::Births {
            raw::birth(case.abi, case.nr, args)
        } else {
            raw::call(case.abi, case.nr, args)
        }
    };
    if case.interrupted {
        tick(0);
    }
    if let (Play::Births, Ok(child)) = (case.play, i32::try_from(ret)) {
        // SAFETY: waitpid(2) without a status touches no memory.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), libc::__WALL) };
    }
    ret
}

/// Runs a function in a child, and waits for the child to end.
fn in_child(run: impl FnOnce()) {
    // SAFETY: the process has one thread, so that its child may call any function.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            run();
            libc::_exit(99);
        }
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
}
