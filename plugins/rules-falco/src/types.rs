//! The event types that a condition can match: a set of types, or all types except a set.
//!
//! The set may contain types that cannot match, but never lacks one that can. A check of another field than the type has
//! all types, and so has its negation.

use std::collections::BTreeSet;

/// A set of event types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TypeSet {
    types: BTreeSet<u32>,
    /// All types except these.
    inverted: bool,
}

impl TypeSet {
    pub(crate) fn all() -> Self {
        Self {
            types: BTreeSet::new(),
            inverted: true,
        }
    }

    pub(crate) fn none() -> Self {
        Self::only([])
    }

    pub(crate) fn only(types: impl IntoIterator<Item = u32>) -> Self {
        Self {
            types: types.into_iter().collect(),
            inverted: false,
        }
    }

    pub(crate) fn invert(mut self) -> Self {
        self.inverted = !self.inverted;
        self
    }

    pub(crate) fn intersect(&self, other: &Self) -> Self {
        let types = match (self.inverted, other.inverted) {
            (false, false) => &self.types & &other.types,
            (false, true) => &self.types - &other.types,
            (true, false) => &other.types - &self.types,
            (true, true) => &self.types | &other.types,
        };
        Self {
            types,
            inverted: self.inverted && other.inverted,
        }
    }

    pub(crate) fn unite(&self, other: &Self) -> Self {
        let (a, b) = (self.clone().invert(), other.clone().invert());
        a.intersect(&b).invert()
    }

    pub(crate) fn contains(&self, event_type: u32) -> bool {
        self.types.contains(&event_type) != self.inverted
    }

    /// The types. None if it is all types except some.
    pub(crate) fn finite(&self) -> Option<&BTreeSet<u32>> {
        (!self.inverted).then_some(&self.types)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_algebra_agrees_with_membership() {
        let sets = [
            TypeSet::all(),
            TypeSet::none(),
            TypeSet::only([1, 2]),
            TypeSet::only([2, 3]),
            TypeSet::only([1, 2]).invert(),
            TypeSet::only([3]).invert(),
        ];
        for a in &sets {
            for b in &sets {
                for x in 0..5 {
                    let (in_a, in_b) = (a.contains(x), b.contains(x));
                    assert_eq!(a.intersect(b).contains(x), in_a && in_b, "{a:?} {b:?} {x}");
                    assert_eq!(a.unite(b).contains(x), in_a || in_b, "{a:?} {b:?} {x}");
                    assert_eq!(a.clone().invert().contains(x), !in_a, "{a:?} {x}");
                }
            }
        }
    }
}
