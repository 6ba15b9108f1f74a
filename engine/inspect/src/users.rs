//! Names of users and groups, from /etc/passwd and /etc/group. The files are parsed here instead of asking NSS, because
//! a look-up must not wait for a directory service and must not cause events.

use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

use driver_api::event::{Event, EventBuilder, Fact};

use super::hash::IdMap;
use super::patient;
use super::proc_fs;
use super::process::Process;
use super::report::Report;
use super::{Inspector, REFRESH_NS};

/// The most bytes that are read of a file.
const MAX_FILE: u64 = 16 << 20;

/// The users and groups of a host.
#[derive(Debug)]
pub struct Users {
    passwd: File<User>,
    group: File<Box<[u8]>>,
    /// A recording says them in events.
    said: bool,
}

/// A line of /etc/passwd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: Box<[u8]>,
    /// Home directory.
    pub home: Box<[u8]>,
    /// Login shell.
    pub shell: Box<[u8]>,
}

#[derive(Debug)]
struct File<T> {
    /// The root directory of a container, below which the path is resolved. Its content is untrusted.
    root: Option<PathBuf>,
    path: PathBuf,
    stamp: Stamp,
    /// There is no file: the entries do not change.
    fixed: bool,
    entries: IdMap<u32, T>,
    parse: fn(&[&[u8]]) -> Option<T>,
}

impl Users {
    /// Reads `passwd` and `group` in a directory, usually `/etc`. A missing file has no entries.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        let mut users = Self::unread(directory);
        users.reload();
        users
    }

    /// Users and groups that never change. Of several with one id, the first counts.
    pub(super) fn fixed(
        users: impl Iterator<Item = (u32, User)>,
        groups: impl Iterator<Item = (u32, Box<[u8]>)>,
    ) -> Self {
        let mut fixed = Self::unread(Path::new(""));
        fixed.passwd.fixed = true;
        fixed.group.fixed = true;
        for (id, user) in users {
            fixed.passwd.entries.entry(id).or_insert(user);
        }
        for (id, name) in groups {
            fixed.group.entries.entry(id).or_insert(name);
        }
        fixed
    }

    fn unread(directory: &Path) -> Self {
        Self {
            passwd: File::new(directory.join("passwd"), |fields| {
                Some(User {
                    name: (*fields.first()?).into(),
                    home: fields.get(5).copied().unwrap_or_default().into(),
                    shell: fields.get(6).copied().unwrap_or_default().into(),
                })
            }),
            group: File::new(directory.join("group"), |fields| {
                Some((*fields.first()?).into())
            }),
            said: false,
        }
    }

    /// Reads the files again if they have changed.
    pub fn reload(&mut self) {
        self.passwd.reload();
        self.group.reload();
    }

    /// Takes users or groups of the recorded host, as lines of their file. What is there before the first such lines is
    /// forgotten.
    fn take(&mut self, fact: Fact, lines: &[u8]) {
        if !self.said {
            let (passwd, group) = (&mut self.passwd.entries, &mut self.group.entries);
            passwd.clear();
            group.clear();
        }
        self.said = true;
        self.passwd.fixed = true;
        self.group.fixed = true;
        match fact {
            Fact::Users => self.passwd.take(lines),
            _ => self.group.take(lines),
        }
    }

    /// The users as lines that [`take`](Self::take) reads, in the order of their ids.
    fn user_lines(&self) -> Vec<Vec<u8>> {
        let mut users: Vec<_> = self.users().collect();
        users.sort_unstable_by_key(|(uid, _)| *uid);
        let line = |(uid, user): (u32, &User)| {
            let id = format!(":x:{uid}:::");
            [
                &user.name,
                id.as_bytes(),
                &user.home,
                b":",
                &user.shell,
                b"\n",
            ]
            .concat()
        };
        users.into_iter().map(line).collect()
    }

    /// The same for groups.
    fn group_lines(&self) -> Vec<Vec<u8>> {
        let mut groups: Vec<_> = self.groups().collect();
        groups.sort_unstable_by_key(|(gid, _)| *gid);
        let line = |(gid, name): (u32, &[u8])| [name, format!(":x:{gid}:\n").as_bytes()].concat();
        groups.into_iter().map(line).collect()
    }

    /// Resolves the files below another root from now on.
    fn look_in(&mut self, root: &Path) {
        self.passwd.root = Some(root.to_owned());
        self.group.root = Some(root.to_owned());
    }

    /// The users of a container with this root directory.
    fn of_container(root: &Path) -> Self {
        let mut users = Self::unread(Path::new("etc"));
        users.look_in(root);
        users.reload();
        users
    }

    /// The user with this id. If there are several, the first.
    #[must_use]
    pub fn user(&self, uid: u32) -> Option<&User> {
        self.passwd.entries.get(&uid)
    }

    /// All users, in any order.
    pub fn users(&self) -> impl Iterator<Item = (u32, &User)> {
        self.passwd.entries.iter().map(|(uid, user)| (*uid, user))
    }

    /// All groups, each with its name, in any order.
    pub fn groups(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let entries = self.group.entries.iter();
        entries.map(|(gid, name)| (*gid, name.as_ref()))
    }

    /// Name of the group with this id.
    #[must_use]
    pub fn group(&self, gid: u32) -> Option<&[u8]> {
        self.group.entries.get(&gid).map(AsRef::as_ref)
    }
}

