//! What an event must contain of the memory that a call's parameters point to. It is derived from the kinds in the
//! table and the actor's own memory, without the capture plan that the drivers follow.

use driver_api::event::{Abi, Fact, Part, Status};
use driver_api::request::Limits;
use driver_api::table::{self, Buffer, FactOf, Kind, Len, LenFrom, NARROW, Syscall, Written};

use nix::unistd::{SysconfVar, sysconf};

use crate::arena::Arena;
use crate::facts;
use crate::truth::Want;

/// Bytes of `struct sockaddr_storage`, of a set of 1024 bits, of control messages, of the longest structure.
const SOCKADDR: u64 = 128;
const BITS: u64 = 128;
const CONTROL: u64 = 256;
const STRUCT: u64 = 512;

/// A call that has been made.
#[derive(Debug)]
pub(crate) struct Made<'a> {
    pub(crate) arena: &'a Arena,
    pub(crate) call: &'static Syscall,
    pub(crate) abi: Abi,
    pub(crate) nr: u32,
    pub(crate) args: [u64; 6],
    pub(crate) ret: i64,
    pub(crate) limits: Limits,
}

/// Everything that the event must have.
pub(crate) fn wants(made: &Made<'_>) -> Vec<Want> {
    let mut wants = Vec::new();
    for (at, param) in made.call.params.iter().enumerate() {
        let what = made.call.register(made.abi, at) as u8;
        let (kind, written) = made.meaning(param.kind, param.written);
        let captured = match written {
            Written::Always => true,
            Written::Success => made.ret >= 0,
            Written::Interrupted => made.ret == -i64::from(libc::EINTR),
        };
        if captured && made.args[usize::from(what)] != 0 {
            made.memory(&mut wants, what, kind, written == Written::Success);
        }
    }
    for fact in made.call.facts {
        let fd = fact
            .of
            .map_or(made.ret, |of| i64::from(made.arg(of) as i32));
        match fact.fact {
            Fact::Path if made.ret >= 0 => wants.extend(facts::path(fd)),
            Fact::Cwd if made.ret >= 0 => wants.extend(facts::directory(Fact::Cwd, "cwd")),
            Fact::Root if made.ret >= 0 => wants.extend(facts::directory(Fact::Root, "root")),
            Fact::Base | Fact::Base2 => wants.extend(made.base(fact)),
            Fact::Tuple if made.ret >= 0 || made.ret == -i64::from(libc::EINPROGRESS) => {
                wants.extend(facts::socket(fd));
            }
            _ => {}
        }
    }
    wants
}

/// Where the kernel wrote more bytes than the table says: the register, the bytes written, the bytes by the table. This
/// tests the table itself, because the kernel knows how much it writes. Drivers capture nothing that a failed call has
/// written.
pub(crate) fn more_written(made: &Made<'_>, wants: &[Want]) -> Vec<(u8, u64, u64)> {
    let mut more = Vec::new();
    if made.ret < 0 {
        return more;
    }
    for (at, param) in made.call.params.iter().enumerate() {
        let what = made.call.register(made.abi, at) as u8;
        let of = || wants.iter().filter(|want| want.what == what);
        let (kind, _) = made.meaning(param.kind, param.written);
        let is_text = matches!(kind, Kind::Str);
        let cut = of().any(|want| want.status == Status::Truncated as u8);
        if matches!(kind, Kind::Msghdr | Kind::Buffer(Buffer::Mmsghdr, _)) || (is_text && cut) {
            // the parts of a message are elsewhere; the length of a string that is cut off is not known
            continue;
        }
        let nul = u64::from(is_text);
        let by_table = of().map(|want| want.full + nul).max().unwrap_or(0);
        let written = made.arena.changed(made.args[usize::from(what)]);
        if written > by_table {
            more.push((what, written, by_table));
        }
    }
    more
}

/// The length of a kind that has one.
fn length_of(kind: &Kind) -> Option<Len> {
    match kind {
        Kind::Buffer(_, len) | Kind::Array(_, len) => Some(*len),
        Kind::Struct(_, len) => *len,
        _ => None,
    }
}

