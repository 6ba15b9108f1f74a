//! Accesses to memory, by a program itself and through helpers, as the verifier of Linux 4.14 checks them.

use super::bounds::Bounds;
use super::helpers::{Argument, Helper, Result as Returns, helper};
use super::state::{Byte, Kind, Register, STACK, WORD};
use super::walk::{Checked, FAR, Walk};

impl Walk<'_> {
    /// Checks an access to memory. Returns the index in the stack if it is there.
    fn check_access(&mut self, register: usize, off: i32, size: u32) -> Checked<Option<usize>> {
        let pointer = self.state.registers[register];
        let off = i64::from(off) + i64::from(pointer.off);
        match pointer.kind {
            Kind::Value(map) => self.in_value(register, map, off, size).map(|()| None),
            Kind::Context => {
                if pointer.off != 0 || !pointer.bounds.is(0) {
                    return Err("a changed pointer to the context is used".to_owned());
                }
                Ok(None)
            }
            Kind::Frame => {
                if !pointer.bounds.bits.is_known() {
                    return Err("the stack is accessed at an unknown offset".to_owned());
                }
                let off = off + pointer.bounds.bits.value.cast_signed();
                if off % i64::from(size) != 0 {
                    return Err(format!(
                        "{size} bytes of the stack at {off} are not aligned"
                    ));
                }
                self.in_stack(off).map(Some)
            }
            other => Err(format!("R{register} does not point to memory: {other:?}")),
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

    pub(super) fn load(&mut self, register: usize, off: i32, size: u32) -> Checked<Register> {
        let mut bounds = Bounds::ANY;
        if let Some(at) = self.check_access(register, off, size)? {
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

    pub(super) fn store(
        &mut self,
        register: usize,
        off: i32,
        size: u32,
        value: Option<usize>,
    ) -> Checked {
        if self.state.registers[register].kind == Kind::Context {
            return Err("the context is written".to_owned());
        }
        let Some(at) = self.check_access(register, off, size)? else {
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

    pub(super) fn call(&mut self, number: i32) -> Checked {
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

    /// Checks a size, and the memory in the register before it. Returns the index and the size of what is written to the
    /// stack.
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
            return Err(format!("R{register} is at an unknown offset of the stack"));
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
