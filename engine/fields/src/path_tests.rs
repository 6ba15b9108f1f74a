//! Tests of the values of paths.

use driver_api::event::{Fact, Ids, OpenedFile};
use lanner_plugin::OwnedValue;

use super::tests::{NONE, expect, i, s};
use inspect::testing::Ev;

/// The call, by a process whose working directory is /srv/www.
fn in_srv(calls: &[Ev]) -> Vec<Ev> {
    let start = Ev::exec(22, "/bin/sh", &["sh"], Ids::default()).fact(Fact::Cwd, b"/srv/www");
    std::iter::once(start)
        .chain(calls.iter().cloned())
        .collect()
}

#[test]
fn a_relative_parameter_is_made_absolute_and_an_absolute_one_stays() {
    let directory = Ev::call(22, "openat", &[-100, 1, 0o200_000, 0], 5)
        .said(1, b"/usr")
        .fact(Fact::Path, b"/usr");
    let cases: [(Ev, &str, &str); 8] = [
        (
            Ev::call(22, "mkdir", &[1, 0], 0).said(0, b"d"),
            "path",
            "/srv/www/d",
        ),
        (
            Ev::call(22, "rmdir", &[1], -2).said(0, b"../d"),
            "path",
            "/srv/d",
        ),
        (
            Ev::call(22, "unlink", &[1], 0).said(0, b"/a/../b"),
            "path",
            "/a/../b",
        ),
        (
            Ev::call(22, "unlinkat", &[5, 1, 0], 0).said(1, b"x"),
            "name",
            "/usr/x",
        ),
        (
            Ev::call(22, "unlinkat", &[6, 1, 0], 0).said(1, b"x"),
            "name",
            "x",
        ),
        (
            Ev::call(22, "fchmodat", &[5, 1, 0], 0).said(1, b"x"),
            "filename",
            "/usr/x",
        ),
        (
            Ev::call(22, "execve", &[1, 0, 0], -2).said(0, b"./x"),
            "filename",
            "/srv/www/x",
        ),
        (Ev::call(22, "unlink", &[1], -2).said(0, b""), "path", ""),
    ];
    for (call, name, path) in cases {
        let field = format!("evt.arg.{name}");
        expect(&in_srv(&[directory.clone(), call]), &[(&field, s(path))]);
    }
}

#[test]
fn the_path_of_chdir_is_not_resolved_in_the_new_directory() {
    let chdir = Ev::call(22, "chdir", &[1], 0).said(0, b"logs");
    expect(
        &in_srv(&[chdir]),
        &[
            ("evt.arg.path", s("logs")),
            ("fs.path.name", s("/srv/www/logs")),
            ("evt.abspath", s("/srv/www/logs")),
            ("proc.cwd", s("/srv/www/logs/")),
        ],
    );
    let failed = Ev::call(22, "chdir", &[1], -2).said(0, b"no");
    expect(
        &in_srv(&[failed]),
        &[
            ("evt.abspath", s("/srv/www/no")),
            ("proc.cwd", s("/srv/www/")),
        ],
    );
}

#[test]
fn a_path_that_could_not_be_read_is_not_the_working_directory() {
    let unread = |name: &str, at: u8| Ev::call(22, name, &[-100, -100, 0], -14).unread(at);
    expect(
        &in_srv(&[unread("truncate", 0)]),
        &[("evt.arg.path", NONE), ("evt.abspath", NONE)],
    );
    expect(
        &in_srv(&[unread("openat", 1)]),
        &[
            ("fd.name", NONE),
            ("fd.nameraw", NONE),
            ("evt.arg.name", NONE),
        ],
    );
    let opened = Ev::call(22, "openat", &[-100, 1, 0, 0], 3).unread(1);
    expect(&in_srv(&[opened]), &[("fd.name", s("")), ("fd.num", i(3))]);
    let moved = Ev::call(22, "chdir", &[1], 0).unread(0);
    expect(
        &in_srv(&[moved]),
        &[("proc.cwd", NONE), ("evt.arg.path", NONE)],
    );
}

