//! Numbers: out of registers and out of memory, in the width that the table gives, and what they mean.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use driver_api::table::{Reading, Width};

use super::forms::{Forms, Style, meaning};
use super::json;
use super::sockaddr::Ip;
use super::symbols::{self, Remark, hex, write_enum};

/// `AT_FDCWD`.
const AT_FDCWD: i32 = -100;

/// A number, and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    bits: u64,
    width: Width,
    reading: Reading,
}

impl Number {
    /// `bits` come from [`of_register`] or [`of_memory`].
    pub(super) fn new(bits: u64, width: Width, reading: Reading) -> Self {
        Self {
            bits,
            width,
            reading,
        }
    }

    /// How it is read.
    pub fn reading(&self) -> Reading {
        self.reading
    }

    /// It as a signed number of 64 bits.
    pub fn signed(&self) -> i64 {
        match self.reading {
            Reading::DirFd | Reading::Signal | Reading::ClockId => self.int().into(),
            Reading::Signed
            | Reading::Unsigned
            | Reading::Hex
            | Reading::Pages
            | Reading::Address
            | Reading::Id
            | Reading::Mode
            | Reading::FileType
            | Reading::Device
            | Reading::IpcKey
            | Reading::Limit
            | Reading::Ioprio
            | Reading::WaitStatus
            | Reading::Ip4
            | Reading::Network => self.bits.cast_signed(),
        }
    }

    /// It as rules see it. None: rules see its text.
    pub fn scalar(&self) -> Option<Scalar> {
        match self.reading {
            Reading::Signed | Reading::DirFd | Reading::Signal => {
                Some(Scalar::Signed(self.signed()))
            }
            Reading::Id => Some(Scalar::Unsigned(self.id().into())),
            Reading::Mode | Reading::FileType => Some(Scalar::Unsigned(self.low().into())),
            Reading::Unsigned
            | Reading::Hex
            | Reading::Address
            | Reading::Device
            | Reading::Limit
            | Reading::Network => Some(Scalar::Unsigned(self.bits)),
            Reading::Pages => Some(Scalar::Unsigned(self.in_bytes())),
            Reading::ClockId => Some(Scalar::Unsigned(self.low().into())),
            Reading::IpcKey | Reading::Ioprio | Reading::WaitStatus | Reading::Ip4 => None,
        }
    }

    /// A number of pages as the bytes that they have (`mmap2` in arch/x86/kernel/sys_ia32.c).
    fn in_bytes(&self) -> u64 {
        self.bits.wrapping_mul(4096)
    }

    /// The low 32 bits.
    fn low(&self) -> u32 {
        u32::try_from(self.bits & 0xffff_ffff).unwrap_or_default()
    }

    /// The low 32 bits, signed.
    fn int(&self) -> i32 {
        self.low().cast_signed()
    }

    /// A signal: an int, except where the kernel compares all of a long.
    fn signal(&self) -> u64 {
        match self.width {
            Width::Ulong | Width::U64 => self.bits,
            _ => self.low().into(),
        }
    }

    /// A user or group id; the 16-bit ids of old calls have their own value for "unchanged".
    fn id(&self) -> u32 {
        match (self.width, self.bits) {
            (Width::U16, 0xffff) => u32::MAX,
            _ => self.low(),
        }
    }

    fn ip(&self) -> Ip {
        Ip(Ipv4Addr::from(self.low()).into())
    }
}

/// A number as rules see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// With a sign.
    Signed(i64),
    /// Without a sign.
    Unsigned(u64),
}

impl Forms for Number {
    fn text(&self, out: &mut String) {
        match self.reading {
            Reading::Signed => decimal(out, self.bits.cast_signed()),
            Reading::Unsigned => decimal(out, self.bits),
            Reading::Hex => hex(out, self.bits),
            Reading::Pages => hex(out, self.in_bytes()),
            Reading::Address => pointer(out, self.bits),
            Reading::DirFd if self.int() == AT_FDCWD => out.push_str("AT_FDCWD"),
            Reading::DirFd => decimal(out, self.int()),
            Reading::Id if self.id() == u32::MAX => out.push_str("-1"),
            Reading::Id => decimal(out, self.id()),
            Reading::Mode => mode(out, self.bits),
            Reading::FileType => file_type(out, self.low()),
            Reading::Signal => signal(out, self.signal()),
            Reading::Device => {
                let (major, minor) = symbols::device(self.bits);
                out.push_str("makedev(");
                hex(out, major);
                out.push_str(", ");
                hex(out, minor);
                out.push(')');
            }
            Reading::IpcKey if self.low() == 0 => out.push_str("IPC_PRIVATE"),
            Reading::IpcKey => hex(out, self.low().into()),
            Reading::Limit => limit(out, self.bits, self.width),
            Reading::Ioprio => ioprio(out, self.low()),
            Reading::ClockId => clock(out, self.int(), Remark::With),
            Reading::WaitStatus => wait_status(out, self.low()),
            Reading::Ip4 => self.ip().text(out),
            Reading::Network => {
                out.push_str(match self.width {
                    Width::Be16 => "htons(",
                    Width::Be32 => "htonl(",
                    _ => "htobe64(",
                });
                decimal(out, self.bits);
                out.push(')');
            }
        }
    }

