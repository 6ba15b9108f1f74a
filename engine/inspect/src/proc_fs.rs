//! Reads processes from /proc. A process may vanish while it is read, and controls much of what /proc says about it. So
//! nothing is trusted, every read is limited, and what cannot be read is not known instead of an error.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use proc_pid::{Field, Ids, Stat, State, Status};

use super::clock;
use super::patient;
use super::process::Credentials;
use super::program::{self, Capabilities, ProgramFile};

/// The most bytes of arguments or environment that are read: the default of drivers.
const STRINGS: u64 = 4096;
/// The most bytes of any other file that are read.
const SMALL: u64 = 64 << 10;

/// A process in /proc.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) name: Vec<u8>,
    pub(super) ppid: u32,
    pub(super) pgid: u32,
    pub(super) vpgid: Option<u32>,
    pub(super) sid: u32,
    pub(super) tty: u32,
    pub(super) start_ns: u64,
    /// Monotonic time at which the reading began.
    pub(super) at_ns: u64,
    /// The process ran one program from then until the reading ended. False: it was executing one, and fields may be of
    /// two programs.
    pub(super) settled: bool,
    pub(super) vpid: Option<u32>,
    pub(super) credentials: Credentials,
    pub(super) loginuid: u32,
    pub(super) args: Vec<u8>,
    pub(super) env: Vec<u8>,
    pub(super) exe: Vec<u8>,
    pub(super) memfd: bool,
    pub(super) cwd: Vec<u8>,
    /// The root directory. Empty: that of its mount namespace.
    pub(super) root: Vec<u8>,
    pub(super) threads: Vec<u32>,
    pub(super) cgroups: Vec<u8>,
    pub(super) file: Option<ProgramFile>,
}

/// What a process has executed. The kernel chooses other addresses at each exec.
#[derive(Debug, PartialEq, Eq)]
struct Image {
    /// Where code and stack begin. Both may be hidden from lanner.
    starts: [u64; 2],
    exe: Option<Vec<u8>>,
    args: Vec<u8>,
}

/// A mounted procfs, usually `/proc`.
#[derive(Debug, Clone)]
pub(super) struct ProcFs {
    root: PathBuf,
}

impl ProcFs {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    pub(super) fn path(&self, pid: u32, file: &str) -> PathBuf {
        self.root.join(pid.to_string()).join(file)
    }

    /// The ids of all processes.
    pub(super) fn pids(&self) -> Vec<u32> {
        numbers(&self.root)
    }

