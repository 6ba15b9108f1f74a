//! `/proc/PID/stat` (proc_pid_stat(5)): one line of fields. The second is the name, in parentheses.

use std::ops::Range;
use std::str::FromStr;

use crate::{Error, read};

/// How many ticks of `/proc` a second has: `USER_HZ`, which is 100 on every machine that Linux still runs on
/// (include/asm-generic/param.h).
pub const TICKS_PER_SECOND: u64 = 100;

/// A view of `/proc/PID/stat`.
#[derive(Debug, Clone)]
pub struct Stat<B> {
    text: B,
    comm: Range<usize>,
}

/// What is wrong with a text that should be `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No pair of parentheses encloses the name.
    #[error("there is no name in parentheses")]
    NoName,
    /// The state or the parent's id is missing.
    #[error("no state and parent follow the name")]
    NoFields,
}

/// A numeric field, by its number in proc_pid_stat(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Field {
    /// Process id of the parent.
    Ppid = 4,
    /// Process group.
    Pgrp = 5,
    /// Session.
    Session = 6,
    /// Device number of the controlling terminal; 0: none.
    Tty = 7,
    /// Flags of the kernel, `PF_*` in include/linux/sched.h.
    Flags = 9,
    /// Minor faults, which needed no loading from disk.
    MinorFaults = 10,
    /// Major faults.
    MajorFaults = 12,
    /// Time in user space, in ticks ([`TICKS_PER_SECOND`]).
    UserTime = 14,
    /// Time in the kernel, in ticks.
    SystemTime = 15,
    /// Nice value.
    Nice = 19,
    /// Threads of the process.
    Threads = 20,
    /// When it started, in ticks since boot.
    StartTime = 22,
    /// Address space in bytes.
    AddressSpace = 23,
    /// Resident memory in pages.
    Resident = 24,
    /// Where the program's code begins in its memory; 0 while an exec is under way, 1 where the reader may not know.
    CodeStart = 26,
    /// Where the stack begins; 0 where the reader may not know.
    StackStart = 28,
    /// The CPU it last ran on.
    Cpu = 39,
    /// Where the arguments begin in its memory; 0 where the reader may not know.
    ArgumentsStart = 48,
    /// Where they end.
    ArgumentsEnd = 49,
    /// Where the environment begins.
    EnvironmentStart = 50,
    /// Where it ends.
    EnvironmentEnd = 51,
    /// The wait status of a zombie (wait(2)); 0 where the reader may not know.
    ExitStatus = 52,
}

/// What a thread is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// `R`: it runs, or could.
    Running,
    /// `S`: it waits, and a signal would wake it.
    Sleeping,
    /// `D`: it waits, and no signal wakes it.
    DiskSleep,
    /// `T`: a signal stopped it.
    Stopped,
    /// `t`: its tracer stopped it.
    TracingStop,
    /// `Z`: it has ended, and its parent has not waited for it.
    Zombie,
    /// `X`: it is being removed.
    Dead,
    /// `I`: an idle thread of the kernel.
    Idle,
    /// Another letter.
    Other(u8),
}

impl State {
    /// The state that a letter stands for.
    pub fn from_letter(letter: u8) -> Self {
        match letter {
            b'R' => Self::Running,
            b'S' => Self::Sleeping,
            b'D' => Self::DiskSleep,
            b'T' => Self::Stopped,
            b't' => Self::TracingStop,
            b'Z' => Self::Zombie,
            b'X' | b'x' => Self::Dead,
            b'I' => Self::Idle,
            other => Self::Other(other),
        }
    }

    /// Whether it runs no program any more.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Zombie | Self::Dead)
    }
}

impl Stat<Vec<u8>> {
    /// The stat of a process, or of a thread by its id.
    ///
    /// # Errors
    ///
    /// The file cannot be read ([`Error::is_gone`]: there is no such process), or is malformed.
    pub fn of(pid: u32) -> Result<Self, Error> {
        Self::at(&format!("/proc/{pid}/stat"))
    }

    /// The stat of one thread of a process. Times and faults are those of the thread alone.
    ///
    /// # Errors
    ///
    /// As for [`Stat::of`].
    pub fn of_thread(pid: u32, tid: u32) -> Result<Self, Error> {
        Self::at(&format!("/proc/{pid}/task/{tid}/stat"))
    }

    /// The stat of this process.
    ///
    /// # Errors
    ///
    /// As for [`Stat::of`].
    pub fn of_self() -> Result<Self, Error> {
        Self::at("/proc/self/stat")
    }

    fn at(path: &str) -> Result<Self, Error> {
        Self::parse(read(path)?).map_err(|source| Error::Malformed {
            path: path.to_owned(),
            source,
        })
    }
}

