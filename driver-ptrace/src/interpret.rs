//! Follows the capture plan of a call: what each operation names is read out of the stopped thread and
//! appended to the event. The same operations as `driver-ebpf/bpf/ops.h`.

use driver_api::event::{Abi, Encoding, EventBuilder, Header, Part, PartAt, Status};
use driver_api::plan::{self, ARG_RET, Op, Plan, UNIT_BITS, UNIT_SHIFT, code, len_from, when};
use driver_api::request::Limits;

use crate::facts;
use crate::memory::Memory;

/// Strings of a vector that are looked at.
const STRINGS: u64 = 4096;

/// Appends all that the plan names.
pub(crate) fn follow(
    event: &mut EventBuilder,
    plan: &Plan,
    header: &Header,
    memory: &Memory,
    scratch: &mut Vec<u8>,
    limits: &Limits,
) {
    for op in &plan.op[..usize::from(plan.ops)] {
        let chosen;
        let op = if op.code == code::VARIANT {
            let abi = Abi::from_u8(header.abi).unwrap_or(Abi::NATIVE);
            let arg = |at: u8| header.args.get(usize::from(at)).copied().unwrap_or(0);
            chosen = plan::chosen(op, abi, header.nr, arg, limits);
            &chosen
        } else {
            op
        };
        let spared = limits.omit.facts && matches!(op.code, code::FD_PATH | code::FD_TUPLE);
        if !spared && due(op.when, header.ret) {
            run(event, op, header, memory, scratch);
        }
    }
}

fn due(condition: u8, ret: i64) -> bool {
    if condition == when::INTERRUPTED {
        return ret == -i64::from(libc::EINTR);
    }
    condition == when::ALWAYS
        || ret >= 0
        || (condition == when::CONNECTED && ret == -i64::from(libc::EINPROGRESS))
}

fn run(event: &mut EventBuilder, op: &Op, header: &Header, memory: &Memory, scratch: &mut Vec<u8>) {
    let arg = |at: u8| header.args.get(usize::from(at)).copied().unwrap_or(0);
    let limit = op.limit as usize;
    if matches!(op.code, code::FD_PATH | code::FD_TUPLE) {
        // a descriptor is a 32-bit number, whatever the register holds beside it
        let fd = if op.arg == ARG_RET {
            header.ret
        } else {
            i64::from(arg(op.arg) as i32)
        };
        match op.code {
            code::FD_PATH => facts::path(event, op.what, limit, header.tid, fd),
            _ => facts::tuple(event, op.what, header.tgid, header.tid, fd),
        }
        return;
    }
    let at = arg(op.arg);
    if at == 0 {
        return;
    }
    scratch.clear();
    match op.code {
        code::STR => {
            let (whole, more) = memory.string(at, limit, scratch);
            if !whole {
                // as the kernel's string copy has it: nothing, unless all could be read
                scratch.clear();
            }
            let status = status(!whole, more);
            event.attach(op.what, Part::None, status, Encoding::Raw, 0, scratch);
        }
        code::BYTES => {
            let Some((len, _)) = length(op, header, memory) else {
                return;
            };
            let len = match (op.len_from, op.unit) {
                (_, UNIT_BITS) => (len & 0xff_ffff).div_ceil(8 * memory.width()) * memory.width(),
                (_, unit @ UNIT_SHIFT..) => len.div_ceil(1 << (unit & 31)),
                (len_from::CONST, _) => len,
                (_, unit) => len.saturating_mul(u64::from(unit.max(1))),
            };
            bytes(
                event,
                op.what,
                Part::None.of(0),
                limit,
                at,
                len,
                memory,
                scratch,
            );
        }
        code::STRV => strings(event, op.what, limit, at, memory, scratch),
        code::IOV => {
            let Some((count, most)) = length(op, header, memory) else {
                return;
            };
            gather(
                event,
                op,
                Part::None.of(0),
                at,
                count,
                most,
                memory,
                scratch,
            );
        }
        code::MMSG => {
            let count = match u64::try_from(header.ret) {
                Ok(done) => done,
                Err(_) => arg(op.len_arg) & 0xffff_ffff,
            };
            let size = if memory.narrow { 32 } else { 64 };
            for index in 0..count.min(u64::from(op.entries)) {
                let at = at.wrapping_add(index * size);
                let sent =
                    memory.exactly(at.wrapping_add(size - if memory.narrow { 4 } else { 8 }));
                let most = sent
                    .filter(|_| header.ret >= 0)
                    .map(|len| u64::from(u32::from_ne_bytes(len)));
                message(event, op, index as u8, at, most, memory, scratch);
            }
        }
        code::MSG => {
            let most =
                (op.len_from == len_from::RET).then(|| u64::try_from(header.ret).unwrap_or(0));
            message(event, op, 0, at, most, memory, scratch);
        }
        _ => {}
    }
}

fn status(fault: bool, more: bool) -> Status {
    if fault {
        Status::Fault
    } else if more {
        Status::Truncated
    } else {
        Status::Whole
    }
}

