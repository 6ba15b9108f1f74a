//! Follows which terminal is the controlling one of a session.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use super::descriptor::{Descriptor, DescriptorKind};
use super::follow::{CLOEXEC, Call, O_NOCTTY};
use super::process::Process;
use super::{Inspector, Seen};

/// include/uapi/asm-generic/ioctls.h
pub(super) const TIOCSCTTY: u64 = 0x540e;
pub(super) const TIOCNOTTY: u64 = 0x5422;
pub(super) const TIOCGPTPEER: u64 = 0x5441;
pub(super) const TIOCGPTN: u64 = 0x8004_5430;

const CONSOLE: &[u8] = b"/dev/console";

/// How the paths of terminals begin, with the major number and the first minor number of those whose path ends with a
/// number (Documentation/admin-guide/devices.txt).
const TERMINALS: [(&[u8], u32, u32); 4] = [
    (b"/dev/pts/", 136, 0),
    (b"/dev/ttyS", 4, 64),
    (b"/dev/tty", 4, 0),
    (b"/dev/hvc", 229, 0),
];

/// The device number of a terminal, by its path, in the form of `/proc/PID/stat`. None: it is none, or the path says
/// nothing about its number, as that of `/dev/console`.
fn terminal(path: &[u8]) -> Option<u32> {
    TERMINALS.iter().find_map(|(prefix, major, first)| {
        let number = path.strip_prefix(*prefix)?;
        if !number.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number: u32 = std::str::from_utf8(number).ok()?.parse().ok()?;
        let minor = first.checked_add(number).filter(|minor| *minor < 1 << 20)?;
        Some(encode(*major, minor))
    })
}

/// A device number in the form of `/proc/PID/stat`: new_encode_dev() in include/linux/kdev_t.h.
fn encode(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | major << 8 | (minor & !0xff) << 12
}

/// The device number of a terminal whose path does not say it, as that of `/dev/ttyUSB0`: that of the host's device with
/// this path, or of the terminal that is the console (`/sys/class/tty/console/active`: the last one).
fn device(path: &[u8]) -> Option<u32> {
    if path == CONSOLE {
        let active = std::fs::read_to_string("/sys/class/tty/console/active").ok()?;
        let name = active.split_whitespace().last()?;
        return device(format!("/dev/{name}").as_bytes());
    }
    // `/dev/tty` stands for the terminal that a process has
    if !path.starts_with(b"/dev/tty") || path == b"/dev/tty" {
        return terminal(path);
    }
    let found = std::fs::metadata(Path::new(std::ffi::OsStr::from_bytes(path))).ok()?;
    let number = found.file_type().is_char_device().then(|| found.rdev())?;
    Some(encode(libc::major(number), libc::minor(number)))
}

impl Inspector {
    /// The device number of a terminal. None: it is none, or its number is not known.
    fn terminal_at(&self, path: &[u8]) -> Option<u32> {
        let host = || self.proc_fs.as_ref().and_then(|_| device(path));
        terminal(path).or_else(host)
    }

    /// The leader of a session opened a file. If that is a terminal, and the session has none, it gets this one
    /// (`O_NOCTTY` in open(2)), unless another session has it. /proc says whether it did, and whether the former one was hung up.
    pub(super) fn open_terminal(&mut self, call: &Call<'_, '_>, path: &[u8]) {
        let Some(tty) = self.terminal_at(path).filter(|_| !call.applied) else {
            return;
        };
        let Some(process) = self.processes.get(call.key) else {
            return;
        };
        if process.sid != process.pid || process.tty == tty {
            return;
        }
        let asked = (self.proc_fs.as_ref()).and_then(|proc_fs| proc_fs.tty(process.pid));
        let becomes_own = process.tty == 0 && !self.is_of_another_session(process, tty);
        if let Some(tty) = asked.or(becomes_own.then_some(tty))
            && let Some(process) = self.processes.get_mut(call.key)
        {
            process.tty = tty;
        }
    }

    /// Whether a terminal is that of another session than this leader's.
    fn is_of_another_session(&self, leader: &Process, tty: u32) -> bool {
        let mut living = self.processes.living_keys().into_iter();
        living.any(|key| {
            let other = self.processes.get(key);
            other.is_some_and(|other| {
                other.tty == tty && other.sid == other.pid && other.pid != leader.pid
            })
        })
    }

    /// Whether the leader of the process's session has a terminal open. It can have become the session's by an ioctl(2)
    /// (`TIOCSCTTY`) that was not captured, or that does not say which terminal it is.
    pub(super) fn session_may_have_terminal(&self, process: &Process) -> bool {
        let is_terminal = |name: &[u8]| {
            terminal(name).is_some() || name.starts_with(b"/dev/tty") || name == CONSOLE
        };
        let leader = self.processes.key(process.sid);
        let leader = leader.and_then(|key| self.processes.get(key));
        leader.is_some_and(|leader| {
            let open = self.files.iter(leader.files);
            open.into_iter().any(|(_, open)| is_terminal(&open.name))
        })
    }

    /// ioctl(2) on a terminal: `TIOCSCTTY`, `TIOCNOTTY`; and on the controlling side of a pseudo-terminal: `TIOCGPTN`,
    /// `TIOCGPTPEER`.
    pub(super) fn ioctl_on_terminal(&mut self, call: &Call<'_, '_>, seen: &mut Seen) {
        if call.applied {
            return;
        }
        let tty = match call.int(1) {
            TIOCSCTTY => self
                .descriptor_of(call.key, call.tid(), call.fd(0))
                .and_then(|open| self.terminal_at(&open.name)),
            TIOCNOTTY => Some(0),
            TIOCGPTN => return self.number_terminal(call, seen),
            TIOCGPTPEER => return self.open_peer(call, seen),
            _ => return,
        };
        if let Some(process) = self.processes.get_mut(call.key)
            && let Some(tty) = tty
        {
            process.tty = tty;
        }
    }

    /// The kernel says the number of the terminal to whose controlling side (`/dev/ptmx`) a descriptor refers.
    fn number_terminal(&mut self, call: &Call<'_, '_>, seen: &mut Seen) {
        let said = call.event.argument(2);
        let number = said.and_then(|said| Some(u32::from_ne_bytes(said.bytes.try_into().ok()?)));
        let known = self.descriptor_of(call.key, call.tid(), call.fd(0));
        if let Some((number, known)) = number.zip(known)
            && known.terminal != Some(number)
        {
            let numbered = Descriptor {
                terminal: Some(number),
                ..known.clone()
            };
            let numbered = self.files.pool.place(numbered);
            self.replace(call, call.fd(0), numbered, seen);
        }
    }

    /// The other side of a pseudo-terminal was opened by a descriptor.
    fn open_peer(&mut self, call: &Call<'_, '_>, seen: &mut Seen) {
        let master = self.descriptor_of(call.key, call.tid(), call.fd(0));
        let number = master.and_then(|master| master.terminal);
        let Some(number) = number else {
            // what was there before has gone
            if let (Some(files), Ok(fd)) =
                (self.files_of(call.key, call.tid()), i32::try_from(call.ret))
            {
                self.files.remove(files, fd);
                self.look_up_descriptor(call.event.header(), call.key, fd);
            }
            return;
        };
        let path = format!("/dev/pts/{number}");
        let flags = call.args[2];
        if flags & O_NOCTTY == 0 {
            self.open_terminal(call, path.as_bytes());
        }
        let peer = Descriptor::named(DescriptorKind::File, path.as_bytes());
        self.install_new(call, peer, flags & CLOEXEC != 0, seen);
    }
}
