//! Makes plans from the table: what to fetch for a call, and how much of it.

use nix::unistd::{SysconfVar, sysconf};

use super::{
    ARG_RET, LEN_SIGNED, OPS, Op, Plan, UNIT_BITS, UNIT_BITS_AND_ONE, UNIT_SHIFT, code, flag,
    len_from, pointers, when,
};
use crate::event::{Abi, Fact};
use crate::request::{FACT_MAX, Limits};
use crate::table::{
    self, Counts, FactOf, Fetch, Kind, Len, LenFrom, Meaning, Param, Returns, Room, Syscall,
    Variant, Written,
};

/// `sizeof(struct sockaddr_storage)`.
const SOCKADDR_MAX: u32 = 128;
/// Bytes of the longest structure that is captured whole.
const STRUCT_MAX: u32 = 512;
/// Bytes of a set of 1024 descriptors or CPUs.
const SET_MAX: u32 = 128;

impl Plan {
    /// The plan for a call of an ABI within these limits, without [`flag::SELECTED`]. `nr` is its number.
    pub fn of(call: &Syscall, abi: Abi, nr: u32, limits: &Limits) -> Self {
        let mut plan = Self {
            vector: OPS as u8,
            fact: OPS as u8,
            pointers: OPS as u8,
            ..Self::default()
        };
        if call.returns == Returns::None {
            plan.flags |= flag::NORETURN;
        }
        if call.returns == Returns::Child {
            plan.flags |= flag::CHILD;
        }
        if call.params.iter().any(|p| matches!(p.kind, Kind::Strv)) {
            plan.flags |= flag::EXEC;
        }
        let all = table::Multiplexed::all().iter();
        for one in all.filter(|one| abi == Abi::I386 && std::ptr::eq(one.through(), call)) {
            let its = Self::of(one.call(), abi, one.number(), limits);
            plan.flags |= flag::MULTIPLEXER | its.flags & flag::ROOM;
        }
        let builder = PlanBuilder {
            by_register: false,
            ..PlanBuilder::for_variants(Some(call), abi, nr, limits)
        };
        for (at, param) in call.params.iter().enumerate() {
            if pointers::can_be_in(&param.kind) {
                plan.pointers = plan.ops;
            }
            plan.push(builder.op_of_param(at, param));
        }
        for fact in call.facts {
            plan.push(builder.op_of_fact(fact));
        }
        plan
    }

    fn push(&mut self, op: Op) {
        if op.code == code::NONE || usize::from(self.ops) == OPS {
            return;
        }
        if op.is_replaced() || (op.code == code::VARIANT && op.entries > 0) {
            self.flags |= flag::ROOM;
        }
        match op.code {
            code::IOV | code::MSG => self.vector = self.ops,
            code::STRV if usize::from(self.vector) == OPS => self.vector = self.ops,
            code::MMSG => {
                self.vector = self.ops;
                self.flags |= flag::LARGE;
            }
            code::FD_PATH | code::FD_TUPLE => self.fact = self.ops,
            code::BASE | code::DIRECTORY => {
                self.flags |= flag::DIRECTORIES;
                self.fact = self.fact.min(self.ops);
            }
            _ => {}
        }
        self.op[usize::from(self.ops)] = op;
        self.ops += 1;
    }
}

/// Makes the operations of one call, or of the variants.
pub(super) struct PlanBuilder<'a> {
    /// The call that is planned. None: no call uses the variant.
    call: Option<&'a Syscall>,
    /// Lengths name registers, as in variants, not parameters.
    by_register: bool,
    abi: Abi,
    /// Index in [`Structure::layouts`](table::Structure::layouts).
    layout: usize,
    limits: &'a Limits,
}

impl<'a> PlanBuilder<'a> {
    /// A builder for the operations of a variant that this call uses.
    pub(super) fn for_variants(
        call: Option<&'a Syscall>,
        abi: Abi,
        nr: u32,
        limits: &'a Limits,
    ) -> Self {
        Self {
            call,
            by_register: true,
            abi,
            layout: table::layout(abi, nr),
            limits,
        }
    }

    fn register(&self, param: u8) -> u8 {
        match self.call {
            Some(call) if !self.by_register => call.register(self.abi, param.into()) as u8,
            _ => param,
        }
    }

