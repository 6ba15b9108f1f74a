//! What the verifier of Linux 4.14 knows of a number: which of its bits are certain (kernel/bpf/tnum.c), and its signed
//! and unsigned bounds (`__reg_deduce_bounds()` and others in kernel/bpf/verifier.c).

/// Known and unknown bits of a number. A bit that is unknown is 0 in `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bits {
    pub(crate) value: u64,
    pub(crate) unknown: u64,
}

impl Bits {
    pub(crate) const fn known(value: u64) -> Self {
        Self { value, unknown: 0 }
    }

    pub(crate) const ANY: Self = Self {
        value: 0,
        unknown: u64::MAX,
    };

    fn new(value: u64, unknown: u64) -> Self {
        Self {
            value: value & !unknown,
            unknown,
        }
    }

    fn range(min: u64, max: u64) -> Self {
        let bits = 64 - (min ^ max).leading_zeros();
        if bits > 63 {
            return Self::ANY;
        }
        Self::new(min, (1 << bits) - 1)
    }

    pub(crate) fn is_known(self) -> bool {
        self.unknown == 0
    }

    pub(crate) fn add(self, other: Self) -> Self {
        let unknown = self.unknown.wrapping_add(other.unknown);
        let value = self.value.wrapping_add(other.value);
        let carries = unknown.wrapping_add(value) ^ value;
        Self::new(value, carries | self.unknown | other.unknown)
    }

    pub(crate) fn sub(self, other: Self) -> Self {
        let value = self.value.wrapping_sub(other.value);
        let borrows = value.wrapping_add(self.unknown) ^ value.wrapping_sub(other.unknown);
        Self::new(value, borrows | self.unknown | other.unknown)
    }

    fn add_products(self, mut value: u64, mut bits: u64) -> Self {
        let mut sum = self;
        while bits != 0 {
            if bits & 1 != 0 {
                sum = sum.add(Self::new(0, value));
            }
            bits >>= 1;
            value <<= 1;
        }
        sum
    }

    fn mul(self, other: Self) -> Self {
        Self::known(self.value.wrapping_mul(other.value))
            .add_products(self.unknown, other.unknown | other.value)
            .add_products(other.unknown, self.value)
    }

    fn and(self, other: Self) -> Self {
        let value = self.value & other.value;
        Self {
            value,
            unknown: (self.value | self.unknown) & (other.value | other.unknown) & !value,
        }
    }

    fn or(self, other: Self) -> Self {
        let value = self.value | other.value;
        Self {
            value,
            unknown: (self.unknown | other.unknown) & !value,
        }
    }

    fn meet(self, other: Self) -> Self {
        Self::new(self.value | other.value, self.unknown & other.unknown)
    }

    /// Whether every value that `other` allows is allowed here, too.
    fn holds(self, other: Self) -> bool {
        other.unknown & !self.unknown == 0 && other.value & !self.unknown == self.value
    }
}

/// Everything that is known of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) bits: Bits,
    pub(crate) smin: i64,
    pub(crate) smax: i64,
    pub(crate) umin: u64,
    pub(crate) umax: u64,
}

impl Bounds {
    pub(crate) const ANY: Self = Self {
        bits: Bits::ANY,
        smin: i64::MIN,
        smax: i64::MAX,
        umin: 0,
        umax: u64::MAX,
    };

    pub(crate) fn known(value: u64) -> Self {
        Self {
            bits: Bits::known(value),
            smin: value.cast_signed(),
            smax: value.cast_signed(),
            umin: value,
            umax: value,
        }
    }

    pub(crate) fn is(&self, value: u64) -> bool {
        self.bits == Bits::known(value)
    }

    fn forget_bounds(&mut self) {
        *self = Self {
            bits: self.bits,
            ..Self::ANY
        };
    }

    fn forget_signed(&mut self) {
        (self.smin, self.smax) = (i64::MIN, i64::MAX);
    }

    fn bounds_from_bits(&mut self) {
        let Bits { value, unknown } = self.bits;
        self.smin = self.smin.max((value | (unknown & (1 << 63))).cast_signed());
        self.smax = self
            .smax
            .min((value | (unknown & (u64::MAX >> 1))).cast_signed());
        self.umin = self.umin.max(value);
        self.umax = self.umax.min(value | unknown);
    }

