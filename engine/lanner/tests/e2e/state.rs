//! State that programs change in unusual ways: what one thread alone changes, whom each message goes to, paths that are
//! relative. Every driver must show the same.

use std::fs;
use std::path::Path;

use serde_json::Value;
use test_support::{is_root, skipped};

use crate::lanner::{modes, run, stderr, usable};

/// Helpers of the programs below.
const PRELUDE: &str = r#"
import ctypes, os, platform, socket, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
AT = sys.argv[1]

def thread(do):
    one = threading.Thread(target=do)
    one.start()
    one.join()

def miss(name):
    try:
        os.open(name, os.O_RDONLY)
    except OSError:
        pass
"#;

/// The values that fields have for the events that a condition selects, while a Python program runs in an empty folder.
pub(crate) fn values(
    driver: &[String],
    folder: &Path,
    (condition, fields): (&str, &[&str]),
    program: &str,
) -> Vec<Vec<Value>> {
    let output: Vec<String> = fields.iter().map(|field| format!("%{field}")).collect();
    let rules = folder.join("rules.yaml");
    let rule = format!(
        "- rule: state\n  desc: d\n  condition: >\n    {condition}\n  output: '{}'\n  priority: INFO\n",
        output.join(" ")
    );
    fs::write(&rules, rule).expect("write the rules");
    let script = folder.join("program.py");
    fs::write(&script, format!("{PRELUDE}{program}")).expect("write the program");
    let at = folder.join("empty");
    let _ = fs::remove_dir_all(&at);
    fs::create_dir(&at).expect("make a folder");
    let text = |path: &Path| path.display().to_string();
    let mut args = vec!["run".to_owned()];
    args.extend_from_slice(driver);
    args.extend(["-r".to_owned(), text(&rules)]);
    // each message of a call is an event
    args.extend(["--json", "-o", "rule_matching=all", "--", "python3"].map(str::to_owned));
    args.extend([text(&script), text(&at)]);
    let output = run(&args);
    let lines = output.stdout.split(|b| *b == b'\n');
    let alerts = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let found: Vec<Vec<Value>> = alerts
        .filter(|alert| alert["rule"] == "state")
        .map(|alert| {
            let of = |field: &&str| alert["output_fields"][*field].clone();
            fields.iter().map(of).collect()
        })
        .collect();
    assert!(!found.is_empty(), "{driver:?}: {}", stderr(&output));
    found
}

/// Runs a program in every mode of every driver, and compares the values that are there.
pub(crate) fn expect(question: (&str, &[&str]), program: &str, expected: &[&[&str]]) {
    expect_in(&modes(), question, program, expected);
}

/// The same in some modes. `AT` is the empty folder.
pub(crate) fn expect_in(
    modes: &[Vec<String>],
    question: (&str, &[&str]),
    program: &str,
    expected: &[&[&str]],
) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().join("empty").display().to_string();
    let expected: Vec<Vec<String>> = expected
        .iter()
        .map(|row| row.iter().map(|text| text.replace("AT", &at)).collect())
        .collect();
    for driver in modes {
        let found = values(driver, folder.path(), question, program);
        assert_eq!(as_texts(&found), expected, "{driver:?}");
    }
}

/// The options that choose a driver.
fn named(driver: &str) -> [String; 2] {
    ["--driver".to_owned(), driver.to_owned()]
}

/// The values that are there, as text.
pub(crate) fn as_texts(rows: &[Vec<Value>]) -> Vec<Vec<String>> {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    rows.iter()
        .map(|row| {
            row.iter()
                .filter(|value| !value.is_null())
                .map(text)
                .collect()
        })
        .collect()
}

#[test]
fn relative_paths_are_shown_absolute() {
    expect(
        (
            "evt.type in (mkdir, mkdirat, rename, renameat, renameat2, rmdir, unlinkat, chmod, fchmodat)
    and proc.cwd endswith /empty/",
            &["evt.arg.path", "evt.arg.name", "evt.arg.oldpath", "evt.arg.newpath", "evt.arg.filename"],
        ),
        "os.chdir(AT)\nos.mkdir('d1')\nos.rename('d1', 'd2')\nos.chmod('d2', 0o700)\n\
         d = os.open(AT, os.O_RDONLY)\nos.chdir('/tmp')\nos.chdir(AT)\nos.rename('d2', AT + '/d3', src_dir_fd=d)\nos.rmdir('d3')\n",
        &[
            &["AT/d1"],
            &["AT/d1", "AT/d2"],
            // chmod's path has the name filename, and path as another
            &["AT/d2", "AT/d2"],
            &["AT/d2", "AT/d3"],
            &["AT/d3"],
        ],
    );
}