/// User and group 0, where nothing else is known.
static ROOT: LazyLock<Users> = LazyLock::new(|| {
    let root = User {
        name: (*b"root").into(),
        home: (*b"/root").into(),
        shell: Box::default(),
    };
    let group: Box<[u8]> = (*b"root").into();
    Users::fixed([(0, root)].into_iter(), [(0, group)].into_iter())
});

/// Whether a root directory exists and is not lanner's own. A process that prepares a container is in the container's
/// cgroup before it changes its root.
fn is_another_root(root: &Path) -> bool {
    let id = |path: &Path| {
        let found = proc_fs::status(path)?;
        Some((found.stx_dev_major, found.stx_dev_minor, found.stx_ino))
    };
    id(root).is_some_and(|found| Some(found) != id(Path::new("/")))
}

/// The most bytes of lines that one event of a recording has.
const MOST_LINES: usize = 30_000;

impl Inspector {
    /// Users and groups of the host where the events happened. `None`: only those of the host that replays are known.
    #[must_use]
    pub fn recorded_users(&self) -> Option<&Users> {
        let known = !self.elsewhere || self.recorded.is_some() || self.users.said;
        known.then_some(&self.users)
    }

    /// Gives `sink` events that say the users and groups of the host, if they are known. A recording begins with them.
    pub fn report_users(&self, sink: &mut dyn FnMut(&Event<'_>)) {
        let Some(users) = self.recorded_users() else {
            return;
        };
        let mut builder = EventBuilder::new();
        let all = [
            (Fact::Users, users.user_lines()),
            (Fact::Groups, users.group_lines()),
        ];
        for (fact, lines) in all {
            let mut say = |text: &[u8]| {
                let report = Report {
                    fact,
                    text,
                    pid: 0,
                    cgroup: 0,
                    time_ns: self.now(),
                };
                if let Some(event) = report.event(&mut builder) {
                    sink(&event);
                }
            };
            let mut text = Vec::new();
            for line in lines.iter().filter(|line| line.len() <= MOST_LINES) {
                if text.len() + line.len() > MOST_LINES {
                    say(&text);
                    text.clear();
                }
                text.extend_from_slice(line);
            }
            say(&text);
        }
    }

    /// Takes what an event of a recording says about users or groups. Returns whether it does.
    pub(super) fn take_users(&mut self, event: &Event<'_>) -> bool {
        let said = [Fact::Users, Fact::Groups]
            .into_iter()
            .find_map(|fact| Some((fact, event.fact(fact)?)));
        if let Some((fact, text)) = &said {
            self.users.take(*fact, text.bytes);
        }
        said.is_some()
    }

    /// Reads the users of a process's container, if they have not been read yet. When a rule asks, the container may be
    /// gone.
    pub(super) fn keep_users(&self, key: super::process_table::ProcessKey, now_ns: u64) {
        let Some(process) = self.processes.get(key) else {
            return;
        };
        let missing =
            |container: &super::Container| container.users.lock().is_ok_and(|kept| kept.is_none());
        if process.cgroups.container.as_deref().is_some_and(missing) {
            self.users_of(process, now_ns, |_| {});
        }
    }

    /// Calls `then` with the users of a process's container, if its files can be read. They are read at the first call,
    /// and checked for changes at most once a second.
    pub fn users_of(&self, process: &Process, now_ns: u64, then: impl FnOnce(&Users)) {
        if (self.recorded.is_some() || self.users.said) && process.cgroups.container.is_some() {
            // a file has the users of the host alone; user 0 is root everywhere
            then(&ROOT);
            return;
        }
        let (Some(container), Some(proc_fs)) = (&process.cgroups.container, &self.proc_fs) else {
            return;
        };
        let mut kept = match container.users.lock() {
            Ok(kept) => kept,
            Err(poisoned) => poisoned.into_inner(),
        };
        if kept.as_ref().is_none_or(|(until, _)| now_ns >= *until) {
            let found = [process.pid, container.pid()]
                .into_iter()
                .map(|pid| proc_fs.path(pid, "root"))
                .find(|root| is_another_root(root));
            let until = now_ns.saturating_add(REFRESH_NS);
            match (&mut *kept, found) {
                (Some((old, users)), Some(root)) => {
                    *old = until;
                    users.look_in(&root);
                    users.reload();
                }
                (None, Some(root)) => *kept = Some((until, Users::of_container(&root))),
                // the container is gone: its former users are the best answer
                (Some((old, _)), None) => *old = until,
                // the container has not started: the process that prepares it has the host's users
                (None, None) => {
                    if proc_fs.exists(process.pid) {
                        then(&self.users);
                    }
                    return;
                }
            }
        }
        if let Some((_, users)) = &*kept {
            then(users);
        }
    }
}

/// When a file was changed last, and how long it is. None: there is no such file.
type Stamp = Option<(SystemTime, u64)>;

/// A file that is another one than before.
struct Looked {
    stamp: Stamp,
    text: Vec<u8>,
}

impl Looked {
    /// None: it has the stamp that it had before.
    fn at(root: Option<&Path>, path: &Path, before: Stamp) -> Option<Self> {
        let file = open(root, path);
        let found = file.as_ref().and_then(|file| file.metadata().ok());
        let stamp = found
            .filter(fs::Metadata::is_file)
            .and_then(|found| Some((found.modified().ok()?, found.len())));
        let mut text = Vec::new();
        if stamp == before {
            return None;
        }
        if let (Some(file), Some(_)) = (file, stamp)
            && file.take(MAX_FILE).read_to_end(&mut text).is_err()
        {
            text.clear();
        }
        Some(Self { stamp, text })
    }
}

/// Opens a file. Does not block if it is a pipe, and does not leave the root if there is one.
fn open(root: Option<&Path>, path: &Path) -> Option<fs::File> {
    use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let Some(root) = root else {
        let mut options = fs::File::options();
        options.read(true).custom_flags(flags.bits());
        return options.open(path).ok();
    };
    let root = fs::File::open(root).ok()?;
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(&root, path, how).ok().map(fs::File::from)
}

impl<T> File<T> {
    fn new(path: PathBuf, parse: fn(&[&[u8]]) -> Option<T>) -> Self {
        Self {
            root: None,
            path,
            stamp: None,
            fixed: false,
            entries: IdMap::default(),
            parse,
        }
    }

