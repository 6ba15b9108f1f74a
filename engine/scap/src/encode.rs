//! Writes a call with Falco's parameters as a lanner event: numbers into registers, memory into attachments, as a driver
//! would have captured them. What the capture does not have is marked as lacking ([`lacks_flag`]).

mod ends;

use driver_api::event::layout::FLAGS_UNKNOWN;
use driver_api::event::{
    Abi, Encoding, EventBuilder, EventKind, Fact, Flags, Header, OpenedFile, Part, Status,
    lacks_flag,
};
use driver_api::table::{Buffer, Kind, Number, Syscall, Width, is_narrow, layout};
use zerocopy::IntoBytes;

use super::bytes::{text, unsigned};
use super::merge::Merged;
use super::socket;
use super::symbols::{Set, Symbols, symbols_of};
use super::table::{EventSlot, Form, Param, abi_of, member_of};
use super::value::{dynamic, interval, number};

/// What a register holds that points to memory whose address the capture does not have.
const PRESENT: u64 = 1;
/// What a register holds that the capture does not have.
const LACKING: u64 = u64::MAX;

/// An attachment that is not written yet.
#[derive(Debug)]
struct Attached {
    what: u8,
    part: Part,
    bytes: Vec<u8>,
    /// How many bytes there were.
    full: u64,
}

/// A call that is being written.
#[derive(Debug)]
pub(crate) struct Draft {
    call: &'static Syscall,
    pub(crate) header: Header,
    abi: Abi,
    /// Bits of the registers whose content is known.
    known: u8,
    attached: Vec<Attached>,
    /// Structures behind parameters, while their members are collected.
    structures: Vec<(u8, Vec<u8>)>,
    full: Option<u64>,
    strings: Vec<(Fact, Vec<u8>)>,
}

/// The parts of [`Header`] that say who did it and when.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Who {
    pub(crate) time_ns: u64,
    pub(crate) cpu: u16,
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) cgroup: u64,
    pub(crate) flags: u16,
}

impl Who {
    pub(crate) fn header(self, kind: EventKind) -> Header {
        Header {
            kind: kind as u8,
            abi: Abi::X86_64 as u8,
            cpu: self.cpu,
            flags: self.flags,
            time_ns: self.time_ns,
            tgid: self.tgid,
            tid: self.tid,
            uid: self.uid,
            gid: self.gid,
            cgroup: self.cgroup,
            ..Header::default()
        }
    }
}

impl Draft {
    /// A call whose arguments are not known yet. None: no ABI has it.
    pub(crate) fn new(call: &'static Syscall, who: Who) -> Option<Self> {
        let (abi, nr) = abi_of(call)?;
        Some(Self {
            call,
            header: Header {
                nr,
                abi: abi as u8,
                args: [LACKING; 6],
                flags: who.flags | Flags::ENTRY,
                ..who.header(EventKind::Syscall)
            },
            abi,
            known: 0,
            attached: Vec::new(),
            structures: Vec::new(),
            full: None,
            strings: Vec::new(),
        })
    }

    /// Takes all parameters that have a place in the call.
    pub(crate) fn fill(&mut self, merged: &Merged<'_>) {
        // what selects the meaning of another parameter comes before it
        let late = |place: EventSlot| match place {
            EventSlot::Param(at) => matches!(self.call.params[usize::from(at)].kind, Kind::By(..)),
            _ => false,
        };
        let (late, early): (Vec<_>, Vec<_>) = merged
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .partition(|(param, _)| late(param.place));
        let result = |(param, _): &&(&Param, &[u8])| {
            matches!(param.place, EventSlot::Result | EventSlot::Full)
        };
        for (param, value) in early.iter().filter(result) {
            self.place(param, value);
        }
        for (param, value) in early.iter().filter(|one| !result(one)).chain(&late) {
            self.place(param, value);
        }
        // an empty path is NULL
        for (param, value) in merged.iter() {
            if let EventSlot::Param(at) = param.place
                && value.is_empty()
                && self.lacks(at)
            {
                match param.form {
                    // nothing was moved, or nothing of it was captured
                    Form::Bytes if self.result().is_some_and(|ret| ret >= 0) => {
                        self.data(at, Part::None, value);
                    }
                    form if is_memory(form) => self.set(at, 0),
                    _ => {}
                }
            }
        }
        self.opened(merged);
        for (at, bytes) in std::mem::take(&mut self.structures) {
            self.memory(at, bytes);
        }
    }