    /// What a plan says about the width of a length in this register: how many of the upper bits do not count, and
    /// whether there is a sign.
    fn unused_bits(&self, register: u8) -> u8 {
        let param = self
            .call
            .and_then(|call| call.param_at(self.abi, register.into()));
        let Some(width) = param.and_then(|param| param.kind.width()) else {
            return 0;
        };
        let narrow = table::has_narrow_pointers(self.layout);
        let unused = 64 - 8 * width.bytes(narrow) as u8;
        if width.is_signed() {
            unused | LEN_SIGNED
        } else {
            unused
        }
    }

    fn op_of_param(&self, at: usize, param: &Param) -> Op {
        let register = self.register(at as u8);
        let op = Op {
            what: register,
            arg: register,
            ..Op::default()
        };
        match param.kind {
            Kind::By(variant, selectors) if variant.has_memory() => Op {
                code: code::VARIANT,
                when: when::ALWAYS,
                len_arg: selectors.first().map_or(0, |at| self.register(*at)),
                unit: variant.id,
                limit: variant.mask,
                add: selectors
                    .get(1)
                    .map_or(ARG_RET, |at| self.register(*at))
                    .into(),
                entries: self.replaced_length_of(variant).map_or(0, |of| of + 1),
                ..op
            },
            kind => {
                let meaning = Meaning {
                    kind,
                    written: param.written,
                };
                self.op_of_meaning(&meaning, op)
            }
        }
    }

    /// The register of the length that the kernel replaces, whichever operation is chosen.
    fn replaced_length_of(&self, variant: &Variant) -> Option<u8> {
        let of_variant = PlanBuilder {
            by_register: true,
            ..*self
        };
        let rows = variant.rows.iter().map(|row| &row.meaning);
        let mut ops = rows
            .chain([&variant.other])
            .map(|meaning| of_variant.op_of_meaning(meaning, Op::default()));
        ops.find(Op::is_replaced).map(|op| op.len_arg)
    }

    fn op_of_fact(&self, fact: &FactOf) -> Op {
        let (code, when, limit) = match fact.fact {
            Fact::Path => (code::FD_PATH, when::SUCCESS, FACT_MAX),
            Fact::Tuple => (code::FD_TUPLE, when::CONNECTED, 0),
            Fact::Cwd | Fact::Root => (code::DIRECTORY, when::SUCCESS, FACT_MAX),
            Fact::Base | Fact::Base2 => (code::BASE, when::ALWAYS, FACT_MAX),
            // these are no facts about a descriptor: drivers attach them to events without a plan
            Fact::Exe
            | Fact::Argv
            | Fact::Env
            | Fact::Ids
            | Fact::Comm
            | Fact::Local
            | Fact::Peer
            | Fact::Program
            | Fact::File
            | Fact::Cgroups
            | Fact::Container
            | Fact::Users
            | Fact::Groups
            | Fact::Took => return Op::default(),
        };
        let params = self.call.map_or(&[][..], |call| call.params);
        let descriptor = match fact.of.and_then(|at| params.get(usize::from(at))) {
            Some(Param {
                kind: Kind::Path(Some(descriptor)),
                ..
            }) => self.register(*descriptor),
            _ => ARG_RET,
        };
        let in_register = params
            .iter()
            .any(|param| matches!(param.kind, Kind::Flags(set, _) if set.name == "open"));
        Op {
            code,
            what: fact.fact as u8,
            arg: fact.of.map_or(ARG_RET, |at| self.register(at)),
            when,
            len_arg: descriptor,
            limit,
            entries: u8::from(code == code::FD_PATH && !in_register),
            ..Op::default()
        }
    }

