//! The programs that the cases watch. Each scene makes calls with known arguments.

use std::ffi::CString;
use std::fs;
use std::io::Write;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// Calls that each thread of `steady` makes.
pub(crate) const STEADY: usize = 400;

/// Processes of `exec-busy`.
pub(crate) const BUSY: usize = 20;

/// Bytes that `write-long` writes.
pub(crate) const LONG: usize = 200;

fn open_raw(path: &str, flags: i32) -> i64 {
    let path = CString::new(path).expect("no NUL");
    // SAFETY: openat(2) reads the path, which outlives the call.
    unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0) }
}

/// personality(2), which only asks: a call that every driver captures, and that has no effect.
pub(crate) fn quiet_call() {
    const ASK: libc::c_ulong = 0xffff_ffff;
    // SAFETY: the call takes a number.
    unsafe { libc::syscall(libc::SYS_personality, ASK) };
}

/// Plays a scene, and returns its exit status.
pub(crate) fn play(scene: &str, args: &[String]) -> ExitCode {
    let arg = |at: usize| args.get(at).map(String::as_str).unwrap_or_default();
    match scene {
        "exit" => return ExitCode::from(arg(0).parse::<u8>().unwrap_or(0)),
        "mark" => fs::write(arg(0), b"played").expect("the mark can be written"),
        "opens" => (0..100).for_each(|at| {
            open_raw(&format!("/nonexistent/{at}"), libc::O_RDONLY);
        }),
        "threads" => threads(50),
        "steady" => threads(STEADY),
        "forks" => forks(),
        "memory" => memory(arg(0)),
        "write-long" => write_long(),
        "exec" => exec_self(),
        "exec-cold" => exec_cold(arg(0)),
        "exec-thread" => {
            thread::spawn(exec_self).join().expect("the thread execs");
        }
        "exec-busy" => exec_busy(),
        "storm" => storm(arg(0).parse().unwrap_or(0)),
        "ticks" => ticks(arg(0)),
        "surroundings" => surroundings(arg(0)),
        "resolved" => resolved(arg(0)),
        "directories" => crate::directories::act(arg(0)),
        "opened" => crate::directories::open(arg(0)),
        "below" => below(arg(0), arg(1).parse().unwrap_or(0)),
        "rings" => crate::rings::act(arg(0)),
        "interrupted" => interrupted(),
        "times" => crate::times::act(),
        "read-twice" => crate::times::read_twice(),
        "predicates" => crate::predicates::act(arg(0)),
        "predicates-wide" => crate::predicates::cut(),
        "predicates-ends" => crate::predicates::end(),
        other => panic!("there is no scene {other}"),
    }
    ExitCode::SUCCESS
}