#[test]
fn a_path_begins_where_the_kernel_says() {
    let rename = Ev::call(22, "renameat2", &[9, 1, -100, 2, 0], 0)
        .said(1, b"../a")
        .said(3, b"b")
        .fact(Fact::Base, b"/passed/by/socket")
        .fact(Fact::Base2, b"/shared/with/a/thread");
    expect(
        &in_srv(&[rename]),
        &[
            ("fs.path.source", s("/passed/by/a")),
            ("fs.path.target", s("/shared/with/a/thread/b")),
            ("evt.arg.oldpath", s("/passed/by/a")),
            ("fs.path.targetraw", s("b")),
        ],
    );
    // without letters, the path is the descriptor's own
    let link = Ev::call(22, "linkat", &[5, 1, -100, 2, 0x1000], 0)
        .said(1, b"")
        .said(3, b"x")
        .fact(Fact::Base, b"/etc/shadow")
        .fact(Fact::Base2, b"/tmp");
    expect(
        &in_srv(&[link]),
        &[
            ("fs.path.target", s("/etc/shadow")),
            ("fs.path.source", s("/tmp/x")),
        ],
    );
    // so it is without a path, where the call does not fail for that
    let touch = Ev::call(22, "utimensat", &[5, 0, 0, 0], 0).fact(Fact::Base, b"/etc/shadow");
    expect(
        &in_srv(std::slice::from_ref(&touch)),
        &[("fs.path.name", s("/etc/shadow"))],
    );
    let mut failed = touch;
    failed.header.ret = -14;
    expect(
        &in_srv(&[failed]),
        &[("fs.path.name", NONE), ("evt.abspath", NONE)],
    );
    let made = Ev::call(22, "mkdir", &[0, 0o700], 0);
    expect(&in_srv(&[made]), &[("fs.path.name", NONE)]);
    let jailed = Ev::call(22, "unlink", &[1], 0)
        .said(0, b"/../../etc/passwd")
        .fact(Fact::Root, b"/jail");
    expect(
        &in_srv(&[jailed]),
        &[("fs.path.name", s("/jail/etc/passwd"))],
    );
    // a fact about an absolute path says nothing about a relative one, and the other way round
    let changed = Ev::call(22, "unlink", &[1], 0)
        .said(0, b"x")
        .fact(Fact::Root, b"/jail");
    expect(&in_srv(&[changed]), &[("fs.path.name", s("/srv/www/x"))]);
    let chroot = Ev::call(22, "chroot", &[1], 0)
        .said(0, b"link")
        .fact(Fact::Root, b"/where/it/leads");
    expect(
        &in_srv(&[chroot]),
        &[("fs.path.name", s("/where/it/leads"))],
    );
}

#[test]
fn calls_that_mount_have_paths() {
    let moved = Ev::call(22, "move_mount", &[-100, 1, -100, 2, 0], 0)
        .said(1, b"a")
        .said(3, b"/b");
    expect(
        &in_srv(&[moved]),
        &[
            ("fs.path.source", s("/srv/www/a")),
            ("fs.path.target", s("/b")),
            ("fs.path.name", NONE),
        ],
    );
    let unmounted = Ev::call(22, "umount2", &[1, 0], 0).said(0, b"a");
    expect(&in_srv(&[unmounted]), &[("fs.path.name", s("/srv/www/a"))]);
}

#[test]
fn the_real_path_of_an_opened_file_is_what_the_kernel_opened() {
    let open = Ev::call(22, "openat", &[-100, 1, 0, 0], 5)
        .said(1, b"link")
        .fact(Fact::Path, b"/etc/shadow");
    expect(
        &in_srv(&[open]),
        &[
            ("fs.path.name", s("/srv/www/link")),
            ("fs.realpath.name", s("/etc/shadow")),
            ("fs.realpath.differs", OwnedValue::Bool(true)),
        ],
    );
}

#[test]
fn the_directory_that_a_call_enters_is_what_the_kernel_says() {
    let chdir = Ev::call(22, "chdir", &[1], 0)
        .said(0, b"link/..")
        .fact(Fact::Cwd, b"/elsewhere");
    let setns = Ev::call(22, "setns", &[4, 0], 0).fact(Fact::Cwd, b"/");
    let after = Ev::call(22, "mkdir", &[1, 0], 0).said(0, b"d");
    expect(
        &in_srv(&[chdir.clone(), after.clone()]),
        &[
            ("fs.path.name", s("/elsewhere/d")),
            ("proc.cwd", s("/elsewhere/")),
        ],
    );
    expect(
        &in_srv(&[chdir, setns, after]),
        &[("fs.path.name", s("/d"))],
    );
}

#[test]
fn inode_and_device_are_those_of_the_moment_of_the_open() {
    let file = OpenedFile {
        inode: 4711,
        device: OpenedFile::device(8, 3),
        mode: 0o100_644,
        flags: 0o2,
        unused: 0,
    };
    let how = [0_u64.to_ne_bytes(), [0; 8], [0; 8]].concat();
    let open = Ev::call(22, "openat2", &[-100, 1, 2, 24], 3)
        .said(1, b"/data/x")
        .said(2, &how)
        .opened(&file)
        .fact(Fact::Path, b"/data/x");
    let read = Ev::call(22, "read", &[3, 0, 0], 0);
    for calls in [vec![open.clone()], vec![open.clone(), read]] {
        expect(
            &in_srv(&calls),
            &[
                ("fd.ino", i(4711)),
                ("fd.dev", i(0x803)),
                ("fd.dev.major", i(8)),
                ("fd.dev.minor", i(3)),
                ("fd.typechar", s("f")),
            ],
        );
    }
    // the structure says that it is read; the program can have changed it
    expect(
        &in_srv(&[open]),
        &[
            ("evt.is_open_write", OwnedValue::Bool(true)),
            ("evt.is_open_read", OwnedValue::Bool(true)),
        ],
    );
}

