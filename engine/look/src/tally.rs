//! Values by key, with a bound on the number of keys. What programs do decides the keys, so memory must not grow with them.

use std::collections::HashMap;

/// The most keys of a tally.
pub(crate) const MAX_KEYS: usize = 65_536;
/// The most bytes of the keys' texts together, and of the values.
const MAX_BYTES: usize = 32 << 20;

/// A value of a tally.
pub(crate) trait Tallied: Default {
    /// Bytes of memory that it takes.
    const BYTES: usize = size_of::<Self>();
}

impl Tallied for u64 {}

/// Values by key. Events of further keys go into one value for all others.
#[derive(Debug, Default)]
pub(crate) struct Tally<V> {
    rows: HashMap<Box<str>, V>,
    bytes: usize,
    others: Option<V>,
}

impl<V: Tallied> Tally<V> {
    /// The value of a key, or that of all others if there are too many keys.
    pub(crate) fn value(&mut self, key: &str) -> &mut V {
        if !self.rows.contains_key(key) {
            let bytes = self.bytes + key.len() + V::BYTES;
            if self.rows.len() >= MAX_KEYS || bytes > MAX_BYTES {
                return self.others.get_or_insert_default();
            }
            self.bytes = bytes;
            self.rows.insert(key.into(), V::default());
        }
        // the row is there; `others` is only what the compiler needs to hear
        match self.rows.get_mut(key) {
            Some(value) => value,
            None => self.others.get_or_insert_default(),
        }
    }

    /// The keys with the greatest `weight` first, keys of the same weight by name.
    pub(crate) fn sorted(&self, weight: impl Fn(&V) -> u64) -> Vec<(&str, &V)> {
        let mut rows: Vec<(&str, &V)> = (self.rows.iter())
            .map(|(key, value)| (&**key, value))
            .collect();
        rows.sort_unstable_by(|(a, x), (b, y)| weight(y).cmp(&weight(x)).then_with(|| a.cmp(b)));
        rows
    }

    /// The value of all keys that had no room.
    pub(crate) fn others(&self) -> Option<&V> {
        self.others.as_ref()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.others.is_none()
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.bytes = 0;
        self.others = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_beyond_the_bound_are_counted_together() {
        let mut tally = Tally::<u64>::default();
        for at in 0..MAX_KEYS + 3 {
            *tally.value(&at.to_string()) += 1;
        }
        *tally.value("0") += 1;
        assert_eq!(tally.others(), Some(&3));
        let rows = tally.sorted(|count| *count);
        assert_eq!(rows.len(), MAX_KEYS);
        assert_eq!(rows[0], ("0", &2));
        tally.clear();
        assert!(tally.is_empty());
    }

    #[test]
    fn long_keys_are_bounded_by_their_bytes() {
        let mut tally = Tally::<u64>::default();
        for at in 0..40_u64 {
            let key = format!("{at}{}", "x".repeat(1 << 20));
            *tally.value(&key) += 1;
        }
        assert!(tally.others().is_some_and(|count| *count >= 8));
    }
}
