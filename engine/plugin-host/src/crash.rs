//! Says which plugin is at fault when the process crashes, or when a plugin ends the process.
//!
//! A plugin shares lanner's memory, so nothing can stop it from crashing lanner. But the last line in the log then names
//! it. There are three ways to find it, in this order: the address of the faulting instruction lies in a plugin's code;
//! the faulting thread is in a call of a plugin; the thread's stack has an address of a plugin's code.
//!
//! `ends` does so where a plugin ends the process without a crash.
//!
//! A signal handler may do little (signal-safety(7)). It reads atomics and a thread-local without a destructor, and calls
//! write(2), process_vm_readv(2), sigaction(2) and kill(2) alone.

mod ends;

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::path::Path;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};

/// The most plugins whose code is known.
const PLUGINS: usize = 64;
/// How much of a stack is searched.
const STACK: usize = 64 << 10;
/// Signals of a crash.
const SIGNALS: [(c_int, &str); 6] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGSYS, "SIGSYS"),
    (libc::SIGABRT, "SIGABRT"),
];
/// Where a plugin crashed, if not in its own code.
const IN_CALL: &str = "in a call of it";

/// A plugin's code in memory. `name` is set last.
struct Code {
    begin: AtomicUsize,
    end: AtomicUsize,
    name: AtomicPtr<String>,
}

static CODE: [Code; PLUGINS] = [const {
    Code {
        begin: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        name: AtomicPtr::new(std::ptr::null_mut()),
    }
}; PLUGINS];

thread_local! {
    /// The plugin that this thread is calling.
    static CALLED: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// What the signals did before.
static BEFORE: [AtomicPtr<libc::sigaction>; SIGNALS.len()] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; SIGNALS.len()];

/// This thread is in a call of a plugin, as long as the value lives.
#[derive(Debug)]
pub(super) struct Inside(Option<&'static str>);

impl Inside {
    #[inline]
    pub(super) fn enter(plugin: &'static str) -> Self {
        Self(CALLED.replace(Some(plugin)))
    }
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        CALLED.set(self.0);
    }
}

/// The plugin that this thread is calling.
pub(super) fn called() -> Option<&'static str> {
    CALLED.get()
}

/// Keeps a name until the process ends, once. Loading a file again does not cost memory again.
pub(super) fn forever(name: &str) -> &'static str {
    static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.iter().find(|known| **known == name) {
        return known;
    }
    let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.push(name);
    name
}

/// Notes where the code of a plugin is. `inside` is any address in it.
pub(super) fn note_code(plugin: &str, inside: *const c_void) {
    let Some((begin, end)) = extent(inside) else {
        return;
    };
    for code in &CODE {
        let free = code
            .begin
            .compare_exchange(0, begin, Ordering::AcqRel, Ordering::Acquire);
        match free {
            Ok(_) => {
                let name = Box::into_raw(Box::new(plugin.to_owned()));
                code.end.store(end, Ordering::Release);
                code.name.store(name, Ordering::Release);
                return;
            }
            Err(known) if known == begin => return,
            Err(_) => {}
        }
    }
}

/// The addresses of the library that has this one.
fn extent(inside: *const c_void) -> Option<(usize, usize)> {
    struct Search {
        inside: usize,
        found: Option<(usize, usize)>,
    }
    unsafe extern "C" fn look(
        info: *mut libc::dl_phdr_info,
        _size: usize,
        search: *mut c_void,
    ) -> c_int {
        // SAFETY: dl_iterate_phdr(3) passes a valid description, and the pointer that `extent` gave it.
        let (info, search) = unsafe { (&*info, &mut *search.cast::<Search>()) };
        let (mut begin, mut end) = (usize::MAX, 0);
        for at in 0..usize::from(info.dlpi_phnum) {
            // SAFETY: there is this number of headers.
            let header = unsafe { &*info.dlpi_phdr.add(at) };
            if header.p_type == libc::PT_LOAD {
                let from = (info.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
                begin = begin.min(from);
                end = end.max(from.saturating_add(header.p_memsz as usize));
            }
        }
        if (begin..end).contains(&search.inside) {
            search.found = Some((begin, end));
        }
        c_int::from(search.found.is_some())
    }
    let mut search = Search {
        inside: inside.addr(),
        found: None,
    };
    // SAFETY: `look` and its data live through the call.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
    search.found
}

/// The plugin that has code at an address.
fn owner(address: usize) -> Option<&'static str> {
    CODE.iter().find_map(|code| {
        let begin = code.begin.load(Ordering::Acquire);
        // SAFETY: the name is null, or leaked.
        let name = unsafe { code.name.load(Ordering::Acquire).as_ref() }?;
        (begin..code.end.load(Ordering::Acquire))
            .contains(&address)
            .then_some(name.as_str())
    })
}