    fn json(&self, out: &mut String) {
        match self.reading {
            Reading::Signed => decimal(out, self.bits.cast_signed()),
            Reading::Unsigned | Reading::Hex | Reading::Limit | Reading::Network => {
                decimal(out, self.bits);
            }
            Reading::Pages => decimal(out, self.in_bytes()),
            Reading::Address if self.bits == 0 => out.push_str("null"),
            Reading::Address => {
                let _ = write!(out, "\"{:#x}\"", self.bits);
            }
            Reading::DirFd => decimal(out, self.int()),
            Reading::Id if self.id() == u32::MAX => out.push_str("-1"),
            Reading::Id => decimal(out, self.id()),
            Reading::FileType | Reading::IpcKey | Reading::Ioprio | Reading::WaitStatus => {
                decimal(out, self.low());
            }
            Reading::Mode => decimal(out, self.bits),
            Reading::Signal => {
                out.push('"');
                signal(out, self.signal());
                out.push('"');
            }
            Reading::ClockId => json::quoted(out, |out| clock(out, self.int(), Remark::Without)),
            Reading::Device => {
                let (major, minor) = symbols::device(self.bits);
                let _ = write!(out, "\"{major}:{minor}\"");
            }
            Reading::Ip4 => self.ip().json(out),
        }
    }

    fn falco(&self, out: &mut String, style: Style) -> bool {
        match self.reading {
            Reading::Mode | Reading::FileType => {
                let bits = self.low();
                meaning(out, style, &format_args!("0{bits:o}"), |out| {
                    permissions(out, bits);
                });
            }
            Reading::Signal => meaning(out, style, &self.int(), |out| self.text(out)),
            Reading::DirFd if self.int() == AT_FDCWD => {
                meaning(out, style, &AT_FDCWD, |out| self.text(out));
            }
            Reading::ClockId => meaning(out, style, &self.int(), |out| {
                clock(out, self.int(), Remark::Without);
            }),
            Reading::Hex | Reading::Device | Reading::Network => decimal(out, self.bits),
            Reading::Pages => decimal(out, self.in_bytes()),
            Reading::Address => {
                let _ = write!(out, "{:x}", self.bits);
            }
            Reading::Limit => decimal(out, self.bits.cast_signed()),
            Reading::Signed
            | Reading::Unsigned
            | Reading::DirFd
            | Reading::Id
            | Reading::IpcKey
            | Reading::Ioprio
            | Reading::WaitStatus
            | Reading::Ip4 => self.text(out),
        }
        true
    }
}

fn decimal(out: &mut String, number: impl std::fmt::Display) {
    let _ = write!(out, "{number}");
}

/// Appends an address.
pub(super) fn pointer(out: &mut String, address: u64) {
    if address == 0 {
        out.push_str("NULL");
    } else {
        hex(out, address);
    }
}

/// Appends permission bits in base 8, with a leading 0 and at least two more digits.
pub(super) fn mode(out: &mut String, bits: u64) {
    let _ = write!(out, "0{bits:02o}");
}

/// Appends the name of a signal, or its number.
pub(super) fn signal(out: &mut String, number: u64) {
    match symbols::signal(number) {
        Some(name) => out.push_str(name),
        None => decimal(out, number.cast_signed()),
    }
}

fn file_type(out: &mut String, bits: u32) {
    let name = match bits & 0o170_000 {
        0o140_000 => "S_IFSOCK",
        0o120_000 => "S_IFLNK",
        0o100_000 => "S_IFREG",
        0o060_000 => "S_IFBLK",
        0o040_000 => "S_IFDIR",
        0o020_000 => "S_IFCHR",
        0o010_000 => "S_IFIFO",
        _ => return mode(out, u64::from(bits)),
    };
    out.push_str(name);
    for (bit, name) in [
        (0o4000, "S_ISUID"),
        (0o2000, "S_ISGID"),
        (0o1000, "S_ISVTX"),
    ] {
        if bits & bit != 0 {
            let _ = write!(out, "|{name}");
        }
    }
    out.push('|');
    mode(out, u64::from(bits & 0o777));
}

