//! The capture plan: what to fetch for each call. Made from the table, followed by every driver;
//! the layout is that of `bpf/plan.h`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::event::{Abi, Fact};
use crate::request::{Limits, SyscallSet};
use crate::table::{self, Kind, Len, Returns, Syscall};

/// Operations a plan can hold.
pub const OPS: usize = 6;
/// Syscall numbers an ABI can have in an array of plans.
pub const NUMBERS: usize = 1024;
/// In [`Op::arg`]: the return value.
pub const ARG_RET: u8 = 7;

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
}

/// What an operation fetches.
pub mod code {
    /// A NUL-terminated string.
    pub const STR: u8 = 1;
    /// Bytes.
    pub const BYTES: u8 = 2;
    /// An array of pointers to strings, ended by NULL.
    pub const STRV: u8 = 3;
    /// Gathered bytes of an array of `struct iovec`.
    pub const IOV: u8 = 4;
    /// A `struct msghdr`: name, data, control.
    pub const MSG: u8 = 5;
    /// Fact: resolved path of a descriptor.
    pub const FD_PATH: u8 = 6;
    /// Fact: both ends of a socket.
    pub const FD_TUPLE: u8 = 7;
}

/// When an operation is carried out.
pub mod when {
    /// Always.
    pub const ALWAYS: u8 = 0;
    /// The call returned no error.
    pub const SUCCESS: u8 = 1;
    /// No error, or `EINPROGRESS`.
    pub const CONNECTED: u8 = 2;
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
}

/// One thing to fetch.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Op {
    /// One of [`code`]; 0: none.
    pub code: u8,
    /// What the attachment is called: an argument's place, or a [`Fact`].
    pub what: u8,
    /// The argument it is about, or [`ARG_RET`].
    pub arg: u8,
    /// One of [`when`].
    pub when: u8,
    /// One of [`len_from`].
    pub len_from: u8,
    /// The argument that has the length.
    pub len_arg: u8,
    /// Bytes an element, where the length counts elements.
    pub unit: u16,
    /// Bytes to capture at the most.
    pub limit: u32,
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
    /// Place of the one operation that gathers ([`code::IOV`], [`code::MSG`]); [`OPS`]: none.
    pub vector: u8,
    /// Place of the one fact; [`OPS`]: none.
    pub fact: u8,
    /// The operations, in the order of the attachments.
    pub op: [Op; OPS],
}

impl Plan {
    /// The plan for a call within these limits, without [`flag::SELECTED`].
    pub fn of(call: &Syscall, limits: &Limits) -> Self {
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
        let mut push = |op: Op| {
            if op.code != 0 && usize::from(plan.ops) < OPS {
                match op.code {
                    code::IOV | code::MSG => plan.vector = plan.ops,
                    code::FD_PATH | code::FD_TUPLE => plan.fact = plan.ops,
                    _ => {}
                }
                plan.op[usize::from(plan.ops)] = op;
                plan.ops += 1;
            }
        };
        for (at, param) in (0u8..).zip(call.params) {
            let when = if param.output {
                when::SUCCESS
            } else {
                when::ALWAYS
            };
            push(op_of_param(
                at,
                param.kind,
                param.output,
                Op {
                    what: at,
                    arg: at,
                    when,
                    ..Op::default()
                },
                limits,
            ));
        }
        for fact in call.facts {
            let arg = fact.of.unwrap_or(ARG_RET);
            push(match fact.fact {
                Fact::Path => Op {
                    code: code::FD_PATH,
                    what: Fact::Path as u8,
                    arg,
                    when: when::SUCCESS,
                    limit: limits.path,
                    ..Op::default()
                },
                _ => Op {
                    code: code::FD_TUPLE,
                    what: fact.fact as u8,
                    arg,
                    when: when::CONNECTED,
                    ..Op::default()
                },
            });
        }
        plan
    }
}

/// Bytes of one scalar behind a pointer.
fn scalar_size(kind: &Kind) -> u16 {
    match kind {
        Kind::I64 | Kind::U64 | Kind::Size | Kind::Off | Kind::Ptr | Kind::Hex => 8,
        _ => 4,
    }
}

fn op_of_param(at: u8, kind: Kind, output: bool, op: Op, limits: &Limits) -> Op {
    let with_len = |op: Op, len: Len, unit: u16, limit: u32| match len {
        Len::Const(n) => Op {
            len_from: len_from::CONST,
            unit,
            limit: n * u32::from(unit),
            ..op
        },
        Len::Arg(of) => Op {
            len_from: len_from::ARG,
            len_arg: of,
            unit,
            limit,
            ..op
        },
        Len::At(of) => Op {
            len_from: len_from::U32_AT,
            len_arg: of,
            unit,
            limit,
            ..op
        },
        Len::Ret => Op {
            len_from: len_from::RET,
            len_arg: at,
            unit,
            limit,
            ..op
        },
    };
    match kind {
        Kind::Str | Kind::Path(_) => Op {
            code: code::STR,
            limit: limits.path,
            ..op
        },
        Kind::Strv => Op {
            code: code::STRV,
            limit: limits.strings,
            ..op
        },
        Kind::SockAddr(len) => with_len(
            Op {
                code: code::BYTES,
                ..op
            },
            len,
            1,
            SOCKADDR_MAX,
        ),
        Kind::Struct(_, len) => with_len(
            Op {
                code: code::BYTES,
                ..op
            },
            len,
            1,
            STRUCT_MAX,
        ),
        Kind::Bytes(len) => with_len(
            Op {
                code: code::BYTES,
                ..op
            },
            len,
            1,
            limits.bytes,
        ),
        Kind::Array(of, len) => with_len(
            Op {
                code: code::BYTES,
                ..op
            },
            len,
            scalar_size(of),
            limits.bytes,
        ),
        Kind::Iovec(len) => {
            let op = with_len(
                Op {
                    code: code::IOV,
                    ..op
                },
                len,
                1,
                limits.bytes,
            );
            if output {
                Op {
                    len_from: len_from::ARG_AND_RET,
                    ..op
                }
            } else {
                op
            }
        }
        Kind::Msghdr => Op {
            code: code::MSG,
            len_from: if output {
                len_from::RET
            } else {
                len_from::CONST
            },
            limit: limits.bytes,
            ..op
        },
        _ => op,
    }
}

/// `sizeof(struct sockaddr_storage)`.
const SOCKADDR_MAX: u32 = 128;
/// The longest structure of the table.
const STRUCT_MAX: u32 = 256;

/// The plans of a whole ABI in the order of its numbers, for the interpreters in the kernel.
pub fn array(abi: Abi, selected: &SyscallSet, limits: &Limits) -> Vec<Plan> {
    (0..NUMBERS)
        .map(|nr| {
            let call = u32::try_from(nr)
                .ok()
                .and_then(|nr| table::by_number(abi, nr));
            let Some(call) = call else {
                return Plan::default();
            };
            let mut plan = Plan::of(call, limits);
            if selected.contains(call) {
                plan.flags |= flag::SELECTED;
            }
            plan
        })
        .collect()
}