    fn bounds_from_each_other(&mut self) {
        if self.smin >= 0 || self.smax < 0 {
            self.umin = self.umin.max(self.smin.cast_unsigned());
            self.umax = self.umax.min(self.smax.cast_unsigned());
            (self.smin, self.smax) = (self.umin.cast_signed(), self.umax.cast_signed());
        } else if self.umax.cast_signed() >= 0 {
            self.smin = self.umin.cast_signed();
            self.umax = self.umax.min(self.smax.cast_unsigned());
            self.smax = self.umax.cast_signed();
        } else if self.umin.cast_signed() < 0 {
            self.umin = self.umin.max(self.smin.cast_unsigned());
            self.smin = self.umin.cast_signed();
            self.smax = self.umax.cast_signed();
        }
    }

    fn bits_from_bounds(&mut self) {
        self.bits = self.bits.meet(Bits::range(self.umin, self.umax));
    }

    /// Deduces bounds after an addition to a pointer.
    pub(crate) fn settle_sum(&mut self) {
        self.bounds_from_bits();
        self.bounds_from_each_other();
        self.bits_from_bounds();
    }

    fn settle(&mut self) {
        self.bounds_from_each_other();
        self.bits_from_bounds();
        self.bounds_from_bits();
    }

    /// Truncates the number to this many bytes.
    pub(crate) fn narrow(&mut self, bytes: u32) {
        let mask = (1u64 << (8 * bytes)) - 1;
        self.bits = Bits {
            value: self.bits.value & mask,
            unknown: self.bits.unknown & mask,
        };
        if self.umin & !mask == self.umax & !mask {
            self.umin &= mask;
            self.umax &= mask;
        } else {
            (self.umin, self.umax) = (0, mask);
        }
        (self.smin, self.smax) = (self.umin.cast_signed(), self.umax.cast_signed());
    }

    /// Whether every value that `other` allows is allowed here, too.
    pub(crate) fn holds(&self, other: &Self) -> bool {
        self.umin <= other.umin
            && self.umax >= other.umax
            && self.smin <= other.smin
            && self.smax >= other.smax
            && self.bits.holds(other.bits)
    }

    pub(crate) fn consistent(&self) -> bool {
        let same = self.smin == self.smax && self.umin == self.umax;
        (same || !self.bits.is_known()) && self.smin <= self.smax && self.umin <= self.umax
    }

    pub(crate) fn add(&mut self, other: &Self) {
        match (
            self.smin.checked_add(other.smin),
            self.smax.checked_add(other.smax),
        ) {
            (Some(min), Some(max)) => (self.smin, self.smax) = (min, max),
            _ => self.forget_signed(),
        }
        match (
            self.umin.checked_add(other.umin),
            self.umax.checked_add(other.umax),
        ) {
            (Some(min), Some(max)) => (self.umin, self.umax) = (min, max),
            _ => (self.umin, self.umax) = (0, u64::MAX),
        }
        self.bits = self.bits.add(other.bits);
    }

    pub(crate) fn sub(&mut self, other: &Self) {
        match (
            self.smin.checked_sub(other.smax),
            self.smax.checked_sub(other.smin),
        ) {
            (Some(min), Some(max)) => (self.smin, self.smax) = (min, max),
            _ => self.forget_signed(),
        }
        if self.umin < other.umax {
            (self.umin, self.umax) = (0, u64::MAX);
        } else {
            (self.umin, self.umax) = (self.umin - other.umax, self.umax - other.umin);
        }
        self.bits = self.bits.sub(other.bits);
    }

    fn signed_from_unsigned(&mut self, positive: bool) {
        if positive {
            (self.smin, self.smax) = (self.umin.cast_signed(), self.umax.cast_signed());
        } else {
            self.forget_signed();
        }
        self.bounds_from_bits();
    }

