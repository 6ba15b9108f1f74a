//! Numbers: out of registers and out of memory, in the width their kind has.

use driver_api::table::{Kind, Width};

use super::value::Value;

/// What a register holds of a number of this width, sign-extended where it has a sign.
pub(super) fn of_register(raw: u64, width: Width, narrow: bool) -> u64 {
    let bytes = raw.to_le_bytes();
    of_bytes(&bytes, 0, width, narrow, u64::from_le_bytes).unwrap_or(raw)
}

/// The number that stands at this offset in memory.
pub(super) fn of_memory(bytes: &[u8], at: usize, width: Width, narrow: bool) -> Option<u64> {
    of_bytes(bytes, at, width, narrow, u64::from_ne_bytes)
}

fn of_bytes(
    bytes: &[u8],
    at: usize,
    width: Width,
    narrow: bool,
    read: fn([u8; 8]) -> u64,
) -> Option<u64> {
    let size = width.bytes(narrow);
    let found = bytes.get(at..at.checked_add(size)?)?;
    let mut whole = [0; 8];
    whole.get_mut(..size)?.copy_from_slice(found);
    let number = read(whole);
    let signed = |bits: u32| (number << (64 - bits)).cast_signed() >> (64 - bits);
    Some(match width {
        Width::I8 | Width::I16 | Width::I32 => {
            signed(u32::try_from(size).unwrap_or(8) * 8).cast_unsigned()
        }
        Width::Long if narrow => signed(32).cast_unsigned(),
        Width::Be16 => u64::from(u16::from_be_bytes(*found.first_chunk()?)),
        Width::Be32 => u64::from(u32::from_be_bytes(*found.first_chunk()?)),
        _ => number,
    })
}

fn low(number: u64) -> u32 {
    u32::try_from(number & 0xffff_ffff).unwrap_or_default()
}

/// What a number of this kind means; none: the kind is no number.
pub(super) fn meaning<'a>(kind: &Kind, number: u64, layout: usize) -> Option<Value<'a>> {
    Some(match kind {
        Kind::As(Width::U16, Kind::Uid | Kind::Gid) if number == 0xffff => Value::Id(u32::MAX),
        Kind::As(Width::U64, Kind::Limit) => Value::Limit(number, "RLIM64_INFINITY"),
        Kind::As(_, of) => return meaning(of, number, layout),
        Kind::Fd
        | Kind::I8
        | Kind::I16
        | Kind::I32
        | Kind::I64
        | Kind::Long
        | Kind::Off
        | Kind::Loff
        | Kind::OffPair
        | Kind::Pid => Value::Int(number.cast_signed()),
        Kind::DirFd => Value::DirFd(low(number).cast_signed()),
        Kind::U8
        | Kind::U16
        | Kind::U32
        | Kind::U64
        | Kind::Ulong
        | Kind::Size
        | Kind::Size32
        | Kind::Be16
        | Kind::Be32 => Value::Uint(number),
        Kind::Mode | Kind::Chmod => Value::Mode(low(number)),
        Kind::FileType => Value::FileType(low(number)),
        Kind::Uid | Kind::Gid => Value::Id(low(number)),
        Kind::Signal => Value::Signal(low(number).cast_signed()),
        Kind::Ptr => Value::Ptr(number),
        Kind::Hex => Value::Hex(number),
        Kind::Dev => Value::Dev(number),
        Kind::IpcKey => Value::IpcKey(low(number)),
        Kind::Limit => Value::Limit(number, "RLIM_INFINITY"),
        Kind::Ioprio => Value::Ioprio(low(number)),
        Kind::Wstatus => Value::Wstatus(low(number)),
        Kind::Ip4 => Value::Ip(std::net::Ipv4Addr::from(low(number)).into()),
        Kind::Flags(set) => Value::Flags(number, set.of(layout)),
        Kind::Enum(set) => Value::Enum(number, set.of(layout)),
        _ => return None,
    })
}
