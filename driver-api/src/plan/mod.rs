//! The capture plan: what to fetch for one system call. `build` makes it from the table; interpreters in
//! the kernel and in the ptrace driver follow it. `bpf/plan.h` is generated from this file (`make header`).

mod build;
mod pointers;
mod predicates;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::event::Abi;
use crate::request::Limits;
use crate::selection::Selection;
use crate::table::{self, SqeField, VARIANTS};
use build::PlanBuilder;
pub use pointers::{pointers, pointers_at};
pub use predicates::PredicateTable;
pub(crate) use predicates::in_the_kernel;

/// How many operations a plan has room for.
pub const OPS: usize = 6;
/// How many numbers an ABI can have in an array of plans. The last plan is for all higher numbers, too, and for no call
/// of the table.
pub const NUMBERS: usize = 1024;
/// How many codes operations of io_uring can have, a power of two.
pub const OPERATIONS: usize = 128;
/// How many calls can be made through others. Their plans follow those of all ABIs.
pub const MULTIPLEXED: usize = 64;
/// How many clauses a predicate has room for.
pub const CLAUSES: usize = 4;
/// How many tests of arguments a clause has room for.
pub const TESTS: usize = 2;
/// How many pointers in a structure are followed.
pub const POINTERS: usize = 2;
/// How many structures can have pointers that are followed.
pub const POINTING: usize = 32;
/// How many conditions the programs have room for.
pub const PREDICATES: usize = 256;
/// Of how many messages of an array the room for the address is looked at.
pub const ROOMS: usize = 16;
/// Value of [`Op::arg`]: the return value.
pub const ARG_RET: u8 = 7;
/// Value of [`Op::unit`]: the length counts bits, and is rounded up to whole longs.
pub const UNIT_BITS: u16 = u16::MAX;
/// Value of [`Op::unit`]: the length counts bits and is one too large; then as with [`UNIT_BITS`].
pub const UNIT_BITS_AND_ONE: u16 = 0xfffe;
/// Value of [`Op::unit`] with N added: the byte count is the length divided by 2^N, rounded up.
pub const UNIT_SHIFT: u16 = 0xff00;
/// The most bits that a length counts.
pub const BITS_MAX: u32 = 0xff_ffff;
/// Bit of [`Op::len_unused`]: the length has a sign. If it is negative, there is nothing to capture.
pub const LEN_SIGNED: u8 = 0x80;

/// Bits of [`Plan::flags`].
pub mod flag {
    /// The user, a rule or the state wants this call.
    pub const SELECTED: u8 = 1;
    /// Capture at entry: the call does not return.
    pub const NORETURN: u8 = 2;
    /// The call returns twice; it returns 0 in the child.
    pub const CHILD: u8 = 4;
    /// A successful call is an exec event.
    pub const EXEC: u8 = 8;
    /// The call needs much room: it has an operation that a call has at most once.
    pub const LARGE: u8 = 16;
    /// Other calls are made through it: [`Multiplexed`](super::Multiplexed) says which.
    pub const MULTIPLEXER: u8 = 32;
    /// It has facts about directories of the thread.
    pub const DIRECTORIES: u8 = 64;
    /// It has memory whose length the kernel replaces ([`Op::is_replaced`](super::Op::is_replaced)), or other calls are
    /// made through it that do. How much room the program has is looked at when the call is entered.
    pub const ROOM: u8 = 128;
}

