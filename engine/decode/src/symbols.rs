//! Numbers with names: flags and enumerations as strace spells them.

use std::fmt::Write as _;

use driver_api::table::{SYMBOL_SETS, SymbolSet};

use super::forms::{Forms, Style, meaning};
use super::json;

/// Bits with names.
#[derive(Debug, Clone, Copy)]
pub struct Flags(pub u64, pub &'static SymbolSet);

/// A value with a name.
#[derive(Debug, Clone, Copy)]
pub struct Enum(pub u64, pub &'static SymbolSet);

impl Forms for Flags {
    fn text(&self, out: &mut String) {
        write_flags(out, self.1, self.0, Remark::With);
    }

    fn json(&self, out: &mut String) {
        json::quoted(out, |out| write_flags(out, self.1, self.0, Remark::Without));
    }

    fn falco(&self, out: &mut String, style: Style) -> bool {
        let Self(bits, set) = *self;
        let is_open = set.name == "open";
        if bits == 0 && !is_open {
            out.push('0');
            return true;
        }
        let number = if is_open { falco_open(bits, set) } else { bits };
        meaning(out, style, &number, |out| {
            write_flags(out, set, bits, Remark::Without);
        });
        true
    }
}

impl Forms for Enum {
    fn text(&self, out: &mut String) {
        write_enum(out, self.1, self.0, Remark::With);
    }

    fn json(&self, out: &mut String) {
        json::quoted(out, |out| write_enum(out, self.1, self.0, Remark::Without));
    }

    fn falco(&self, out: &mut String, style: Style) -> bool {
        meaning(out, style, &self.0, |out| {
            match falco_names(self.1, self.0) {
                Some(names) => out.push_str(names),
                None => write_enum(out, self.1, self.0, Remark::Without),
            }
        });
        true
    }
}

/// The names of a value that has several in Falco, which writes all of them.
fn falco_names(set: &SymbolSet, value: u64) -> Option<&'static str> {
    match (set.name, value) {
        ("sock_domain", 1) => Some("AF_LOCAL|AF_UNIX"),
        ("sock_domain", 16) => Some("AF_ROUTE|AF_NETLINK"),
        _ => None,
    }
}

/// The kernel's open flags in Falco's own numbers (`PPM_O_*` in driver/ppm_events_public.h).
fn falco_open(bits: u64, set: &SymbolSet) -> u64 {
    const BITS: &[(&str, u64)] = &[
        ("O_CREAT", 1 << 2),
        ("O_APPEND", 1 << 3),
        ("O_DSYNC", 1 << 4),
        ("O_EXCL", 1 << 5),
        ("O_NONBLOCK", 1 << 6),
        ("O_SYNC", 1 << 7),
        ("O_TRUNC", 1 << 8),
        ("O_DIRECT", 1 << 9),
        ("O_DIRECTORY", 1 << 10),
        ("O_LARGEFILE", 1 << 11),
        ("O_CLOEXEC", 1 << 12),
        ("O_TMPFILE", 1 << 14),
    ];
    let access = match bits & 3 {
        0 => 1,
        1 => 2,
        _ => 3,
    };
    let has = |name: &str| {
        let found = set.values.iter().find(|(_, of)| *of == name);
        found.is_some_and(|(kernel, _)| bits & kernel == *kernel)
    };
    BITS.iter()
        .filter(|(name, _)| has(name))
        .fold(access, |sum, (_, falco)| sum | falco)
}

/// Appends the name of a value in the set with this name.
pub(super) fn named(out: &mut String, set_name: &str, number: u64) {
    match set(set_name) {
        Some(set) => write_enum(out, set, number, Remark::With),
        None => hex(out, number),
    }
}

/// The set of this name in `symbols.tbl`.
pub fn set(name: &str) -> Option<&'static SymbolSet> {
    SYMBOL_SETS.iter().copied().find(|set| set.name == name)
}

/// The name of one value of an enumeration.
pub fn name(set: &SymbolSet, value: u64) -> Option<&'static str> {
    name_in(set.values, value)
}

/// The name of a signal, such as `SIGTERM`.
pub fn signal(number: u64) -> Option<&'static str> {
    set("signal").and_then(|signals| name(signals, number))
}