/// The plugin whose code is nearest in the calls that led to a place on the stack.
fn on_stack(from: usize) -> Option<&'static str> {
    // the stack of a handler is small
    let mut words = [0_usize; 64];
    let piece = size_of_val(&words);
    for at in (from..from.checked_add(STACK)?).step_by(piece) {
        let local = libc::iovec {
            iov_base: words.as_mut_ptr().cast(),
            iov_len: piece,
        };
        let remote = libc::iovec {
            iov_base: std::ptr::without_provenance_mut(at),
            iov_len: piece,
        };
        // SAFETY: the kernel checks the address and writes at most `piece` bytes into the array.
        let read = unsafe {
            libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0)
        };
        let read = usize::try_from(read).unwrap_or(0) / size_of::<usize>();
        if let Some(found) = words[..read].iter().find_map(|word| owner(*word)) {
            return Some(found);
        }
        if read < words.len() {
            return None;
        }
    }
    None
}

/// Makes the process say which plugin is at fault when it crashes or when a plugin ends it. The message goes to standard
/// error. To be called once, by the program.
pub fn report_crashes() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for ((signal, _), before) in SIGNALS.iter().zip(&BEFORE) {
            // SAFETY: the handler keeps to what a handler may do; both structs are valid, and `old` is leaked.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                let handler: unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                    handle;
                action.sa_sigaction = handler as libc::sighandler_t;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                let old: *mut libc::sigaction = Box::into_raw(Box::new(std::mem::zeroed()));
                if libc::sigaction(*signal, &raw const action, old) == 0 {
                    before.store(old, Ordering::Release);
                }
            }
        }
        ends::watch();
    });
}

unsafe extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let at = SIGNALS.iter().position(|(known, _)| *known == signal);
    // SAFETY: the kernel passes valid structs.
    let (code, (instruction, stack)) = unsafe { ((*info).si_code, registers(context)) };
    let found = match (owner(instruction), CALLED.get()) {
        (Some(name), _) => Some((name, "in its code")),
        (None, Some(name)) => Some((name, IN_CALL)),
        (None, None) => on_stack(stack).map(|name| (name, "on one of its threads")),
    };
    if let (Some((name, place)), Some(at)) = (found, at) {
        write(&[
            "lanner: plugin `",
            name,
            "` crashed lanner: ",
            SIGNALS[at].1,
            " ",
            place,
            // glibc aborts where pthread_exit(3) would end a thread of lanner
            if signal == libc::SIGABRT && place == IN_CALL {
                " (abort or pthread_exit)\n"
            } else {
                "\n"
            },
        ]);
    }
    // A fault happens again when this returns, and what was there before handles it: Rust's own handler, or the kernel's
    // default, which ends the process. A signal that was sent (kill(2), abort(3)) does not come again, nor does that of a
    // call that a seccomp filter refuses. Rust's handler would only restore the default. So here the default follows.
    let comes_again = code > 0 && signal != libc::SIGSYS;
    // SAFETY: the struct is null or leaked; raising a signal in its own handler is allowed.
    unsafe {
        let before = at.map_or(std::ptr::null_mut(), |at| {
            BEFORE[at].load(Ordering::Acquire)
        });
        if comes_again && !before.is_null() {
            libc::sigaction(signal, before, std::ptr::null_mut());
            return;
        }
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, &raw const default, std::ptr::null_mut());
        if !comes_again {
            libc::raise(signal);
        }
    }
}

/// Instruction pointer and stack pointer of the interrupted thread.
///
/// # Safety
///
/// `context` is null or what a signal handler got.
unsafe fn registers(context: *mut c_void) -> (usize, usize) {
    // SAFETY: by the function's contract.
    let Some(context) = (unsafe { context.cast::<libc::ucontext_t>().as_ref() }) else {
        return (0, 0);
    };
    #[cfg(target_arch = "x86_64")]
    {
        let register = |at: c_int| context.uc_mcontext.gregs[at as usize] as usize;
        (register(libc::REG_RIP), register(libc::REG_RSP))
    }
    #[cfg(target_arch = "aarch64")]
    {
        let machine = &context.uc_mcontext;
        (machine.pc as usize, machine.sp as usize)
    }
}

/// Writes a line to standard error.
fn write(parts: &[&str]) {
    let mut line = [0_u8; 256];
    let mut length = 0;
    for byte in parts.iter().flat_map(|part| part.bytes()) {
        if length < line.len() {
            line[length] = byte;
            length += 1;
        }
    }
    // SAFETY: the bytes are there. An error cannot be reported.
    let _ = unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), length) };
}

/// The name of a file, for messages about a plugin whose own name is not known yet.
pub(super) fn file_name(path: &Path) -> &'static str {
    let name = path.file_name().unwrap_or(path.as_os_str());
    forever(&name.to_string_lossy())
}