#[test]
fn paths_begin_where_the_kernel_says() {
    expect(
        (
            "evt.type in (mkdir, mkdirat, rename, renameat, renameat2)
    and (evt.arg.path contains /real/ or evt.arg.newpath contains /real/)",
            &["evt.arg.path", "evt.arg.oldpath", "evt.arg.newpath"],
        ),
        // behind a link; by a descriptor of another process; where another process that shares the directory has gone
        "os.mkdir(AT + '/real')\nos.symlink('real', AT + '/link')\nos.chdir(AT + '/link')\nos.mkdir('a')\n\
         mine, its = socket.socketpair()\n\
         if os.fork() == 0:\n    d = os.open(AT + '/link', os.O_PATH)\n    socket.send_fds(its, [b'x'], [d])\n    os._exit(0)\n\
         _, (d,), _, _ = socket.recv_fds(mine, 1, 1)\nos.wait()\n\
         os.chdir('/')\nos.rename('a', 'b', src_dir_fd=d, dst_dir_fd=d)\n\
         thread(lambda: os.chdir(AT + '/link/../link'))\nos.mkdir('c')\n",
        &[&["AT/real/a"], &["AT/real/a", "AT/real/b"], &["AT/real/c"]],
    );
}

#[test]
fn a_path_begins_in_a_directory_that_another_process_has_sent() {
    expect(
        (
            "evt.type in (open, openat) and evt.arg.name contains /passed/",
            &["evt.arg.name", "fd.name"],
        ),
        "import time\nos.mkdir(AT + '/passed')\nopen(AT + '/file', 'w').close()\n\
         mine, its = socket.socketpair()\n\
         if os.fork() == 0:\n    d = os.open(AT + '/passed', os.O_PATH)\n    socket.send_fds(its, [b'x'], [d])\n    os._exit(0)\n\
         _, (d,), _, _ = socket.recv_fds(mine, 1, 1)\nos.wait()\n\
         os.close(os.open('new', os.O_CREAT, dir_fd=d))\n\
         try:\n    os.open('missing', os.O_RDONLY, dir_fd=d)\nexcept OSError:\n    time.sleep(0.5)\n",
        &[
            &["AT/passed/new", "AT/passed/new"],
            &["AT/passed/missing", "AT/passed/missing"],
        ],
    );
}

#[test]
fn a_path_of_a_call_begins_at_the_root_of_the_thread() {
    if !is_root() {
        skipped("another root directory needs root");
        return;
    }
    expect(
        (
            "evt.type in (mkdir, mkdirat) and evt.arg.path in (/in/relative, /absolute, /in/child, /in/thread, /in/at)",
            &["evt.arg.path"],
        ),
        "os.mkdir(AT + '/jail')\nos.mkdir(AT + '/jail/in')\n\
         os.chroot(AT + '/jail')\nos.chdir('/in')\nd = os.open('.', os.O_RDONLY)\n\
         os.mkdir('relative')\nos.mkdir('/absolute')\n\
         if os.fork() == 0:\n    os.mkdir('child')\n    os._exit(0)\nos.wait()\n\
         thread(lambda: os.mkdir('thread'))\nos.mkdir('at', dir_fd=d)\n",
        &[
            &["/in/relative"],
            &["/absolute"],
            &["/in/child"],
            &["/in/thread"],
            &["/in/at"],
        ],
    );
}

#[test]
fn a_file_that_cannot_be_opened_is_below_the_root_of_the_thread() {
    if !is_root() {
        skipped("another root directory needs root");
        return;
    }
    expect(
        (
            "evt.type in (open, openat) and fd.name endswith /missing",
            &["fd.name", "evt.abspath"],
        ),
        "def miss(path):\n    try:\n        os.open(path, os.O_RDONLY)\n    except OSError:\n        pass\n\
         os.mkdir(AT + '/jail')\nos.mkdir(AT + '/jail/in')\nos.chroot(AT + '/jail')\nmiss('/missing')\n\
         os.chdir('/in')\nmiss('missing')\nmiss('../../../missing')\nmiss('/in/../../missing')\n",
        &[
            &["AT/jail/missing", "AT/jail/missing"],
            &["AT/jail/in/missing", "AT/jail/in/missing"],
            &["AT/jail/missing", "AT/jail/missing"],
            &["AT/jail/missing", "AT/jail/missing"],
        ],
    );
}