/// Bytes of a vector, and how complete they are.
struct Gathered {
    bytes: Vec<u8>,
    total: u64,
    status: Status,
}

impl Made<'_> {
    fn narrow(&self) -> bool {
        table::is_narrow(self.abi, self.nr)
    }

    fn width(&self) -> u64 {
        if self.narrow() { 4 } else { 8 }
    }

    /// The value of a parameter: one register, whatever its width.
    fn arg(&self, at: u8) -> u64 {
        self.args[self.call.register(self.abi, at.into())]
    }

    /// The kind that the selectors choose. Lengths in variants count registers, which are parameters
    /// in every call that has some.
    fn meaning(&self, kind: Kind, written: Written) -> (Kind, Written) {
        match kind {
            Kind::By(variant, selectors) => {
                let value = |at: usize| selectors.get(at).map_or(0, |at| self.arg(*at) as u32);
                let meaning = variant.meaning(value(0), value(1));
                if matches!(meaning.kind, Kind::Ioc) {
                    let request = self.arg(selectors[0]);
                    let (reads, writes) = (request & 0x8000_0000 != 0, request & 0x4000_0000 != 0);
                    let len = (request >> 16 & 0x3fff) as u32;
                    if !writes && (!reads || self.ret < 0) {
                        return (Kind::None, Written::Always);
                    }
                    return (
                        Kind::Buffer(
                            Buffer::Bytes,
                            Len {
                                from: LenFrom::Const(len),
                                add: Some(0),
                                most: None,
                            },
                        ),
                        Written::Always,
                    );
                }
                (meaning.kind, meaning.written)
            }
            kind => (kind, written),
        }
    }

    /// A length or count. None: it is in memory that cannot be read.
    fn len(&self, len: Len) -> Option<u64> {
        let add = len.add.map_or(self.width(), u64::from);
        let value = match len.from {
            LenFrom::Const(n) => return Some(n.into()),
            LenFrom::Arg(at) => self.length_in(at),
            LenFrom::At(at) => {
                let at = self.arg(at);
                if at == 0 {
                    return None;
                }
                self.u32(at)?.into()
            }
            LenFrom::Ret => {
                let most = len.most.map_or(u64::MAX, |of| self.length_in(of));
                most.min(u64::try_from(self.ret).unwrap_or(0))
            }
        };
        Some(value.checked_add(add).unwrap_or(value))
    }

    /// How many bytes the program has room for, where the kernel replaces their number by how many there would have been.
    fn room(&self, len: Len) -> u64 {
        let LenFrom::At(of) = len.from else {
            return u64::MAX;
        };
        let add = len.add.map_or(self.width(), u64::from);
        let before = self.arena.before(self.arg(of));
        before.map_or(u64::MAX, |room| u64::from(room) + add)
    }

    /// The value of a parameter that is a length, in the width of the parameter; in a variant, `at` is a register. A
    /// negative length is 0.
    fn length_in(&self, at: u8) -> u64 {
        let narrow = self.narrow();
        let width = self.call.params[usize::from(at)].kind.width();
        match (self.arg(at), width) {
            (value, None) => value,
            (value, Some(width)) if width.bytes(narrow) == 8 && !width.is_signed() => value,
            (value, Some(width)) if width.is_signed() => {
                let value = match width.bytes(narrow) {
                    4 => i64::from(value as i32),
                    _ => value.cast_signed(),
                };
                u64::try_from(value).unwrap_or(0)
            }
            (value, Some(width)) => value & (u64::MAX >> (64 - 8 * width.bytes(narrow))),
        }
    }

    /// The directory that a path begins at. Without a path, it is what the call's descriptor refers to.
    fn base(&self, fact: &FactOf) -> Option<Want> {
        let param = fact.of?;
        let Kind::Path(descriptor) = self.call.params[usize::from(param)].kind else {
            return None;
        };
        let first = match (self.arg(param), descriptor) {
            (0, Some(_)) => Vec::new(),
            (at, _) => self.arena.read(at, 1)?,
        };
        let fd = descriptor.map_or(libc::AT_FDCWD, |at| self.arg(at) as i32);
        match fd {
            // the root of the mount namespace needs no words
            _ if first == b"/" => {
                facts::directory(Fact::Root, "root").filter(|root| root.bytes != b"/")
            }
            libc::AT_FDCWD => facts::directory(fact.fact, "cwd"),
            fd => facts::directory(fact.fact, &format!("fd/{fd}")),
        }
    }

    fn u32(&self, at: u64) -> Option<u32> {
        let bytes = self.arena.read(at, 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }

    fn number(&self, at: u64, bytes: usize) -> Option<u64> {
        let mut number = [0; 8];
        number[..bytes].copy_from_slice(&self.arena.read(at, bytes)?);
        Some(u64::from_ne_bytes(number))
    }

    fn word(&self, at: u64) -> Option<u64> {
        if self.narrow() {
            return self.u32(at).map(u64::from);
        }
        let bytes = self.arena.read(at, 8)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    }

    fn memory(&self, wants: &mut Vec<Want>, what: u8, kind: Kind, output: bool) {
        let at = self.args[usize::from(what)];
        let layout = table::layout(self.abi, self.nr);
        let limits = &self.limits;
        let room = length_of(&kind).filter(|_| output);
        let room = room.map_or(u64::MAX, |len| self.room(len));
        let mut bytes = |len: Option<u64>, limit: u64| {
            if let Some(len) = len {
                wants.push(self.bytes(what, (Part::None, 0), at, len, limit.min(room)));
            }
        };
        match kind {
            Kind::Str | Kind::Path(_) => {
                let (status, text) = self.string(at, limits.path.into());
                wants.push(Want::new(what, Part::None, 0, status, 0, text));
            }
            Kind::Buffer(Buffer::Name, len) => {
                let most = self.len(len).unwrap_or(0).min(limits.path.into());
                let (status, text) = self.string(at, most);
                wants.push(Want::new(what, Part::None, 0, status, 0, text));
            }
            Kind::Strv => wants.push(self.strings(what, at)),
            Kind::Buffer(Buffer::SockAddr, len) => bytes(self.len(len), SOCKADDR),
            Kind::Struct(of, len) => {
                let len = match len {
                    Some(len) => self.len(len),
                    None => Some(of.layouts[layout].size.into()),
                };
                bytes(len, STRUCT);
                let all = of.pointers(layout).zip(1..);
                for ((pointer, element, count), index) in all {
                    let within = |field: &table::Field| {
                        let end = u64::from(field.offset) + field.kind.size(layout)? as u64;
                        let at = at.wrapping_add(field.offset.into());
                        (end <= len?).then(|| self.number(at, field.kind.size(layout)?))?
                    };
                    if let (Some(to @ 1..), Some(count)) = (within(pointer), within(count)) {
                        let bytes = count * element.size(layout).unwrap_or(1) as u64;
                        let part = (Part::None, index);
                        wants.push(self.bytes(what, part, to, bytes, limits.arrays.into()));
                    }
                }
            }
            Kind::Buffer(
                Buffer::Bytes,
                Len {
                    from: LenFrom::Const(n),
                    ..
                },
            ) if !matches!(self.call.name, "ioctl") => bytes(Some(n.into()), n.into()),
            Kind::Buffer(Buffer::Bytes | Buffer::MsgBuf | Buffer::SockOption, len) => {
                bytes(self.len(len), limits.bytes.into());
            }
            Kind::Buffer(Buffer::Dirents | Buffer::Dirents64, len) => {
                bytes(self.len(len), limits.arrays.into());
            }
            Kind::Buffer(Buffer::Sigset | Buffer::CpuSet, len) => bytes(self.len(len), BITS),
            Kind::Buffer(set @ (Buffer::FdSet | Buffer::NodeMask), len) => {
                let width = self.width();
                let whole = |bits: u64| {
                    let bits = match set {
                        Buffer::NodeMask => bits.saturating_sub(1),
                        _ => bits,
                    };
                    bits.min(0xff_ffff).div_ceil(8 * width) * width
                };
                bytes(self.len(len).map(whole), BITS);
            }
            Kind::Buffer(Buffer::Pages, len) => {
                let page = sysconf(SysconfVar::PAGE_SIZE).expect("it is known");
                let page = page.expect("it is known").cast_unsigned();
                bytes(self.len(len).map(|n| n.div_ceil(page)), limits.bytes.into());
            }
            Kind::Array(of, len) => {
                let unit = of.size(layout).unwrap_or(1) as u64;
                let limit = match len.from {
                    LenFrom::Const(_) => STRUCT,
                    _ => limits.arrays.into(),
                };
                let whole = |n: u64| match unit {
                    1 => n,
                    _ => n.min(u32::MAX.into()) * unit,
                };
                bytes(self.len(len).map(whole), limit);
            }
            Kind::Buffer(Buffer::Iovec, len) => {
                if let Some(count) = self.len(len) {
                    let most = output.then_some(self.ret.cast_unsigned());
                    let got = self.iovec(at, count, most);
                    wants.push(got.want(what, Part::None, 0));
                }
            }
            Kind::Pointers(of, len) => {
                let unit = of.size(layout).unwrap_or(1) as u64;
                if let Some(count) = self.len(len) {
                    let entry =
                        |i: u64| Some((self.word(at.wrapping_add(i * self.width()))?, unit));
                    let got = self.gather(count, None, limits.arrays.into(), entry);
                    wants.push(got.want(what, Part::None, 0));
                }
            }
            Kind::SigArg => {
                let entry = |_| Some((self.word(at)?, self.word(at.wrapping_add(self.width()))?));
                wants.push(self.gather(1, None, BITS, entry).want(what, Part::None, 0));
            }
            Kind::Msghdr => {
                let most = output.then_some(self.ret.cast_unsigned());
                self.message(wants, (what, 0), at, most, output);
            }
            Kind::Buffer(Buffer::Mmsghdr, len) => {
                let count = if self.ret >= 0 {
                    self.ret.cast_unsigned()
                } else {
                    self.len(len).unwrap_or(0)
                };
                let (size, sent) = if self.narrow() { (32, 28) } else { (64, 56) };
                for index in 0..count.min(limits.entries.into()) {
                    let one = at.wrapping_add(index * size);
                    let most = self.u32(one.wrapping_add(sent)).filter(|_| self.ret >= 0);
                    let place = (what, index as u8);
                    self.message(wants, place, one, most.map(u64::from), output);
                }
            }
            other => assert!(
                !crate::script::is_memory(&other),
                "{}: this reading of the table does not know {other:?}",
                self.call.name
            ),
        }
    }

    fn bytes(&self, what: u8, (part, index): (Part, u8), at: u64, len: u64, limit: u64) -> Want {
        let take = len.min(limit);
        match self.arena.read(at, take as usize) {
            Some(bytes) if len > take => {
                Want::new(what, part, index, Status::Truncated, len, bytes)
            }
            Some(bytes) => Want::new(what, part, index, Status::Whole, len, bytes),
            None => {
                // what is on the first page, if the rest is not mapped; nothing of a part of a message
                let first = 4096 - at % 4096;
                let prefix = self.arena.read(at, first as usize);
                let bytes = prefix
                    .filter(|_| take > first && part == Part::None)
                    .unwrap_or_default();
                Want::new(what, part, index, Status::Fault, len, bytes)
            }
        }
    }

    fn string(&self, at: u64, limit: u64) -> (Status, Vec<u8>) {
        let mut text = Vec::new();
        while let Some(byte) = self.arena.read(at.wrapping_add(text.len() as u64), 1) {
            if byte[0] == 0 {
                return (Status::Whole, text);
            }
            if text.len() as u64 == limit {
                return (Status::Truncated, text);
            }
            text.push(byte[0]);
        }
        // all that the limit allows can be there, and nothing behind it
        if text.len() as u64 == limit {
            return (Status::Truncated, text);
        }
        (Status::Fault, Vec::new())
    }

    fn strings(&self, what: u8, at: u64) -> Want {
        let limit = u64::from(self.limits.strings);
        let mut all = Vec::new();
        let mut status = Status::Whole;
        for index in 0.. {
            let Some(one) = self.word(at.wrapping_add(index * self.width())) else {
                status = Status::Fault;
                break;
            };
            if one == 0 {
                break;
            }
            let room = limit - all.len() as u64;
            if room == 0 {
                status = Status::Truncated;
                break;
            }
            let (how, text) = self.string(one, room - 1);
            if how == Status::Fault {
                status = how;
                break;
            }
            all.extend_from_slice(&text);
            all.push(0);
            if how == Status::Truncated {
                status = how;
                break;
            }
        }
        Want::new(what, Part::None, 0, status, 0, all)
    }

    fn iovec(&self, at: u64, count: u64, most: Option<u64>) -> Gathered {
        let width = self.width();
        let entry = |index: u64| {
            let entry = at.wrapping_add(index * 2 * width);
            Some((self.word(entry)?, self.word(entry.wrapping_add(width))?))
        };
        self.gather(count, most, self.limits.bytes.into(), entry)
    }

    fn gather(
        &self,
        count: u64,
        most: Option<u64>,
        limit: u64,
        entry: impl Fn(u64) -> Option<(u64, u64)>,
    ) -> Gathered {
        let entries = u64::from(self.limits.entries);
        let mut got = Gathered {
            bytes: Vec::new(),
            total: most.unwrap_or(0),
            status: Status::Whole,
        };
        let mut seen: u64 = 0;
        for index in 0..count.min(entries) {
            let Some((base, len)) = entry(index) else {
                got.status = Status::Fault;
                return got;
            };
            let len = most.map_or(len, |most| len.min(most.saturating_sub(seen)));
            seen = seen.saturating_add(len);
            if most.is_none() {
                got.total = seen;
            }
            let take = len.min(limit - got.bytes.len() as u64);
            if take < len {
                got.status = Status::Truncated;
            }
            let Some(bytes) = self.arena.read(base, take as usize) else {
                got.status = Status::Fault;
                return got;
            };
            got.bytes.extend(bytes);
        }
        if count > entries {
            got.status = Status::Truncated;
        }
        got
    }

    /// recvmsg(2): `struct msghdr`.
    fn message(
        &self,
        wants: &mut Vec<Want>,
        (what, index): (u8, u8),
        at: u64,
        most: Option<u64>,
        output: bool,
    ) {
        let field = |n: u64| self.word(at.wrapping_add(n * self.width()));
        let fields: Option<Vec<u64>> = (0..6).map(field).collect();
        let Some(fields) = fields else {
            wants.push(Want::new(
                what,
                Part::Data,
                index,
                Status::Fault,
                0,
                Vec::new(),
            ));
            return;
        };
        // an int
        let name_len = u64::try_from(fields[1] as i32).unwrap_or(0);
        if name_len > 0 && fields[0] != 0 {
            let place = (Part::Name, index);
            let before = self.arena.before(at.wrapping_add(self.width()));
            let room = before.filter(|_| output).map_or(u64::MAX, u64::from);
            let limit = SOCKADDR.min(room);
            wants.push(self.bytes(what, place, fields[0], name_len, limit));
        }
        if fields[2] != 0 || most.is_some_and(|most| most > 0) {
            let count = if fields[2] == 0 { 0 } else { fields[3] };
            let got = self.iovec(fields[2], count, most);
            wants.push(got.want(what, Part::Data, index));
        }
        if fields[5] > 0 && fields[4] != 0 {
            let place = (Part::Control, index);
            wants.push(self.bytes(what, place, fields[4], fields[5], CONTROL));
        }
    }
}

impl Gathered {
    fn want(self, what: u8, part: Part, index: u8) -> Want {
        Want::new(what, part, index, self.status, self.total, self.bytes)
    }
}

const _: () = assert!(NARROW == 1);
