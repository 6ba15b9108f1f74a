//! The capture plan: what to fetch for one system call. It is made from the table; interpreters in the
//! kernel and in the ptrace driver follow it. `bpf/plan.h` says the same in C.

use nix::unistd::{SysconfVar, sysconf};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::event::{Abi, Fact};
use crate::request::{FACT_MAX, Limits, SyscallSet};
use crate::table::{
    self, FactOf, Kind, Len, LenFrom, Meaning, Param, Returns, Syscall, VARIANTS, Variant, Written,
};

/// Operations a plan has room for.
pub const OPS: usize = 6;
/// Numbers an ABI can have in an array of plans.
pub const NUMBERS: usize = 1024;
/// In [`Op::arg`]: the return value.
pub const ARG_RET: u8 = 7;
/// In [`Op::unit`]: the length counts bits, and is rounded up to whole longs.
pub const UNIT_BITS: u16 = u16::MAX;
/// In [`Op::unit`], with N added: 2 to the power of N of what the length counts are one byte, and begun ones count.
pub const UNIT_SHIFT: u16 = 0xff00;

/// Bits of [`Plan::flags`].
pub mod flag {
    /// Somebody wants this call.
    pub const SELECTED: u8 = 1;
    /// Capture at entry: the call does not return.
    pub const NORETURN: u8 = 2;
    /// Returns twice: the return of 0 is the child's.
    pub const CHILD: u8 = 4;
    /// A success is an exec event.
    pub const EXEC: u8 = 8;
    /// It needs much room, or an operation of which a call has one at the most.
    pub const LARGE: u8 = 16;
}

/// What an operation fetches.
pub mod code {
    /// Nothing.
    pub const NONE: u8 = 0;
    /// A NUL-terminated string.
    pub const STR: u8 = 1;
    /// Bytes.
    pub const BYTES: u8 = 2;
    /// An array of pointers to strings, ended by NULL.
    pub const STRV: u8 = 3;
    /// Gathered bytes of an array of `struct iovec`, or of pointers to [`Op::unit`](super::Op::unit) bytes each.
    pub const IOV: u8 = 4;
    /// A `struct msghdr`: name, data, control.
    pub const MSG: u8 = 5;
    /// Fact: resolved path of a descriptor.
    pub const FD_PATH: u8 = 6;
    /// Fact: both ends of a socket.
    pub const FD_TUPLE: u8 = 7;
    /// An array of `struct mmsghdr`.
    pub const MMSG: u8 = 8;
    /// Another operation, which the value of an argument chooses among [`variants`](super::variants).
    pub const VARIANT: u8 = 9;
}

/// When an operation is carried out.
pub mod when {
    /// Always.
    pub const ALWAYS: u8 = 0;
    /// The call returned no error.
    pub const SUCCESS: u8 = 1;
    /// No error, or `EINPROGRESS`.
    pub const CONNECTED: u8 = 2;
    /// The error `EINTR`.
    pub const INTERRUPTED: u8 = 3;
}

/// Where an operation finds its length.
pub mod len_from {
    /// `limit` is the length.
    pub const CONST: u8 = 0;
    /// The value of argument `len_arg`.
    pub const ARG: u8 = 1;
    /// The return value.
    pub const RET: u8 = 2;
    /// The 32-bit number argument `len_arg` points to.
    pub const U32_AT: u8 = 3;
    /// A count in `len_arg`, and no more bytes than the return value.
    pub const ARG_AND_RET: u8 = 4;
    /// 1.
    pub const ONE: u8 = 5;
    /// As the ioctl request in argument `len_arg` says; written by the kernel where the request reads.
    pub const IOC: u8 = 6;
}

/// One thing to fetch.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Op {
    /// One of [`code`]; 0: none.
    pub code: u8,
    /// What the attachment is called: a register's place, or a [`Fact`].
    pub what: u8,
    /// The register it is about, or [`ARG_RET`].
    pub arg: u8,
    /// One of [`when`].
    pub when: u8,
    /// One of [`len_from`].
    pub len_from: u8,
    /// The register that has the length, or the first selector of a variant.
    pub len_arg: u8,
    /// Bytes an element, where the length counts elements; [`UNIT_BITS`]; [`UNIT_SHIFT`] and more; the id of a variant.
    pub unit: u16,
    /// Bytes to capture at the most; of a variant, the bits of the first selector that count.
    pub limit: u32,
    /// Bytes to add to the length; of a variant, the register of the second selector or [`ARG_RET`].
    pub add: u16,
    /// Entries to look at, at the most.
    pub entries: u16,
}

