//! What the verifier of Linux 4.14 knows at one instruction of a program: the registers, and the bytes of the stack. It
//! compares two states to decide whether it has to follow a path again.

use super::bounds::Bounds;

/// The size of the stack, and of a register, in bytes.
pub(crate) const STACK: usize = 512;
pub(crate) const WORD: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nothing,
    Number,
    Context,
    Frame,
    Map(usize),
    Value(usize),
    ValueOrNull(usize),
}

/// A register, or a copy of one on the stack (spilled). Of a pointer, `off` and `bounds` describe the distance from the
/// beginning of its memory: the constant part, and the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Register {
    pub(crate) kind: Kind,
    pub(crate) off: i32,
    pub(crate) id: u32,
    pub(crate) bounds: Bounds,
    pub(crate) read: bool,
    pub(crate) written: bool,
}

impl Register {
    pub(crate) const NOTHING: Self = Self {
        kind: Kind::Nothing,
        off: 0,
        id: 0,
        bounds: Bounds::ANY,
        read: false,
        written: false,
    };

    pub(crate) fn number(bounds: Bounds) -> Self {
        Self {
            kind: Kind::Number,
            bounds,
            ..Self::NOTHING
        }
    }

    pub(crate) fn pointer(kind: Kind) -> Self {
        Self {
            kind,
            bounds: Bounds::known(0),
            ..Self::NOTHING
        }
    }

    pub(crate) fn is_number(&self) -> bool {
        self.kind == Kind::Number
    }

    /// Takes a value, and is marked as written.
    pub(crate) fn set(&mut self, value: Self) {
        *self = Self {
            read: self.read,
            written: true,
            ..value
        };
    }

    fn same(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.off == other.off
            && self.id == other.id
            && self.bounds == other.bounds
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Byte {
    Nothing,
    Spilled,
    Data,
}

#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) registers: [Register; 11],
    pub(crate) stack: [Byte; STACK],
    pub(crate) spilled: [Register; STACK / WORD],
    /// The state that was remembered last on the path to this one.
    pub(crate) parent: Option<usize>,
}

/// Which ids of pointers that may be NULL correspond to each other in two states.
#[derive(Default)]
struct Ids(Vec<(u32, u32)>);

impl Ids {
    fn corresponds(&mut self, old: u32, new: u32) -> bool {
        if let Some(pair) = self.0.iter().find(|pair| pair.0 == old) {
            return pair.1 == new;
        }
        self.0.push((old, new));
        true
    }
}

/// Whether a path that was safe with the old register is safe with the new one (regsafe()).
fn safe(old: &Register, new: &Register, ids: &mut Ids) -> bool {
    if !old.read || old.same(new) || old.kind == Kind::Nothing {
        return true;
    }
    match (old.kind, new.kind) {
        (Kind::Number, Kind::Number) => old.bounds.holds(&new.bounds),
        (Kind::Value(a), Kind::Value(b)) => {
            a == b && old.off == new.off && old.bounds.holds(&new.bounds)
        }
        (Kind::ValueOrNull(a), Kind::ValueOrNull(b)) => {
            a == b && old.off == new.off && ids.corresponds(old.id, new.id)
        }
        _ => false,
    }
}

impl State {
    pub(crate) fn begin() -> Self {
        let mut registers = [Register::NOTHING; 11];
        registers[1] = Register::pointer(Kind::Context);
        registers[10] = Register::pointer(Kind::Frame);
        Self {
            registers,
            stack: [Byte::Nothing; STACK],
            spilled: [Register::NOTHING; STACK / WORD],
            parent: None,
        }
    }

    /// Whether a path that was safe from this state on is safe from the other state on (states_equal()).
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let mut ids = Ids::default();
        let registers = self.registers.iter().zip(&other.registers);
        for (old, new) in registers {
            if !safe(old, new, &mut ids) {
                return false;
            }
        }
        for (at, byte) in self
            .stack
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte != Byte::Nothing)
        {
            let slot = at / WORD;
            let spilled = at % WORD == 0 && *byte == Byte::Spilled;
            if *byte != other.stack[at]
                || (spilled && !safe(&self.spilled[slot], &other.spilled[slot], &mut ids))
            {
                return false;
            }
        }
        true
    }

    /// Whether a register is spilled in this slot.
    pub(crate) fn holds_register(&self, slot: usize) -> bool {
        self.stack[slot * WORD] == Byte::Spilled
    }

    /// Removes the marks of reads and writes: from here on another state is the parent.
    pub(crate) fn forget_marks(&mut self) {
        for at in 0..10 {
            (self.registers[at].read, self.registers[at].written) = (false, false);
        }
        for slot in 0..STACK / WORD {
            if self.holds_register(slot) {
                (self.spilled[slot].read, self.spilled[slot].written) = (false, false);
            }
        }
    }

    /// Applies a comparison with NULL to the pointers of this id.
    pub(crate) fn decide_null(&mut self, id: u32, null: bool) {
        let held: Vec<usize> = (0..STACK / WORD)
            .filter(|&slot| self.holds_register(slot))
            .collect();
        let spilled = self
            .spilled
            .iter_mut()
            .enumerate()
            .filter(|(slot, _)| held.contains(slot));
        for register in self
            .registers
            .iter_mut()
            .chain(spilled.map(|(_, register)| register))
        {
            if let Kind::ValueOrNull(map) = register.kind
                && register.id == id
            {
                register.kind = if null { Kind::Number } else { Kind::Value(map) };
                register.id = 0;
            }
        }
    }
}