    /// The children of all threads of a process. None: the kernel does not list them.
    pub(super) fn children(&self, pid: u32) -> Option<Vec<u32>> {
        let mut all = Vec::new();
        for tid in numbers(&self.path(pid, "task")) {
            let list = read(&self.path(pid, &format!("task/{tid}/children")), SMALL)?;
            let list = String::from_utf8_lossy(&list).into_owned();
            all.extend(
                list.split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
        Some(all)
    }

    pub(super) fn exists(&self, pid: u32) -> bool {
        self.root.join(pid.to_string()).exists()
    }

    /// The name of one thread.
    pub(super) fn thread_name(&self, pid: u32, tid: u32) -> Option<Vec<u8>> {
        let mut name = read(&self.path(pid, &format!("task/{tid}/comm")), SMALL)?;
        if name.last() == Some(&b'\n') {
            name.pop();
        }
        Some(name)
    }

    /// The device number of a process's controlling terminal; 0: none. None also if the process has ended: the kernel has taken
    /// its terminal from it.
    pub(super) fn tty(&self, pid: u32) -> Option<u32> {
        let text = self.read(pid, "stat")?;
        let state = Stat::parse(&text).ok()?.state();
        if matches!(state, State::Zombie | State::Dead) {
            return None;
        }
        from_stat(&text).map(|stat| stat.tty)
    }

    /// The process group and the session of a process.
    pub(super) fn groups(&self, pid: u32) -> Option<(u32, u32)> {
        from_stat(&self.read(pid, "stat")?).map(|stat| (stat.pgid, stat.sid))
    }

    /// The ids and capabilities of a thread.
    pub(super) fn credentials(&self, pid: u32, tid: u32) -> Option<Credentials> {
        let status = Status::parse(self.read(pid, &format!("task/{tid}/status"))?);
        status.uids()?;
        Some(credentials_in(&status))
    }

    /// Whether a process is in another user namespace than lanner. False if that is not known.
    pub(super) fn is_in_other_user_ns(&self, pid: u32) -> bool {
        let own = fs::read_link(self.root.join("self/ns/user")).ok();
        let other = fs::read_link(self.path(pid, "ns/user")).ok();
        own.zip(other).is_some_and(|(own, other)| own != other)
    }

    /// The id of a process in its own pid namespace.
    pub(super) fn vpid(&self, pid: u32) -> Option<u32> {
        self.status(pid)?.innermost_pid()
    }

    /// The id of a thread in its own pid namespace.
    pub(super) fn virtual_thread(&self, pid: u32, tid: u32) -> Option<u32> {
        Status::parse(self.read(pid, &format!("task/{tid}/status"))?).innermost_pid()
    }

    /// Reads a process. None: there is no process with this id; it may be a thread that does not lead its group.
    pub(super) fn snapshot(&self, pid: u32) -> Option<Snapshot> {
        const TRIES: usize = 4;
        let mut found = self.snapshot_once(pid)?;
        for _ in 1..TRIES {
            if found.settled {
                break;
            }
            std::thread::yield_now();
            found = self.snapshot_once(pid)?;
        }
        Some(found)
    }

    fn snapshot_once(&self, pid: u32) -> Option<Snapshot> {
        let at_ns = clock::monotonic_ns();
        let before = self.image(pid);
        let found = self.read_process(pid)?;
        let settled = before.is_some() && before == self.image(pid);
        Some(Snapshot {
            at_ns,
            settled,
            ..found
        })
    }

    /// What changes if a process executes a program. None: it is executing one, or there is no such process.
    fn image(&self, pid: u32) -> Option<Image> {
        let stat = Stat::parse(self.read(pid, "stat")?).ok()?;
        let number = |field| stat.get::<u64>(field).unwrap_or(0);
        let starts = [Field::CodeStart, Field::StackStart].map(number);
        // a thread of the kernel has no memory, and one that has ended neither
        let is_executing = starts[0] == 0
            && number(Field::AddressSpace) > 0
            && stat.get::<u64>(Field::CodeStart).is_some();
        (!is_executing).then(|| Image {
            starts,
            exe: self.link(pid, "exe"),
            args: self.args(pid),
        })
    }

    fn read_process(&self, pid: u32) -> Option<Snapshot> {
        let mut snapshot = from_stat(&self.read(pid, "stat")?)?;
        let status = self.status(pid)?;
        if status.tgid().is_some_and(|tgid| tgid != pid) {
            return None;
        }
        snapshot.vpid = status.innermost_pid();
        snapshot.vpgid = status.innermost_group();
        snapshot.credentials = credentials_in(&status);
        snapshot.args = self.args(pid);
        snapshot.env = self.env(pid);
        snapshot.loginuid = self.login(pid, pid).unwrap_or(u32::MAX);
        (snapshot.exe, snapshot.memfd) = self.exe(pid).unwrap_or_default();
        snapshot.cwd = self.link(pid, "cwd").unwrap_or_default();
        snapshot.root = self.root_of(pid);
        snapshot.cgroups = self.cgroups(pid).unwrap_or_default();
        snapshot.file = ProgramFile::at(&self.path(pid, "exe"));
        snapshot.threads = numbers(&self.path(pid, "task"));
        Some(snapshot)
    }

    /// The content of `/proc/PID/cgroup`. None: there is no such process, or it is ending: then the kernel shows `/` in place
    /// of its cgroups of version 1 (`proc_cgroup_show` in kernel/cgroup/cgroup.c).
    pub(super) fn cgroups(&self, pid: u32) -> Option<Vec<u8>> {
        const PF_EXITING: u64 = 0x4;
        let text = read(&self.path(pid, "cgroup"), SMALL)?;
        let mut old = text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty() && !line.starts_with(b"0::"))
            .peekable();
        if old.peek().is_some() && old.all(|line| line.ends_with(b":/")) {
            let stat = Stat::parse(self.read(pid, "stat")?).ok()?;
            if stat.get::<u64>(Field::Flags)? & PF_EXITING != 0 {
                return None;
            }
        }
        Some(text)
    }

    /// When a process started, in nanoseconds since boot. None: there is no such process.
    pub(super) fn start_ns(&self, pid: u32) -> Option<u64> {
        from_stat(&self.read(pid, "stat")?).map(|stat| stat.start_ns)
    }

    /// The path of a process's executable, and whether that is a memfd.
    pub(super) fn exe(&self, pid: u32) -> Option<(Vec<u8>, bool)> {
        let exe = self.link(pid, "exe")?;
        let memfd = exe.starts_with(b"/memfd:");
        Some((program::path_of(&exe).to_vec(), memfd))
    }

    /// The arguments of a process, each terminated by NUL.
    pub(super) fn args(&self, pid: u32) -> Vec<u8> {
        self.strings(pid, "cmdline")
    }

    /// The user that a thread has logged in as; `u32::MAX`: none.
    pub(super) fn login(&self, pid: u32, tid: u32) -> Option<u32> {
        let text = self.read(pid, &format!("task/{tid}/loginuid"))?;
        std::str::from_utf8(&text).ok()?.trim().parse().ok()
    }

    /// The environment variables of a process.
    pub(super) fn env(&self, pid: u32) -> Vec<u8> {
        self.strings(pid, "environ")
    }

    /// Strings in a process's memory, each terminated by NUL. Empty if the process keeps them from readers.
    fn strings(&self, pid: u32, file: &str) -> Vec<u8> {
        let path = self.path(pid, file);
        let strings = patient::ask(&self.path(pid, ""), move || read(&path, STRINGS));
        terminated(strings.flatten().unwrap_or_default())
    }

    /// The root directory of a thread. Empty: that of its mount namespace, or it is not known.
    pub(super) fn root_of(&self, tid: u32) -> Vec<u8> {
        let root = self.link(tid, "root").filter(|root| root != b"/");
        root.unwrap_or_default()
    }

    /// A file of a process.
    pub(super) fn read(&self, pid: u32, file: &str) -> Option<Vec<u8>> {
        read(&self.path(pid, file), SMALL)
    }

    /// The capabilities of a process.
    pub(super) fn capabilities(&self, pid: u32) -> Option<Capabilities> {
        self.status(pid)?.capabilities().map(Capabilities::from)
    }

    /// `/proc/PID/status`.
    pub(super) fn status(&self, pid: u32) -> Option<Status<Vec<u8>>> {
        self.read(pid, "status").map(Status::parse)
    }

    /// The target of a link in `/proc/PID`.
    pub(super) fn link(&self, pid: u32, file: &str) -> Option<Vec<u8>> {
        Some(
            fs::read_link(self.path(pid, file))
                .ok()?
                .into_os_string()
                .into_vec(),
        )
    }

    /// The descriptors of a process, at most `limit`: number, target of the link, and flags (those of open(2), with
    /// `O_CLOEXEC`).
    pub(super) fn descriptors(&self, pid: u32, limit: usize) -> Vec<(i32, Vec<u8>, u64)> {
        self.descriptor_links(pid, limit)
            .map(|(fd, link)| (fd, link, self.descriptor_flags(pid, fd)))
            .collect()
    }

    /// Numbers and links of the descriptors of a process, at most `limit`.
    pub(super) fn descriptor_links(
        &self,
        pid: u32,
        limit: usize,
    ) -> impl Iterator<Item = (i32, Vec<u8>)> {
        let fds = numbers(&self.path(pid, "fd")).into_iter().take(limit);
        fds.filter_map(move |fd| {
            let link = self.link(pid, &format!("fd/{fd}"))?;
            Some((i32::try_from(fd).ok()?, link))
        })
    }

    /// Whether a descriptor refers to a directory.
    pub(super) fn is_directory(&self, pid: u32, fd: i32) -> bool {
        status(&self.path(pid, &format!("fd/{fd}")))
            .is_some_and(|found| u32::from(found.stx_mode) & libc::S_IFMT == libc::S_IFDIR)
    }

    /// What the kernel calls the protocol of the socket behind a descriptor: `name` in its struct proto (net/socket.c gives
    /// it as an extended attribute). None: it is no socket.
    pub(super) fn socket_protocol(&self, pid: u32, fd: i32) -> Option<Vec<u8>> {
        let path = self.path(pid, &format!("fd/{fd}"));
        let path = CString::new(path.into_os_string().into_vec()).ok()?;
        // by now, a file whose file system never answers can be behind the descriptor
        patient::ask(&self.path(pid, ""), move || {
            let mut name = vec![0_u8; 64];
            // SAFETY: both strings end with NUL; the kernel writes at most as many bytes as the vector has.
            let len = unsafe {
                libc::getxattr(
                    path.as_ptr(),
                    c"system.sockprotoname".as_ptr(),
                    name.as_mut_ptr().cast(),
                    name.len(),
                )
            };
            name.truncate(usize::try_from(len).ok()?);
            if name.last() == Some(&0) {
                name.pop();
            }
            Some(name)
        })
        .flatten()
    }

    /// The process that a pidfd refers to. None: it is no pidfd, or that process has ended.
    pub(super) fn pidfd_target(&self, pid: u32, fd: i32) -> Option<u32> {
        let info = read(&self.path(pid, &format!("fdinfo/{fd}")), SMALL)?;
        pidfd_in(&info)
    }

    /// The flags of a descriptor, as in [`descriptors`](Self::descriptors).
    pub(super) fn descriptor_flags(&self, pid: u32, fd: i32) -> u64 {
        let info = read(&self.path(pid, &format!("fdinfo/{fd}")), SMALL).unwrap_or_default();
        fdinfo_flags(&info)
    }
}

/// The status of a file (statx(2)). A file system that answers late, or never, is not asked: what the kernel has in its
/// cache counts.
pub(super) fn status(path: &Path) -> Option<libc::statx> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: plain data, for which zeros are valid.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with NUL, and the kernel writes one struct statx. Both outlive the call.
    let failed = unsafe {
        libc::statx(
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_STATX_DONT_SYNC,
            libc::STATX_BASIC_STATS,
            &raw mut found,
        )
    };
    (failed == 0).then_some(found)
}