#[test]
fn the_target_of_symlinkat_begins_in_the_directory_of_the_link() {
    let link = |target: &[u8]| {
        Ev::call(22, "symlinkat", &[1, -100, 2], 0)
            .said(0, target)
            .said(2, b"../conf/link")
    };
    expect(
        &in_srv(&[link(b"a")]),
        &[
            ("fs.path.source", s("/srv/conf/link")),
            ("fs.path.target", s("/srv/conf/a")),
            ("fs.path.targetraw", s("a")),
            ("evt.arg.target", s("a")),
        ],
    );
    expect(
        &in_srv(&[link(b"/etc/x")]),
        &[("fs.path.target", s("/etc/x"))],
    );
}

#[test]
fn empty_arguments_keep_their_place() {
    for (args, text) in [
        (["x", "", "b"], " b"),
        (["x", "a", ""], "a "),
        (["x", "", ""], " "),
    ] {
        let start = Ev::exec(22, "/bin/x", &args, Ids::default());
        expect(
            &[start],
            &[
                ("proc.args", s(text)),
                ("proc.cmdline", s(&format!("x {text}"))),
            ],
        );
    }
}

#[test]
fn an_opened_file_is_in_doubt_if_another_thread_could_have_put_it_there() {
    const THREAD: u64 = 0x1_0000 | 0x800 | 0x400 | 0x200 | 0x100;
    let open = |said: &[u8], flags: i64, file: &[u8]| {
        Ev::call(22, "openat", &[-100, 1, flags, 0], 7)
            .said(1, said)
            .fact(Fact::Path, file)
    };
    let doubt = |calls: &[Ev], expected| {
        expect(
            &in_srv(calls),
            &[("kernel.path_in_doubt", OwnedValue::Bool(expected))],
        );
    };
    let thread = Ev::fork(22, 22, 23, THREAD);
    let other = open(b"/srv/secret", 0, b"/srv/innocent");
    // no other process has the descriptors
    doubt(std::slice::from_ref(&other), false);
    doubt(&[thread.clone(), other.clone()], true);
    // vfork(2) and the like: a process with the same table
    doubt(&[Ev::fork(22, 24, 24, 0x400 | 0x11), other], true);
    doubt(
        &[thread.clone(), open(b"../secret", 0, b"/srv/secret")],
        false,
    );
    doubt(
        &[thread.clone(), open(b"/srv", 0o20_200_000, b"/srv/#17")],
        false,
    );
    doubt(
        &[thread.clone(), open(b"/a/b/secret", 0, b".../b/secret")],
        false,
    );
    let unread = Ev::call(22, "openat", &[-100, 1, 0, 0], 7)
        .unread(1)
        .fact(Fact::Path, b"/srv/innocent");
    doubt(&[thread, unread], true);
    expect(
        &in_srv(&[Ev::call(22, "openat", &[-100, 1, 0, 0], -2).said(1, b"/x")]),
        &[("kernel.path_in_doubt", NONE)],
    );
}

#[test]
fn a_call_acts_on_the_process_that_a_thread_or_a_folder_of_proc_belongs_to() {
    let target = Ev::exec(30, "/bin/target", &["target"], Ids::default());
    let folder = Ev::call(22, "openat", &[-100, 1, 0o200_000, 0], 5)
        .said(1, b"/proc/30")
        .fact(Fact::Path, b"/proc/30");
    let signal = Ev::call(22, "pidfd_send_signal", &[5, 9, 0, 0], 0);
    expect(
        &in_srv(&[target, folder, signal]),
        &[("target.pid", i(30)), ("target.name", s("target"))],
    );
}

#[test]
fn a_call_acts_on_who_gets_the_signals_or_another_priority() {
    let target = Ev::exec(30, "/bin/target", &["target"], Ids::default());
    let acts_on_30 = |call: Ev| {
        expect(
            &in_srv(&[target.clone(), call]),
            &[("target.pid", i(30)), ("target.name", s("target"))],
        );
    };
    let number = 30_i32.to_ne_bytes();
    let owner = [2_i32.to_ne_bytes(), number].concat();
    acts_on_30(Ev::call(22, "fcntl", &[3, 8, 30], 0));
    // a group
    acts_on_30(Ev::call(22, "fcntl", &[3, 8, -30], 0));
    acts_on_30(Ev::call(22, "kill", &[-30, 9], 0));
    acts_on_30(Ev::call(22, "fcntl", &[3, 15, 1], 0).said(2, &owner));
    acts_on_30(Ev::call(22, "ioctl", &[3, 0x8901, 1], 0).said(2, &number));
    acts_on_30(Ev::call(22, "setpriority", &[0, 30, 1], 0));
    acts_on_30(Ev::call(22, "ioprio_set", &[1, 30, 0], 0));
    // a user, another command, all processes, the caller itself
    for call in [
        Ev::call(22, "setpriority", &[2, 30, 1], 0),
        Ev::call(22, "fcntl", &[3, 0, 30], 31),
        Ev::call(22, "kill", &[-1, 9], 0),
        Ev::call(22, "setpriority", &[0, 0, 1], 0),
    ] {
        expect(&in_srv(&[target.clone(), call]), &[("target.pid", NONE)]);
    }
}
