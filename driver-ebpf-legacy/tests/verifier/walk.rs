//! The walk through a program as the verifier of Linux 4.14 makes it for root: every way is followed, unless its state is
//! one that has been seen at the same place and was no narrower (kernel/bpf/verifier.c, do_check()).

use super::bounds::Bounds;
use super::helpers::{Argument, Helper, Result as Returns, helper};
use super::state::{Byte, Kind, Register, STACK, State, WORD};

/// BPF_COMPLEXITY_LIMIT_INSNS and BPF_COMPLEXITY_LIMIT_STACK.
pub(crate) const MOST: usize = 131_072;
const MOST_PENDING: usize = 1024;
/// BPF_MAX_VAR_OFF and BPF_MAX_VAR_SIZ.
const FAR: i64 = 1 << 29;

/// One instruction (kernel: `struct bpf_insn`); of one that loads the address of a map, which.
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

struct Walk<'a> {
    code: &'a [Insn],
    maps: &'a [Map],
    state: State,
    /// Whether states are remembered at a place, and which.
    seen: Vec<Option<Vec<usize>>>,
    remembered: Vec<State>,
    pending: Vec<(usize, State)>,
    ids: u32,
    effort: Effort,
}

type Checked<T = ()> = Result<T, String>;

/// Follows every way. An error is what the verifier would say.
pub(crate) fn follow(code: &[Insn], maps: &[Map]) -> Result<Effort, (usize, String, Effort)> {
    let mut walk = Walk {
        code,
        maps,
        state: State::begin(),
        seen: places(code),
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

/// Where states are remembered: at jumps and their targets, and behind calls and ends of ways (check_cfg()).
fn places(code: &[Insn]) -> Vec<Option<Vec<usize>>> {
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
    /// One instruction: the place that comes next, or the end of a way.
    fn step(&mut self, at: usize) -> Checked<Option<usize>> {
        self.effort.processed += 1;
        if self.effort.processed > MOST {
            return Err("the program is too large".to_owned());
        }
        if self.been_here(at) {
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

    /// Whether this place has been reached in a state that covers this one; otherwise it is remembered.
    fn been_here(&mut self, at: usize) -> bool {
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

    /// What is read behind a covering state is read by this way, too.
    fn spread_reads(&mut self, mut from: State) {
        // the current state has no children, so its marks are of no use: begin with its parent
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

    fn read(&mut self, register: usize) -> Checked {
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

    fn read_spilled(&mut self, slot: usize) {
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

    fn mark_written(&mut self, register: usize) -> Checked {
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

    /// Whether memory can be accessed; of the stack, where.
    fn place(&mut self, register: usize, off: i32, size: u32) -> Checked<Option<usize>> {
        let pointer = self.state.registers[register];
        let off = i64::from(off) + i64::from(pointer.off);
        match pointer.kind {
            Kind::Value(map) => self.in_value(register, map, off, size).map(|()| None),
            Kind::Context => {
                if pointer.off != 0 || !pointer.bounds.is(0) {
                    return Err("a changed pointer to the context is followed".to_owned());
                }
                Ok(None)
            }
            Kind::Frame => {
                if !pointer.bounds.bits.is_known() {
                    return Err("the stack is accessed at an unknown place".to_owned());
                }
                let off = off + pointer.bounds.bits.value.cast_signed();
                if off % i64::from(size) != 0 {
                    return Err(format!(
                        "{size} bytes of the stack at {off} are not aligned"
                    ));
                }
                self.in_stack(off).map(Some)
            }
            other => Err(format!("R{register} is no memory: {other:?}")),
        }
    }

    fn in_stack(&mut self, off: i64) -> Checked<usize> {
        let at = usize::try_from(off + 512).ok().filter(|&at| at < STACK);
        let at = at.ok_or_else(|| format!("the stack is accessed at {off}"))?;
        self.effort.stack = self.effort.stack.max(STACK - at);
        Ok(at)
    }

    fn in_value(&self, register: usize, map: usize, off: i64, size: u32) -> Checked {
        let bounds = self.state.registers[register].bounds;
        let value = i64::from(self.maps[map].value);
        let fits = |at: i64| at >= 0 && at + i64::from(size) <= value;
        if bounds.smin < 0 {
            return Err(format!("R{register} may be before its beginning"));
        }
        let most = i64::try_from(bounds.umax).ok().filter(|&most| most < FAR);
        match most {
            Some(most) if fits(bounds.smin + off) && fits(most + off) => Ok(()),
            _ => Err(format!(
                "R{register} is beyond its end: {} to {} + {off}, {size} bytes of {value}",
                bounds.smin, bounds.umax
            )),
        }
    }

    fn load(&mut self, register: usize, off: i32, size: u32) -> Checked<Register> {
        let mut bounds = Bounds::ANY;
        if let Some(at) = self.place(register, off, size)? {
            let bytes = &self.state.stack[at..at + size as usize];
            if bytes[0] == Byte::Spilled {
                if size != 8 || bytes.iter().any(|byte| *byte != Byte::Spilled) {
                    return Err("a part of a spilled pointer is read".to_owned());
                }
                self.read_spilled(at / WORD);
                return Ok(self.state.spilled[at / WORD]);
            }
            if bytes.iter().any(|byte| *byte != Byte::Data) {
                return Err(format!(
                    "the stack at {} is read before it is written",
                    at.cast_signed() - 512
                ));
            }
        }
        if size < 8 {
            bounds.narrow(size);
        }
        Ok(Register::number(bounds))
    }

    fn store(&mut self, register: usize, off: i32, size: u32, value: Option<usize>) -> Checked {
        if self.state.registers[register].kind == Kind::Context {
            return Err("the context is written".to_owned());
        }
        let Some(at) = self.place(register, off, size)? else {
            return Ok(());
        };
        let value = value.map(|value| self.state.registers[value]);
        if let Some(pointer) = value.filter(|value| !value.is_number()) {
            if size != 8 {
                return Err("a part of a pointer is spilled".to_owned());
            }
            self.state.spilled[at / WORD] = pointer;
            self.state.spilled[at / WORD].written = true;
            self.state.stack[at..at + WORD].fill(Byte::Spilled);
        } else {
            self.state.spilled[at / WORD] = Register::NOTHING;
            self.state.stack[at..at + size as usize].fill(Byte::Data);
        }
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
        if self.pending.len() > MOST_PENDING {
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

    fn call(&mut self, number: i32) -> Checked {
        let Helper { arguments, returns } =
            helper(number).ok_or_else(|| format!("there is no helper {number}"))?;
        let mut map = None;
        let mut fills = None;
        for (at, argument) in arguments.iter().enumerate() {
            let register = at + 1;
            self.read(register)?;
            let value = self.state.registers[register];
            let wrong = || {
                Err(format!(
                    "R{register} of helper {number} is {:?}",
                    value.kind
                ))
            };
            match (argument, value.kind) {
                (Argument::Anything, _)
                | (Argument::Context, Kind::Context)
                | (Argument::Memory | Argument::Filled, Kind::Frame | Kind::Value(_)) => {}
                (Argument::Map, Kind::Map(which)) => map = Some(which),
                (Argument::Key, Kind::Frame) => {
                    let size = map.map_or(0, |map| self.maps[map].key);
                    self.helper_reads(register, size, false)?;
                }
                (Argument::Value, Kind::Frame) => {
                    let size = map.map_or(0, |map| self.maps[map].value);
                    self.helper_reads(register, size, false)?;
                }
                (Argument::Size, Kind::Number) => {
                    let raw = arguments[at - 1] == Argument::Filled && value.bounds.bits.is_known();
                    fills = self.sized(register, &value.bounds, raw)?.or(fills);
                }
                _ => return wrong(),
            }
        }
        if let Some((at, size)) = fills {
            for byte in at..at + size {
                self.state.spilled[byte / WORD] = Register::NOTHING;
                self.state.stack[byte] = Byte::Data;
            }
        }
        for register in 0..6 {
            self.state.registers[register].set(Register::NOTHING);
        }
        let result = match (returns, map) {
            (Returns::Number, _) => Register::number(Bounds::ANY),
            (Returns::Nothing, _) => Register::NOTHING,
            (Returns::Value, Some(map)) => {
                self.ids += 1;
                Register {
                    id: self.ids,
                    ..Register::pointer(Kind::ValueOrNull(map))
                }
            }
            (Returns::Value, None) => return Err("a look-up without a map".to_owned()),
        };
        self.state.registers[0].set(result);
        Ok(())
    }

    /// The size of the memory in the register before: what is filled of the stack.
    fn sized(
        &mut self,
        register: usize,
        bounds: &Bounds,
        raw: bool,
    ) -> Checked<Option<(usize, usize)>> {
        if bounds.smin < 0 {
            return Err(format!("R{register}, a size, may be negative"));
        }
        if bounds.umin == 0 {
            return Err(format!("R{register}, a size, may be 0"));
        }
        let most = u32::try_from(bounds.umax)
            .ok()
            .filter(|&most| i64::from(most) < FAR);
        let most = most.ok_or_else(|| format!("R{register}, a size, has no bound"))?;
        self.helper_reads(register - 1, most, raw)
    }

    fn helper_reads(
        &mut self,
        register: usize,
        size: u32,
        raw: bool,
    ) -> Checked<Option<(usize, usize)>> {
        let pointer = self.state.registers[register];
        if let Kind::Value(map) = pointer.kind {
            return self
                .in_value(register, map, i64::from(pointer.off), size)
                .map(|()| None);
        }
        if !pointer.bounds.bits.is_known() {
            return Err(format!("R{register} is at an unknown place of the stack"));
        }
        let off = i64::from(pointer.off) + pointer.bounds.bits.value.cast_signed();
        let at = self.in_stack(off)?;
        let size = size as usize;
        if size == 0 || at + size > STACK {
            return Err(format!("{size} bytes of the stack at {off}"));
        }
        if raw {
            return Ok(Some((at, size)));
        }
        match self.state.stack[at..at + size]
            .iter()
            .position(|byte| *byte != Byte::Data)
        {
            Some(byte) => Err(format!(
                "a helper reads the stack at {off} + {byte}, which is not written"
            )),
            None => Ok(None),
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

/// A pointer and a number. None: the result is a number that nothing is known of.
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
