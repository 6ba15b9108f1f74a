//! Links that this process makes, and follows as if a watched process had named them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc;
use std::time::Duration;

use driver_api::event::Ids;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use tempfile::TempDir;
use test_support::{lacking, skipped};

use super::proc_links::{To, magic_link};
use super::*;
use crate::testing::{Ev, feed};
use crate::{Clock, Options};

/// This process as the state knows it, and a folder with the file `real/file`.
struct Stage {
    inspector: Inspector,
    at: PathBuf,
    /// The folder. It was open before the state was made, so the state knows its number as no other file's.
    real: File,
    _folder: TempDir,
}

impl Stage {
    /// None: the kernel does not answer from its cache of names.
    fn new(folder: TempDir) -> Option<Self> {
        let at = folder.path().canonicalize().unwrap();
        std::fs::create_dir(at.join("real")).unwrap();
        std::fs::write(at.join("real/file"), b"x").unwrap();
        let real = File::open(at.join("real")).unwrap();
        let mut inspector = Inspector::new(&Options {
            containers: None,
            clock: Clock::fixed(1),
            ..Options::default()
        });
        let pid = std::process::id();
        let exec = Ev::exec(pid, "/bin/x", &["x"], Ids::default());
        feed(&mut inspector, &[exec]);
        let stage = Self {
            inspector,
            at,
            real,
            _folder: folder,
        };
        let file = stage.at.join("real/file");
        // the names are in the cache once they have been looked up
        let _ = std::fs::metadata(&file);
        if stage.find(&file, false).is_none() {
            lacking("openat2(2) with RESOLVE_CACHED");
            return None;
        }
        Some(stage)
    }

    fn find(&self, path: &Path, follows: bool) -> Option<String> {
        let pid = std::process::id();
        let process = self.inspector.process_by_pid(pid).unwrap();
        let path = path.as_os_str().as_bytes();
        let mut out = Vec::new();
        let found = self
            .inspector
            .real_path(process, pid, path, follows, &mut out);
        found.then(|| String::from_utf8(out).unwrap())
    }

    /// Where the file of this name in `real` is.
    fn real(&self, name: &str) -> Option<String> {
        Some(self.at.join("real").join(name).display().to_string())
    }
}

#[test]
fn a_path_is_split_before_its_last_name() {
    assert_eq!(split(b"/a/b/"), Some((&b"/a/"[..], &b"b"[..])));
    assert_eq!(split(b"/a"), Some((&b"/"[..], &b"a"[..])));
    assert_eq!(split(b"/a/.."), None);
    assert_eq!(split(b"///"), None);
}

#[test]
fn the_type_of_a_mount_is_behind_its_options() {
    let mounts = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
                  212 21 0:5 / /x rw - fuse.sshfs x:/ rw\n";
    assert_eq!(type_of_mount(mounts, "21"), Some("ext4"));
    assert_eq!(type_of_mount(mounts, "212"), Some("fuse.sshfs"));
    assert_eq!(type_of_mount(mounts, "2"), None);
}

#[test]
fn links_that_were_just_made_are_read() {
    // a file system that answers at once, wherever this runs
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else {
        skipped("there is no /dev/shm");
        return;
    };
    let Some(stage) = Stage::new(folder) else {
        return;
    };
    let at = &stage.at;
    let find = |path: &Path, follows| stage.find(path, follows);
    let real = |name: &str| stage.real(name);
    for number in 0..20 {
        let (link, last) = (format!("link{number}"), format!("last{number}"));
        std::os::unix::fs::symlink("./real", at.join(&link)).unwrap();
        assert_eq!(find(&at.join(&link).join("new"), false), real("new"));
        std::os::unix::fs::symlink(at.join(&link).join("file"), at.join(&last)).unwrap();
        assert_eq!(find(&at.join(&last), true), real("file"));
        let itself = at.join(&last).display().to_string();
        assert_eq!(find(&at.join(&last), false), Some(itself));
    }
    std::os::unix::fs::symlink("round", at.join("round")).unwrap();
    assert_eq!(find(&at.join("round/file"), false), None);
}

/// Makes a link that the kernel does not follow from its cache: it would have to note the time (mount(8), `relatime`).
fn unused_link(target: &str, link: &Path) {
    std::os::unix::fs::symlink(target, link).unwrap();
    let long_ago = TimeSpec::new(1, 0);
    let no_follow = UtimensatFlags::NoFollowSymlink;
    utimensat(AT_FDCWD, link, &long_ago, &long_ago, no_follow).unwrap();
}

#[test]
fn a_link_at_the_end_is_read_if_the_kernel_does_not_follow_it() {
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else {
        skipped("there is no /dev/shm");
        return;
    };
    let Some(stage) = Stage::new(folder) else {
        return;
    };
    let (first, second, dangling) = (
        stage.at.join("first"),
        stage.at.join("second"),
        stage.at.join("dangling"),
    );
    unused_link("real/file", &first);
    unused_link("first", &second);
    unused_link("real/new", &dangling);
    assert_eq!(stage.find(&second, true), stage.real("file"));
    // a call that makes a file makes it where the link leads
    assert_eq!(stage.find(&dangling, true), stage.real("new"));
    let itself = dangling.display().to_string();
    assert_eq!(stage.find(&dangling, false), Some(itself));
}

