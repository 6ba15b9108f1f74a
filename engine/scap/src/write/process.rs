//! Parameters that are facts about a process: those of the events that give it a program or make a child.

use decode::program::UNKNOWN_CAPABILITIES;
use driver_api::event::{Event, EventKind, Fact, Layer};
use inspect::{Capabilities, Inspector, Process};

use super::super::life::{EXE_LOWER, EXE_MEMFD, EXE_UPPER, EXE_WRITABLE, falco_clone_flags};
use super::super::process::UNKNOWN;
use super::super::table::{EventSlot, Param};

/// A string with its NUL.
pub(super) fn text(value: &[u8]) -> Vec<u8> {
    let value = super::super::bytes::text(value);
    [value, b"\0"].concat()
}

/// The first argument, and the others, each with its NUL.
pub(super) fn arguments(all: &[u8]) -> (&[u8], &[u8]) {
    let end = all.iter().position(|&byte| byte == 0);
    end.map_or((all, &[]), |end| (&all[..end], &all[end + 1..]))
}

/// Cgroups as `controllers=path`, each with its NUL, from the form of `/proc/PID/cgroup`.
pub(super) fn cgroups(of: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in of.split(|&byte| byte == b'\n') {
        let mut parts = line.splitn(3, |&byte| byte == b':');
        if let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        {
            // as Falco's libraries and fields have it
            let controllers = controllers.strip_prefix(b"name=").unwrap_or(controllers);
            out.extend_from_slice(controllers);
            out.push(b'=');
            out.extend_from_slice(path);
            out.push(0);
        }
    }
    out
}

/// Falco's flags of a program's file.
pub(super) fn program_flags(process: &Process, inspector: &Inspector) -> u64 {
    let writable = process.file.is_some_and(|file| {
        let credentials = process.credentials(process.pid);
        file.is_writable_by(credentials.euid, credentials.egid)
    });
    let layer = match inspector.program_layer(process) {
        Some(Layer::Upper) => EXE_UPPER,
        Some(Layer::Lower) => EXE_LOWER,
        Some(Layer::None) | None => 0,
    };
    let bit = |set: bool, bit: u64| if set { bit } else { 0 };
    bit(writable, EXE_WRITABLE) | bit(process.memfd, EXE_MEMFD) | layer
}

/// The value of a parameter whose fact about a process is not known. Readers do not check whether a number is there, so it
/// cannot be empty. For capabilities it is a bit that no capability has: tools show nothing for it, and lanner reads it as
/// unknown.
pub(super) fn nothing(param: &Param) -> Vec<u8> {
    match (param.name, param.place) {
        ("cap_inheritable" | "cap_permitted" | "cap_effective", EventSlot::Nowhere) => {
            UNKNOWN_CAPABILITIES.to_le_bytes().to_vec()
        }
        _ => super::call::nothing(param),
    }
}

/// The capabilities of a thread for the list of processes.
pub(super) fn capabilities(inspector: &Inspector, process: &Process, tid: u32) -> Capabilities {
    let unknown = Capabilities {
        inheritable: UNKNOWN_CAPABILITIES,
        permitted: UNKNOWN_CAPABILITIES,
        effective: UNKNOWN_CAPABILITIES,
    };
    inspector.capabilities(process, tid).unwrap_or(unknown)
}

/// A process, as an event shows it.
#[derive(Debug)]
pub(crate) struct About<'a> {
    process: &'a Process,
    tid: u32,
    inspector: &'a Inspector,
    event: &'a Event<'a>,
    /// Only for a birth: the flags with which it was made.
    birth: Option<u64>,
    vtid: u32,
}

/// A session or a group; -1, where none is known.
pub(super) fn id_or_none(id: u32) -> i64 {
    if id == UNKNOWN { -1 } else { id.into() }
}

impl<'a> About<'a> {
    pub(crate) fn of(
        process: &'a Process,
        tid: u32,
        inspector: &'a Inspector,
        event: &'a Event<'a>,
    ) -> Self {
        Self {
            process,
            tid,
            inspector,
            event,
            birth: None,
            vtid: 0,
        }
    }

