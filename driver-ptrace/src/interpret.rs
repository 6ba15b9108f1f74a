//! Follows the capture plan of a call: what each operation names is read out of the stopped thread and
//! appended to the event. The same operations as `driver-ebpf/bpf/ops.h`.

use driver_api::event::{Encoding, EventBuilder, Header, Part, Status};
use driver_api::plan::{ARG_RET, Op, Plan, code, len_from, when};

use crate::facts;
use crate::memory::Memory;

/// Entries of an iovec array that are looked at.
const IOVECS: u64 = 16;
/// Strings of a vector that are looked at.
const STRINGS: u64 = 4096;

/// Appends all that the plan names.
pub(crate) fn follow(
    event: &mut EventBuilder,
    plan: &Plan,
    header: &Header,
    memory: &Memory,
    scratch: &mut Vec<u8>,
) {
    for op in &plan.op[..usize::from(plan.ops)] {
        if due(op.when, header.ret) {
            run(event, op, header, memory, scratch);
        }
    }
}

fn due(condition: u8, ret: i64) -> bool {
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
            let len = if op.len_from == len_from::CONST {
                len
            } else {
                len.saturating_mul(u64::from(op.unit.max(1)))
            };
            bytes(event, op.what, Part::None, limit, at, len, memory, scratch);
        }
        code::STRV => strings(event, op.what, limit, at, memory, scratch),
        code::IOV => {
            let Some((count, most)) = length(op, header, memory) else {
                return;
            };
            gather(
                event,
                op.what,
                Part::None,
                limit,
                at,
                count,
                most,
                memory,
                scratch,
            );
        }
        code::MSG => message(event, op, at, header, memory, scratch),
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
    Some(match op.len_from {
        len_from::ARG => (arg(op.len_arg), None),
        len_from::ARG_AND_RET => (arg(op.len_arg), Some(ret)),
        len_from::RET => (ret, Some(ret)),
        len_from::U32_AT => {
            let at = arg(op.len_arg);
            (
                u64::from(u32::from_ne_bytes(memory.exactly(if at == 0 {
                    return None;
                } else {
                    at
                })?)),
                None,
            )
        }
        _ => (u64::from(op.limit), None),
    })
}

#[expect(clippy::too_many_arguments, reason = "an operation is its arguments")]
fn bytes(
    event: &mut EventBuilder,
    what: u8,
    part: Part,
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
    what: u8,
    part: Part,
    limit: usize,
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
    let (mut fault, mut more, mut total) = (false, count > IOVECS, 0_u64);
    for index in 0..count.min(IOVECS) {
        let entry = at.wrapping_add(index * 2 * memory.width());
        let (Some(base), Some(len)) = (
            memory.word(entry),
            memory.word(entry.wrapping_add(memory.width())),
        ) else {
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
        what,
        part,
        status(fault, more),
        Encoding::Raw,
        total,
        scratch,
    );
}

/// recvmsg(2): the members of `struct msghdr`, wide and narrow.
fn message(
    event: &mut EventBuilder,
    op: &Op,
    at: u64,
    header: &Header,
    memory: &Memory,
    scratch: &mut Vec<u8>,
) {
    let words: Option<Vec<u64>> = (0..6)
        .map(|index| memory.word(at.wrapping_add(index * memory.width())))
        .collect();
    let Some(words) = words else {
        event.attach(op.what, Part::Data, Status::Fault, Encoding::Raw, 0, &[]);
        return;
    };
    let most = (op.len_from == len_from::RET).then(|| u64::try_from(header.ret).unwrap_or(0));
    let name_len = words[1] & 0xffff_ffff;
    if name_len > 0 {
        bytes(
            event,
            op.what,
            Part::Name,
            128,
            words[0],
            name_len,
            memory,
            scratch,
        );
    }
    gather(
        event,
        op.what,
        Part::Data,
        op.limit as usize,
        words[2],
        words[3],
        most,
        memory,
        scratch,
    );
    if words[5] > 0 {
        bytes(
            event,
            op.what,
            Part::Control,
            256,
            words[4],
            words[5],
            memory,
            scratch,
        );
    }
}
