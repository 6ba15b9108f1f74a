//! The walk through a program as the verifier of Linux 4.14 makes it for root (do_check() in kernel/bpf/verifier.c). It
//! follows every path, unless it has been at the same instruction with a state that allows at least as much.

use super::bounds::Bounds;
use super::state::{Kind, Register, STACK, State, WORD};

/// BPF_COMPLEXITY_LIMIT_INSNS and BPF_COMPLEXITY_LIMIT_STACK.
pub(crate) const MAX_PROCESSED: usize = 131_072;
const MAX_PENDING: usize = 1024;
/// BPF_MAX_VAR_OFF and BPF_MAX_VAR_SIZ.
pub(super) const FAR: i64 = 1 << 29;

/// One instruction (`struct bpf_insn`). `map`: the index of the map whose address it loads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Insn {
    pub(crate) code: u8,
    pub(crate) dst: usize,
    pub(crate) src: usize,
    pub(crate) off: i16,
    pub(crate) imm: i32,
    pub(crate) map: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Map {
    pub(crate) key: u32,
    pub(crate) value: u32,
}

/// What the walk cost.
#[derive(Debug, Default)]
pub(crate) struct Effort {
    pub(crate) processed: usize,
    pub(crate) states: usize,
    pub(crate) pending: usize,
    pub(crate) stack: usize,
}

pub(super) struct Walk<'a> {
    code: &'a [Insn],
    pub(super) maps: &'a [Map],
    pub(super) state: State,
    /// By instruction: the states that were remembered there. None: none are remembered there.
    seen: Vec<Option<Vec<usize>>>,
    remembered: Vec<State>,
    pending: Vec<(usize, State)>,
    pub(super) ids: u32,
    pub(super) effort: Effort,
}

pub(super) type Checked<T = ()> = Result<T, String>;

/// Follows every path. An error has the instruction that the verifier would refuse, and the reason.
pub(crate) fn follow(code: &[Insn], maps: &[Map]) -> Result<Effort, (usize, String, Effort)> {
    let mut walk = Walk {
        code,
        maps,
        state: State::begin(),
        seen: state_points(code),
        remembered: Vec::new(),
        pending: Vec::new(),
        ids: 0,
        effort: Effort::default(),
    };
    let mut at = 0;
    loop {
        match walk.step(at) {
            Ok(Some(next)) => at = next,
            Ok(None) => match walk.pending.pop() {
                Some((next, state)) => (at, walk.state) = (next, state),
                None => break,
            },
            Err(why) => return Err((at, why, walk.effort)),
        }
    }
    walk.effort.states = walk.remembered.len();
    Ok(walk.effort)
}

/// The instructions at which states are remembered: jumps and their targets, and those after calls and unconditional
/// jumps (check_cfg()).
fn state_points(code: &[Insn]) -> Vec<Option<Vec<usize>>> {
    let mut seen = vec![None; code.len()];
    let mut at = 0;
    while at < code.len() {
        let insn = code[at];
        if insn.code & 7 == 5 && insn.code != 0x95 {
            let target = at.wrapping_add_signed(isize::from(insn.off) + 1);
            match insn.code {
                0x85 => seen[at + 1] = Some(Vec::new()),
                0x05 if at + 1 < code.len() => seen[at + 1] = Some(Vec::new()),
                0x05 => {}
                _ => {
                    seen[at] = Some(Vec::new());
                    seen[target] = Some(Vec::new());
                }
            }
        }
        at += if insn.code == 0x18 { 2 } else { 1 };
    }
    seen
}