/// What to fetch for one call.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Plan {
    /// Bits of [`flag`].
    pub flags: u8,
    /// How many of `op` count.
    pub ops: u8,
    /// Place of the one operation that gathers ([`code::IOV`], [`code::MSG`], [`code::MMSG`]), or of the first
    /// argument vector ([`code::STRV`]), which the second follows; [`OPS`]: none.
    pub vector: u8,
    /// Place of the one fact; [`OPS`]: none.
    pub fact: u8,
    /// The operations, in the order of the attachments.
    pub op: [Op; OPS],
}

impl Plan {
    /// The plan for a call of an ABI within these limits, without [`flag::SELECTED`]. `nr` is its number.
    pub fn of(call: &Syscall, abi: Abi, nr: u32, limits: &Limits) -> Self {
        let mut plan = Self {
            vector: OPS as u8,
            fact: OPS as u8,
            ..Self::default()
        };
        match call.returns {
            Returns::None => plan.flags |= flag::NORETURN,
            Returns::Child => plan.flags |= flag::CHILD,
            _ => {}
        }
        if call.params.iter().any(|p| matches!(p.kind, Kind::Strv)) {
            plan.flags |= flag::EXEC;
        }
        let place = Place {
            call: Some(call),
            abi,
            layout: table::layout(abi, nr),
            limits,
        };
        for (at, param) in call.params.iter().enumerate() {
            plan.push(place.op_of_param(at, param));
        }
        for fact in call.facts {
            plan.push(place.op_of_fact(fact));
        }
        plan
    }

    fn push(&mut self, op: Op) {
        if op.code == code::NONE || usize::from(self.ops) == OPS {
            return;
        }
        match op.code {
            code::IOV | code::MSG => self.vector = self.ops,
            code::STRV if usize::from(self.vector) == OPS => self.vector = self.ops,
            code::MMSG => {
                self.vector = self.ops;
                self.flags |= flag::LARGE;
            }
            code::FD_PATH | code::FD_TUPLE => self.fact = self.ops,
            _ => {}
        }
        self.op[usize::from(self.ops)] = op;
        self.ops += 1;
    }
}

/// What an operation is made for.
struct Place<'a> {
    /// None: for a variant, whose lengths name registers.
    call: Option<&'a Syscall>,
    abi: Abi,
    layout: usize,
    limits: &'a Limits,
}