impl<B: AsRef<[u8]>> Stat<B> {
    /// A view of the text of such a file.
    ///
    /// # Errors
    ///
    /// The name, the state or the parent is missing.
    pub fn parse(text: B) -> Result<Self, Malformed> {
        let bytes = text.as_ref();
        let open = bytes.iter().position(|byte| *byte == b'(');
        // the name may contain parentheses; no field behind it does
        let close = bytes.iter().rposition(|byte| *byte == b')');
        let (Some(open), Some(close)) = (open, close) else {
            return Err(Malformed::NoName);
        };
        if close < open {
            return Err(Malformed::NoName);
        }
        let comm = open + 1..close;
        let stat = Self { text, comm };
        let has_state = stat.word(3).is_some_and(|state| state.len() == 1);
        if !has_state || stat.get::<i64>(Field::Ppid).is_none() {
            return Err(Malformed::NoFields);
        }
        Ok(stat)
    }

    /// The name of the thread: any bytes but NUL, usually at most 15. Kernels before 4.18 escape a line break and a
    /// backslash.
    pub fn comm(&self) -> &[u8] {
        self.text
            .as_ref()
            .get(self.comm.clone())
            .unwrap_or_default()
    }

    /// What the thread is doing.
    pub fn state(&self) -> State {
        let letter = self.word(3).and_then(|state| state.first().copied());
        State::from_letter(letter.unwrap_or(b'?'))
    }

    /// A numeric field. None: the kernel is too old for it, or it is no such number.
    pub fn get<T: FromStr>(&self, field: Field) -> Option<T> {
        let word = self.word(field as usize)?;
        std::str::from_utf8(word).ok()?.parse().ok()
    }

    /// When the process or thread started, in nanoseconds since boot.
    pub fn start_ns(&self) -> Option<u64> {
        let ticks: u64 = self.get(Field::StartTime)?;
        Some(ticks.saturating_mul(1_000_000_000 / TICKS_PER_SECOND))
    }

    /// The field of this number, from 3 on.
    fn word(&self, number: usize) -> Option<&[u8]> {
        let behind = self.text.as_ref().get(self.comm.end + 1..)?;
        behind
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .nth(number.checked_sub(3)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_parentheses_blanks_and_line_breaks() {
        let mut text = b"42 (a) S 1 (\n) R 7 8 9 34816 -1 0".to_vec();
        for _ in 0..12 {
            text.extend_from_slice(b" 0");
        }
        text.extend_from_slice(b" 250 0 18446744073709551615\n");
        let stat = Stat::parse(&text[..]).unwrap();
        assert_eq!(stat.comm(), b"a) S 1 (\n");
        assert_eq!(stat.state(), State::Running);
        let ids = [Field::Ppid, Field::Pgrp, Field::Session, Field::Tty];
        assert_eq!(
            ids.map(|field| stat.get::<u32>(field)),
            [7, 8, 9, 34816].map(Some)
        );
        assert_eq!(stat.start_ns(), Some(2_500_000_000));
        // the last field there is, which is no i64; and one behind it
        assert_eq!(stat.get(Field::Resident), Some(u64::MAX));
        assert_eq!(stat.get::<i64>(Field::Resident), None);
        assert_eq!(stat.get::<u64>(Field::ExitStatus), None);
    }

    #[test]
    fn an_empty_name_and_one_of_parentheses_are_names() {
        for (text, comm) in [
            (&b"1 () S 0"[..], &b""[..]),
            (b"1 ()) S 0", b")"),
            (b"1 (() S 0", b"("),
            (b"1 (\xff\x80) S 0", b"\xff\x80"),
        ] {
            assert_eq!(Stat::parse(text).unwrap().comm(), comm, "{text:?}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_what_is_missing() {
        for (text, missing) in [
            (&b""[..], Malformed::NoName),
            (b"1", Malformed::NoName),
            (b"1 (", Malformed::NoName),
            (b"1 )(", Malformed::NoName),
            (b"1 (x)", Malformed::NoFields),
            (b"1 (x) S", Malformed::NoFields),
            (b"1 (x) SS 1", Malformed::NoFields),
            (b"1 (x) S \xff\xff 1", Malformed::NoFields),
        ] {
            assert_eq!(Stat::parse(text).unwrap_err(), missing, "{text:?}");
        }
    }

    #[test]
    fn a_process_is_read_and_one_that_does_not_exist_is_gone() {
        let own = Stat::of(std::process::id()).unwrap();
        assert!(!own.state().has_ended());
        assert!(own.get::<u64>(Field::Threads).is_some_and(|n| n >= 1));
        // above the most that kernel.pid_max can be, 2^22
        let error = Stat::of(4_194_305).unwrap_err();
        assert!(error.is_gone(), "{error}");
        assert_eq!(error.to_string(), "cannot read /proc/4194305/stat");
    }

    #[test]
    fn a_zombie_has_ended_and_has_a_status() {
        let mut child = std::process::Command::new("false").spawn().unwrap();
        let begin = std::time::Instant::now();
        let stat = loop {
            let stat = Stat::of(child.id()).unwrap();
            if stat.state().has_ended() {
                break stat;
            }
            assert!(begin.elapsed().as_secs() < 60, "it does not end");
            std::thread::sleep(std::time::Duration::from_millis(1));
        };
        assert_eq!(stat.state(), State::Zombie);
        assert_eq!(stat.get(Field::ExitStatus), Some(1 << 8));
        child.wait().unwrap();
    }
}
