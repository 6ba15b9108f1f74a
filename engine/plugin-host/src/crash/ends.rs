//! Says which plugin ended the process, and makes that a failure: otherwise, the end of a session would look like one that was
//! asked for.
//!
//! exit(3) and quick_exit(3) call what is registered for them. `_exit` and `_Exit` call nothing, so lanner has functions of these
//! names, which a plugin finds before those of the C library. A plugin that makes the system call itself, or kills the
//! process, cannot be noticed from within; docs/plugins.md says so.

use std::ffi::c_int;
use std::sync::atomic::{AtomicI32, Ordering};

use super::{CALLED, on_stack, write};

/// The exit status of a process that a plugin ended.
const ENDED: c_int = 1;

/// The process that is watched. Those that it starts may end as they like. 0: none.
static WATCHED: AtomicI32 = AtomicI32::new(0);

unsafe extern "C" {
    fn at_quick_exit(function: extern "C" fn()) -> c_int;
}

/// Watches this process.
pub(super) fn watch() {
    WATCHED.store(process(), Ordering::Relaxed);
    // SAFETY: both are functions without state.
    unsafe {
        libc::atexit(at_exit);
        at_quick_exit(at_exit_that_is_quick);
    }
}

/// Runs when exit(3) is called. Lanner calls it on its first thread, and never in a call of a plugin.
extern "C" fn at_exit() {
    report("exit");
}

extern "C" fn at_exit_that_is_quick() {
    report("quick_exit");
}

/// `_exit`, as unistd.h has it. It must do what may be done between fork and exec.
#[unsafe(no_mangle)]
extern "C" fn _exit(status: c_int) -> ! {
    report("_exit");
    end(status)
}

/// `_Exit`, as stdlib.h has it.
#[unsafe(no_mangle)]
extern "C" fn _Exit(status: c_int) -> ! {
    report("_exit");
    end(status)
}

/// If a plugin is calling, says so, and ends the process with a failure.
fn report(function: &str) {
    if process() != WATCHED.load(Ordering::Relaxed) {
        return;
    }
    // SAFETY: the call only returns a number.
    let is_first = unsafe { libc::gettid() } == process();
    let here = 0_u8;
    let found = match CALLED.get() {
        Some(name) => Some(name),
        None if is_first => None,
        None => on_stack((&raw const here).addr() & !(size_of::<usize>() - 1)),
    };
    if let Some(name) = found {
        write(&[
            "lanner: plugin `",
            name,
            "` called ",
            function,
            ", which ends lanner\n",
        ]);
        end(ENDED);
    }
}

fn process() -> c_int {
    // SAFETY: the call only returns a number.
    unsafe { libc::getpid() }
}

/// Ends all threads of the process (exit_group(2)).
fn end(status: c_int) -> ! {
    loop {
        // SAFETY: the call takes a number.
        unsafe { libc::syscall(libc::SYS_exit_group, status) };
    }
}