    /// Applies an operation with another number. `op`: the upper four bits of its code; `wide`: it has 64 bits.
    pub(crate) fn operate(&mut self, op: u8, other: &Self, wide: bool) {
        let width = if wide { 64 } else { 32 };
        if !other.consistent() || (!other.bits.is_known() && !matches!(op, 0x00 | 0x10 | 0x50)) {
            *self = Self::ANY;
            return;
        }
        let positive = self.smin >= 0 && other.smin >= 0;
        let both = self.bits.is_known() && other.bits.is_known();
        match op {
            0x00 => self.add(other),
            0x10 => self.sub(other),
            0x20 => {
                self.bits = self.bits.mul(other.bits);
                let large = other.umax > u64::from(u32::MAX) || self.umax > u64::from(u32::MAX);
                if !positive || large {
                    self.forget_bounds();
                    self.bounds_from_bits();
                } else {
                    self.umin *= other.umin;
                    self.umax *= other.umax;
                    if i64::try_from(self.umax).is_ok() {
                        (self.smin, self.smax) = (self.umin.cast_signed(), self.umax.cast_signed());
                    } else {
                        self.forget_signed();
                    }
                }
            }
            0x50 if both => *self = Self::known(self.bits.value & other.bits.value),
            0x50 => {
                self.bits = self.bits.and(other.bits);
                self.umin = self.bits.value;
                self.umax = self.umax.min(other.umax);
                self.signed_from_unsigned(positive);
            }
            0x40 if both => *self = Self::known(self.bits.value | other.bits.value),
            0x40 => {
                self.bits = self.bits.or(other.bits);
                self.umin = self.umin.max(other.umin);
                self.umax = self.bits.value | self.bits.unknown;
                self.signed_from_unsigned(positive);
            }
            0x60 | 0x70 if other.umax >= width => *self = Self::ANY,
            0x60 => {
                let by = other.umin;
                self.forget_signed();
                if self.umax > 1 << (63 - by) {
                    (self.umin, self.umax) = (0, u64::MAX);
                } else {
                    (self.umin, self.umax) = (self.umin << by, self.umax << by);
                }
                self.bits = Bits {
                    value: self.bits.value << by,
                    unknown: self.bits.unknown << by,
                };
                self.bounds_from_bits();
            }
            0x70 => {
                let by = other.umin;
                self.forget_signed();
                self.bits = Bits {
                    value: self.bits.value >> by,
                    unknown: self.bits.unknown >> by,
                };
                (self.umin, self.umax) = (self.umin >> by, self.umax >> by);
                self.bounds_from_bits();
            }
            _ => *self = Self::ANY,
        }
        if !wide {
            self.narrow(4);
        }
        self.bounds_from_each_other();
        self.bits_from_bounds();
    }

    /// What is known after a comparison with a constant: if the jump is taken (first), and if it is not. `op`: the upper
    /// four bits of the jump's code; `turned`: this number is the right operand.
    pub(crate) fn compared(self, op: u8, with: u64, turned: bool) -> (Self, Self) {
        let (mut yes, mut no) = (self, self);
        let signed = with.cast_signed();
        // turns an ordering around, so that this number is the left operand
        let op = match (turned, op) {
            (true, 0x20) => 0xa0,
            (true, 0x30) => 0xb0,
            (true, 0xa0) => 0x20,
            (true, 0xb0) => 0x30,
            (true, 0x60) => 0xc0,
            (true, 0x70) => 0xd0,
            (true, 0xc0) => 0x60,
            (true, 0xd0) => 0x70,
            (_, op) => op,
        };
        match op {
            0x10 => yes = Self::known(with),
            0x50 => no = Self::known(with),
            0x20 => {
                no.umax = no.umax.min(with);
                yes.umin = yes.umin.max(with.wrapping_add(1));
            }
            0x30 => {
                no.umax = no.umax.min(with.wrapping_sub(1));
                yes.umin = yes.umin.max(with);
            }
            0xa0 => {
                no.umin = no.umin.max(with);
                yes.umax = yes.umax.min(with.wrapping_sub(1));
            }
            0xb0 => {
                no.umin = no.umin.max(with.wrapping_add(1));
                yes.umax = yes.umax.min(with);
            }
            0x60 => {
                no.smax = no.smax.min(signed);
                yes.smin = yes.smin.max(signed.wrapping_add(1));
            }
            0x70 => {
                no.smax = no.smax.min(signed.wrapping_sub(1));
                yes.smin = yes.smin.max(signed);
            }
            0xc0 => {
                no.smin = no.smin.max(signed);
                yes.smax = yes.smax.min(signed.wrapping_sub(1));
            }
            0xd0 => {
                no.smin = no.smin.max(signed.wrapping_add(1));
                yes.smax = yes.smax.min(signed);
            }
            _ => {}
        }
        yes.settle();
        no.settle();
        (yes, no)
    }

    /// What is known of two numbers that are equal.
    pub(crate) fn met(&self, other: &Self) -> Self {
        let mut both = Self {
            bits: self.bits.meet(other.bits),
            smin: self.smin.max(other.smin),
            smax: self.smax.min(other.smax),
            umin: self.umin.max(other.umin),
            umax: self.umax.min(other.umax),
        };
        both.bounds_from_bits();
        both.settle();
        both
    }
}