/// Reads at most `limit` bytes of a file.
pub(super) fn read(path: &Path, limit: u64) -> Option<Vec<u8>> {
    // most files fit into one read, and each read makes the kernel format the text again
    let mut bytes = Vec::with_capacity(4096);
    let done = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    // a process that ends while it is read gives ESRCH; the bytes before that are still correct
    (done.is_ok() || !bytes.is_empty()).then_some(bytes)
}

/// The entries of a directory whose names are numbers.
fn numbers(directory: &Path) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let number = |entry: fs::DirEntry| {
        std::str::from_utf8(entry.file_name().as_bytes())
            .ok()?
            .parse()
            .ok()
    };
    entries.filter_map(number).collect()
}

/// Terminates the last string with NUL. The process may have changed its memory.
fn terminated(mut strings: Vec<u8>) -> Vec<u8> {
    if strings.last().is_some_and(|&last| last != 0) {
        strings.push(0);
    }
    strings
}

/// What `/proc/PID/stat` says; none if it is malformed. Numbers that are missing or out of range are 0.
fn from_stat(text: &[u8]) -> Option<Snapshot> {
    let stat = Stat::parse(text).ok()?;
    let id = |field| stat.get(field).unwrap_or(0);
    // the kernel prints the device number as a signed integer
    let tty: i64 = stat.get(Field::Tty).unwrap_or(0);
    Some(Snapshot {
        name: stat.comm().to_vec(),
        ppid: id(Field::Ppid),
        pgid: id(Field::Pgrp),
        sid: id(Field::Session),
        tty: u32::try_from(tty & 0xffff_ffff).unwrap_or(0),
        start_ns: stat.start_ns().unwrap_or(0),
        loginuid: u32::MAX,
        ..Snapshot::default()
    })
}