    /// The file that the call opened, as the kernel had it. Zeros: the writer of the capture did not know it.
    fn opened(&mut self, merged: &Merged<'_>) {
        let said = |name: &str| {
            let is_it = |(param, _): &(&Param, &[u8])| {
                param.name == name && matches!(param.place, EventSlot::Nowhere)
            };
            let (_, value) = merged
                .iter()
                .filter(is_it)
                .find(|(_, value)| !value.is_empty())?;
            unsigned(value)
        };
        let (Some(device), Some(inode)) = (said("dev"), said("ino")) else {
            return;
        };
        let device = u32::try_from(device).unwrap_or(0);
        if (device, inode) == (0, 0) || self.result().is_none_or(|ret| ret < 0) {
            return;
        }
        // new_encode_dev() of the kernel
        let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
        let file = OpenedFile {
            inode,
            device: OpenedFile::device(major, minor),
            flags: FLAGS_UNKNOWN,
            ..OpenedFile::default()
        };
        self.fact(Fact::File, file.as_bytes());
    }

    /// The value that the call returned, if it is known.
    pub(crate) fn result(&self) -> Option<i64> {
        (self.header.flags & Flags::ENTRY == 0).then_some(self.header.ret)
    }

    /// Sets the return value.
    fn returned(&mut self, value: i64) {
        self.header.ret = value;
        self.header.flags &= !Flags::ENTRY;
    }

    fn lacks(&self, at: u8) -> bool {
        let register = self.call.register(self.abi, at.into());
        self.known
            & 1_u8
                .checked_shl(u32::try_from(register).unwrap_or(8))
                .unwrap_or(0)
            == 0
    }

    /// Sets a parameter's register or registers.
    fn set(&mut self, at: u8, value: u64) {
        let register = self.call.register(self.abi, at.into());
        let narrow = matches!(self.abi, Abi::I386 | Abi::Arm);
        let pair = narrow
            && self
                .call
                .params
                .get(usize::from(at))
                .is_some_and(|param| param.is_pair(true));
        let mut put = |register: usize, value: u64| {
            if let Some(to) = self.header.args.get_mut(register) {
                *to = value;
                self.known |= 1 << register;
            }
        };
        let upper_first = self
            .call
            .params
            .get(usize::from(at))
            .is_some_and(|param| matches!(param.kind, Kind::Number(Number::HighLow, _)));
        let (low, high) = (value & 0xffff_ffff, value >> 32);
        if upper_first {
            put(register, high);
            put(register + 1, low);
        } else if pair {
            put(register, low);
            put(register + 1, high);
        } else {
            put(register, value);
        }
    }

    fn place(&mut self, param: &Param, value: &[u8]) {
        match param.place {
            EventSlot::Nowhere => {}
            EventSlot::Result => {
                let value = match param.form {
                    Form::Dynamic(forms) => {
                        dynamic(forms, value).map(|(form, value)| number(form, value))
                    }
                    form => Some(number(form, value)),
                };
                if let Some(value) = value.flatten() {
                    self.returned(value.cast_signed());
                }
            }
            EventSlot::Full => self.full = unsigned(value),
            EventSlot::Param(at) => self.param(at, param, value),
            EventSlot::Member {
                param: at,
                element,
                member,
            } => self.member(at, element, member, param, value),
            EventSlot::Message(at, part) => self.message(at, part, param.form, value),
            EventSlot::Tuple => self.tuple(value),
            EventSlot::Path => self.strings.push((Fact::Path, text(value).to_vec())),
        }
    }