impl Walk<'_> {
    /// Processes one instruction. Returns the next one; None: the path ends.
    fn step(&mut self, at: usize) -> Checked<Option<usize>> {
        self.effort.processed += 1;
        if self.effort.processed > MAX_PROCESSED {
            return Err("the program is too large".to_owned());
        }
        if self.is_covered(at) {
            return Ok(None);
        }
        let insn = self.code[at];
        match insn.code & 7 {
            4 | 7 => self.alu(insn)?,
            1 => {
                self.read(insn.src)?;
                self.mark_written(insn.dst)?;
                let size = size_of(insn.code);
                let value = self.load(insn.src, i32::from(insn.off), size)?;
                self.state.registers[insn.dst].set(value);
            }
            3 => {
                self.read(insn.src)?;
                self.read(insn.dst)?;
                let size = size_of(insn.code);
                let add = insn.code & 0xe0 == 0xc0;
                if add {
                    self.load(insn.dst, i32::from(insn.off), size)?;
                }
                let value = (!add).then_some(insn.src);
                self.store(insn.dst, i32::from(insn.off), size, value)?;
            }
            2 => {
                self.read(insn.dst)?;
                self.store(insn.dst, i32::from(insn.off), size_of(insn.code), None)?;
            }
            5 => return self.jump(at, insn),
            0 => {
                self.mark_written(insn.dst)?;
                let low = u64::from(insn.imm.cast_unsigned());
                let high = u64::from(self.code[at + 1].imm.cast_unsigned());
                let value = match insn.map {
                    Some(map) => Register::pointer(Kind::Map(map)),
                    None => Register::number(Bounds::known(low | high << 32)),
                };
                self.state.registers[insn.dst].set(value);
                return Ok(Some(at + 2));
            }
            _ => {
                return Err(format!(
                    "an instruction of an unknown class: {:#x}",
                    insn.code
                ));
            }
        }
        Ok(Some(at + 1))
    }

    /// Whether a state that was remembered here covers the current one. Otherwise the current one is remembered.
    fn is_covered(&mut self, at: usize) -> bool {
        let Some(states) = &self.seen[at] else {
            return false;
        };
        let covering = states
            .iter()
            .rev()
            .find(|&&old| self.remembered[old].covers(&self.state));
        if let Some(&old) = covering {
            let old = self.remembered[old].clone();
            self.spread_reads(old);
            return true;
        }
        let number = self.remembered.len();
        self.remembered.push(self.state.clone());
        if let Some(states) = &mut self.seen[at] {
            states.push(number);
        }
        self.state.parent = Some(number);
        self.state.forget_marks();
        false
    }

    /// Marks what is read after a covering state as read on this path, too.
    fn spread_reads(&mut self, mut from: State) {
        // the current state has no children, so that its marks do not matter: the parent is the first
        let screened = self.state.clone();
        let mut parent = self.state.parent;
        let mut own = false;
        let mut first = true;
        while let Some(number) = parent {
            let to = &mut self.remembered[number];
            let mut touched = false;
            for at in 0..10 {
                let hidden = (first && screened.registers[at].written)
                    || (own && from.registers[at].written);
                if !to.registers[at].read && from.registers[at].read && !hidden {
                    to.registers[at].read = true;
                    touched = true;
                }
            }
            for slot in 0..STACK / WORD {
                let hidden =
                    (first && screened.spilled[slot].written && screened.holds_register(slot))
                        || (own && from.spilled[slot].written);
                if to.holds_register(slot)
                    && from.holds_register(slot)
                    && !to.spilled[slot].read
                    && from.spilled[slot].read
                    && !hidden
                {
                    to.spilled[slot].read = true;
                    touched = true;
                }
            }
            if !touched {
                break;
            }
            from = to.clone();
            parent = from.parent;
            own = true;
            first = false;
        }
    }

    pub(super) fn read(&mut self, register: usize) -> Checked {
        if self.state.registers[register].kind == Kind::Nothing {
            return Err(format!("R{register} is read before it is written"));
        }
        if register == 10 {
            return Ok(());
        }
        let mut written = self.state.registers[register].written;
        let mut parent = self.state.parent;
        while let Some(number) = parent {
            if written {
                break;
            }
            let to = &mut self.remembered[number];
            to.registers[register].read = true;
            written = to.registers[register].written;
            parent = to.parent;
        }
        Ok(())
    }

    pub(super) fn read_spilled(&mut self, slot: usize) {
        let mut written = self.state.spilled[slot].written;
        let mut parent = self.state.parent;
        while let Some(number) = parent {
            if written {
                break;
            }
            let to = &mut self.remembered[number];
            to.spilled[slot].read = true;
            written = to.spilled[slot].written;
            parent = to.parent;
        }
    }

    pub(super) fn mark_written(&mut self, register: usize) -> Checked {
        if register == 10 {
            return Err("the frame pointer is written".to_owned());
        }
        self.state.registers[register].written = true;
        Ok(())
    }

    fn alu(&mut self, insn: Insn) -> Checked {
        let wide = insn.code & 7 == 7;
        let op = insn.code & 0xf0;
        let other = if insn.code & 8 == 0 {
            Register::number(Bounds::known(i64::from(insn.imm).cast_unsigned()))
        } else {
            Register::NOTHING
        };
        let from_register = insn.code & 8 != 0 && !matches!(op, 0x80 | 0xd0);
        if from_register {
            self.read(insn.src)?;
        }
        let other = if from_register {
            self.state.registers[insn.src]
        } else {
            other
        };
        if op == 0xb0 {
            self.mark_written(insn.dst)?;
            let value = match (wide, from_register) {
                (true, _) => other,
                (false, true) => {
                    let mut bounds = Bounds::ANY;
                    bounds.narrow(4);
                    Register::number(bounds)
                }
                (false, false) => {
                    Register::number(Bounds::known(u64::from(insn.imm.cast_unsigned())))
                }
            };
            self.state.registers[insn.dst].set(value);
            return Ok(());
        }
        self.read(insn.dst)?;
        self.mark_written(insn.dst)?;
        if matches!(op, 0x80 | 0xd0) {
            self.state.registers[insn.dst].set(Register::number(Bounds::ANY));
            return Ok(());
        }
        if op == 0xc0 && !wide {
            return Err("a signed shift of 32 bits".to_owned());
        }
        if matches!(op, 0x30 | 0x90) && !from_register && insn.imm == 0 {
            return Err("a division by zero".to_owned());
        }
        let own = self.state.registers[insn.dst];
        let value = match (own.is_number(), other.is_number()) {
            (true, true) => calculated(own, &other, op, wide),
            (false, false) => Register::number(Bounds::ANY),
            (false, true) => match moved(&own, &other, op, wide, true)? {
                Some(pointer) => pointer,
                None => calculated(Register::number(Bounds::ANY), &other, op, wide),
            },
            (true, false) => match moved(&other, &own, op, wide, false)? {
                Some(pointer) => pointer,
                None => calculated(own, &Register::number(Bounds::ANY), op, wide),
            },
        };
        self.state.registers[insn.dst].set(value);
        Ok(())
    }

    fn jump(&mut self, at: usize, insn: Insn) -> Checked<Option<usize>> {
        let target = at.wrapping_add_signed(isize::from(insn.off) + 1);
        match insn.code {
            0x85 => {
                self.call(insn.imm)?;
                return Ok(Some(at + 1));
            }
            0x95 => return self.read(0).map(|()| None),
            0x05 => return Ok(Some(target)),
            _ => {}
        }
        let op = insn.code & 0xf0;
        let constant = insn.code & 8 == 0;
        if !constant {
            self.read(insn.src)?;
        }
        self.read(insn.dst)?;
        let own = self.state.registers[insn.dst];
        let with = i64::from(insn.imm).cast_unsigned();
        if constant && matches!(op, 0x10 | 0x50) && own.is_number() && own.bounds.is(with) {
            return Ok(Some(if op == 0x10 { target } else { at + 1 }));
        }
        let mut taken = self.state.clone();
        if constant {
            if own.is_number() {
                let (yes, no) = own.bounds.compared(op, with, false);
                taken.registers[insn.dst].bounds = yes;
                self.state.registers[insn.dst].bounds = no;
            }
        } else {
            self.compare_registers(&mut taken, insn, op);
        }
        if let Kind::ValueOrNull(_) = own.kind
            && constant
            && insn.imm == 0
            && matches!(op, 0x10 | 0x50)
        {
            self.state.decide_null(own.id, op == 0x50);
            taken.decide_null(own.id, op == 0x10);
        }
        self.pending.push((target, taken));
        self.effort.pending = self.effort.pending.max(self.pending.len());
        if self.pending.len() > MAX_PENDING {
            return Err("the program is too complex".to_owned());
        }
        Ok(Some(at + 1))
    }

    fn compare_registers(&mut self, taken: &mut State, insn: Insn, op: u8) {
        let (own, other) = (
            self.state.registers[insn.dst],
            self.state.registers[insn.src],
        );
        if !own.is_number() || !other.is_number() {
            return;
        }
        if other.bounds.bits.is_known() {
            let (yes, no) = own.bounds.compared(op, other.bounds.bits.value, false);
            taken.registers[insn.dst].bounds = yes;
            self.state.registers[insn.dst].bounds = no;
        } else if own.bounds.bits.is_known() {
            let (yes, no) = other.bounds.compared(op, own.bounds.bits.value, true);
            taken.registers[insn.src].bounds = yes;
            self.state.registers[insn.src].bounds = no;
        } else if matches!(op, 0x10 | 0x50) {
            let equal = if op == 0x10 { taken } else { &mut self.state };
            let both = own.bounds.met(&other.bounds);
            equal.registers[insn.dst].bounds = both;
            equal.registers[insn.src].bounds = both;
        }
    }
}