impl Place<'_> {
    fn register(&self, at: u8) -> u8 {
        match self.call {
            Some(call) => call.register(self.abi, usize::from(at)) as u8,
            None => at,
        }
    }

    fn op_of_param(&self, at: usize, param: &Param) -> Op {
        let register = self.register(at as u8);
        let op = Op {
            what: register,
            arg: register,
            when: when_of(param.written),
            ..Op::default()
        };
        match param.kind {
            Kind::By(variant, selectors) if points(variant) => Op {
                code: code::VARIANT,
                when: when::ALWAYS,
                len_arg: selectors.first().map_or(0, |at| self.register(*at)),
                unit: variant.id,
                limit: variant.mask,
                add: selectors
                    .get(1)
                    .map_or(ARG_RET, |at| self.register(*at))
                    .into(),
                ..op
            },
            kind => self.op_of(kind, param.written == Written::Success, op),
        }
    }

    fn op_of_fact(&self, fact: &FactOf) -> Op {
        let arg = fact.of.map_or(ARG_RET, |at| self.register(at));
        let (code, when, limit) = match fact.fact {
            Fact::Path => (code::FD_PATH, when::SUCCESS, FACT_MAX),
            _ => (code::FD_TUPLE, when::CONNECTED, 0),
        };
        Op {
            code,
            what: fact.fact as u8,
            arg,
            when,
            limit,
            ..Op::default()
        }
    }

    /// The operation that fetches what an argument points to; [`code::NONE`] where it points to nothing.
    fn op_of(&self, kind: Kind, output: bool, op: Op) -> Op {
        let bytes = |op: Op| Op {
            code: code::BYTES,
            ..op
        };
        match kind {
            Kind::Str | Kind::Path(_) => Op {
                code: code::STR,
                limit: self.limits.path,
                ..op
            },
            Kind::Strv => Op {
                code: code::STRV,
                limit: self.limits.strings,
                ..op
            },
            Kind::SockAddr(len) => self.with_len(bytes(op), len, 1, SOCKADDR_MAX),
            Kind::Struct(of, len) => {
                let len = len.unwrap_or(Len {
                    from: LenFrom::Const(of.layouts[self.layout].size),
                    add: Some(0),
                });
                self.with_len(bytes(op), len, 1, STRUCT_MAX)
            }
            Kind::Bytes(len) | Kind::MsgBuf(len) | Kind::Option(len) => {
                self.with_len(bytes(op), len, 1, self.limits.bytes)
            }
            Kind::Dirents(len) | Kind::Dirents64(len) => {
                self.with_len(bytes(op), len, 1, self.limits.arrays)
            }
            Kind::Sigset(len) | Kind::CpuSet(len) => self.with_len(bytes(op), len, 1, BITS_MAX),
            Kind::FdSet(len) | Kind::NodeMask(len) => {
                self.with_len(bytes(op), len, UNIT_BITS, BITS_MAX)
            }
            Kind::Pages(len) => {
                let page = sysconf(SysconfVar::PAGE_SIZE)
                    .ok()
                    .flatten()
                    .unwrap_or(4096);
                let unit = UNIT_SHIFT + page.ilog2() as u16;
                self.with_len(bytes(op), len, unit, self.limits.bytes)
            }
            Kind::Array(of, len) => {
                let unit = of.size(self.layout).unwrap_or(1) as u16;
                self.with_len(bytes(op), len, unit, self.limits.arrays)
            }
            Kind::Ioc => Op {
                code: code::BYTES,
                len_from: len_from::IOC,
                limit: self.limits.bytes,
                ..op
            },
            Kind::Iovec(len) => Op {
                entries: self.limits.entries,
                ..self.vector(self.with_len(op, len, 0, self.limits.bytes), output)
            },
            Kind::Pointers(of, len) => Op {
                code: code::IOV,
                entries: self.limits.entries,
                unit: of.size(self.layout).unwrap_or(1) as u16,
                ..self.with_len(op, len, 0, self.limits.arrays)
            },
            Kind::SigArg => Op {
                code: code::IOV,
                len_from: len_from::ONE,
                entries: 1,
                limit: BITS_MAX,
                ..op
            },
            Kind::Msghdr => Op {
                code: code::MSG,
                len_from: if output {
                    len_from::RET
                } else {
                    len_from::CONST
                },
                limit: self.limits.bytes,
                entries: self.limits.entries,
                ..op
            },
            Kind::Mmsghdr(len) => Op {
                code: code::MMSG,
                entries: self.limits.entries,
                ..self.with_len(op, len, 0, self.limits.bytes)
            },
            _ => op,
        }
    }

    fn vector(&self, op: Op, output: bool) -> Op {
        Op {
            code: code::IOV,
            len_from: if output {
                len_from::ARG_AND_RET
            } else {
                op.len_from
            },
            ..op
        }
    }

    fn with_len(&self, op: Op, len: Len, unit: u16, limit: u32) -> Op {
        let add = len
            .add
            .unwrap_or(if table::has_narrow_pointers(self.layout) {
                4
            } else {
                8
            });
        let op = Op {
            unit,
            limit,
            add,
            ..op
        };
        match len.from {
            LenFrom::Const(n) => Op {
                len_from: len_from::CONST,
                limit: (n * u32::from(unit.max(1))).min(STRUCT_MAX),
                ..op
            },
            LenFrom::Arg(of) => Op {
                len_from: len_from::ARG,
                len_arg: self.register(of),
                ..op
            },
            LenFrom::At(of) => Op {
                len_from: len_from::U32_AT,
                len_arg: self.register(of),
                ..op
            },
            LenFrom::Ret => Op {
                len_from: len_from::RET,
                len_arg: op.arg,
                ..op
            },
        }
    }
}

