//! A system call and its parameters, as a line of `syscalls.tbl` has them.

use super::words::{Category, LastLink, Number, Returns, SqeField, Width, Written};
use super::{Kind, Multiplexed, SYSCALLS, X32_COLUMN, abi_column};
use crate::event::{Abi, Fact};

/// A system call, or an operation of io_uring(7).
#[derive(Debug)]
pub struct Syscall {
    /// The kernel's name.
    pub name: &'static str,
    /// The system call that does what this operation of io_uring does; its own name where there is none, and of a
    /// system call.
    pub acts_as: &'static str,
    /// Its numbers on x86_64, i386 and aarch64, the number that x32 alone has, its number on arm, and the code of an
    /// operation of io_uring; -1: none.
    pub numbers: [i32; 6],
    /// What it is about.
    pub category: Category,
    /// What the return value means.
    pub returns: Returns,
    /// It never ends with EINTR, and its callers count on that: they ignore errors, or cannot go on after one. A driver
    /// that could make calls fail leaves it alone.
    pub unfailing: bool,
    /// The index of the call whose type its events have; none: its own.
    pub(super) event_type: Option<u16>,
    /// Of a call with two paths: the parameters that are Falco's source and target.
    pub paths: Option<(u8, u8)>,
    /// It acts on the file behind its descriptor, and Falco gives it a path.
    pub behind: bool,
    /// What the kernel is asked beyond the parameters.
    pub facts: &'static [FactOf],
    /// The parameters, in the order of the arguments.
    pub params: &'static [Param],
    /// Where a request of an io_uring holds each parameter. Of a system call: nowhere.
    pub sqe: [SqeField; 6],
}

impl Syscall {
    /// Its index in [`SYSCALLS`], and in a [`SyscallSet`](crate::request::SyscallSet).
    pub fn index(&self) -> usize {
        (std::ptr::from_ref(self) as usize - SYSCALLS.as_ptr() as usize) / size_of::<Self>()
    }

    /// Whether it is an operation of io_uring(7).
    pub fn is_operation(&self) -> bool {
        self.number(Abi::IoUring).is_some()
    }

    /// The arguments in a request of an io_uring (`struct io_uring_sqe`), in the order of the parameters. A registered
    /// file has no descriptor: all bits of its argument are set.
    pub fn arguments_in(&self, request: &[u8; 64]) -> [u64; 6] {
        /// `IOSQE_FIXED_FILE` in the request's flags.
        const FIXED_FILE: u8 = 1;
        let number = |field: SqeField| {
            let (at, size) = field.place();
            let (at, size) = (usize::from(at), usize::from(size));
            let mut bytes = [0; 8];
            bytes[..size].copy_from_slice(&request[at..at + size]);
            u64::from_le_bytes(bytes)
        };
        self.sqe.map(|field| {
            let registered = match field {
                SqeField::Fd => request[1] & FIXED_FILE != 0,
                SqeField::Closed => number(SqeField::More) != 0,
                SqeField::None
                | SqeField::Int
                | SqeField::Off
                | SqeField::Addr
                | SqeField::Len
                | SqeField::Flags
                | SqeField::More
                | SqeField::Addr3 => false,
            };
            if registered { u64::MAX } else { number(field) }
        })
    }

    /// The call that rules see in it: setuid(2) in setuid32 of 32-bit programs.
    pub fn event_type(&self) -> &Self {
        self.event_type
            .map_or(self, |at| &SYSCALLS[usize::from(at)])
    }

    /// The return value as the call means it. Some calls return an `int`, whose upper half is not the sign: on x86_64,
    /// modify_ldt(2) returns the error -22 as 4294967274.
    pub fn result(&self, ret: i64) -> i64 {
        match self.returns {
            Returns::Int => i64::from(ret as i32),
            Returns::Errno
            | Returns::Fd
            | Returns::Size
            | Returns::Pid
            | Returns::Child
            | Returns::Ptr
            | Returns::Fcntl
            | Returns::Off
            | Returns::Mode
            | Returns::Uid
            | Returns::Gid
            | Returns::Hex
            | Returns::I64
            | Returns::None => ret,
        }
    }

    /// Whether it is the row for all calls whose numbers the table does not have.
    pub fn is_unknown(&self) -> bool {
        self.name == super::UNKNOWN
    }

