//! State that programs reach in unusual ways: files without a name, capabilities of one thread, sockets that another process
//! connects, terminals. Every driver must show the same.

use serde_json::Value;
use test_support::{is_root, skipped};

use crate::lanner::modes;
use crate::state::{as_texts, expect, expect_in, values};

/// The modes that report calls when they have returned.
fn returning() -> Vec<Vec<String>> {
    let mut modes = modes();
    modes.retain(|driver| !driver.iter().any(|word| word == "notify"));
    modes
}

/// Compares the values that are there, where calls are reported when they have returned.
pub(crate) fn expect_returned(question: (&str, &[&str]), program: &str, expected: &[&[&str]]) {
    expect_in(&returning(), question, program, expected);
}

#[test]
fn an_open_that_fails_has_no_descriptor() {
    expect_returned(
        (
            "evt.type in (open, openat, openat2, creat) and fd.num = -1 and evt.res != SUCCESS and fd.name endswith -mark",
            &[
                "fd.name",
                "fd.num",
                "evt.res",
                "fd.typechar",
                "evt.is_open_read",
            ],
        ),
        "miss('/one-mark')\nos.close(os.open(AT + '/two-mark', os.O_CREAT | os.O_WRONLY))\nmiss('/three-mark')\n",
        &[
            &["/one-mark", "-1", "ENOENT", "f", "true"],
            &["/three-mark", "-1", "ENOENT", "f", "true"],
        ],
    );
}

#[test]
fn a_child_can_be_the_sibling_of_its_creator() {
    let program = "number = {'x86_64': 56, 'aarch64': 220}[platform.machine()]\nmiss('/main-mark')\n\
        if os.fork() == 0:\n    miss('/creator-mark')\n    libc.syscall(number, 0x8000 | 17, 0, 0, 0, 0) or (miss('/sibling-mark'), os._exit(0))\n\
        \u{20}   import time\n    time.sleep(0.3)\n    os._exit(0)\nos.wait()\nos.wait()\n";
    let question = (
        "evt.type in (open, openat) and fd.name endswith -mark",
        &["fd.name", "proc.pid", "proc.ppid", "proc.pname"][..],
    );
    let folder = tempfile::tempdir().expect("a folder");
    for driver in modes() {
        let found = values(&driver, folder.path(), question, program);
        let row = |name: &str| found.iter().find(|row| row[0] == name).expect("a row");
        let main = row("/main-mark")[1].clone();
        for name in ["/creator-mark", "/sibling-mark"] {
            assert_eq!(row(name)[2], main, "{driver:?} {name}");
            assert_eq!(row(name)[3], "python3", "{driver:?} {name}");
        }
    }
}

/// name_to_handle_at(2) and open_by_handle_at(2) for Python. The file system has to have handles, as tmpfs has.
const BY_HANDLE: &str = r#"
import struct
def by_handle(folder, path, flags):
    handle = ctypes.create_string_buffer(struct.pack('=Ii', 128, 0) + bytes(128))
    mount = ctypes.c_int(0)
    if libc.name_to_handle_at(-100, path.encode(), handle, ctypes.byref(mount), 0) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    at = os.open(folder, os.O_RDONLY)
    one = libc.open_by_handle_at(at, handle, flags)
    os.close(at)
    return one
path = '/dev/shm/lanner-%d' % os.getpid()
"#;