    /// What a parameter is, given the parameters that decide it.
    fn kind(&self, at: u8) -> Kind {
        let mut kind = self.call.params[usize::from(at)].kind;
        // a variant can choose another variant; the table has short chains
        for _ in 0..4 {
            let Kind::By(variant, selectors) = kind else {
                break;
            };
            let value = |at: usize| {
                selectors.get(at).map_or(0, |of| {
                    let register = self.call.register(self.abi, usize::from(*of));
                    let raw = self.header.args.get(register).copied().unwrap_or(0);
                    u32::try_from(raw & 0xffff_ffff).unwrap_or(0)
                })
            };
            kind = variant.meaning(value(0), value(1)).kind;
        }
        kind
    }

    fn param(&mut self, at: u8, param: &Param, value: &[u8]) {
        let (form, value) = match param.form {
            Form::Dynamic(forms) => match dynamic(forms, value) {
                Some(found) => found,
                None => return,
            },
            form => (form, value),
        };
        let kind = self.kind(at);
        // what a variant says is memory, Falco has as the register's content
        let is_pointer = kind.is_memory()
            && matches!(self.call.params[usize::from(at)].kind, Kind::By(..))
            && !matches!(param.form, Form::Dynamic(_));
        if let (Form::Unsigned | Form::Signed, true) = (form, is_pointer) {
            if let Some(value) = number(form, value).filter(|_| !self.has_memory(at)) {
                self.set(at, value);
            }
            return;
        }
        match (form, &kind) {
            (Form::Text, _) => self.memory(at, text(value).to_vec()),
            (Form::Tuple, _) => self.datagram(at, value),
            (Form::SockAddr, _) => {
                if let Some(address) = socket::sockaddr(value) {
                    // what the program said goes before what follows from the connection
                    let register = self.call.register(self.abi, at.into());
                    self.attached
                        .retain(|one| usize::from(one.what) != register);
                    self.memory(at, address.to_sockaddr());
                }
            }
            (Form::Descriptors, _) => self.memory(at, socket::poll_list(value)),
            (Form::Bytes, _) => self.data(at, Part::None, value),
            (Form::Interval, Kind::Struct(of, _)) => {
                let mut bytes = vec![0; of.layouts[self.layout()].size as usize];
                if let Some(ns) = unsigned(value) {
                    interval(&mut bytes, of.layouts[self.layout()].fields, ns);
                }
                self.memory(at, bytes);
            }
            (Form::Interval, Kind::Buffer(Buffer::SockOption, _)) => {
                // a struct timeval
                let ns = unsigned(value).unwrap_or(0);
                let (seconds, micros) = (ns / 1_000_000_000, ns % 1_000_000_000 / 1000);
                let bytes = [seconds.to_le_bytes(), micros.to_le_bytes()].concat();
                self.memory(at, bytes);
            }
            (Form::Signed | Form::Unsigned, Kind::Buffer(Buffer::SockOption, _)) => {
                // an option that is a number has 4 bytes, though Falco may write it with 8
                let bytes = value.get(..value.len().min(4)).unwrap_or_default();
                self.memory(at, bytes.to_vec());
            }
            (Form::Unsigned | Form::Signed, Kind::Buffer(Buffer::Sigset, _)) => {
                let set = unsigned(value).unwrap_or(0);
                self.memory(at, set.to_le_bytes().to_vec());
            }
            (Form::Unsigned | Form::Signed, Kind::Array(of, _)) => {
                let bytes = number(form, value).unwrap_or(0).to_le_bytes();
                let size = of.size(self.layout()).unwrap_or(8).min(8);
                self.memory(at, bytes[..size].to_vec());
            }
            (Form::Unsigned | Form::Signed | Form::Interval | Form::Symbols(_), _) => {
                let mut value = number(form, value);
                if let Form::Symbols(theirs) = form {
                    value = value.and_then(|value| kernel_value(param, theirs, &kind, value));
                }
                // a number beside a string is 0 where the string counts
                if let Some(value) = value.filter(|value| *value != 0 || !self.has_memory(at)) {
                    self.combine(at, value);
                }
            }
            (Form::Dynamic(_) | Form::Other, _) => {}
        }
    }

