//! Tests of the values of paths.

use driver_api::event::{Fact, Ids};

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