#[test]
fn capabilities_are_known_after_setuid_though_the_process_ends_at_once() {
    if !is_root() {
        skipped("capabilities need root");
        return;
    }
    expect(
        (
            "evt.type in (open, openat) and fd.name endswith /release_agent
    and thread.cap_effective contains CAP_SYS_ADMIN",
            &["fd.name"],
        ),
        "for _ in range(3):\n    if os.fork() == 0:\n        os.setuid(0)\n        os.setgid(5)\n\
         \u{20}       os.open(AT + '/release_agent', os.O_CREAT | os.O_WRONLY)\n        os._exit(0)\n    os.wait()\n",
        &[
            &["AT/release_agent"],
            &["AT/release_agent"],
            &["AT/release_agent"],
        ],
    );
}

#[test]
fn a_program_whose_file_was_deleted_keeps_its_path() {
    expect(
        (
            "evt.type in (execve, execveat) and proc.exepath contains /empty/",
            &["proc.exepath"],
        ),
        "import shutil\nshutil.copy('/bin/true', AT + '/true')\nd = os.open(AT + '/true', os.O_RDONLY)\n\
         os.unlink(AT + '/true')\nif os.fork() == 0:\n    os.execve(d, ['true'], {})\nos.wait()\n",
        &[&["AT/true"]],
    );
}

#[test]
fn a_namespace_that_is_opened_has_its_path() {
    expect(
        (
            "evt.type in (open, openat) and fd.name endswith /ns/net",
            &["fd.name"],
        ),
        "os.close(os.open('/proc/self/ns/net', os.O_RDONLY))\n",
        &[&["/proc/self/ns/net"]],
    );
}

#[test]
fn links_in_the_directories_of_a_path_can_be_seen_through() {
    expect(
        (
            "evt.type in (rename, renameat, renameat2, chmod, fchmodat, access, faccessat, faccessat2, linkat, openat)
    and fs.realpath.differs = true and (fs.path.name contains /empty/ or fs.path.target contains /empty/)",
            &[
                "fs.path.name",
                "fs.realpath.name",
                "fs.path.target",
                "fs.realpath.target",
            ],
        ),
        // access(2) follows a link that is the last component; faccessat2(2) here does not, by a flag; linkat(2) does, by a flag
        // the kernel notes when a link was followed, and does not answer from its cache while it would have to (relatime)
        "def followed(link):\n    for _ in range(100000):\n        os.stat(link)\n        found = os.lstat(link)\n\
         \u{20}       if found.st_atime_ns > found.st_mtime_ns:\n            return\n\
         os.mkdir(AT + '/real')\nos.symlink('real', AT + '/link')\nopen(AT + '/real/a', 'w').close()\nfollowed(AT + '/link')\n\
         os.rename(AT + '/real/a', AT + '/real/b')\nos.rename(AT + '/real/b', AT + '/link/c')\n\
         os.symlink('c', AT + '/real/last')\nfollowed(AT + '/real/last')\nos.chmod(AT + '/real/last', 0o600)\n\
         os.access(AT + '/real/last', os.F_OK)\n\
         last, new = (AT + '/real/last').encode(), (AT + '/real/d').encode()\n\
         libc.syscall(439, -100, last, 0, 0x100)\n\
         libc.syscall({'x86_64': 265, 'aarch64': 37}[platform.machine()], -100, last, -100, new, 0x400)\n\
         os.close(os.open(AT + '/link/last', os.O_RDONLY))\n",
        &[
            &["AT/link/c", "AT/real/c"],
            &["AT/real/last", "AT/real/c"],
            &["AT/real/last", "AT/real/c"],
            &["AT/real/last", "AT/real/c"],
            &["AT/link/last", "AT/real/c"],
        ],
    );
}

#[test]
fn a_thread_changes_its_own_directory_and_descriptors() {
    expect(
        (
            "evt.type in (open, openat) and fd.name endswith -mark",
            &["fd.name", "proc.cwd"],
        ),
        "os.chdir(AT)\n\
         def away():\n    libc.unshare(0x200)\n    os.chdir('/usr')\n    miss('thread-mark')\n\
         thread(away)\nmiss('main-mark')\n",
        &[&["/usr/thread-mark", "/usr/"], &["AT/main-mark", "AT/"]],
    );
    expect(
        ("evt.type = fchmod", &["fd.name"]),
        "one, two = (os.open(AT + name, os.O_CREAT | os.O_RDWR) for name in ('/one', '/two'))\n\
         def away():\n    libc.unshare(0x400)\n    os.dup2(two, one)\n    os.fchmod(one, 0o600)\n\
         thread(away)\nos.fchmod(one, 0o600)\n",
        &[&["AT/two"], &["AT/one"]],
    );
}

