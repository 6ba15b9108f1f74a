//! Values that rules written for Falco count on: every mode of every driver shows what Falco's source says.

use serde_json::Value;
use test_support::{is_root, skipped};

use crate::lanner::modes;
use crate::state::{as_texts, expect, values};
use crate::unusual::expect_returned;

/// In notify mode, lanner looks at a process while it lives.
const LIVE_ON: &str = "import time\ntime.sleep(1)\n";

#[test]
fn a_bound_socket_serves_at_the_port_that_was_asked_for() {
    expect(
        (
            "evt.type = bind and fd.sport in (7411, 7412, 7413)",
            &[
                "evt.type",
                "fd.sip",
                "fd.sport",
                "fd.name",
                "fd.is_server",
                "fd.l4proto",
                "fd.cport",
                "fd.lport",
            ],
        ),
        "def bound(family, kind, at):\n    one = socket.socket(family, kind)\n\
         \u{20}   one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n    one.bind(at)\n    return one\n\
         t = bound(socket.AF_INET, socket.SOCK_STREAM, ('127.0.0.1', 7411))\n\
         u = bound(socket.AF_INET, socket.SOCK_DGRAM, ('0.0.0.0', 7412))\n\
         s = bound(socket.AF_INET6, socket.SOCK_STREAM, ('::1', 7413))\n",
        &[
            &["bind", "127.0.0.1", "7411", "127.0.0.1:7411", "true", "tcp"],
            &["bind", "0.0.0.0", "7412", "0.0.0.0:7412", "true", "udp"],
            &["bind", "::1", "7413", "::1:7413", "true", "tcp"],
        ],
    );
}

#[test]
fn categories_of_calls_are_falcos() {
    expect_returned(
        (
            "evt.type in (mount, signalfd4, eventfd2, socketpair, seccomp, chroot, sched_setscheduler, getpriority, msync)
    or evt.type in (fchmod, close) and fd.name contains /empty/file or evt.type = close and fd.type = ipv4",
            &["evt.type", "evt.category"],
        ),
        "import signal\nlibc.mount(None, None, None, 0, None)\n\
         libc.signalfd(-1, ctypes.create_string_buffer(128), 0)\nlibc.eventfd(0, 0)\nsocket.socketpair()\n\
         libc.syscall({'x86_64': 317, 'aarch64': 277}[platform.machine()], 99, 0, 0)\nlibc.chroot(b'/nonexistent')\n\
         libc.sched_setscheduler(-1, 0, None)\nos.getpriority(os.PRIO_PROCESS, 0)\nlibc.msync(1, 0, 0)\n\
         f = os.open(AT + '/file', os.O_CREAT | os.O_RDWR)\nos.fchmod(f, 0o600)\nos.close(f)\n\
         s = socket.socket()\ns.close()\n",
        &[
            &["mount", "file"],
            &["signalfd4", "signal"],
            &["eventfd2", "IPC"],
            &["socketpair", "IPC"],
            &["seccomp", "other"],
            &["chroot", "process"],
            // Falco has no type of events for these
            &["sched_setscheduler", "other"],
            &["getpriority", "other"],
            &["msync", "other"],
            &["fchmod", "file"],
            &["close", "file"],
            &["close", "net"],
        ],
    );
}

#[test]
fn threads_have_ids_in_their_own_namespace() {
    if !is_root() {
        skipped("a PID namespace needs root");
        return;
    }
    let question = (
        "evt.type in (open, openat) and fd.name endswith -mark",
        &["fd.name", "thread.vtid", "proc.vpid", "thread.ismain"][..],
    );
    // the first process of a namespace, and a thread that ends at once
    let program = "if libc.unshare(0x20000000) != 0:\n    sys.exit(1)\n\
        if os.fork() == 0:\n    miss('/one-mark')\n    thread(lambda: miss('/two-mark'))\n    thread(lambda: miss('/three-mark'))\n    os._exit(0)\n\
        os.wait()\nmiss('/host-mark')\n";
    let folder = tempfile::tempdir().expect("a folder");
    for driver in modes() {
        let found = values(&driver, folder.path(), question, program);
        let found = as_texts(&found);
        let expected = [
            ["/one-mark", "1", "1", "true"],
            ["/two-mark", "2", "1", "false"],
            ["/three-mark", "3", "1", "false"],
        ];
        assert_eq!(found[..3], expected, "{driver:?}");
        // outside, both are the ids of the host
        assert_eq!(found[3][1], found[3][2], "{driver:?}");
    }
}

