//! Follows the capture plan of a call: reads what each operation names out of the stopped thread, and attaches it
//! to the event. `driver-ebpf/bpf/ops.h` has the same operations.

use driver_api::event::{Abi, Encoding, EventBuilder, Header, Part, PartAt, Status};
use driver_api::plan::{
    self, ARG_RET, BITS_MAX, LEN_SIGNED, Op, Plan, ROOMS, UNIT_BITS, UNIT_BITS_AND_ONE, UNIT_SHIFT,
    code, flag, len_from, when,
};
use driver_api::request::Limits;

use crate::facts;
use crate::memory::Memory;
use crate::sockets;

/// The most strings of a vector that are looked at.
const STRINGS: u64 = 4096;
/// The most bytes of an address and of control messages in a message.
const NAME_LIMIT: usize = 128;
const CONTROL_LIMIT: usize = 256;

/// Attaches all that the plan names.
pub(crate) fn follow(
    event: &mut EventBuilder,
    plan: &Plan,
    header: &Header,
    memory: &Memory,
    scratch: &mut Vec<u8>,
    limits: &Limits,
    rooms: Option<&Rooms>,
) {
    let mut interpreter = Interpreter {
        event,
        header,
        memory,
        scratch,
        rooms,
        limits,
    };
    for op in &plan.op[..usize::from(plan.ops)] {
        let chosen;
        let op = if op.code == code::VARIANT {
            let abi = Abi::from_u8(header.abi).unwrap_or(Abi::NATIVE);
            let arg = |at: u8| interpreter.arg(at);
            chosen = plan::chosen(op, abi, header.nr, arg, limits);
            &chosen
        } else {
            op
        };
        let is_fact = matches!(
            op.code,
            code::FD_PATH | code::FD_TUPLE | code::BASE | code::DIRECTORY
        );
        let omitted = limits.omit.facts && is_fact;
        if !omitted && is_due(op.when, header.ret) {
            interpreter.run(op);
        }
    }
}

/// How many bytes a program has room for where the kernel writes memory and replaces their number by how many there
/// would have been (accept(2), recvmsg(2), getsockopt(2)), as it was at the entry of a call.
#[derive(Debug)]
pub(crate) struct Rooms {
    /// The address of the number; of an array of messages, that of the first one.
    at: u64,
    /// The number; of an array of messages, one for each.
    numbers: [u32; ROOMS],
}

impl Rooms {
    /// Looks at the entry of a call. None: the call has no such memory, or it cannot be read.
    pub(crate) fn of(plan: &Plan, args: &[u64; 6], memory: &Memory) -> Option<Self> {
        if plan.flags & flag::ROOM == 0 {
            return None;
        }
        let arg = |at: u8| args.get(usize::from(at)).copied().filter(|at| *at != 0);
        let mut ops = plan.op.iter().take(plan.ops.into());
        let op = ops.find(|op| op.is_replaced() || (op.code == code::VARIANT && op.entries > 0))?;
        let (at, count) = match op.code {
            code::VARIANT => (arg(op.entries - 1)?, 1),
            code::BYTES => (arg(op.len_arg)?, 1),
            // msg_name, which msg_namelen follows
            code::MSG => (arg(op.arg)?.wrapping_add(memory.width()), 1),
            _ => {
                let count = arg(op.len_arg).unwrap_or(0) & 0xffff_ffff;
                let most = count.min(ROOMS as u64) as usize;
                (arg(op.arg)?.wrapping_add(memory.width()), most)
            }
        };
        let mut numbers = [0; ROOMS];
        for (index, number) in (0..).zip(numbers.iter_mut().take(count)) {
            let one = at.wrapping_add(index * message_size(memory));
            *number = u32::from_ne_bytes(memory.exactly(one)?);
        }
        Some(Self { at, numbers })
    }

    /// The number at an address, or that of message `index` of an array.
    fn number(&self, at: u64, index: u8) -> Option<usize> {
        let number = self.numbers.get(usize::from(index))?;
        (self.at == at).then_some(*number as usize)
    }
}

/// Bytes of a `struct mmsghdr`.
fn message_size(memory: &Memory) -> u64 {
    8 * memory.width()
}

