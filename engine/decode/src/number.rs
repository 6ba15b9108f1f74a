//! Numbers: out of registers and out of memory, in the width their kind has.

use driver_api::table::{Kind, Reading, Width};

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
        Width::I8 | Width::I16 | Width::I32 | Width::I64 | Width::Long => {
            signed(u32::try_from(size).unwrap_or(8) * 8).cast_unsigned()
        }
        Width::Be16 => u64::from(u16::from_be_bytes(*found.first_chunk()?)),
        Width::Be32 => u64::from(u32::from_be_bytes(*found.first_chunk()?)),
        Width::U8 | Width::U16 | Width::U32 | Width::U64 | Width::Ulong | Width::Loff => number,
    })
}

fn low(number: u64) -> u32 {
    u32::try_from(number & 0xffff_ffff).unwrap_or_default()
}

/// What a number of this kind and width means; none: the kind is no number.
pub(super) fn meaning<'a>(kind: &Kind, number: u64, layout: usize) -> Option<Value<'a>> {
    let (of, width) = match kind {
        Kind::Number(of, width) => (of, *width),
        Kind::Flags(set, _) => return Some(Value::Flags(number, set.of(layout))),
        Kind::Enum(set, _) => return Some(Value::Enum(number, set.of(layout))),
        _ => return None,
    };
    Some(match of.reading() {
        Reading::Signed => Value::Int(number.cast_signed()),
        Reading::Unsigned => Value::Uint(number),
        Reading::DirFd => Value::DirFd(low(number).cast_signed()),
        Reading::Mode => Value::Mode(low(number)),
        Reading::FileType => Value::FileType(low(number)),
        Reading::Id if width == Width::U16 && number == 0xffff => Value::Id(u32::MAX),
        Reading::Id => Value::Id(low(number)),
        Reading::Signal => Value::Signal(low(number).cast_signed()),
        Reading::Address => Value::Ptr(number),
        Reading::Hex => Value::Hex(number),
        Reading::Device => Value::Dev(number),
        Reading::IpcKey => Value::IpcKey(low(number)),
        Reading::Limit if width == Width::U64 => Value::Limit(number, "RLIM64_INFINITY"),
        Reading::Limit => Value::Limit(number, "RLIM_INFINITY"),
        Reading::Ioprio => Value::Ioprio(low(number)),
        Reading::WaitStatus => Value::Wstatus(low(number)),
        Reading::Ip4 => Value::Ip(std::net::Ipv4Addr::from(low(number)).into()),
    })
}