    /// Adds a value to a register: two of Falco's parameters can be parts of one of the kernel's.
    fn combine(&mut self, at: u8, value: u64) {
        let register = self.call.register(self.abi, at.into());
        let before = match self.header.args.get(register) {
            Some(before) if !self.lacks(at) => *before,
            _ => 0,
        };
        self.set(at, before | value);
    }

    fn has_memory(&self, at: u8) -> bool {
        let register = self.call.register(self.abi, at.into());
        self.attached
            .iter()
            .any(|one| usize::from(one.what) == register)
    }

    fn layout(&self) -> usize {
        layout(self.abi, self.header.nr)
    }

    /// Memory that a parameter points to, all of it.
    fn memory(&mut self, at: u8, bytes: Vec<u8>) {
        let full = bytes.len() as u64;
        self.attach(at, Part::None, bytes, full);
    }

    /// Data that were moved; more of them than were captured, perhaps.
    fn data(&mut self, at: u8, part: Part, bytes: &[u8]) {
        let moved = self.result().and_then(|ret| u64::try_from(ret).ok());
        let full = moved.filter(|moved| *moved > 0).or(self.full).unwrap_or(0);
        self.attach(at, part, bytes.to_vec(), full.max(bytes.len() as u64));
    }

    fn attach(&mut self, at: u8, part: Part, bytes: Vec<u8>, full: u64) {
        let register = self.call.register(self.abi, at.into());
        if self.lacks(at) {
            self.set(at, PRESENT);
        }
        if let Ok(what) = u8::try_from(register) {
            self.attached.push(Attached {
                what,
                part,
                bytes,
                full,
            });
        }
    }

    fn message(&mut self, at: u8, part: Part, form: Form, value: &[u8]) {
        match (part, form) {
            (Part::Name, Form::Tuple) => {
                if let Some(address) = self.other_end(value) {
                    self.attach(at, part, address.to_sockaddr(), 0);
                    self.known_ends(value);
                }
            }
            (Part::Data, _) => self.data(at, part, value),
            (Part::None | Part::Name | Part::Control, _) => {
                self.attach(at, part, value.to_vec(), value.len() as u64);
            }
        }
    }

    /// Adds a fact.
    pub(crate) fn fact(&mut self, fact: Fact, bytes: &[u8]) {
        self.strings.retain(|(known, _)| *known != fact);
        self.strings.push((fact, bytes.to_vec()));
    }

    fn member(&mut self, at: u8, element: u8, member: Option<&str>, param: &Param, value: &[u8]) {
        let Some(mut value) = number(param.form, value) else {
            return;
        };
        if let Some(symbols) = &param.symbols {
            let Some(kernel) = symbols.kernel(value) else {
                return;
            };
            value = kernel;
        }
        let kind = self.call.params[usize::from(at)].kind;
        let size = match &kind {
            Kind::Array(of, _) => of.size(self.layout()),
            Kind::Struct(of, _) => Some(of.layouts[self.layout()].size as usize),
            _ => None,
        };
        let Some(size) = size else { return };
        let (offset, of) = match member {
            Some(name) => match member_of(&kind, name) {
                Some((_, offset, of)) => (offset, Some(of)),
                None => return,
            },
            None => (0, None),
        };
        let bytes = match self.structures.iter_mut().find(|(of, _)| *of == at) {
            Some((_, bytes)) => bytes,
            None => {
                self.structures.push((at, Vec::new()));
                match self.structures.last_mut() {
                    Some((_, bytes)) => bytes,
                    None => return,
                }
            }
        };
        let begin = size * usize::from(element);
        if bytes.len() < begin + size {
            bytes.resize(begin + size, 0);
        }
        let narrow = is_narrow(self.abi, self.header.nr);
        let mut put = |offset: usize, value: &[u8]| {
            if let Some(to) = bytes.get_mut(begin + offset..begin + offset + value.len()) {
                to.copy_from_slice(value);
            }
        };
        let low = value.to_le_bytes();
        if let Some(Kind::CapSet) = of {
            // struct __user_cap_data_struct[2]: the upper halves follow the three lower ones
            put(offset, &low[..4]);
            put(offset + 12, &low[4..]);
            return;
        }
        let width = match of {
            Some(of) => of.width().map_or(8, |width: Width| width.bytes(narrow)),
            None => size,
        };
        put(offset, &low[..width.min(8)]);
    }

