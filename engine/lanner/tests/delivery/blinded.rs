//! Ways to blind a lanner that captures the host, other than its maps: its reader is stopped, so that the buffers become full,
//! and its programs are detached. The heartbeat says so.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use test_support::{skipped, wait_until};

use crate::heartbeat::{asked, beats, health, metrics, start};
use crate::session::{Folder, Lanner};

const MISSING: &str = "Critical lanner internal: heartbeat. Lanner's own call did not come back";
const BACK: &str = "Notice lanner internal: heartbeat";

/// A thread that is stopped by ptrace(2) until this is dropped. The process's other threads run on.
struct Stopped(libc::pid_t);

impl Stopped {
    /// Stops the first thread of a child of this process.
    fn first_thread(pid: u32) -> Self {
        let tid = pid.cast_signed();
        // SAFETY: these calls take numbers.
        unsafe {
            let seized = libc::ptrace(libc::PTRACE_SEIZE, tid, 0, libc::PTRACE_O_TRACESYSGOOD);
            assert_eq!(seized, 0, "{}", std::io::Error::last_os_error());
        }
        let stopped = Self(tid);
        stopped.interrupt();
        stopped
    }

    fn interrupt(&self) {
        // SAFETY: the call takes numbers.
        let asked = unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, self.0, 0, 0) };
        assert_eq!(asked, 0, "{}", std::io::Error::last_os_error());
        self.wait();
    }

    /// Waits for the next stop, and returns its signal.
    fn wait(&self) -> i32 {
        let mut status = 0;
        // SAFETY: the kernel writes the status.
        let waited = unsafe { libc::waitpid(self.0, &raw mut status, libc::__WALL) };
        assert_eq!(waited, self.0, "{}", std::io::Error::last_os_error());
        assert!(libc::WIFSTOPPED(status), "{status:#x}");
        libc::WSTOPSIG(status)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: the call takes numbers.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, 0, 0) };
    }
}

#[cfg(target_arch = "x86_64")]
impl Stopped {
    fn registers(&self) -> libc::user_regs_struct {
        // SAFETY: the kernel fills the structure, which is valid as zeros.
        unsafe {
            let mut registers = std::mem::zeroed();
            let got = libc::ptrace(libc::PTRACE_GETREGS, self.0, 0, &raw mut registers);
            assert_eq!(got, 0, "{}", std::io::Error::last_os_error());
            registers
        }
    }

    fn set_registers(&self, registers: &libc::user_regs_struct) {
        // SAFETY: the kernel reads the structure.
        let set = unsafe { libc::ptrace(libc::PTRACE_SETREGS, self.0, 0, &raw const *registers) };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }

    fn go_on(&self, request: libc::c_uint, signal: i32) {
        // SAFETY: the call takes numbers.
        unsafe { libc::ptrace(request, self.0, 0, signal) };
    }

    /// Goes on to the next entry or exit of a call. Signals that come meanwhile are delivered.
    fn to_boundary(&self) {
        let mut signal = 0;
        loop {
            self.go_on(libc::PTRACE_SYSCALL, signal);
            signal = self.wait();
            if signal == libc::SIGTRAP | 0x80 {
                return;
            }
        }
    }

    /// Has the thread put its standard input behind these descriptors, which closes what was there.
    fn replace(&self, descriptors: &[u64]) {
        const SYSCALL: u64 = 0x050f;
        wait_until("the thread waits in a call", || {
            let before = self.registers().rip - 2;
            // SAFETY: the call takes numbers; it returns the word at that address.
            let word = unsafe { libc::ptrace(libc::PTRACE_PEEKTEXT, self.0, before, 0) };
            if word.cast_unsigned() & 0xffff == SYSCALL {
                return true;
            }
            self.go_on(libc::PTRACE_CONT, 0);
            self.interrupt();
            false
        });
        let mut kept = self.registers();
        for descriptor in descriptors {
            let call = libc::user_regs_struct {
                rip: kept.rip - 2,
                rax: libc::SYS_dup2.cast_unsigned(),
                orig_rax: u64::MAX,
                rdi: 0,
                rsi: *descriptor,
                ..kept
            };
            self.set_registers(&call);
            for _ in ["entry", "exit"] {
                self.to_boundary();
            }
            assert_eq!(self.registers().rax, *descriptor);
        }
        // the call in which it waited was interrupted
        kept.rax = (-i64::from(libc::EINTR)).cast_unsigned();
        kept.orig_rax = u64::MAX;
        self.set_registers(&kept);
    }
}

