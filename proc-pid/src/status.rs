//! `/proc/PID/status` (proc_pid_status(5)): lines of a key, a colon and a value. The kernel escapes line breaks in
//! the name, so that each line is the kernel's.

use std::str::FromStr;

use crate::stat::State;
use crate::{Error, read};

/// A view of `/proc/PID/status`.
#[derive(Debug, Clone)]
pub struct Status<B> {
    text: B,
}

/// The ids of a user or of a group (credentials(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// Who started the process.
    pub real: u32,
    /// With whose rights it acts.
    pub effective: u32,
    /// Whose rights it can take on again.
    pub saved: u32,
    /// With whose rights it opens files.
    pub file_system: u32,
}

/// Sets of capabilities, bit by number (capabilities(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `CapInh`.
    pub inheritable: u64,
    /// `CapPrm`.
    pub permitted: u64,
    /// `CapEff`.
    pub effective: u64,
}

/// What seccomp(2) does with a thread's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seccomp {
    /// Nothing.
    Disabled,
    /// Only read, write, exit and sigreturn are allowed.
    Strict,
    /// Filters decide.
    Filter,
    /// Another number.
    Other(u32),
}

/// Sets of signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalSet {
    /// Blocked by the thread.
    Blocked,
    /// Ignored by the process.
    Ignored,
    /// Caught by a handler.
    Caught,
}

impl SignalSet {
    fn key(self) -> &'static str {
        match self {
            Self::Blocked => "SigBlk",
            Self::Ignored => "SigIgn",
            Self::Caught => "SigCgt",
        }
    }
}

impl Status<Vec<u8>> {
    /// The status of a process, or of a thread by its id.
    ///
    /// # Errors
    ///
    /// The file cannot be read ([`Error::is_gone`]: there is no such process).
    pub fn of(pid: u32) -> Result<Self, Error> {
        read(&format!("/proc/{pid}/status")).map(Self::parse)
    }

    /// The status of this process.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn of_self() -> Result<Self, Error> {
        read("/proc/self/status").map(Self::parse)
    }
}

impl<B: AsRef<[u8]>> Status<B> {
    /// A view of the text of such a file.
    pub fn parse(text: B) -> Self {
        Self { text }
    }

    /// The value of a key, without blanks around it. None: the kernel does not write this key.
    pub fn value(&self, key: &str) -> Option<&str> {
        let mut lines = self.text.as_ref().split(|byte| *byte == b'\n');
        let value = lines.find_map(|line| {
            line.strip_prefix(key.as_bytes())
                .and_then(|rest| rest.strip_prefix(b":"))
        })?;
        Some(std::str::from_utf8(value).ok()?.trim_ascii())
    }

    /// A value that is one decimal number.
    pub fn number<T: FromStr>(&self, key: &str) -> Option<T> {
        self.value(key)?.parse().ok()
    }

    /// What the thread is doing (`State`).
    pub fn state(&self) -> Option<State> {
        let letter = self.value("State")?.bytes().next()?;
        Some(State::from_letter(letter))
    }

    /// The process that the thread belongs to (`Tgid`).
    pub fn tgid(&self) -> Option<u32> {
        self.number("Tgid")
    }

    /// The parent of the process (`PPid`); 0: it is outside of the reader's PID namespace, or there is none.
    pub fn ppid(&self) -> Option<u32> {
        self.number("PPid")
    }

    /// The thread that traces it (`TracerPid`), if there is one.
    pub fn tracer(&self) -> Option<u32> {
        self.number("TracerPid").filter(|tracer| *tracer != 0)
    }

    /// The id of the thread in its own PID namespace: the last of `NSpid`, since Linux 4.1.
    pub fn innermost_pid(&self) -> Option<u32> {
        let last = self.value("NSpid")?.split_ascii_whitespace().last()?;
        last.parse().ok()
    }

    /// The id of the process group in the PID namespace of the process: the last of `NSpgid`, since Linux 4.1. 0: its leader is
    /// not in that namespace.
    pub fn innermost_group(&self) -> Option<u32> {
        let last = self.value("NSpgid")?.split_ascii_whitespace().last()?;
        last.parse().ok()
    }

    /// The ids of the user (`Uid`).
    pub fn uids(&self) -> Option<Ids> {
        self.ids("Uid")
    }

    /// The ids of the group (`Gid`).
    pub fn gids(&self) -> Option<Ids> {
        self.ids("Gid")
    }

    fn ids(&self, key: &str) -> Option<Ids> {
        let mut ids = self.value(key)?.split_ascii_whitespace().map(str::parse);
        let mut next = || ids.next()?.ok();
        Some(Ids {
            real: next()?,
            effective: next()?,
            saved: next()?,
            file_system: next()?,
        })
    }

    /// The sets of capabilities. None: one of them is missing.
    pub fn capabilities(&self) -> Option<Capabilities> {
        Some(Capabilities {
            inheritable: self.bits("CapInh")?,
            permitted: self.bits("CapPrm")?,
            effective: self.bits("CapEff")?,
        })
    }