    /// The file as it is now. None: it is the same as before, or does not come.
    fn look(&self) -> Option<Looked> {
        let (root, path, before) = (self.root.clone(), self.path.clone(), self.stamp);
        let look = move || Looked::at(root.as_deref(), &path, before);
        // a container can keep its files from those who ask, and a listener of fanotify(7) those of the host
        let keeper = self.root.as_deref().and_then(Path::parent);
        patient::ask(keeper.unwrap_or(&self.path), look).flatten()
    }

    fn reload(&mut self) {
        if self.fixed {
            return;
        }
        let Some(Looked { stamp, text }) = self.look() else {
            return;
        };
        self.stamp = stamp;
        self.entries.clear();
        self.take(&text);
    }

    /// Adds the entries of some lines.
    fn take(&mut self, text: &[u8]) {
        for line in text.split(|&b| b == b'\n') {
            let fields: Vec<&[u8]> = line.split(|&b| b == b':').collect();
            let id = fields
                .get(2)
                .and_then(|f| std::str::from_utf8(f).ok()?.parse().ok());
            if let Some((id, entry)) = id.zip((self.parse)(&fields)) {
                self.entries.entry(id).or_insert(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::os::unix::ffi::OsStrExt;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn users_and_groups_are_found_and_changes_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let passwd = directory.path().join("passwd");
        fs::write(
            &passwd,
            "root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:\n\n:::\nbad\n",
        )
        .unwrap();
        fs::write(
            directory.path().join("group"),
            "wheel:x:10:\nx:y:99999999999:\n",
        )
        .unwrap();
        let mut users = Users::new(directory.path());
        let root = users.user(0).unwrap();
        assert_eq!(
            (&*root.name, &*root.shell),
            (&b"root"[..], &b"/bin/bash"[..])
        );
        assert_eq!(users.group(10), Some(&b"wheel"[..]));
        assert_eq!(users.user(5), None);
        fs::write(&passwd, "root:x:0:0:root:/root:/bin/bash\nme:x:5:5:::\n").unwrap();
        users.reload();
        assert_eq!(&*users.user(5).unwrap().name, b"me");
        fs::remove_file(&passwd).unwrap();
        users.reload();
        assert_eq!(users.user(0), None);
    }

    #[test]
    fn a_containers_files_are_read_within_its_root_and_never_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc");
        fs::create_dir(&etc).unwrap();
        fs::write(etc.join("real"), "app:x:7:7::/app:/bin/sh\n").unwrap();
        std::os::unix::fs::symlink("/etc/real", etc.join("passwd")).unwrap();
        nix::unistd::mkfifo(&etc.join("group"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let users = Users::of_container(root.path());
        assert_eq!(&*users.user(7).unwrap().name, b"app");
        assert_eq!(users.group(7), None);
    }

    #[test]
    fn no_files_are_no_users() {
        assert_eq!(Users::new(Path::new("/nonexistent")).user(0), None);
    }

    /// Lets every open of a file wait for this process's answer, until the result is dropped. None: that is not possible
    /// here.
    fn withheld(path: &Path) -> Option<OwnedFd> {
        let path = CString::new(path.as_os_str().as_bytes()).ok()?;
        let flags = libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC;
        // SAFETY: the calls take numbers and a C string; the descriptor is new, and ours alone.
        unsafe {
            let listener = libc::fanotify_init(flags, 0);
            let listener = (listener >= 0).then(|| OwnedFd::from_raw_fd(listener))?;
            let (add, opens) = (libc::FAN_MARK_ADD, libc::FAN_OPEN_PERM);
            let fd = listener.as_raw_fd();
            let marked = libc::fanotify_mark(fd, add, opens, libc::AT_FDCWD, path.as_ptr());
            (marked == 0).then_some(listener)
        }
    }

    #[test]
    fn a_file_that_a_listener_withholds_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let passwd = directory.path().join("passwd");
        fs::write(&passwd, "root:x:0:0:root:/root:/bin/bash\n").unwrap();
        let Some(listener) = withheld(&passwd) else {
            test_support::skipped("fanotify(7) cannot withhold files");
            return;
        };
        // an open that waits goes on when the listener ends
        let (done, end) = mpsc::channel::<()>();
        let watch = thread::spawn(move || {
            let held_up = end.recv_timeout(Duration::from_mins(1)).is_err();
            drop(listener);
            held_up
        });
        let mut users = Users::new(directory.path());
        assert_eq!(users.user(0), None);
        let _ = done.send(());
        assert!(!watch.join().unwrap());
        test_support::wait_until("the file can be read", || {
            users.reload();
            users.user(0).is_some()
        });
    }
}
