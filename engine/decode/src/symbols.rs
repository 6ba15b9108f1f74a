//! Numbers with names: flags and enumerations as strace spells them.

use std::fmt::Write as _;

use driver_api::table::{SYMBOL_SETS, SymbolSet};

/// The set of this name in `symbols.tbl`.
pub fn set(name: &str) -> Option<&'static SymbolSet> {
    SYMBOL_SETS.iter().copied().find(|set| set.name == name)
}

/// The name of one value of an enumeration.
pub fn name(set: &SymbolSet, value: u64) -> Option<&'static str> {
    named(set.values, value)
}

/// The name of a signal, as `SIGTERM`.
pub fn signal(number: u64) -> Option<&'static str> {
    set("signal").and_then(|signals| name(signals, number))
}

fn named(values: &[(u64, &'static str)], value: u64) -> Option<&'static str> {
    values.iter().find(|(v, _)| *v == value).map(|(_, n)| *n)
}

/// The set that names the types of control messages of a level.
pub(super) fn control_types(level: u32) -> &'static str {
    if level == 1 { "scm" } else { "" }
}

/// The major and minor number of a device as user space has it (`new_encode_dev` and `huge_encode_dev`
/// in include/linux/kdev_t.h).
pub fn device(number: u64) -> (u64, u64) {
    (
        number >> 8 & 0xfff | number >> 32 & 0xffff_f000,
        number & 0xff | number >> 12 & 0xff_ff00 | number >> 12 & 0xff00_0000,
    )
}

/// Numbers in base 10 are of type int.
fn low(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or_default()
}

/// Whether a value without a name is followed by what it could have been: `0x63 /* AF_??? */`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remark {
    /// As strace does in its text.
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

/// Appends bits, joined by `|`; bits without a name come in base 16.
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
        let name = named(values, part);
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
            match named(values, part) {
                Some(name) => out.push_str(name),
                None => {
                    let _ = write!(out, "{part}");
                }
            }
        }
    }
    if set.mode != 0 {
        bar(out);
        let _ = write!(out, "{:03o}", value & set.mode);
    }
    if out.len() == start {
        out.push('0');
    }
}

/// Takes an unknown ioctl request apart (include/uapi/asm-generic/ioctl.h).
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