#[test]
fn a_thread_that_gives_up_its_ids_changes_them_for_itself() {
    if !is_root() {
        skipped("changing ids needs root");
        return;
    }
    expect(
        (
            "evt.type in (open, openat) and fd.name endswith -mark",
            &["fd.name", "user.uid", "group.gid"],
        ),
        "number = {'x86_64': (117, 119), 'aarch64': (147, 149)}[platform.machine()]\n\
         def away():\n    libc.syscall(number[1], -1, 7, -1)\n    libc.syscall(number[0], -1, 1, -1)\n    miss('/thread-mark')\n\
         thread(away)\nmiss('/main-mark')\n",
        &[&["/thread-mark", "1", "7"], &["/main-mark", "0", "0"]],
    );
}

#[test]
fn each_message_shows_whom_it_goes_to() {
    expect(
        (
            "evt.type in (sendto, sendmsg, write) and fd.l4proto = udp",
            &["fd.rip", "fd.rport", "fd.sport"],
        ),
        // somebody receives: otherwise a later call returns the error of an earlier message
        "def receiver(last):\n    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         \u{20}   one.bind(('127.0.0.%d' % last, 7000 + last))\n    return one\n\
         receivers = [receiver(last) for last in range(1, 5)]\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         copy = os.dup(s.fileno())\n\
         s.connect(('127.0.0.1', 7001))\n\
         s.sendto(b'x', ('127.0.0.2', 7002))\ns.sendmsg([b'x'], [], 0, ('127.0.0.3', 7003))\nos.write(copy, b'x')\n\
         libc.connect(s.fileno(), bytes(16), 16)\ns.sendto(b'x', ('127.0.0.4', 7004))\n",
        &[
            &["127.0.0.2", "7002", "7002"],
            &["127.0.0.3", "7003", "7003"],
            &["127.0.0.1", "7001", "7001"],
            &["127.0.0.4", "7004", "7004"],
        ],
    );
}

#[test]
fn descriptors_that_were_closed_do_not_count() {
    let folder = tempfile::tempdir().expect("a folder");
    let question = (
        "evt.type in (open, openat) and fd.name contains count-",
        &["fd.name", "fd.num", "proc.fdopencount", "fd.types"][..],
    );
    let program = "for i in range(20):\n    os.close(os.open('/etc/passwd', os.O_RDONLY))\n\
         s = socket.socket()\ns.close()\n\
         miss('/count-%d' % (len(os.listdir('/proc/self/fd')) - 1))\n";
    for driver in usable() {
        let found = values(&named(driver), folder.path(), question, program);
        let [name, number, count, types] = &found[0][..] else {
            panic!("{driver}: {found:?}");
        };
        assert_eq!(name.as_str(), Some(&*format!("/count-{count}")), "{driver}");
        assert_eq!(number, -1, "{driver}");
        assert!(!types.to_string().contains("ipv4"), "{driver}: {types}");
    }
}

#[test]
fn a_file_is_created_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let question = (
        "evt.type in (open, openat) and fd.name endswith /new",
        &["evt.is_open_create", "fd.typechar"][..],
    );
    let program = "for flags in (os.O_CREAT, os.O_CREAT, os.O_RDWR):\n    os.close(os.open(AT + '/new', flags))\n";
    for driver in usable() {
        let created: Vec<Value> = values(&named(driver), folder.path(), question, program)
            .into_iter()
            .map(|row| row[0].clone())
            .collect();
        // ptrace names this as a gap; so does ebpf-legacy before Linux 4.19
        let second = driver == "ptrace";
        assert_eq!(created, [true, second, false], "{driver}");
    }
}

#[test]
fn ids_of_a_call_are_names() {
    if !is_root() {
        skipped("changing ids needs root");
        return;
    }
    let question = (
        "evt.type in (setresgid, setuid, kill)",
        &[
            "evt.arg.rgid",
            "evt.arg.egid",
            "evt.arg.uid",
            "evt.arg.pid",
            "evt.rawarg.egid",
        ][..],
    );
    let program = "os.setresgid(-1, 0, 7)\nos.setresgid(0, 471147, -1)\nos.kill(os.getpid(), 0)\nos.setuid(471147)\n";
    expect(
        question,
        program,
        &[
            &["<NONE>", "root", "0"],
            &["root", "<NA>", "471147"],
            &["python3"],
            &["<NA>"],
        ],
    );
}