#[test]
fn files_that_are_opened_by_handle_or_without_a_name_are_files() {
    if !is_root() {
        skipped("a file is opened by its handle by root alone");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let question = (
        "evt.type in (open_by_handle_at, openat) and evt.failed = false and fd.name startswith /dev/shm/ and fd.typechar = f
    and (evt.type = open_by_handle_at or evt.arg.flags contains O_TMPFILE)",
        &["evt.type", "fd.typechar", "evt.is_open_read", "evt.is_open_write", "evt.is_open_create", "fd.name"][..],
    );
    let program = format!(
        "{BY_HANDLE}os.close(os.open(path, os.O_CREAT | os.O_RDWR))\nos.close(by_handle('/dev/shm', path, os.O_RDONLY))\n\
         os.close(by_handle('/dev/shm', path, os.O_WRONLY))\nos.unlink(path)\n\
         os.close(os.open('/dev/shm', os.O_TMPFILE | os.O_RDWR))\n"
    );
    for driver in returning() {
        let found = values(&driver, folder.path(), question, &program);
        let texts = as_texts(&found);
        let of = |row: &[String]| row[..5].join(" ");
        assert_eq!(
            of(&texts[0]),
            "open_by_handle_at f true false false",
            "{driver:?}"
        );
        assert_eq!(
            of(&texts[1]),
            "open_by_handle_at f false true false",
            "{driver:?}"
        );
        assert_eq!(of(&texts[2]), "openat f true true true", "{driver:?}");
        assert!(
            texts[0][5].starts_with("/dev/shm/lanner-"),
            "{driver:?}: {texts:?}"
        );
    }
}

#[test]
fn a_thread_drops_its_own_capabilities() {
    if !is_root() {
        skipped("only root has capabilities to drop");
        return;
    }
    let program = "import struct\ndef away():\n    head = struct.pack('=Ii', 0x20080522, 0)\n\
        \u{20}   libc.capset(head, struct.pack('=6I', 1, 1, 0, 0, 0, 0))\n    miss('/thread-mark')\n\
        thread(away)\nmiss('/main-mark')\n";
    let question = (
        "evt.type in (open, openat) and fd.name endswith -mark",
        &["fd.name", "thread.cap_effective", "thread.cap_permitted"][..],
    );
    let folder = tempfile::tempdir().expect("a folder");
    for driver in modes() {
        let found = values(&driver, folder.path(), question, program);
        let thread = ["/thread-mark", "CAP_CHOWN", "CAP_CHOWN"].map(Value::from);
        assert_eq!(found[0], thread, "{driver:?}");
        let main = found[1][1].as_str().expect("a text");
        assert!(main.contains("CAP_SETUID"), "{driver:?}: {main}");
    }
}

#[test]
fn a_socket_is_connected_in_unusual_ways() {
    expect(
        (
            "evt.type in (connect, sendto) and fd.sport in (7421, 7422, 7423)",
            &["evt.type", "fd.sip", "fd.sport", "fd.is_server"],
        ),
        // while it sends; by a child; with an address length whose upper half is garbage
        "import time\ndef listen(port):\n    one = socket.socket()\n    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
         \u{20}   one.bind(('127.0.0.1', port))\n    one.listen()\n    return one\n\
         all = [listen(port) for port in (7421, 7422, 7423)]\n\
         s = socket.socket()\ns.sendto(b'x', 0x20000000, ('127.0.0.1', 7421))\n\
         t = socket.socket()\nif os.fork() == 0:\n    t.connect(('127.0.0.1', 7422))\n    time.sleep(0.2)\n    os._exit(0)\nos.wait()\n\
         t.sendto(b'x', 0, ('127.0.0.1', 1))\n\
         u = socket.socket()\nto = (2).to_bytes(2, sys.byteorder) + (7423).to_bytes(2, 'big') + bytes([127, 0, 0, 1]) + bytes(8)\n\
         libc.syscall({'x86_64': 42, 'aarch64': 203}[platform.machine()], u.fileno(), to, ctypes.c_long(0xdead0000000010))\n\
         time.sleep(1)\n",
        &[
            &["sendto", "127.0.0.1", "7421", "false"],
            &["connect", "127.0.0.1", "7422", "false"],
            &["sendto", "127.0.0.1", "7422", "false"],
            &["connect", "127.0.0.1", "7423", "false"],
        ],
    );
}

#[test]
fn variants_of_tcp_and_udp_are_called_so() {
    let program = "for kind, protocol in ((1, 0), (2, 0), (1, 262), (2, 136), (3, 1)):\n    try:\n\
        \u{20}       socket.socket(socket.AF_INET, kind, protocol)\n    except OSError:\n        pass\n";
    let question = (
        "evt.type = socket and fd.type = ipv4 and evt.failed = false",
        &["evt.rawarg.type", "evt.rawarg.proto", "fd.l4proto"][..],
    );
    let folder = tempfile::tempdir().expect("a folder");
    for driver in returning() {
        let found = values(&driver, folder.path(), question, program);
        let protocols: Vec<u64> = found.iter().filter_map(|row| row[1].as_u64()).collect();
        assert_eq!(protocols[..2], [0, 0], "{driver:?}");
        for row in found {
            let kind = row[0].as_str().expect("a number in base 16");
            let kind = u64::from_str_radix(kind, 16).expect("a number") & 0xf;
            let expected = ["", "tcp", "udp", "raw"][usize::try_from(kind).expect("small")];
            assert_eq!(row[2], expected, "{driver:?}: {row:?}");
        }
        // the kernel may lack the last ones
        assert!(protocols.len() >= 2, "{driver:?}");
    }
}

#[test]
fn an_empty_argument_keeps_its_place() {
    expect(
        (
            "evt.type in (execve, execveat) and proc.name = true",
            &["proc.args", "proc.cmdline", "proc.args[0]", "proc.args[1]"],
        ),
        "if os.fork() == 0:\n    os.execv('/bin/true', ['true', '', 'x'])\nos.wait()\n",
        &[&[" x", "true  x", "", "x"]],
    );
}

#[test]
fn the_target_of_a_link_is_shown_from_its_directory() {
    expect_returned(
        (
            "evt.type = symlinkat and evt.arg.linkpath contains /empty/",
            &[
                "evt.arg.target",
                "evt.arg.linkpath",
                "fs.path.target",
                "fs.path.source",
            ],
        ),
        "os.mkdir(AT + '/in')\nd = os.open(AT + '/in', os.O_RDONLY)\nos.symlink('there', 'link', dir_fd=d)\n",
        &[&["there", "AT/in/link", "AT/in/there", "AT/in/link"]],
    );
}

#[test]
fn the_first_terminal_that_a_session_opens_is_its_own() {
    // /proc says which terminal a session has, so the second before lets lanner look
    let program = "import pty, time\nmaster, slave = pty.openpty()\nname = os.ttyname(slave)\nnumber = os.fstat(slave).st_rdev\n\
        if os.fork() == 0:\n    os.setsid()\n    miss('/none-0-mark')\n    time.sleep(1)\n    os.open(name, os.O_RDWR)\n    miss('/terminal-%d-mark' % number)\n\
        \u{20}   os._exit(0)\nos.wait()\n";
    let question = (
        "evt.type in (open, openat) and fd.name endswith -mark",
        &["fd.name", "proc.tty"][..],
    );
    let folder = tempfile::tempdir().expect("a folder");
    for driver in modes() {
        let found = values(&driver, folder.path(), question, program);
        assert_eq!(found.len(), 2, "{driver:?}");
        for row in found {
            let name = row[0].as_str().expect("a text");
            let number = name.split('-').nth(1).expect("a number");
            assert_eq!(row[1].to_string(), number, "{driver:?}: {name}");
        }
    }
}