fn size_of(code: u8) -> u32 {
    match code & 0x18 {
        0x00 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => 8,
    }
}

fn calculated(mut own: Register, other: &Register, op: u8, wide: bool) -> Register {
    own.bounds.operate(op, &other.bounds, wide);
    Register::number(own.bounds)
}

/// The sum or difference of a pointer and a number. None: the result can be any number.
fn moved(
    pointer: &Register,
    by: &Register,
    op: u8,
    wide: bool,
    pointer_first: bool,
) -> Checked<Option<Register>> {
    if !by.bounds.consistent() {
        return Ok(Some(Register::number(Bounds::ANY)));
    }
    let able = matches!(pointer.kind, Kind::Value(_) | Kind::Frame | Kind::Context);
    if !wide || !able || !matches!(op, 0x00 | 0x10) {
        return Ok(None);
    }
    let sane = |register: &Register| {
        let known = register.bounds.bits.is_known();
        let value = register.bounds.bits.value.cast_signed();
        (!known || value.abs() < FAR)
            && i64::from(register.off).abs() < FAR
            && register.bounds.smin > -FAR
            && register.bounds.smin < FAR
    };
    if !sane(by) || !sane(pointer) {
        return Err(format!(
            "a pointer moves by {} to {}",
            by.bounds.smin, by.bounds.umax
        ));
    }
    if op == 0x10 && (!pointer_first || pointer.kind == Kind::Frame) {
        return Ok(None);
    }
    let mut result = Register {
        read: false,
        written: false,
        ..*pointer
    };
    if by.bounds.bits.is_known() {
        let by = i32::try_from(by.bounds.smin).unwrap_or(0);
        result.off = if op == 0x00 {
            pointer.off + by
        } else {
            pointer.off - by
        };
    } else if op == 0x00 {
        result.bounds.add(&by.bounds);
    } else {
        result.bounds.sub(&by.bounds);
    }
    if !sane(&result) {
        return Err("a pointer moves too far".to_owned());
    }
    result.bounds.settle_sum();
    Ok(Some(result))
}