fn credentials_in(status: &Status<Vec<u8>>) -> Credentials {
    let [uid, euid] = real_and_effective(status.uids());
    let [gid, egid] = real_and_effective(status.gids());
    Credentials {
        uid,
        euid,
        gid,
        egid,
        capabilities: status.capabilities().map(Capabilities::from),
        saved_uid: status.uids().map(|ids| ids.saved),
        keeps_capabilities: false,
        stale: false,
    }
}

/// The real and the effective id; 0 where they cannot be read.
fn real_and_effective(ids: Option<Ids>) -> [u32; 2] {
    ids.map_or([0; 2], |ids| [ids.real, ids.effective])
}

/// The flags in `/proc/PID/fdinfo/N` (proc_pid_fdinfo(5)), which are octal; 0 if there are none.
fn fdinfo_flags(text: &[u8]) -> u64 {
    let flags = text
        .split(|&b| b == b'\n')
        .find_map(|line| line.strip_prefix(b"flags:"));
    flags
        .and_then(|octal| std::str::from_utf8(octal).ok())
        .and_then(|octal| u64::from_str_radix(octal.trim(), 8).ok())
        .unwrap_or(0)
}

/// The process that `/proc/PID/fdinfo/N` of a pidfd names (pidfd_open(2)): -1 if it has ended, 0 if it is in another PID
/// namespace.
fn pidfd_in(text: &[u8]) -> Option<u32> {
    let pid = text
        .split(|&b| b == b'\n')
        .find_map(|line| line.strip_prefix(b"Pid:"))?;
    let pid: u32 = std::str::from_utf8(pid).ok()?.trim().parse().ok()?;
    (pid != 0).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_parentheses_blanks_and_line_breaks() {
        let mut text = b"42 (a) S 1 (\n) R 7 8 9 34816 -1 0".to_vec();
        for _ in 0..12 {
            text.extend_from_slice(b" 0");
        }
        text.extend_from_slice(b" 250 0 0");
        let stat = from_stat(&text).unwrap();
        assert_eq!(stat.name, b"a) S 1 (\n");
        assert_eq!((stat.ppid, stat.pgid, stat.sid, stat.tty), (7, 8, 9, 34816));
        assert_eq!(stat.start_ns, 2_500_000_000);
    }

    #[test]
    fn a_pidfd_names_a_process_that_lives() {
        let of = |pid: &str| {
            pidfd_in(format!("pos:\t0\nflags:\t02\nPid:\t{pid}\nNSpid:\t7\n").as_bytes())
        };
        assert_eq!(of("42"), Some(42));
        assert_eq!((of("-1"), of("0"), of("x")), (None, None, None));
        assert_eq!(pidfd_in(b"pos:\t0\nflags:\t02\n"), None);
    }

    #[test]
    fn nonsense_is_no_process() {
        let texts: [&[u8]; 7] = [
            b"",
            b"1",
            b"1 (",
            b"1 )(",
            b"1 (x)",
            b"1 (x) S",
            b"1 (x) S \xff\xff 1",
        ];
        for text in texts {
            assert_eq!(from_stat(text), None, "{text:?}");
        }
    }

    #[test]
    fn status_lines_are_read_and_hostile_ones_skipped() {
        let text = b"Name:\tx\\nUid:\t9\nTgid:\t5\n\xff\xfe:\t1\nUid:\t1000\t0\t0\t0\nNSpid:\t5\t1\nGid:\t-\nCapInh:\t0\nCapPrm:\t0\nCapEff:\t00000000800005fb\n";
        let status = Status::parse(text);
        assert_eq!((status.tgid(), status.innermost_pid()), (Some(5), Some(1)));
        let ids = [status.uids(), status.gids()].map(real_and_effective);
        assert_eq!(ids, [[1000, 0], [0, 0]]);
        assert_eq!(
            status.capabilities().map(|sets| sets.effective),
            Some(0x8000_05fb)
        );
        assert_eq!(
            fdinfo_flags(b"pos:\t0\nflags:\t02100002\nmnt_id:\t9\n"),
            0o2_100_002
        );
    }
}