    /// Makes the call one that gave the process a new program: its path and vectors are facts.
    pub(crate) fn becomes_exec(&mut self) {
        self.header.kind = EventKind::Exec as u8;
        for at in 0..self.call.params.len() {
            let at = u8::try_from(at).unwrap_or(u8::MAX);
            if matches!(self.call.params[usize::from(at)].kind, Kind::Strv) {
                self.set(at, PRESENT);
            }
        }
    }

    /// Writes the event.
    pub(crate) fn write(mut self, builder: &mut EventBuilder, out: &mut Vec<u8>) {
        for register in 0..self.header.args.len() {
            if self.known & 1 << register == 0 {
                self.header.flags |= lacks_flag(register);
            }
        }
        builder.begin(&self.header);
        // facts first: there is always room for them
        for (fact, bytes) in &self.strings {
            let encoding = match fact {
                Fact::Argv | Fact::Env => Encoding::Strings,
                _ => Encoding::Raw,
            };
            attach(
                builder,
                *fact as u8,
                Part::None,
                encoding,
                bytes,
                bytes.len() as u64,
            );
        }
        for one in &self.attached {
            attach(
                builder,
                one.what,
                one.part,
                Encoding::Raw,
                &one.bytes,
                one.full,
            );
        }
        finish(builder, out);
    }
}

/// Whether an empty value says that the pointer is NULL. An empty number says nothing.
fn is_memory(form: Form) -> bool {
    match form {
        Form::Text | Form::Descriptors => true,
        // an address may be of a family that Falco does not write
        Form::SockAddr
        | Form::Bytes
        | Form::Signed
        | Form::Unsigned
        | Form::Interval
        | Form::Symbols(_)
        | Form::Tuple
        | Form::Dynamic(_)
        | Form::Other => false,
    }
}

/// The kernel's value for one of Falco's, where both have names. None: Falco's value stands for any that it has no name for.
fn kernel_value(param: &Param, theirs: &Set, kind: &Kind, value: u64) -> Option<u64> {
    match (&param.symbols, symbols_of(kind)) {
        (Some(symbols), _) => symbols.kernel(value),
        (None, Some((ours, one))) => Symbols::new(theirs, ours, one, |_| {}).kernel(value),
        (None, None) => Some(value),
    }
}

/// Attaches as many of the bytes as there is room for.
pub(crate) fn attach(
    builder: &mut EventBuilder,
    what: u8,
    part: Part,
    encoding: Encoding,
    bytes: &[u8],
    full: u64,
) {
    let fits = bytes.len().min(builder.room());
    let status = if fits < bytes.len() || full > bytes.len() as u64 {
        Status::Truncated
    } else {
        Status::Whole
    };
    builder.attach(what, part, status, encoding, full, &bytes[..fits]);
}

/// Appends the event that was built.
pub(crate) fn finish(builder: &mut EventBuilder, out: &mut Vec<u8>) {
    if let Ok(event) = builder.finish() {
        event.append_to(out);
    }
}