fn name_in(values: &[(u64, &'static str)], value: u64) -> Option<&'static str> {
    values.iter().find(|(v, _)| *v == value).map(|(_, n)| *n)
}

/// The name of the set with the types of control messages of a level.
pub(super) fn control_types(level: u32) -> &'static str {
    match level {
        0 => "sol_ip",
        1 => "scm",
        41 => "sol_ipv6",
        _ => "",
    }
}

/// The major and minor number of a device number as calls take and return it (`new_encode_dev` and
/// `huge_encode_dev` in include/linux/kdev_t.h).
pub fn device(number: u64) -> (u64, u64) {
    (
        number >> 8 & 0xfff | number >> 32 & 0xffff_f000,
        number & 0xff | number >> 12 & 0xff_ff00 | number >> 12 & 0xff00_0000,
    )
}

/// The low 32 bits: numbers that are printed in base 10 are of type int.
fn low(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or_default()
}

/// Whether a comment follows a value without a name: `0x63 /* AF_??? */`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remark {
    /// As in strace's text.
    With,
    /// The number alone.
    Without,
}

/// Appends a number in base 16, 0 as `0`.
pub fn hex(out: &mut String, value: u64) {
    if value == 0 {
        out.push('0');
    } else {
        let _ = write!(out, "{value:#x}");
    }
}

fn nameless(out: &mut String, set: &SymbolSet, value: u64, remark: Remark) {
    if set.unknown == "%d" {
        let _ = write!(out, "{}", low(value).cast_signed());
        return;
    }
    hex(out, value);
    if remark == Remark::With && !set.unknown.is_empty() {
        let _ = write!(out, " /* {} */", set.unknown);
    }
}

/// Appends one value of an enumeration.
pub fn write_enum(out: &mut String, set: &SymbolSet, value: u64, remark: Remark) {
    match name(set, value) {
        Some(name) => out.push_str(name),
        None if set.name == "ioctl" => write_ioctl(out, value),
        None => nameless(out, set, value, remark),
    }
}

/// Appends the names of bits, joined by `|`; bits without a name in base 16.
pub fn write_flags(out: &mut String, set: &SymbolSet, value: u64, remark: Remark) {
    let start = out.len();
    let bar = |out: &mut String| {
        if out.len() > start {
            out.push('|');
        }
    };
    if value == 0
        && set.mode == 0
        && let Some(none) = name(set, 0)
    {
        out.push_str(none);
        return;
    }
    let mut rest = value;
    let (leading, trailing) = set.fields.split_at(set.leading.min(set.fields.len()));
    for (mask, values) in leading {
        let part = value & mask;
        let name = name_in(values, part);
        if name.is_none() && part == 0 {
            continue;
        }
        bar(out);
        match name {
            Some(name) => out.push_str(name),
            None => nameless(out, set, part, remark),
        }
        rest &= !mask;
    }
    for (mask, _) in trailing {
        rest &= !mask;
    }
    for (bits, name) in set.values {
        if *bits != 0 && rest & bits == *bits {
            bar(out);
            out.push_str(name);
            rest &= !bits;
        }
    }
    rest &= !set.mode;
    if rest != 0 {
        if out.len() == start {
            nameless(out, set, rest, remark);
        } else {
            let _ = write!(out, "|{rest:#x}");
        }
    }
    for (mask, values) in trailing {
        let part = value & mask;
        if part != 0 {
            bar(out);
            match name_in(values, part) {
                Some(name) => out.push_str(name),
                None => {
                    let _ = write!(out, "{part}");
                }
            }
        }
    }
    if set.mode != 0 {
        bar(out);
        super::number::mode(out, value & set.mode);
    }
    if out.len() == start {
        out.push('0');
    }
}

/// Appends the parts of an unknown ioctl request (include/uapi/asm-generic/ioctl.h).
fn write_ioctl(out: &mut String, request: u64) {
    let direction = match (request >> 30) & 3 {
        0 => "_IOC_NONE",
        1 => "_IOC_WRITE",
        2 => "_IOC_READ",
        _ => "_IOC_READ|_IOC_WRITE",
    };
    let _ = write!(out, "_IOC({direction}, ");
    for (part, after) in [
        ((request >> 8) & 0xff, ", "),
        (request & 0xff, ", "),
        ((request >> 16) & 0x3fff, ")"),
    ] {
        hex(out, part);
        out.push_str(after);
    }
}
