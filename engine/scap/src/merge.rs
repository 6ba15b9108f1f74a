//! One call from two events: the first versions of a type put arguments into the event of the entry and results into the
//! event of the return; later ones put all into the event of the return.

use std::collections::HashMap;

use super::event::Raw;
use super::table::{EventType, Param, What};

/// The parameters of a call that has returned: those of the return first, then those of the entry that the return lacks.
#[derive(Debug, Default)]
pub(crate) struct Merged<'a> {
    all: Vec<(&'static Param, &'a [u8])>,
}

impl<'a> Merged<'a> {
    pub(crate) fn new(
        exit: &Raw<'a>,
        kind: &'static EventType,
        entered: Option<&'a Entered>,
    ) -> Self {
        let mut merged = Self::default();
        let exits = kind
            .params
            .iter()
            .zip(exit.params.as_slice().iter().copied());
        merged.all.extend(exits);
        if let Some(entered) = entered {
            for (param, value) in entered.params() {
                let at = merged
                    .all
                    .iter()
                    .position(|(known, _)| known.name == param.name && known.place == param.place);
                match at {
                    None => merged.all.push((param, value)),
                    Some(at) if merged.all[at].1.is_empty() => merged.all[at] = (param, value),
                    Some(_) => {}
                }
            }
        }
        merged
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static Param, &'a [u8])> + '_ {
        self.all.iter().copied()
    }

    /// The bytes of a parameter by its name. None: the capture does not have it, or it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter()
            .find(|(param, value)| param.name == name && !value.is_empty())
            .map(|(_, value)| value)
    }
}

/// The entry of a call, which waits for its return.
#[derive(Debug)]
pub(crate) struct Entered {
    kind: &'static EventType,
    bytes: Vec<u8>,
    lens: Vec<usize>,
}

impl Entered {
    fn params(&self) -> impl Iterator<Item = (&'static Param, &[u8])> {
        let mut rest = self.bytes.as_slice();
        self.kind
            .params
            .iter()
            .zip(&self.lens)
            .filter_map(move |(param, len)| {
                let (value, after) = rest.split_at_checked(*len)?;
                rest = after;
                Some((param, value))
            })
    }
}

/// The calls that threads are in.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    by_thread: HashMap<i64, Entered>,
}

impl Entries {
    /// With more threads in calls than this, all are forgotten: a capture of a host has fewer.
    const MAX: usize = 65_536;

    /// A thread entered a call.
    pub(crate) fn enter(&mut self, raw: &Raw<'_>, kind: &'static EventType) {
        if self.by_thread.len() >= Self::MAX {
            self.by_thread.clear();
        }
        let values = raw.params.as_slice();
        self.by_thread.insert(
            raw.tid,
            Entered {
                kind,
                bytes: values.concat(),
                lens: values.iter().map(|value| value.len()).collect(),
            },
        );
    }

    /// A thread returned. Its entry, if it is that of this call.
    pub(crate) fn leave(&mut self, tid: i64, kind: &EventType) -> Option<Entered> {
        self.by_thread
            .remove(&tid)
            .filter(|entered| match (entered.kind.what, kind.what) {
                (What::Call(one), What::Call(other)) => std::ptr::eq(one, other),
                (What::Coded, What::Coded) => true,
                _ => false,
            })
    }

    /// A thread ended.
    pub(crate) fn forget(&mut self, tid: i64) {
        self.by_thread.remove(&tid);
    }
}