#[test]
fn an_orphan_of_a_double_fork_keeps_its_lineage() {
    // the program is not the command itself, so that its name in the lineage says that the lineage is whole
    let program = "import shutil, subprocess\n\
        inner = '''import os, sys\nos.setsid()\nif os.fork() == 0:\n    if os.fork() == 0:\n        done = os.getppid()\n        import time\n        time.sleep(0.3)\n\
        \u{20}       os.stat('/orphan-mark') if os.path.exists('/orphan-mark') else None\n        os._exit(0)\n    os._exit(0)\nos.wait()\nimport time\ntime.sleep(1)\n'''\n\
        link = AT + '/daemonizer'\nos.symlink(sys.executable, link)\nsubprocess.run([link, '-c', inner])\n";
    let question = (
        "evt.type in (stat, newfstatat, statx) and evt.arg.path = /orphan-mark",
        &["proc.name", "proc.pname", "proc.aname[2]", "proc.aname[3]"][..],
    );
    let folder = tempfile::tempdir().expect("a folder");
    for driver in modes() {
        let found = values(&driver, folder.path(), question, program);
        let row = as_texts(&found)[0].clone();
        assert_eq!(row[..3], ["daemonizer"; 3], "{driver:?}: {row:?}");
        assert!(row[3].starts_with("python3"), "{driver:?}: {row:?}");
    }
}

#[test]
fn ends_have_their_parameters() {
    let question = (
        "evt.type = procexit and proc.cmdline contains end-mark",
        &[
            "evt.arg.status",
            "evt.arg.ret",
            "evt.arg.sig",
            "evt.arg.core",
            "evt.rawarg.sig",
        ][..],
    );
    let program = "import signal, subprocess\n\
        subprocess.run(['sh', '-c', 'exit 3', 'end-mark'])\n\
        subprocess.run(['sh', '-c', 'kill -TERM $$', 'end-mark'])\n";
    let folder = tempfile::tempdir().expect("a folder");
    for driver in modes() {
        let found = values(&driver, folder.path(), question, program);
        let expected: [[Value; 5]; 2] = [
            ["768".into(), "3".into(), "0".into(), "0".into(), 0.into()],
            [
                "15".into(),
                "0".into(),
                "SIGTERM".into(),
                "0".into(),
                15.into(),
            ],
        ];
        assert_eq!(found, expected, "{driver:?}");
    }
}

#[test]
fn an_id_without_an_entry_has_the_name_na() {
    if !is_root() {
        skipped("changing ids needs root");
        return;
    }
    expect(
        (
            "evt.type in (open, openat) and fd.name endswith -mark and user.name != _apt",
            &[
                "fd.name",
                "user.name",
                "user.homedir",
                "user.shell",
                "group.name",
                "user.uid",
            ],
        ),
        "miss('/root-mark')\nos.setresgid(471147, 471147, 471147)\nos.setresuid(471147, 471147, 471147)\nmiss('/none-mark')\n",
        &[
            &["/root-mark", "root", "/root", "/bin/bash", "root", "0"],
            &["/none-mark", "<NA>", "<NA>", "<NA>", "<NA>", "471147"],
        ],
    );
}

#[test]
fn a_login_is_known_from_when_it_is_written() {
    if !is_root() {
        skipped("a login id can be written by root alone");
        return;
    }
    let program = "import subprocess\nmiss('/before-mark')\n\
        with open('/proc/self/loginuid', 'w') as file:\n    file.write('4711')\n\
        miss('/after-mark')\nif os.fork() == 0:\n    miss('/child-mark')\n    import time\n    time.sleep(0.2)\n    os._exit(0)\nos.wait()\n\
        subprocess.run(['cat', '/exec-mark'], stderr=subprocess.DEVNULL)\n";
    let question = (
        "evt.type in (open, openat) and fd.name endswith -mark",
        &["fd.name", "user.loginuid"][..],
    );
    let folder = tempfile::tempdir().expect("a folder");
    for driver in modes() {
        let found = values(
            &driver,
            folder.path(),
            question,
            &format!("{program}{LIVE_ON}"),
        );
        let found = as_texts(&found);
        let expected =
            ["after", "child", "exec"].map(|name| vec![format!("/{name}-mark"), "4711".to_owned()]);
        assert_eq!(found[1..], expected, "{driver:?}");
        assert_ne!(found[0][1], "4711", "{driver:?}");
    }
}