#[test]
fn links_of_proc_begin_a_path() {
    let of = |path: &str| {
        let (link, rest) = magic_link(path.as_bytes())?;
        Some((link.pid, link.to, String::from_utf8(rest).unwrap()))
    };
    let rest = |text: &str| text.to_owned();
    assert_eq!(
        of("/proc/self/fd/7/a//./b"),
        Some((None, To::Descriptor(7), rest("/a/b")))
    );
    assert_eq!(
        of("//proc/thread-self/cwd"),
        Some((None, To::Directory, rest("")))
    );
    assert_eq!(
        of("/proc/12/root/x"),
        Some((Some(12), To::Root, rest("/x")))
    );
    assert_eq!(
        of("/proc/self/task/9/fd/1"),
        Some((Some(9), To::Descriptor(1), rest("")))
    );
    assert_eq!(of("/dev/fd/3"), Some((None, To::Descriptor(3), rest(""))));
    for other in [
        "/proc/self/exe",
        "/proc/self/fd/x",
        "/proc/../fd/1",
        "/dev/null",
        "/",
    ] {
        assert_eq!(of(other), None, "{other}");
    }
}

#[test]
fn links_in_the_directories_are_followed() {
    let Some(stage) = Stage::new(tempfile::tempdir().unwrap()) else {
        return;
    };
    let at = &stage.at;
    std::os::unix::fs::symlink("real", at.join("link")).unwrap();
    std::os::unix::fs::symlink("file", at.join("real/last")).unwrap();
    let find = |path: &str, follows| {
        // the names are in the cache once they have been looked up
        let path = at.join(path);
        let _ = std::fs::metadata(&path);
        stage.find(&path, follows)
    };
    let real = |name: &str| stage.real(name);
    assert_eq!(find("link/file", false), real("file"));
    assert_eq!(find("link/new", false), real("new"));
    assert_eq!(find("link/last", false), real("last"));
    assert_eq!(find("link/last", true), real("file"));
    assert_eq!(find("link/../link/file", false), real("file"));
    assert_eq!(find("absent/file", false), None);
    let exe = std::env::current_exe().unwrap();
    assert_eq!(
        stage.find(Path::new("/proc/self/exe"), true),
        Some(exe.display().to_string())
    );
    // this process's own descriptor
    let fd = stage.real.as_raw_fd();
    let through = |pid: &str| PathBuf::from(format!("/proc/{pid}/fd/{fd}/file"));
    assert_eq!(stage.find(&through("self"), false), real("file"));
    assert_eq!(stage.find(&through("999999999"), false), None);
}

#[test]
fn links_to_what_other_processes_have_are_followed() {
    let Some(stage) = Stage::new(tempfile::tempdir().unwrap()) else {
        return;
    };
    // the state does not know this process
    let other = Command::new("sleep")
        .arg("60")
        .current_dir(stage.at.join("real"))
        .stdin(stage.real.try_clone().unwrap())
        .spawn()
        .map(Other)
        .unwrap();
    let pid = other.0.id();
    let find = |path: &str, follows| {
        // the names are in the cache once they have been looked up
        let _ = std::fs::metadata(path);
        stage.find(Path::new(path), follows)
    };
    let at = stage.at.display();
    for through in [
        format!("/proc/{pid}/cwd"),
        format!("/proc/{pid}/fd/0"),
        format!("/proc/{pid}/task/{pid}/cwd"),
        format!("/proc/{pid}/root{at}/real"),
        format!("/proc/self/root/proc/{pid}/cwd"),
        format!("/proc/{pid}/cwd/../real"),
    ] {
        let found = find(&format!("{through}/new"), false);
        assert_eq!(found, stage.real("new"), "{through}");
        let found = find(&format!("{through}/file"), true);
        assert_eq!(found, stage.real("file"), "{through}");
    }
    let link = stage.at.join("link");
    std::os::unix::fs::symlink(format!("/proc/{pid}/cwd"), &link).unwrap();
    let found = find(&link.join("new").display().to_string(), false);
    assert_eq!(found, stage.real("new"));
    // what the link itself is called
    assert_eq!(find(&format!("/proc/{pid}/cwd"), false), None);
}

/// A child that ends with the test.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Gives this thread a mount namespace in which /proc is a file system of a program that never answers. None: that is not
/// possible here.
fn proc_that_never_answers() -> Option<File> {
    let fuse = File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .ok()?;
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
        fuse.as_raw_fd()
    );
    let options = CString::new(options).ok()?;
    let (none, private) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
    let (name, proc, kind) = (c"x".as_ptr(), c"/proc".as_ptr(), c"fuse".as_ptr());
    // SAFETY: the calls take numbers and C strings, which outlive them.
    let mounted = unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(none, c"/".as_ptr(), none, private, none.cast()) == 0
            && libc::mount(name, proc, kind, 0, options.as_ptr().cast()) == 0
    };
    mounted.then_some(fuse)
}

#[test]
fn a_proc_of_a_program_that_never_answers_holds_nobody_up() {
    let Some(stage) = Stage::new(tempfile::tempdir().unwrap()) else {
        return;
    };
    let (says, ready) = mpsc::channel();
    let (done, end) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let fuse = proc_that_never_answers();
        // SAFETY: gettid(2) always succeeds.
        let tid = unsafe { libc::gettid() };
        says.send(fuse.is_some().then_some(tid)).unwrap();
        // a reader that waits is let go when the file system ends with its program
        let held_up = end.recv_timeout(Duration::from_mins(1)).is_err();
        drop(fuse);
        held_up
    });
    if let Some(tid) = ready.recv().unwrap() {
        let tid = tid.unsigned_abs();
        let process = stage.inspector.process_by_pid(std::process::id()).unwrap();
        for path in ["/proc/self/cwd/x", "/proc/1/root/x", "/proc/self/fd/0"] {
            let mut out = Vec::new();
            let inspector = &stage.inspector;
            let found = inspector.real_path(process, tid, path.as_bytes(), true, &mut out);
            assert!(!found, "{path}");
        }
    } else {
        skipped("a FUSE file system cannot be mounted");
    }
    let _ = done.send(());
    assert!(!thread.join().unwrap());
}