#[test]
fn a_user_namespace_does_not_hide_who_a_user_is_on_the_host() {
    if !is_root() {
        skipped("another user's namespace needs root");
        return;
    }
    expect(
        (
            "evt.type in (open, openat) and fd.name endswith -mark",
            &["fd.name", "user.uid", "group.gid"],
        ),
        "ready, go = os.pipe(), os.pipe()\nchild = os.fork()\n\
         if child == 0:\n    os.setresgid(1000, 1000, 1000)\n    os.setresuid(1000, 1000, 1000)\n\
         \u{20}   libc.unshare(0x10000000)\n    os.write(ready[1], b'x')\n    os.read(go[0], 1)\n\
         \u{20}   os.setresgid(0, 0, 0)\n    os.setresuid(0, 0, 0)\n    miss('/root-there-mark')\n    os._exit(0)\n\
         os.read(ready[0], 1)\n\
         for name, text in (('setgroups', 'deny'), ('uid_map', '0 1000 1'), ('gid_map', '0 1000 1')):\n\
         \u{20}   with open('/proc/%d/%s' % (child, name), 'w') as one:\n        one.write(text)\n\
         os.write(go[1], b'x')\nos.waitpid(child, 0)\nmiss('/root-here-mark')\n",
        &[
            &["/root-there-mark", "1000", "1000"],
            &["/root-here-mark", "0", "0"],
        ],
    );
}

#[test]
fn effective_ids_are_followed() {
    if !is_root() {
        skipped("changing ids needs root");
        return;
    }
    expect(
        (
            "evt.type in (open, openat) and fd.name endswith -mark",
            &["fd.name", "user.uid", "group.gid"],
        ),
        "os.setresgid(-1, 9, -1)\nos.setresuid(-1, 5, -1)\nmiss('/five-mark')\n\
         if os.fork() == 0:\n    miss('/child-mark')\n    os._exit(0)\nos.wait()\n\
         os.setresuid(-1, 0, -1)\nmiss('/root-mark')\n",
        &[
            &["/five-mark", "5", "9"],
            &["/child-mark", "5", "9"],
            &["/root-mark", "0", "9"],
        ],
    );
}

#[test]
fn a_process_group_is_that_of_the_host() {
    if !is_root() {
        skipped("a PID namespace needs root");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let question = (
        "evt.type in (open, openat) and fd.name endswith -mark",
        &["fd.name", "proc.vpid", "proc.pgid"][..],
    );
    // the second process of the namespace begins a group, and the third joins it by the number that it has there
    let program = "libc.unshare(0x20000000)\n\
         first = os.fork()\nif first:\n    os.waitpid(first, 0)\n    os._exit(0)\n\
         stay = os.pipe()\nready = os.pipe()\n\
         leader = os.fork()\n\
         if leader == 0:\n    os.setpgid(0, 0)\n    miss('/leader-mark')\n    os.write(ready[1], b'x')\n    os.read(stay[0], 1)\n    os._exit(0)\n\
         os.read(ready[0], 1)\n\
         member = os.fork()\n\
         if member == 0:\n    os.setpgid(0, leader)\n    miss('/member-mark')\n    os._exit(0)\n\
         os.waitpid(member, 0)\nos.write(stay[1], b'x')\nos.waitpid(leader, 0)\n";
    for driver in modes() {
        let found = values(&driver, folder.path(), question, program);
        let [leader, member] = &found[..] else {
            panic!("{driver:?}: {found:?}");
        };
        assert_eq!(leader[1], 2, "{driver:?}");
        assert_eq!(member[1], 3, "{driver:?}");
        assert_eq!(leader[2], member[2], "{driver:?}");
        assert!(leader[2].as_u64() > Some(3), "{driver:?}: {leader:?}");
    }
}

#[test]
fn a_child_has_the_name_that_its_creator_took_by_a_file() {
    const PROGRAM: &str = r#"
import os, time
with open("/proc/self/comm", "w") as comm:
    comm.write("renamed")
time.sleep(0.3)
for number in range(10):
    if os.fork() == 0:
        try: open(f"/nonexistent/child-{number}")
        except OSError: pass
        os._exit(0)
    os.wait()
time.sleep(1)
"#;
    let question = (
        "evt.type in (open, openat) and evt.arg.name startswith /nonexistent/child-",
        &["proc.name"][..],
    );
    let folder = tempfile::tempdir().expect("a folder");
    for driver in modes() {
        let found = as_texts(&values(&driver, folder.path(), question, PROGRAM));
        let names: Vec<&str> = found.iter().flatten().map(String::as_str).collect();
        assert_eq!(names, ["renamed"; 10], "{driver:?}");
    }
}
