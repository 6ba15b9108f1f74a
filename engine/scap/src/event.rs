//! An event as a capture has it: time, thread, type and the bytes of its parameters.

use super::bytes::Bytes;
use super::table::{EventType, Table};

/// An event of a capture.
#[derive(Debug)]
pub(crate) struct Raw<'a> {
    pub(crate) time_ns: u64,
    pub(crate) tid: i64,
    pub(crate) cpu: u16,
    /// The event is needed for the state alone.
    pub(crate) state_only: bool,
    /// None: a later version has added the type.
    pub(crate) kind: Option<&'static EventType>,
    /// The parameters, in the order of the type's.
    pub(crate) params: Params<'a>,
}

/// The most parameters of one event.
const MAX: usize = 64;

/// The parameters of an event, each as its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Params<'a> {
    all: [&'a [u8]; MAX],
    count: usize,
}

impl<'a> Params<'a> {
    fn none() -> Self {
        Self {
            all: [&[]; MAX],
            count: 0,
        }
    }

    pub(crate) fn as_slice(&self) -> &[&'a [u8]] {
        &self.all[..self.count]
    }

    /// Cuts bytes into parameters by their lengths. False: the bytes are too few.
    fn cut(&mut self, count: usize, lens: &[u8], wide: bool, mut values: Bytes<'a>) -> bool {
        let mut lens = Bytes::new(lens);
        self.count = 0;
        for at in 0..count {
            let len = if wide {
                lens.u32().and_then(|len| usize::try_from(len).ok())
            } else {
                lens.u16().map(usize::from)
            };
            let Some(value) = len.and_then(|len| values.take(len)) else {
                return false;
            };
            // parameters that a later version has added are skipped
            if let Some(place) = self.all.get_mut(at) {
                *place = value;
                self.count = at + 1;
            }
        }
        true
    }
}

/// Reads the body of an event's block. None: it is damaged; the number is the event's type, if that could be read.
pub(crate) fn parse(body: &[u8], counted: bool, flagged: bool) -> Result<Raw<'_>, u16> {
    /// In the flags of a block: the event is needed for the state alone.
    const STATE_ONLY: u32 = 1;
    let mut from = Bytes::new(body);
    let mut head = || {
        let cpu = from.u16()?;
        let flags = if flagged { from.u32()? } else { 0 };
        let (time_ns, tid) = (from.u64()?, from.i64()?);
        let len = from.u32()?;
        let number = from.u16()?;
        let count = if counted { Some(from.u32()?) } else { None };
        Some((cpu, flags, time_ns, tid, len, number, count))
    };
    let (cpu, flags, time_ns, tid, len, number, count) = head().ok_or(0_u16)?;
    let mut raw = Raw {
        time_ns,
        tid,
        cpu,
        state_only: flags & STATE_ONLY != 0,
        kind: Table::get().event(number),
        params: Params::none(),
    };
    let Some(kind) = raw.kind else {
        return Ok(raw);
    };
    let header = if counted { 26 } else { 22 };
    // an event may be shorter than its block, as options can follow it
    let inner = (len as usize)
        .checked_sub(header)
        .and_then(|inner| from.take(inner.min(from.left())))
        .ok_or(number)?;
    if count.is_some() && (len as usize) - header > inner.len() {
        return Err(number);
    }
    let each = if kind.large { 4 } else { 2 };
    let mut cut = |count: usize, exact: bool| {
        let Some((lens, values)) = inner.split_at_checked(count.saturating_mul(each)) else {
            return false;
        };
        raw.params.cut(count, lens, kind.large, Bytes::new(values))
            && (!exact || lens_total(lens, kind.large) == values.len())
    };
    match count {
        Some(count) => {
            let count = usize::try_from(count).map_err(|_| number)?;
            cut(count, false).then_some(raw).ok_or(number)
        }
        // the first versions do not say how many parameters there are: it is the count whose lengths fill the event
        None => {
            let found = (0..=kind.params.len()).rev().any(|count| cut(count, true));
            // events of these types were once written with a wrong length
            let known = found || (0..=kind.params.len()).rev().any(|count| cut(count, false));
            known.then_some(raw).ok_or(number)
        }
    }
}

/// The sum of the lengths of parameters.
fn lens_total(lens: &[u8], wide: bool) -> usize {
    let mut lens = Bytes::new(lens);
    let mut total = 0_usize;
    loop {
        let len = if wide {
            lens.u32().and_then(|len| usize::try_from(len).ok())
        } else {
            lens.u16().map(usize::from)
        };
        match len {
            Some(len) => total = total.saturating_add(len),
            None => return total,
        }
    }
}