fn when_of(written: Written) -> u8 {
    match written {
        Written::Always => when::ALWAYS,
        Written::Success => when::SUCCESS,
        Written::Interrupted => when::INTERRUPTED,
    }
}

/// Whether a variant points to memory for any value.
fn points(variant: &Variant) -> bool {
    let follows = |meaning: &Meaning| {
        meaning.kind.width().is_none() && !matches!(meaning.kind, Kind::None | Kind::By(..))
    };
    follows(&variant.other) || variant.rows.iter().any(|row| follows(&row.meaning))
}

/// `sizeof(struct sockaddr_storage)`.
const SOCKADDR_MAX: u32 = 128;
/// The longest structure that is captured whole.
const STRUCT_MAX: u32 = 512;
/// Bytes of a set of bits: 1024 descriptors or CPUs.
const BITS_MAX: u32 = 128;

/// The plans of a whole ABI in the order of its numbers, for the interpreters in the kernel. Those that
/// x32 alone has stand in the array of x86_64.
pub fn array(abi: Abi, selected: &SyscallSet, limits: &Limits) -> Vec<Plan> {
    (0..NUMBERS as u32)
        .map(|nr| {
            let abi = if abi == Abi::X86_64 && table::is_narrow(Abi::X32, nr) && nr < X32_END {
                Abi::X32
            } else {
                abi
            };
            let Some(call) = table::by_number(abi, nr) else {
                return Plan::default();
            };
            let mut plan = Plan::of(call, abi, nr, limits);
            if selected.contains(call) {
                plan.flags |= flag::SELECTED;
            }
            plan
        })
        .collect()
}

/// Behind the last number that x32 alone has.
const X32_END: u32 = 548;

/// What chooses among [`variants`].
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C)]
pub struct VariantKey {
    /// [`Op::unit`].
    pub variant: u16,
    /// 1: pointers have 32 bits.
    pub narrow: u16,
    /// The first selector's bits that count; all ones, with those of the second, for all other values.
    pub first: u32,
    /// The second selector; 0: there is none.
    pub second: u32,
}

impl VariantKey {
    /// The key for all values that have none of their own.
    pub const fn other(variant: u16, narrow: u16) -> Self {
        Self {
            variant,
            narrow,
            first: u32::MAX,
            second: u32::MAX,
        }
    }
}

/// The operations that [`code::VARIANT`] chooses among, for one width of pointers, without `what` and `arg`.
pub fn variants(abi: Abi, limits: &Limits) -> Vec<(VariantKey, Op)> {
    let layout = table::layout(abi, 0);
    let narrow = u16::from(table::has_narrow_pointers(layout));
    let place = Place {
        call: None,
        abi,
        layout,
        limits,
    };
    let op = |meaning: &Meaning| {
        let op = Op {
            when: when_of(meaning.written),
            ..Op::default()
        };
        place.op_of(meaning.kind, meaning.written == Written::Success, op)
    };
    let mut all = Vec::new();
    for variant in VARIANTS.iter().filter(|variant| points(variant)) {
        let id = variant.id;
        all.push((VariantKey::other(id, narrow), op(&variant.other)));
        all.extend(variant.rows.iter().map(|row| {
            let (first, second) = row.key;
            let key = VariantKey {
                variant: id,
                narrow,
                first,
                second,
            };
            (key, op(&row.meaning))
        }));
    }
    all
}

/// The operation that a [`code::VARIANT`] stands for, for the interpreter in user space: the selectors'
/// values come from `arg`.
pub fn chosen(op: &Op, abi: Abi, nr: u32, arg: impl Fn(u8) -> u64, limits: &Limits) -> Op {
    let Some(variant) = VARIANTS.get(usize::from(op.unit)) else {
        return Op::default();
    };
    let second = u8::try_from(op.add).unwrap_or(ARG_RET);
    let second = if second == ARG_RET { 0 } else { arg(second) };
    let meaning = variant.meaning(arg(op.len_arg) as u32, second as u32);
    let place = Place {
        call: None,
        abi,
        layout: table::layout(abi, nr),
        limits,
    };
    let base = Op {
        what: op.what,
        arg: op.arg,
        when: when_of(meaning.written),
        // an ioctl request is its own selector
        len_arg: op.len_arg,
        ..Op::default()
    };
    place.op_of(meaning.kind, meaning.written == Written::Success, base)
}