/// Whether an operation is to run for a call that has returned this.
fn is_due(condition: u8, ret: i64) -> bool {
    if condition == when::INTERRUPTED {
        return ret == -i64::from(libc::EINTR);
    }
    condition == when::ALWAYS
        || ret >= 0
        || (condition == when::CONNECTED && ret == -i64::from(libc::EINPROGRESS))
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

/// What all operations of a call share.
struct Interpreter<'a> {
    event: &'a mut EventBuilder,
    header: &'a Header,
    memory: &'a Memory,
    /// Holds what is read of one attachment.
    scratch: &'a mut Vec<u8>,
    /// What was found at the entry of the call.
    rooms: Option<&'a Rooms>,
    limits: &'a Limits,
}

impl Interpreter<'_> {
    fn arg(&self, at: u8) -> u64 {
        self.header.args.get(usize::from(at)).copied().unwrap_or(0)
    }

    fn run(&mut self, op: &Op) {
        let limit = op.limit as usize;
        let (tid, tgid) = (self.header.tid, self.header.tgid);
        match op.code {
            code::FD_PATH => {
                let fd = self.descriptor(op);
                facts::file(self.event, tid, fd, op.entries != 0);
                facts::path(self.event, op.what, limit, tid, fd);
                return;
            }
            code::BASE => return self.base(op, tid),
            code::DIRECTORY => {
                facts::directory(self.event, op.what, limit, tid);
                return;
            }
            code::FD_TUPLE => {
                let fd = self.descriptor(op);
                sockets::tuple(self.event, op.what, tgid, tid, fd);
                return;
            }
            _ => {}
        }
        let at = self.arg(op.arg);
        if at == 0 {
            return;
        }
        self.scratch.clear();
        match op.code {
            code::STR => self.string(op.what, limit, at),
            code::BYTES => {
                if let Some((len, _)) = self.length(op) {
                    let part = Part::None.of(0);
                    let number = self
                        .rooms
                        .filter(|_| op.is_replaced())
                        .and_then(|rooms| rooms.number(self.arg(op.len_arg), 0));
                    let room = number.map(|room| room.saturating_add(op.add.into()));
                    let limit = room.map_or(limit, |room| room.min(limit));
                    self.bytes(op.what, part, limit, at, self.in_bytes(op, len));
                    if op.entries != 0 {
                        self.pointers(op, at, len);
                    }
                }
            }
            code::STRV => self.strings(op.what, limit, at),
            code::IOV => {
                if let Some((count, most)) = self.length(op) {
                    self.gather(op, Part::None.of(0), at, count, most);
                }
            }
            code::MMSG => self.messages(op, at),
            code::MSG => {
                let most = (op.len_from == len_from::RET).then(|| self.returned());
                self.message(op, 0, at, most);
            }
            _ => {}
        }
    }

    /// The directory that a path begins at: the root directory if the path is absolute. Without a path, a call is about what
    /// its descriptor refers to (utimensat(2)).
    fn base(&mut self, op: &Op, tid: u32) {
        let first = match self.arg(op.arg) {
            0 if op.len_arg != ARG_RET => Some([0]),
            at => self.memory.exactly(at),
        };
        let Some([first]) = first else {
            return;
        };
        let limit = op.limit as usize;
        match self.arg(op.len_arg) as i32 {
            _ if first == b'/' => facts::changed_root(self.event, limit, tid),
            fd if op.len_arg != ARG_RET && fd != libc::AT_FDCWD => {
                facts::path(self.event, op.what, limit, tid, fd.into());
            }
            _ => facts::working_directory(self.event, op.what, limit, tid),
        }
    }

    /// The descriptor that an operation names: a 32-bit number, whatever the register has in its upper half.
    fn descriptor(&self, op: &Op) -> i64 {
        if op.arg == ARG_RET {
            self.header.ret
        } else {
            i64::from(self.arg(op.arg) as i32)
        }
    }

    /// What the call has returned; 0 for an error.
    fn returned(&self) -> u64 {
        u64::try_from(self.header.ret).unwrap_or(0)
    }

    /// The register that has the length, in the width that the kernel takes. A negative length is 0.
    fn length_in(&self, op: &Op) -> u64 {
        let unused = op.len_unused & !LEN_SIGNED;
        let value = self.arg(op.len_arg) << unused;
        if op.len_unused & LEN_SIGNED != 0 && value.cast_signed() < 0 {
            return 0;
        }
        value >> unused
    }

    /// A length or count, and the most bytes that the return value allows. None: there is nothing to read.
    fn length(&self, op: &Op) -> Option<(u64, Option<u64>)> {
        let ret = self.returned();
        let value = self.arg(op.len_arg);
        let (len, most) = match op.len_from {
            len_from::ARG => (self.length_in(op), None),
            len_from::ARG_AND_RET => (self.length_in(op), Some(ret)),
            len_from::RET => (ret, Some(ret)),
            len_from::RET_AND_ARG => {
                let len = ret.min(self.length_in(op));
                (len, Some(len))
            }
            len_from::U32_AT if value == 0 => return None,
            len_from::U32_AT => {
                let len = self.memory.exactly(value)?;
                (u64::from(u32::from_ne_bytes(len)), None)
            }
            len_from::ONE => (1, None),
            // _IOC_DIR and _IOC_SIZE (include/uapi/asm-generic/ioctl.h); in "read" the kernel writes
            len_from::IOC if value & 0xc000_0000 == 0 => return None,
            len_from::IOC if value & 0x4000_0000 == 0 && self.header.ret < 0 => return None,
            len_from::IOC => (value >> 16 & 0x3fff, None),
            _ => return Some((u64::from(op.limit), None)),
        };
        Some((len.saturating_add(op.add.into()), most))
    }

    /// The number of bytes of a length that counts units.
    fn in_bytes(&self, op: &Op, len: u64) -> u64 {
        let width = self.memory.width();
        match (op.len_from, op.unit) {
            (_, UNIT_BITS | UNIT_BITS_AND_ONE) => {
                let bits = len - u64::from(op.unit == UNIT_BITS_AND_ONE && len > 0);
                bits.min(BITS_MAX.into()).div_ceil(8 * width) * width
            }
            (_, unit @ UNIT_SHIFT..) => len.div_ceil(1 << (unit & 31)),
            (len_from::CONST, _) => len,
            (_, 0 | 1) => len,
            (_, unit) => len.min(u32::MAX.into()) * u64::from(unit),
        }
    }

    fn string(&mut self, what: u8, limit: usize, at: u64) {
        let (mut whole, mut more) = self.memory.string(at, limit, self.scratch);
        if !whole && self.scratch.len() == limit {
            // all that the limit allows is there, and nothing behind it: a path of 4096 bytes without an end
            whole = true;
            more = true;
        }
        if !whole {
            // as the kernel's string copy does: nothing, if a part cannot be read
            self.scratch.clear();
        }
        let status = status(!whole, more);
        let none = Part::None;
        self.event
            .attach(what, none, status, Encoding::Raw, 0, self.scratch);
    }

    fn bytes(&mut self, what: u8, part: PartAt, limit: usize, at: u64, len: u64) {
        if at == 0 {
            return;
        }
        let take = usize::try_from(len).unwrap_or(usize::MAX).min(limit);
        self.scratch.clear();
        self.scratch.resize(take, 0);
        // what is on the first page, if the rest is not mapped; nothing of a part of a message
        let got = self.memory.read(at, self.scratch);
        let is_part = !part.is(Part::None);
        self.scratch
            .truncate(if is_part && got < take { 0 } else { got });
        let status = status(got < take, len > take as u64);
        self.event
            .attach(what, part, status, Encoding::Raw, len, self.scratch);
    }

    /// What the pointers in a structure of `len` bytes point to.
    fn pointers(&mut self, op: &Op, at: u64, len: u64) {
        let all = plan::pointers_at(op, self.memory.narrow, self.limits);
        for (index, one) in (1..).zip(all.iter().flat_map(|all| &all.of)) {
            let is_in = |offset: u16, bytes: u8| u64::from(offset) + u64::from(bytes) <= len;
            if one.bytes == 0 || !is_in(one.at, one.bytes) || !is_in(one.count_at, one.count_bytes)
            {
                continue;
            }
            let to = self.number(at.wrapping_add(one.at.into()), one.bytes);
            let count = self.number(at.wrapping_add(one.count_at.into()), one.count_bytes);
            let bytes = (count & 0xffff_ffff) * u64::from(one.unit);
            self.bytes(op.what, Part::None.of(index), one.limit as usize, to, bytes);
        }
    }

    /// A number of that many bytes. 0: it cannot be read.
    fn number(&self, at: u64, bytes: u8) -> u64 {
        let mut number = [0; 8];
        let room = number.get_mut(..bytes.into()).unwrap_or_default();
        let whole = self.memory.read(at, room) == usize::from(bytes);
        if whole { u64::from_ne_bytes(number) } else { 0 }
    }

    /// A vector of pointers to strings, which ends with a null pointer.
    fn strings(&mut self, what: u8, limit: usize, at: u64) {
        let (mut fault, mut more) = (false, false);
        let (memory, scratch) = (self.memory, &mut *self.scratch);
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
        let status = status(fault, more);
        let none = Part::None;
        self.event
            .attach(what, none, status, Encoding::Strings, 0, scratch);
    }

    /// The contents of a vector of buffers, one after the other; `most` bytes of them. The kernel can say that there are
    /// more than there is room for (MSG_TRUNC).
    fn gather(&mut self, op: &Op, part: PartAt, at: u64, count: u64, most: Option<u64>) {
        if at == 0 && most.is_none_or(|most| most == 0) {
            return;
        }
        let count = if at == 0 { 0 } else { count };
        self.scratch.clear();
        let (limit, entries) = (op.limit as usize, u64::from(op.entries));
        let (mut fault, mut more, mut total) = (false, count > entries, 0_u64);
        for index in 0..count.min(entries) {
            let Some((base, len)) = self.buffer(op, at, index) else {
                fault = true;
                break;
            };
            let len = most.map_or(len, |most| len.min(most.saturating_sub(total)));
            total = total.saturating_add(len);
            let room = limit - self.scratch.len();
            let take = usize::try_from(len).unwrap_or(usize::MAX).min(room);
            more |= len > take as u64;
            let before = self.scratch.len();
            self.scratch.resize(before + take, 0);
            if self.memory.read(base, &mut self.scratch[before..]) < take {
                self.scratch.truncate(before);
                fault = true;
                break;
            }
        }
        let status = status(fault, more);
        let full = most.unwrap_or(total);
        self.event
            .attach(op.what, part, status, Encoding::Raw, full, self.scratch);
    }

    /// The address and the length of one buffer of a vector.
    fn buffer(&self, op: &Op, at: u64, index: u64) -> Option<(u64, u64)> {
        let (memory, width) = (self.memory, self.memory.width());
        if op.code == code::IOV && op.unit != 0 {
            // a vector of pointers alone, to buffers of the same length
            let base = memory.word(at.wrapping_add(index * width))?;
            return Some((base, op.unit.into()));
        }
        let entry = at.wrapping_add(index * 2 * width);
        Some((memory.word(entry)?, memory.word(entry.wrapping_add(width))?))
    }

    /// An array of `struct mmsghdr` (sendmmsg(2)): a message, and the number of bytes that were transferred.
    fn messages(&mut self, op: &Op, at: u64) {
        let count = match u64::try_from(self.header.ret) {
            Ok(done) => done,
            Err(_) => self.arg(op.len_arg) & 0xffff_ffff,
        };
        let (size, last) = (message_size(self.memory), self.memory.width());
        for index in 0..count.min(u64::from(op.entries)) {
            let at = at.wrapping_add(index * size);
            let transferred = self.memory.exactly(at.wrapping_add(size - last));
            let most = transferred
                .filter(|_| self.header.ret >= 0)
                .map(|len| u64::from(u32::from_ne_bytes(len)));
            self.message(op, index as u8, at, most);
        }
    }

    /// The members of a `struct msghdr` (recvmsg(2)); `index` is its place in an array.
    fn message(&mut self, op: &Op, index: u8, at: u64, most: Option<u64>) {
        let mut words = [0_u64; 6];
        for (place, word) in (0..).zip(&mut words) {
            let Some(value) = self
                .memory
                .word(at.wrapping_add(place * self.memory.width()))
            else {
                let part = Part::Data.of(index);
                self.event
                    .attach(op.what, part, Status::Fault, Encoding::Raw, 0, &[]);
                return;
            };
            *word = value;
        }
        let [name, name_len, buffers, count, control, control_len] = words;
        // an int (struct user_msghdr in include/linux/socket.h)
        if let Ok(name_len @ 1..) = u64::try_from(name_len as i32) {
            let part = Part::Name.of(index);
            let first = at.wrapping_sub(u64::from(index) * message_size(self.memory));
            let room = self
                .rooms
                .filter(|_| op.is_replaced())
                .and_then(|rooms| rooms.number(first.wrapping_add(self.memory.width()), index));
            let limit = room.map_or(NAME_LIMIT, |room| room.min(NAME_LIMIT));
            self.bytes(op.what, part, limit, name, name_len);
        }
        self.gather(op, Part::Data.of(index), buffers, count, most);
        if control_len > 0 {
            let part = Part::Control.of(index);
            self.bytes(op.what, part, CONTROL_LIMIT, control, control_len);
        }
    }
}