/// The descriptors by which a process keeps programs attached.
fn attachments(pid: u32) -> Vec<u64> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let kept = |path: &Path| {
        let link = fs::read_link(path).unwrap_or_default();
        let link = link.to_string_lossy().into_owned();
        let names = ["bpf_link", "bpf-link", "[perf_event]", "bpf-raw-tracepoint"];
        names.iter().any(|name| link.contains(name))
    };
    open.flatten()
        .map(|entry| entry.path())
        .filter(|path| kept(path))
        .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
        .collect()
}

fn is_red(socket: &Path) -> bool {
    health(socket).contains(" 503 ")
}

fn lost(socket: &Path) -> u64 {
    let page = metrics(socket);
    let counts = page.lines().filter_map(|line| {
        let rest = line.strip_prefix("lanner_events_lost_total{")?;
        rest.rsplit_once(' ')?.1.parse::<u64>().ok()
    });
    counts.sum()
}

fn beating(folder: &Folder, driver: &str, options: &[&str]) -> (Lanner, std::path::PathBuf) {
    let (lanner, socket) = start(folder, driver, "{interval: 200ms}", options);
    wait_until(&format!("beats come back {:?}", lanner.err), || {
        beats(&socket) > 2
    });
    (lanner, socket)
}

#[test]
fn a_reader_that_is_stopped_until_the_buffers_are_full_is_missed_and_its_losses_are_counted() {
    if !nix::unistd::geteuid().is_root() {
        skipped("capturing the host needs privilege");
        return;
    }
    for driver in ["ebpf-core", "ebpf-legacy"] {
        let folder = Folder::new();
        // the rule asks for files that are made
        let (lanner, socket) = beating(&folder, driver, &["--buffer", "64K"]);
        let stopped = Stopped::first_thread(lanner.child.id());
        let watched = folder.path("watched");
        for number in 0..20_000 {
            let path = watched.join("file");
            fs::write(&path, number.to_string()).expect("a file");
        }
        wait_until(&format!("it is missed {:?}", lanner.out), || {
            lanner.alerts(MISSING) > 0
        });
        wait_until("health is red", || is_red(&socket));
        drop(stopped);
        wait_until(&format!("it is back {:?}", lanner.out), || {
            lanner.alerts(BACK) > 0
        });
        wait_until("health is green", || health(&socket).contains(" 200 "));
        wait_until("the losses are counted", || lost(&socket) > 0);
        lanner.signal(Signal::SIGTERM);
        let (_, err, status) = lanner.end_with_status();
        assert!(status.success(), "{driver}: {err:?}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_lanner_whose_programs_are_detached_says_so() {
    if !nix::unistd::geteuid().is_root() {
        skipped("capturing the host needs privilege");
        return;
    }
    for driver in ["ebpf-core", "ebpf-legacy"] {
        let folder = Folder::new();
        let (lanner, socket) = beating(&folder, driver, &[]);
        let kept = attachments(lanner.child.id());
        assert!(!kept.is_empty(), "{driver} keeps its programs attached");
        Stopped::first_thread(lanner.child.id()).replace(&kept);
        // beats that were asked for before may still come back
        wait_until(&format!("no beat comes back {:?}", lanner.out), || {
            asked(&socket) > beats(&socket) + 10
        });
        wait_until("health is red", || is_red(&socket));
        lanner.signal(Signal::SIGTERM);
        let (out, _) = lanner.end();
        // whether other events came between the last beat and the detaching is chance
        let detached = |line: &String| line.contains(MISSING) && line.contains("CAP_BPF");
        assert!(out.iter().any(detached), "{driver}: {out:?}");
    }
}