/// How a call has ended: bits of sets ([`Outcome`](crate::predicate::Outcome)).
pub mod outcome {
    /// Without an error.
    pub const OK: u8 = 1;
    /// `ENOENT`
    pub const NOT_FOUND: u8 = 2;
    /// `EPERM`, `EACCES`, `EROFS`
    pub const REFUSED: u8 = 4;
    /// `EINPROGRESS`
    pub const BEGUN: u8 = 8;
    /// Another error.
    pub const OTHER_ERROR: u8 = 16;
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
    /// Another operation: the value of an argument chooses it among [`variants`](super::variants).
    pub const VARIANT: u8 = 9;
    /// Fact: the directory that the path in register `arg` begins at. `len_arg` is the register of the descriptor that a
    /// relative path is relative to; [`ARG_RET`](super::ARG_RET): none.
    pub const BASE: u8 = 10;
    /// Fact: a directory of the thread, its working directory or its root directory, as `what` says.
    pub const DIRECTORY: u8 = 11;
    /// In no plan: what the pointers in the structure of a [`BYTES`] point to.
    pub const POINTED: u8 = 21;
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
    /// The value of argument `len_arg`, in the width that `len_unused` leaves.
    pub const ARG: u8 = 1;
    /// The return value.
    pub const RET: u8 = 2;
    /// The 32-bit number argument `len_arg` points to.
    pub const U32_AT: u8 = 3;
    /// `len_arg` counts elements; the return value limits the bytes.
    pub const ARG_AND_RET: u8 = 4;
    /// 1.
    pub const ONE: u8 = 5;
    /// The ioctl request in argument `len_arg` contains the length; the kernel writes the memory if the request
    /// reads.
    pub const IOC: u8 = 6;
    /// The return value, but no more than the value of argument `len_arg`.
    pub const RET_AND_ARG: u8 = 7;
}

/// One thing to fetch.
///
/// An operation with [`code::VARIANT`] fetches nothing itself, and uses five fields in its own way: `unit` is the id of the
/// variant; `len_arg` is the register of the first selector, and `limit` the bits of it that count; `add` is the register of
/// the second selector, or [`ARG_RET`]; `entries` is one more than the register of a length that the kernel replaces.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Op {
    /// One of [`code`]; 0: none.
    pub code: u8,
    /// The name of the attachment: a register's index, or a [`Fact`](crate::event::Fact).
    pub what: u8,
    /// The register it is about, or [`ARG_RET`].
    pub arg: u8,
    /// One of [`when`].
    pub when: u8,
    /// One of [`len_from`].
    pub len_from: u8,
    /// The register that has the length.
    pub len_arg: u8,
    /// Bytes of one element, where the length counts elements; or [`UNIT_BITS`]; or [`UNIT_BITS_AND_ONE`]; or
    /// [`UNIT_SHIFT`] + N.
    pub unit: u16,
    /// Bytes to capture at most.
    pub limit: u32,
    /// Bytes to add to the length.
    pub add: u16,
    /// Entries to look at, at most. In a [`code::BYTES`], one more than the index of the structure whose pointers are
    /// followed ([`pointers`]), or 0. In a [`code::FD_PATH`], 1: no register has the flags that the file was opened with.
    pub entries: u8,
    /// How many of the upper bits of the register with the length do not count, and [`LEN_SIGNED`].
    pub len_unused: u8,
}

impl Op {
    /// Whether the kernel replaces the length of this memory: at the entry the program says how much room it has, at the
    /// return the kernel says how much there would have been (accept(2), getsockopt(2), recvmsg(2)).
    pub const fn is_replaced(&self) -> bool {
        self.when == when::SUCCESS
            && match self.code {
                code::BYTES => self.len_from == len_from::U32_AT,
                code::MSG | code::MMSG => true,
                _ => false,
            }
    }
}

/// What to fetch for one call.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Plan {
    /// Bits of [`flag`].
    pub flags: u8,
    /// How many elements of `op` are used.
    pub ops: u8,
    /// Index of the one operation that gathers ([`code::IOV`], [`code::MSG`], [`code::MMSG`]), or of the first
    /// argument vector ([`code::STRV`]), which the second one follows; [`OPS`]: none.
    pub vector: u8,
    /// Index of the one fact about a descriptor, or of the first about a directory; [`OPS`]: none.
    pub fact: u8,
    /// The index of what the arguments must fulfil ([`Condition`]); 0: nothing.
    pub predicate: u16,
    /// Bits of [`outcome`]: no event is wanted of a call that ended so.
    pub rejected: u8,
    /// Index of the one operation whose structure can have pointers that are followed; [`OPS`]: none.
    pub pointers: u8,
    /// The operations, in the order of the attachments.
    pub op: [Op; OPS],
}