    /// The call as the kernel names it, where a program made it through another one, socketcall(2) or ipc(2): the
    /// other one. `nr` is the number in the event.
    pub fn made_through(abi: Abi, nr: u32) -> Option<&'static Self> {
        let made = Multiplexed::with_number(nr).filter(|_| abi == Abi::I386);
        made.map(Multiplexed::through)
    }

    /// Its number in an ABI, an x32 number without its bit.
    pub fn number(&self, abi: Abi) -> Option<u32> {
        let own = || u32::try_from(self.numbers[X32_COLUMN]).ok();
        let other = || u32::try_from(self.numbers[abi_column(abi)]).ok();
        if abi == Abi::X32 {
            own().or_else(other)
        } else {
            other()
        }
    }

    /// The register of parameter `at`. It is not always `at`: a parameter before it can take two registers,
    /// and some ABIs exchange two parameters.
    pub fn register(&self, abi: Abi, at: usize) -> usize {
        let backwards = matches!(abi, Abi::I386 | Abi::Aarch64 | Abi::Arm);
        if let Some(register) = self.params.get(at).and_then(|p| p.backwards)
            && backwards
        {
            return register.into();
        }
        let narrow = matches!(abi, Abi::I386 | Abi::Arm);
        // arm's procedure call standard: a 64-bit argument begins in an even register
        let aligned = |p: &Param| {
            let halves = matches!(p.kind, Kind::Number(Number::OffPair | Number::HighLow, _));
            abi == Abi::Arm && p.is_pair(true) && !halves
        };
        let mut register = 0;
        for (index, param) in self.params.iter().enumerate() {
            if aligned(param) {
                register += register % 2;
            }
            if index == at {
                break;
            }
            register += 1 + usize::from(param.is_pair(narrow));
        }
        register
    }

    /// The parameter that is in this register, in the first of its registers.
    pub fn param_at(&self, abi: Abi, register: usize) -> Option<&'static Param> {
        (0..self.params.len())
            .find(|at| self.register(abi, *at) == register)
            .map(|at| &self.params[at])
    }

    /// The registers of a call as the kernel takes them: each in the width of its parameter. A program can put
    /// anything into the rest of a register. Registers of other parameters, or of none, are as they were. `nr` is the
    /// call's number.
    #[must_use]
    pub fn arguments(&self, abi: Abi, nr: u32, registers: &[u64; 6]) -> [u64; 6] {
        let narrow = super::is_narrow(abi, nr);
        let mut cut = *registers;
        for (at, param) in self.params.iter().enumerate() {
            let pair = param.is_pair(matches!(abi, Abi::I386 | Abi::Arm));
            let width = match param.kind {
                Kind::By(variant, selectors) => {
                    let value = |at: usize| {
                        selectors.get(at).map_or(0, |of| {
                            registers[self.register(abi, usize::from(*of)).min(5)] as u32
                        })
                    };
                    variant.meaning(value(0), value(1)).kind.width()
                }
                kind => kind.width(),
            };
            if let (Some(width), false) = (width, pair)
                && let Some(value) = cut.get_mut(self.register(abi, at))
            {
                *value = width.cut(*value, narrow);
            }
        }
        cut
    }

    /// The parameter with this name or alias, and its index.
    pub fn param(&self, name: &str) -> Option<(usize, &'static Param)> {
        self.params
            .iter()
            .enumerate()
            .find(|(_, p)| p.name == name || p.aliases.contains(&name))
    }
}

/// A fact and what it is about.
#[derive(Debug)]
pub struct FactOf {
    /// The fact.
    pub fact: Fact,
    /// The parameter that is the descriptor or the path; none: the returned descriptor, or the thread.
    pub of: Option<u8>,
}

/// A parameter.
#[derive(Debug)]
pub struct Param {
    /// Falco's name where Falco has one, else the kernel's.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// What it is.
    pub kind: Kind,
    /// When the memory it points to is captured.
    pub written: Written,
    /// It means something only when that parameter has one of these bits.
    pub only_if: Option<(u8, u64)>,
    /// Of a path: whether the call follows a symbolic link at its end.
    pub last_link: LastLink,
    /// Its register where the kernel is configured with `CLONE_BACKWARDS`.
    pub backwards: Option<u8>,
}

impl Param {
    /// Whether it takes two registers. `narrow`: registers have 32 bits.
    pub fn is_pair(&self, narrow: bool) -> bool {
        match self.kind {
            Kind::Number(Number::OffPair, _) => true,
            kind => narrow && kind.width() == Some(Width::Loff),
        }
    }
}