fn threads(calls: usize) {
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            thread::spawn(move || {
                (0..calls).for_each(|at| {
                    open_raw(&format!("/nonexistent/{thread}/{at}"), libc::O_RDONLY);
                });
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|t| t.join().expect("the thread ends"));
}

fn forks() {
    for at in 0..20 {
        // SAFETY: the child makes two system calls and leaves.
        let child = unsafe { libc::fork() };
        if child == 0 {
            open_raw(&format!("/nonexistent/child/{at}"), libc::O_RDONLY);
            // SAFETY: _exit(2) ends the child.
            unsafe { libc::_exit(at) };
        }
        // SAFETY: waits for our own child; no status is asked for.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    }
}

fn memory(path: &str) {
    fs::write(path, b"twelve bytes").expect("the file can be written");
    let fd = open_raw(path, libc::O_RDONLY);
    let mut buffer = [0_u8; 64];
    // SAFETY: read(2) fills the buffer; the other calls are meant to fail, with a descriptor that is not
    // open and with pointers the kernel must refuse.
    unsafe {
        libc::syscall(libc::SYS_read, fd, buffer.as_mut_ptr(), buffer.len());
        libc::syscall(libc::SYS_read, 9999, buffer.as_mut_ptr(), buffer.len());
        libc::syscall(libc::SYS_openat, libc::AT_FDCWD, 0_usize, 0, 0);
        libc::syscall(libc::SYS_openat, libc::AT_FDCWD, 1_usize, 0, 0);
    }
}

/// Opens a file below this many directories, and removes them.
fn below(folder: &str, depth: usize) {
    std::env::set_current_dir(folder).expect("the folder is there");
    for _ in 0..depth {
        fs::create_dir("d").expect("a directory can be made");
        std::env::set_current_dir("d").expect("it is there");
    }
    open_raw("leaf", libc::O_RDWR | libc::O_CREAT);
    fs::remove_file("leaf").expect("the file can be removed");
    for _ in 0..depth {
        std::env::set_current_dir("..").expect("there is a directory above");
        fs::remove_dir("d").expect("a directory can be removed");
    }
}

fn write_long() {
    let bytes = [b'x'; LONG];
    // SAFETY: write(2) reads the buffer.
    unsafe { libc::syscall(libc::SYS_write, 9999, bytes.as_ptr(), bytes.len()) };
    open_raw(&format!("/{}", "p".repeat(5000)), libc::O_RDONLY);
}

fn exec_self() {
    let args = ["actor", "--actor", "exit", "7"].map(|a| CString::new(a).expect("no NUL"));
    let env = ["LANNER_SCENE=exec"].map(|a| CString::new(a).expect("no NUL"));
    let pointers = |list: &[CString]| {
        list.iter()
            .map(|a| a.as_ptr())
            .chain([std::ptr::null()])
            .collect::<Vec<_>>()
    };
    let (args_ptr, env_ptr) = (pointers(&args), pointers(&env));
    // SAFETY: the arrays end with NULL and outlive the calls; the first fails, the second replaces us.
    unsafe {
        libc::syscall(
            libc::SYS_execve,
            c"/nonexistent/program".as_ptr(),
            args_ptr.as_ptr(),
            env_ptr.as_ptr(),
        );
        libc::syscall(
            libc::SYS_execve,
            c"/proc/self/exe".as_ptr(),
            args_ptr.as_ptr(),
            env_ptr.as_ptr(),
        );
    }
}

/// Processes execute a program while their other threads make calls.
fn exec_busy() {
    for _ in 0..BUSY {
        // SAFETY: this process has one thread.
        let child = unsafe { libc::fork() };
        if child == 0 {
            for _ in 0..4 {
                thread::spawn(|| {
                    loop {
                        open_raw("/nonexistent/busy", libc::O_RDONLY);
                        thread::sleep(Duration::from_micros(100));
                    }
                });
            }
            thread::sleep(Duration::from_millis(5));
            exec_self();
        }
        // SAFETY: waitpid(2) is not asked for a status.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    }
}

/// Executes a program whose path is in a page that was never touched.
fn exec_cold(file: &str) {
    use std::os::fd::AsRawFd;
    fs::write(file, b"/proc/self/exe\0").expect("the file can be written");
    let file = fs::File::open(file).expect("the file is there");
    let args = ["actor", "--actor", "exit", "7"].map(|a| CString::new(a).expect("no NUL"));
    let pointers: Vec<_> = args
        .iter()
        .map(|a| a.as_ptr())
        .chain([std::ptr::null()])
        .collect();
    // SAFETY: a new mapping of one page, and arrays that end with NULL and outlive the call.
    unsafe {
        let page = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            0,
        );
        libc::syscall(
            libc::SYS_execve,
            page,
            pointers.as_ptr(),
            [std::ptr::null::<i8>()].as_ptr(),
        );
    }
}

fn storm(calls: u64) {
    for _ in 0..calls {
        quiet_call();
    }
}

/// Makes a quiet call and an openat every few milliseconds until a file exists, for at most a minute. Then it makes another
/// file to say that it was not interrupted.
fn ticks(end: &str) {
    for _ in 0..12_000 {
        quiet_call();
        open_raw("/nonexistent/tick", libc::O_RDONLY);
        if fs::metadata(end).is_ok() {
            fs::write(format!("{end}.done"), b"").expect("the file can be written");
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Writes down the descriptors, signals and environment that a program sees.
fn surroundings(to: &str) {
    let mut fds: Vec<String> = fs::read_dir("/proc/self/fd")
        .expect("/proc is mounted")
        .flatten()
        .filter_map(|entry| Some((entry.file_name(), fs::read_link(entry.path()).ok()?)))
        .filter(|(_, link)| !link.to_string_lossy().contains("/fd"))
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .collect();
    fds.sort();
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let signals: Vec<&str> = status
        .lines()
        .filter(|l| l.starts_with("SigBlk") || l.starts_with("SigIgn"))
        .collect();
    let mut file = fs::File::create(to).expect("the file can be made");
    write!(
        file,
        "fds {fds:?}\n{}\nenv {:?}",
        signals.join("\n"),
        std::env::var("LANNER_TEST")
    )
    .expect("it can be written");
}

/// Opens a file through a symbolic link and `..`, a removed file, a directory and a memfd.
fn resolved(folder: &str) {
    let at = |name: &str| format!("{folder}/{name}");
    fs::create_dir_all(at("deep/er")).expect("directories can be made");
    fs::write(at("deep/file"), b"x").expect("the file can be written");
    std::os::unix::fs::symlink("deep/file", at("link")).expect("the link can be made");
    open_raw(&at("link"), libc::O_RDONLY);
    open_raw(&at("deep/er/../file"), libc::O_RDONLY);
    open_raw(&at("deep"), libc::O_RDONLY | libc::O_DIRECTORY);
    open_raw(&at("deep/new"), libc::O_RDWR | libc::O_CREAT);
    open_raw("/proc/self/status", libc::O_RDONLY);
}

/// Reads an empty pipe and sleeps until a timer's handler ends each call, and reads it once more while a handler with
/// SA_RESTART lets the call go on until something comes.
fn interrupted() {
    static FILL: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);
    extern "C" fn tick(_: i32) {
        let fd = FILL.load(std::sync::atomic::Ordering::Relaxed);
        // SAFETY: a handler may call write(2), and an invalid descriptor does no harm.
        unsafe { libc::write(fd, c"x".as_ptr().cast(), 1) };
    }
    fn often(flags: i32) {
        // SAFETY: the handler is async-signal-safe, and both structs are valid when zeroed.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = tick as *const () as usize;
            action.sa_flags = flags;
            libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
            let mut timer: libc::itimerval = std::mem::zeroed();
            timer.it_value.tv_usec = 20_000;
            timer.it_interval.tv_usec = 20_000;
            libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut());
        }
    }
    let mut ends = [-1; 2];
    let mut buffer = [0_u8; 8];
    // SAFETY: the calls fill what they are given.
    unsafe {
        libc::pipe(ends.as_mut_ptr());
        often(0);
        let pipe = ends[0];
        libc::syscall(libc::SYS_read, pipe, buffer.as_mut_ptr(), buffer.len());
        let long = libc::timespec {
            tv_sec: 600,
            tv_nsec: 0,
        };
        let mut left = long;
        libc::syscall(
            libc::SYS_clock_nanosleep,
            libc::CLOCK_MONOTONIC,
            0,
            &raw const long,
            &raw mut left,
        );
        FILL.store(ends[1], std::sync::atomic::Ordering::Relaxed);
        often(libc::SA_RESTART);
        libc::syscall(libc::SYS_read, pipe, buffer.as_mut_ptr(), buffer.len());
    }
}