/// A pointer in a structure, and what it points to.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Pointer {
    /// The offset of the pointer.
    pub at: u16,
    /// The offset of the number of elements.
    pub count_at: u16,
    /// Bytes of the pointer; 0: there is none.
    pub bytes: u8,
    /// Bytes of the number of elements.
    pub count_bytes: u8,
    /// Bytes of one element.
    pub unit: u16,
    /// Bytes to capture at most.
    pub limit: u32,
}

/// The pointers of a structure that are followed.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Pointers {
    /// They, in the order of the fields.
    pub of: [Pointer; POINTERS],
}

/// A test of one register.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct RegisterTest {
    /// The bits that are compared, at the place of the register; 0 at all other places.
    pub mask: [u64; 6],
    /// What they are compared with.
    pub value: u64,
    /// 1: they must be equal; 0: they must not be.
    pub equal: u64,
}

/// Tests that must hold together. Tests that are not used hold.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Alternative {
    /// Bits of [`outcome`]: it holds for calls that ended so. 0: it is not used, and does not hold.
    pub outcome: u64,
    /// The tests.
    pub test: [RegisterTest; TESTS],
}

/// What a call's registers must fulfil for its event to be wanted: one of these.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Condition {
    /// The alternatives.
    pub alternative: [Alternative; CLAUSES],
}

/// Where a request of an io_uring (`struct io_uring_sqe`) holds an argument.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SqeArg {
    /// The offset in the request.
    pub offset: u8,
    /// Its bytes; 0: there is no such argument.
    pub size: u8,
    /// One of [`unless`]: then all bits of the argument are set.
    pub unless: u8,
    /// 0.
    pub unused: u8,
}

/// When an argument of a request does not mean what its place says.
pub mod unless {
    /// The argument is always what is at its place.
    pub const NEVER: u8 = 0;
    /// The request's flags have `IOSQE_FIXED_FILE`.
    pub const FIXED_FILE: u8 = 1;
    /// `file_index` is not 0.
    pub const FILE_INDEX: u8 = 2;
}

/// Where the requests of one operation hold its arguments.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SqeArgs {
    /// In the order of the parameters.
    pub arg: [SqeArg; 6],
}

/// For the interpreters in the kernel: the plans of the operations of io_uring in the order of their codes, each with
/// the places of its arguments.
pub fn operations(selected: &Selection, limits: &Limits) -> Vec<(Plan, SqeArgs)> {
    (0..OPERATIONS as u32)
        .map(|code| {
            let Some(call) = table::by_number(Abi::IoUring, code) else {
                return (Plan::default(), SqeArgs::default());
            };
            let mut plan = Plan::of(call, Abi::IoUring, code, limits);
            if selected.contains(call) {
                plan.flags |= flag::SELECTED;
            }
            let arg = call.sqe.map(|field| {
                let (offset, size) = field.place();
                SqeArg {
                    offset,
                    size,
                    unless: match field {
                        SqeField::Fd => unless::FIXED_FILE,
                        SqeField::Closed => unless::FILE_INDEX,
                        SqeField::None
                        | SqeField::Int
                        | SqeField::Off
                        | SqeField::Addr
                        | SqeField::Len
                        | SqeField::Flags
                        | SqeField::More
                        | SqeField::Addr3 => unless::NEVER,
                    },
                    unused: 0,
                }
            });
            (plan, SqeArgs { arg })
        })
        .collect()
}