    pub(super) fn child(
        process: &'a Process,
        tid: u32,
        inspector: &'a Inspector,
        event: &'a Event<'a>,
        flags: u64,
        vtid: u32,
    ) -> Self {
        Self {
            birth: Some(flags),
            vtid,
            ..Self::of(process, tid, inspector, event)
        }
    }

    /// Whether the state has something about the process that a parameter says. The flags of a program are those of its file.
    pub(crate) fn knows(&self, param: &str) -> bool {
        param != "flags"
            || self.birth.is_some()
            || self.process.file.is_some()
            || self.process.memfd
    }

    /// Whether the user of the process is known. A capture may not say it.
    pub(super) fn knows_user(&self) -> bool {
        self.process.credentials(self.tid).euid != UNKNOWN
    }

    /// The arguments of the program: those that the event names before those of the state.
    fn argv(&self) -> &'a [u8] {
        let said = (self.event.kind() == EventKind::Exec)
            .then(|| self.event.fact(Fact::Argv))
            .flatten();
        said.map_or(&self.process.args, |said| said.bytes)
    }

    fn env(&self) -> &'a [u8] {
        let said = (self.event.kind() == EventKind::Exec)
            .then(|| self.event.fact(Fact::Env))
            .flatten();
        said.map_or(&self.process.env, |said| said.bytes)
    }

    /// The parameter with this name. None: it is no fact about a process, or lanner does not have it. Not for parameters of
    /// calls, which may have the same names.
    pub(crate) fn param(&self, name: &str) -> Option<Vec<u8>> {
        let process = self.process;
        let long = |value: u32| i64::from(value).to_le_bytes().to_vec();
        let group = |id: u32| id_or_none(id).to_le_bytes().to_vec();
        let int = |value: u32| value.to_le_bytes().to_vec();
        let credentials = process.credentials(self.tid);
        let capabilities = || self.inspector.capabilities(process, self.tid);
        Some(match name {
            "res" if self.birth.is_some() => long(0),
            "exe" => text(arguments(self.argv()).0),
            "args" => arguments(self.argv()).1.to_vec(),
            "tid" => long(self.tid),
            "pid" => long(process.pid),
            "ptid" => long(self.inspector.parent_pid(process)),
            "cwd" => text(self.inspector.cwd(process, self.tid)),
            "comm" => text(process.thread_name(self.tid)),
            "cgroups" => cgroups(&process.cgroups.text),
            "env" => self.env().to_vec(),
            "tty" => int(self.inspector.tty(process)),
            "vpgid" => group(if process.vpid == Some(process.pid) {
                process.pgid
            } else {
                process.vpgid.unwrap_or(process.pgid)
            }),
            "pgid" => group(process.pgid),
            "loginuid" => int(process.loginuid),
            // Falco's are the effective ones
            "uid" => int(credentials.euid),
            "gid" => int(credentials.egid),
            "vtid" if self.vtid != 0 => long(self.vtid),
            "vtid" if self.tid == process.pid => long(process.vpid.unwrap_or(self.tid)),
            "vtid" => long(self.tid),
            "vpid" => long(process.vpid.unwrap_or(process.pid)),
            "trusted_exepath" => text(&process.exe),
            "exe_ino" => process.file?.inode.to_le_bytes().to_vec(),
            "exe_ino_ctime" => process.file?.ctime_ns.to_le_bytes().to_vec(),
            "exe_ino_mtime" => process.file?.mtime_ns.to_le_bytes().to_vec(),
            "cap_inheritable" => capabilities()?.inheritable.to_le_bytes().to_vec(),
            "cap_permitted" => capabilities()?.permitted.to_le_bytes().to_vec(),
            "cap_effective" => capabilities()?.effective.to_le_bytes().to_vec(),
            "flags" => {
                let flags = match self.birth {
                    Some(flags) => falco_clone_flags(flags),
                    None if self.event.kind() == EventKind::Exec => {
                        program_flags(process, self.inspector)
                    }
                    None => return None,
                };
                int(u32::try_from(flags & 0xffff_ffff).unwrap_or(0))
            }
            _ => return None,
        })
    }
}