/// Appends permission bits as Falco names them.
fn permissions(out: &mut String, bits: u32) {
    const NAMES: &[&str] = &[
        "S_IXOTH", "S_IWOTH", "S_IROTH", "S_IXGRP", "S_IWGRP", "S_IRGRP", "S_IXUSR", "S_IWUSR",
        "S_IRUSR", "S_ISVTX", "S_ISGID", "S_ISUID",
    ];
    let start = out.len();
    for (_, name) in (0..).zip(NAMES).filter(|(at, _)| bits & (1 << at) != 0) {
        if out.len() > start {
            out.push('|');
        }
        out.push_str(name);
    }
    if out.len() == start {
        out.push('0');
    }
}

/// strace prints a wait status as the macros of wait(2) that take it apart.
fn wait_status(out: &mut String, status: u32) {
    let signal = |out: &mut String, number: u32| match symbols::signal(u64::from(number)) {
        Some(name) => out.push_str(name),
        None => decimal(out, number),
    };
    out.push('{');
    if status == 0xffff {
        out.push_str("WIFCONTINUED(s)");
    } else if status & 0xff == 0x7f {
        out.push_str("WIFSTOPPED(s) && WSTOPSIG(s) == ");
        signal(out, status >> 8 & 0xff);
    } else if status & 0x7f == 0 {
        let code = status >> 8 & 0xff;
        let _ = write!(out, "WIFEXITED(s) && WEXITSTATUS(s) == {code}");
    } else {
        out.push_str("WIFSIGNALED(s) && WTERMSIG(s) == ");
        signal(out, status & 0x7f);
        if status & 0x80 != 0 {
            out.push_str(" && WCOREDUMP(s)");
        }
    }
    out.push('}');
}

fn limit(out: &mut String, number: u64, width: Width) {
    let _ = match number {
        u64::MAX if width == Width::U64 => write!(out, "RLIM64_INFINITY"),
        u64::MAX => write!(out, "RLIM_INFINITY"),
        0xffff_ffff if width != Width::U64 => write!(out, "RLIM_INFINITY"),
        _ if number > 1024 && number.is_multiple_of(1024) => write!(out, "{}*1024", number / 1024),
        _ => write!(out, "{number}"),
    };
}

fn ioprio(out: &mut String, number: u32) {
    let class = match number >> 13 {
        0 => "IOPRIO_CLASS_NONE",
        1 => "IOPRIO_CLASS_RT",
        2 => "IOPRIO_CLASS_BE",
        3 => "IOPRIO_CLASS_IDLE",
        _ => return hex(out, u64::from(number)),
    };
    let _ = write!(out, "IOPRIO_PRIO_VALUE({class}, {})", number & 0x1fff);
}

/// Appends the name of a clock, or what the number of a dynamic clock is made of: the process, thread or
/// descriptor in the upper 29 bits, the kind of clock in the lower 3 (include/linux/posix-timers_types.h).
fn clock(out: &mut String, id: i32, remark: Remark) {
    const PER_THREAD: i32 = 4;
    const DEVICE: i32 = 3;
    let Ok(known) = u64::try_from(id) else {
        let (owner, kind) = (!(id >> 3), id & 7);
        if kind == DEVICE {
            let _ = write!(out, "FD_TO_CLOCKID({owner})");
            return;
        }
        let whose = if kind & PER_THREAD == 0 {
            "PROCESS"
        } else {
            "THREAD"
        };
        let _ = write!(out, "MAKE_{whose}_CPUCLOCK({owner}, ");
        match kind & !PER_THREAD {
            0 => out.push_str("CPUCLOCK_PROF"),
            1 => out.push_str("CPUCLOCK_VIRT"),
            2 => out.push_str("CPUCLOCK_SCHED"),
            other => decimal(out, other),
        }
        out.push(')');
        return;
    };
    match symbols::set("clock") {
        Some(set) => write_enum(out, set, known, remark),
        None => decimal(out, id),
    }
}

/// The number in a register, sign-extended where its width has a sign.
pub(super) fn of_register(raw: u64, width: Width, narrow: bool) -> u64 {
    let number = width.cut(raw, narrow);
    match width {
        Width::Be16 | Width::Be32 | Width::Be64 => in_host_order(number, width),
        _ => number,
    }
}

/// The number at an offset in memory.
pub(super) fn of_memory(bytes: &[u8], at: usize, width: Width, narrow: bool) -> Option<u64> {
    let size = width.bytes(narrow);
    let found = bytes.get(at..at.checked_add(size)?)?;
    let mut whole = [0; 8];
    whole.get_mut(..size)?.copy_from_slice(found);
    Some(of_register(u64::from_ne_bytes(whole), width, narrow))
}

/// A number in network order, whose bytes are the lowest ones.
fn in_host_order(number: u64, width: Width) -> u64 {
    number.swap_bytes() >> (64 - 8 * width.bytes(false))
}