    /// Whether exec gives no privilege any more (`NoNewPrivs`, since Linux 4.10).
    pub fn no_new_privs(&self) -> Option<bool> {
        self.number::<u8>("NoNewPrivs").map(|set| set != 0)
    }

    /// The mode of seccomp. None: the kernel was built without it.
    pub fn seccomp(&self) -> Option<Seccomp> {
        Some(match self.number("Seccomp")? {
            0 => Seccomp::Disabled,
            1 => Seccomp::Strict,
            2 => Seccomp::Filter,
            other => Seccomp::Other(other),
        })
    }

    /// A set of signals: bit 0 is signal 1.
    pub fn signals(&self, set: SignalSet) -> Option<u64> {
        self.bits(set.key())
    }

    /// An amount of memory in bytes, by its key such as `VmRSS`. Threads of the kernel have none.
    pub fn memory(&self, key: &str) -> Option<u64> {
        let kib: u64 = self.value(key)?.strip_suffix(" kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    }

    /// A value that is a hexadecimal set of bits.
    fn bits(&self, key: &str) -> Option<u64> {
        u64::from_str_radix(self.value(key)?, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        let text = "Name:\tcat\nState:\tt (tracing stop)\nTgid:\t5\nPPid:\t1\nTracerPid:\t77\n\
                    Uid:\t1000\t0\t0\t1001\nNSpid:\t5\t1\nVmRSS:\t    1612 kB\nSigCgt:\t0000000000004002\n\
                    CapInh:\t0\nCapPrm:\t000001ffffffffff\nCapEff:\t00000000800005fb\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        let status = Status::parse(text);
        assert_eq!(status.state(), Some(State::TracingStop));
        assert_eq!((status.tgid(), status.ppid()), (Some(5), Some(1)));
        assert_eq!(status.tracer(), Some(77));
        assert_eq!(status.innermost_pid(), Some(1));
        assert_eq!(
            status.uids(),
            Some(Ids {
                real: 1000,
                effective: 0,
                saved: 0,
                file_system: 1001
            })
        );
        assert_eq!(status.memory("VmRSS"), Some(1612 * 1024));
        assert_eq!(status.signals(SignalSet::Caught), Some(0x4002));
        assert_eq!(
            status.capabilities(),
            Some(Capabilities {
                inheritable: 0,
                permitted: 0x1ff_ffff_ffff,
                effective: 0x8000_05fb
            })
        );
        assert_eq!(status.no_new_privs(), Some(true));
        assert_eq!(status.seccomp(), Some(Seccomp::Filter));
    }

    #[test]
    fn a_name_cannot_pretend_to_be_another_line() {
        // the kernel escapes the line break; the name begins its line
        let text = b"Name:\tx\\nUid:\t9\t9\t9\t9\n\xff\xfe:\t1\nUid:\t1\t2\t3\t4\nTgid:\t5\n";
        let status = Status::parse(&text[..]);
        assert_eq!(status.uids().map(|ids| ids.real), Some(1));
        assert_eq!(status.tgid(), Some(5));
        let named = Status::parse("Name:\tTgid:\t7\nTgid:\t5\n");
        assert_eq!(named.tgid(), Some(5));
        assert_eq!(named.value("Name"), Some("Tgid:\t7"));
    }

    #[test]
    fn what_is_missing_or_no_number_is_none() {
        for text in [
            "",
            "Tgid",
            "Tgid:",
            "Tgid:\t-1",
            "Tgid:\t99999999999",
            "Uid:\t1\t2\t3",
            "Uid:\t-\t-\t-\t-",
            "NSpid:\t",
            "VmRSS:\t18446744073709551615 kB",
            "VmRSS:\tkB",
            "State:\t",
            "CapEff:\txyz\nCapInh:\t0\nCapPrm:\t0",
        ] {
            let status = Status::parse(text);
            assert_eq!(status.tgid(), None, "{text:?}");
            assert_eq!(status.uids(), None, "{text:?}");
            assert_eq!(status.innermost_pid(), None, "{text:?}");
            assert_eq!(status.memory("VmRSS"), None, "{text:?}");
            assert_eq!(status.state(), None, "{text:?}");
            assert_eq!(status.capabilities(), None, "{text:?}");
            assert_eq!(status.tracer(), None, "{text:?}");
        }
        assert_eq!(Status::parse("TracerPid:\t0").tracer(), None);
        assert_eq!(Status::parse(b"Tgid:\t\xff").tgid(), None);
    }

    #[test]
    fn this_process_is_read() {
        let status = Status::of_self().unwrap();
        assert_eq!(status.tgid(), Some(std::process::id()));
        assert!(status.uids().is_some() && status.gids().is_some());
        assert!(status.capabilities().is_some());
        assert!(status.memory("VmRSS").is_some_and(|bytes| bytes > 4096));
        assert!(Status::of(4_194_305).unwrap_err().is_gone());
    }
}