/// A length or count, and how many bytes the return value allows.
fn length(op: &Op, header: &Header, memory: &Memory) -> Option<(u64, Option<u64>)> {
    let arg = |at: u8| header.args.get(usize::from(at)).copied().unwrap_or(0);
    let ret = u64::try_from(header.ret).unwrap_or(0);
    let value = arg(op.len_arg);
    let (len, most) = match op.len_from {
        len_from::ARG => (value, None),
        len_from::ARG_AND_RET => (value, Some(ret)),
        len_from::RET => (ret, Some(ret)),
        len_from::U32_AT if value == 0 => return None,
        len_from::U32_AT => (u64::from(u32::from_ne_bytes(memory.exactly(value)?)), None),
        len_from::ONE => (1, None),
        // _IOC_SIZE and _IOC_DIR (include/uapi/asm-generic/ioctl.h); "read" is the kernel writing
        len_from::IOC if value & 0xc000_0000 == 0 => return None,
        len_from::IOC if value & 0x4000_0000 == 0 && header.ret < 0 => return None,
        len_from::IOC => (value >> 16 & 0x3fff, None),
        _ => return Some((u64::from(op.limit), None)),
    };
    Some((len.saturating_add(op.add.into()), most))
}

#[expect(clippy::too_many_arguments, reason = "an operation is its arguments")]
fn bytes(
    event: &mut EventBuilder,
    what: u8,
    part: PartAt,
    limit: usize,
    at: u64,
    len: u64,
    memory: &Memory,
    scratch: &mut Vec<u8>,
) {
    if at == 0 {
        return;
    }
    // a length with the highest bit set is a negative one
    let len = if len.cast_signed() < 0 { 0 } else { len };
    let take = usize::try_from(len).unwrap_or(usize::MAX).min(limit);
    scratch.clear();
    scratch.resize(take, 0);
    let fault = memory.read(at, scratch) < take;
    if fault {
        scratch.clear();
    }
    event.attach(
        what,
        part,
        status(fault, len > take as u64),
        Encoding::Raw,
        len,
        scratch,
    );
}

fn strings(
    event: &mut EventBuilder,
    what: u8,
    limit: usize,
    at: u64,
    memory: &Memory,
    scratch: &mut Vec<u8>,
) {
    let (mut fault, mut more) = (false, false);
    for index in 0..STRINGS {
        let Some(string) = memory.word(at.wrapping_add(index * memory.width())) else {
            fault = true;
            break;
        };
        if string == 0 {
            break;
        }
        if scratch.len() >= limit {
            more = true;
            break;
        }
        let room = limit - scratch.len() - 1;
        let before = scratch.len();
        let (whole, longer) = memory.string(string, room, scratch);
        if !whole {
            scratch.truncate(before);
            fault = true;
            break;
        }
        scratch.push(0);
        if longer {
            more = true;
            break;
        }
        more = index + 1 == STRINGS;
    }
    event.attach(
        what,
        Part::None,
        status(fault, more),
        Encoding::Strings,
        0,
        scratch,
    );
}

#[expect(clippy::too_many_arguments, reason = "an operation is its arguments")]
fn gather(
    event: &mut EventBuilder,
    op: &Op,
    part: PartAt,
    at: u64,
    count: u64,
    most: Option<u64>,
    memory: &Memory,
    scratch: &mut Vec<u8>,
) {
    if at == 0 {
        return;
    }
    scratch.clear();
    let (limit, entries) = (op.limit as usize, u64::from(op.entries));
    let (mut fault, mut more, mut total) = (false, count > entries, 0_u64);
    for index in 0..count.min(entries) {
        let Some((base, len)) = entry(op, at, index, memory) else {
            fault = true;
            break;
        };
        let len = most.map_or(len, |most| len.min(most.saturating_sub(total)));
        total = total.saturating_add(len);
        let room = limit - scratch.len();
        let take = usize::try_from(len).unwrap_or(usize::MAX).min(room);
        more |= len > take as u64;
        let before = scratch.len();
        scratch.resize(before + take, 0);
        if memory.read(base, &mut scratch[before..]) < take {
            scratch.truncate(before);
            fault = true;
            break;
        }
    }
    event.attach(
        op.what,
        part,
        status(fault, more),
        Encoding::Raw,
        total,
        scratch,
    );
}

/// Where an entry of a vector points, and how far.
fn entry(op: &Op, at: u64, index: u64, memory: &Memory) -> Option<(u64, u64)> {
    let width = memory.width();
    if op.code == code::IOV && op.unit != 0 {
        let base = memory.word(at.wrapping_add(index * width))?;
        return Some((base, op.unit.into()));
    }
    let entry = at.wrapping_add(index * 2 * width);
    Some((memory.word(entry)?, memory.word(entry.wrapping_add(width))?))
}

/// recvmsg(2): the members of `struct msghdr`, wide and narrow; `index` is its place in an array.
fn message(
    event: &mut EventBuilder,
    op: &Op,
    index: u8,
    at: u64,
    most: Option<u64>,
    memory: &Memory,
    scratch: &mut Vec<u8>,
) {
    let mut words = [0_u64; 6];
    for (place, word) in (0..).zip(&mut words) {
        let Some(value) = memory.word(at.wrapping_add(place * memory.width())) else {
            let part = Part::Data.of(index);
            event.attach(op.what, part, Status::Fault, Encoding::Raw, 0, &[]);
            return;
        };
        *word = value;
    }
    let name_len = words[1] & 0xffff_ffff;
    if name_len > 0 {
        let part = Part::Name.of(index);
        bytes(
            event, op.what, part, 128, words[0], name_len, memory, scratch,
        );
    }
    gather(
        event,
        op,
        Part::Data.of(index),
        words[2],
        words[3],
        most,
        memory,
        scratch,
    );
    if words[5] > 0 {
        let part = Part::Control.of(index);
        bytes(
            event, op.what, part, 256, words[4], words[5], memory, scratch,
        );
    }
}