/// The plans of a whole ABI in the order of its numbers, for the interpreters in the kernel. The array of
/// x86_64 also has the plans of the numbers that x32 alone has. What their predicates test is added to `conditions`.
pub fn array(
    abi: Abi,
    selected: &Selection,
    limits: &Limits,
    conditions: &mut PredicateTable,
) -> Vec<Plan> {
    (0..NUMBERS as u32)
        .map(|nr| {
            let abi = if abi == Abi::X86_64 && table::is_narrow(Abi::X32, nr) && nr < X32_END {
                Abi::X32
            } else {
                abi
            };
            let call = table::of_number(abi, nr);
            let mut plan = Plan::of(call, abi, nr, limits);
            if selected.contains(call) {
                plan.flags |= flag::SELECTED;
                conditions.put_into(&mut plan, &selected.predicate(call), call, (abi, nr));
            }
            plan
        })
        .collect()
}

/// The plans of the calls that are made through others, in the order of
/// [`Multiplexed::all`](table::Multiplexed::all).
pub fn multiplexed(selected: &Selection, limits: &Limits) -> Vec<Plan> {
    table::Multiplexed::all()
        .iter()
        .map(|one| {
            let mut plan = Plan::of(one.call(), Abi::I386, one.number(), limits);
            if selected.contains(one.call()) {
                plan.flags |= flag::SELECTED;
            }
            plan
        })
        .collect()
}

/// For the interpreters in the kernel: a call that is made through another one. Its key is the number of the other call
/// in the highest byte, the version's presence in bit 16, and the value of the first register below.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Multiplexed {
    /// The number of the event.
    pub nr: u32,
    /// The index of its plan behind those of all ABIs.
    pub plan: u32,
    /// Where each register comes from: one of the call's own registers, from 6 on a word in memory; 255: it is 0.
    pub sources: [u8; 6],
    /// The register that points to the words.
    pub base: u8,
    /// How many words of 32 bits there are.
    pub words: u8,
}

/// The calls that are made through others, by their keys.
pub fn multiplexed_keys() -> Vec<(u32, Multiplexed)> {
    let mut all = Vec::new();
    for (plan, one) in (0..).zip(table::Multiplexed::all()) {
        let mut sources = [u8::MAX; 6];
        for (to, from) in sources.iter_mut().zip(one.sources) {
            *to = *from;
        }
        let value = Multiplexed {
            nr: one.number(),
            plan,
            sources,
            base: one.base,
            words: one.words,
        };
        all.extend(one.keys().map(|key| (key, value)));
    }
    all
}

/// One more than the last number that x32 alone has.
const X32_END: u32 = 548;

/// The key of an operation in [`variants`].
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
    /// The variant's id, as in [`Op::unit`].
    pub variant: u16,
    /// 1: pointers have 32 bits.
    pub narrow: u16,
    /// The bits of the first selector that count. All ones in both selectors: for all values without a key.
    pub first: u32,
    /// The second selector; 0 if there is none.
    pub second: u32,
}

impl VariantKey {
    /// The key for all values without a key of their own.
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
    let narrow = u16::from(table::is_narrow(abi, 0));
    let mut all = Vec::new();
    for variant in VARIANTS.iter().filter(|variant| variant.has_memory()) {
        let builder = PlanBuilder::for_variants(variant.user(), abi, 0, limits);
        let id = variant.id;
        let op = |meaning| builder.op_of_meaning(meaning, Op::default());
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

/// The operation that a [`code::VARIANT`] chooses, for the interpreter in user space. `arg` gives the values
/// of the selectors.
pub fn chosen(op: &Op, abi: Abi, nr: u32, arg: impl Fn(u8) -> u64, limits: &Limits) -> Op {
    let Some(variant) = VARIANTS.get(usize::from(op.unit)) else {
        return Op::default();
    };
    let second = u8::try_from(op.add).unwrap_or(ARG_RET);
    let second = if second == ARG_RET { 0 } else { arg(second) };
    let meaning = variant.meaning(arg(op.len_arg) as u32, second as u32);
    let base = Op {
        what: op.what,
        arg: op.arg,
        // an ioctl request is its own selector
        len_arg: op.len_arg,
        ..Op::default()
    };
    PlanBuilder::for_variants(table::by_number(abi, nr), abi, nr, limits)
        .op_of_meaning(&meaning, base)
}