    /// The operation that fetches what an argument points to; [`code::NONE`] if it points to nothing that is
    /// captured. `op` has the argument.
    pub(super) fn op_of_meaning(&self, meaning: &Meaning, op: Op) -> Op {
        let op = Op {
            when: match meaning.written {
                Written::Always => when::ALWAYS,
                Written::Success => when::SUCCESS,
                Written::Interrupted => when::INTERRUPTED,
            },
            ..op
        };
        let output = meaning.written == Written::Success;
        match meaning.kind {
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
            Kind::Struct(of, len) => {
                let len = len.unwrap_or(Len {
                    from: LenFrom::Const(of.layouts[self.layout].size),
                    add: Some(0),
                    most: None,
                });
                Op {
                    entries: pointers::index(of),
                    ..self.bytes(op, len, 1, STRUCT_MAX)
                }
            }
            Kind::Array(of, len) => self.bytes(op, len, self.unit_of(of), self.limits.arrays),
            Kind::Buffer(buffer, len) => self.op_of_fetch(buffer.fetch(), len, output, op),
            Kind::Ioc => Op {
                code: code::BYTES,
                len_from: len_from::IOC,
                limit: self.limits.bytes,
                ..op
            },
            Kind::Pointers(of, len) => Op {
                code: code::IOV,
                entries: self.entries(),
                unit: self.unit_of(of),
                ..self.with_len(op, len, 0, self.limits.arrays)
            },
            Kind::SigArg => Op {
                code: code::IOV,
                len_from: len_from::ONE,
                entries: 1,
                limit: SET_MAX,
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
                entries: self.entries(),
                ..op
            },
            // the value is in the register
            Kind::Number(..) | Kind::Flags(..) | Kind::Enum(..) => op,
            // only fields of structures are of these kinds
            Kind::To(..)
            | Kind::Chars(_)
            | Kind::Raw(_)
            | Kind::Rest
            | Kind::CapSet
            | Kind::Ip6 => op,
            // a variant that chooses another variant has no memory; `None` has no meaning
            Kind::By(..) | Kind::None => op,
        }
    }

    fn op_of_fetch(&self, fetch: Fetch, len: Len, output: bool, op: Op) -> Op {
        match fetch {
            Fetch::Bytes(counts, room) => {
                let unit = match counts {
                    Counts::Bytes => 1,
                    Counts::Bits => UNIT_BITS,
                    Counts::BitsAndOne => UNIT_BITS_AND_ONE,
                    Counts::PagesOf => UNIT_SHIFT + page_size().ilog2() as u16,
                };
                let limit = match room {
                    Room::Address => SOCKADDR_MAX,
                    Room::Set => SET_MAX,
                    Room::Data => self.limits.bytes,
                    Room::Array => self.limits.arrays,
                };
                self.bytes(op, len, unit, limit)
            }
            Fetch::Name => Op {
                code: code::STR,
                limit: len
                    .constant()
                    .and_then(|most| u32::try_from(most).ok())
                    .unwrap_or(self.limits.path)
                    .min(self.limits.path),
                ..op
            },
            Fetch::Vector => {
                let op = self.with_len(op, len, 0, self.limits.bytes);
                Op {
                    code: code::IOV,
                    len_from: if output {
                        len_from::ARG_AND_RET
                    } else {
                        op.len_from
                    },
                    entries: self.entries(),
                    ..op
                }
            }
            Fetch::Messages => Op {
                code: code::MMSG,
                entries: self.entries(),
                ..self.with_len(op, len, 0, self.limits.bytes)
            },
        }
    }

    /// The most entries of a vector that are read: 16 or fewer ([`Limits::set`]).
    fn entries(&self) -> u8 {
        self.limits.entries.min(255) as u8
    }

    /// Bytes of one element of an array.
    fn unit_of(&self, element: &Kind) -> u16 {
        element.size(self.layout).unwrap_or(1) as u16
    }

    fn bytes(&self, op: Op, len: Len, unit: u16, limit: u32) -> Op {
        Op {
            code: code::BYTES,
            ..self.with_len(op, len, unit, limit)
        }
    }

    fn with_len(&self, op: Op, len: Len, unit: u16, limit: u32) -> Op {
        let narrow = table::has_narrow_pointers(self.layout);
        let op = Op {
            unit,
            limit,
            add: len.add.unwrap_or(if narrow { 4 } else { 8 }),
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
                len_unused: self.unused_bits(self.register(of)),
                ..op
            },
            LenFrom::At(of) => Op {
                len_from: len_from::U32_AT,
                len_arg: self.register(of),
                ..op
            },
            LenFrom::Ret => match len.most {
                Some(of) => Op {
                    len_from: len_from::RET_AND_ARG,
                    len_arg: self.register(of),
                    len_unused: self.unused_bits(self.register(of)),
                    ..op
                },
                None => Op {
                    len_from: len_from::RET,
                    len_arg: op.arg,
                    ..op
                },
            },
        }
    }
}

fn page_size() -> i64 {
    sysconf(SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .unwrap_or(4096)
}
