//! Values by key, with a bound on the number of keys. What programs do decides the keys, so memory must not grow with them.

use std::collections::HashMap;

/// The most keys of one tally.
pub(crate) const MAX_KEYS: usize = 65_536;
/// The most bytes that the texts of all keys of one tally take, and that its values take.
const MAX_BYTES: usize = 32 << 20;

/// A value of a tally.
pub trait Tallied: Default {
    /// Bytes of memory that it takes.
    const BYTES: usize = size_of::<Self>();
}

impl Tallied for u64 {}

/// Values by key. Events of further keys go into one value for all others.
#[derive(Debug, Clone)]
pub struct Tally<V> {
    rows: HashMap<Box<str>, V>,
    bytes: usize,
    max_keys: usize,
    max_bytes: usize,
    others: Option<V>,
}

impl<V> Default for Tally<V> {
    /// A tally with the bounds of reports.
    fn default() -> Self {
        Self::bounded(MAX_KEYS, MAX_BYTES)
    }
}

impl<V> Tally<V> {
    /// A tally with at most `max_keys` keys. Texts of keys and values take at most `max_bytes`.
    #[must_use]
    pub fn bounded(max_keys: usize, max_bytes: usize) -> Self {
        Self {
            rows: HashMap::new(),
            bytes: 0,
            max_keys,
            max_bytes,
            others: None,
        }
    }

    /// The keys and their values, in any order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.rows.iter().map(|(key, value)| (&**key, value))
    }

    /// The values of all keys, in any order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.rows.values_mut()
    }

    /// Whether more than three quarters of the bounds are used.
    #[must_use]
    pub fn is_nearly_full(&self) -> bool {
        self.rows.len() / 3 >= self.max_keys / 4 || self.bytes / 3 >= self.max_bytes / 4
    }
}

impl<V: Tallied> Tally<V> {
    /// The value of a key, or that of all others if there are too many keys.
    pub fn value(&mut self, key: &str) -> &mut V {
        if !self.rows.contains_key(key) {
            let bytes = self.bytes + key.len() + V::BYTES;
            if self.rows.len() >= self.max_keys || bytes > self.max_bytes {
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

    /// Removes the keys for which `keeps` is false. `add` adds their values to that of all others.
    pub fn retain(&mut self, mut keeps: impl FnMut(&V) -> bool, mut add: impl FnMut(&mut V, V)) {
        for (key, value) in self.rows.extract_if(|_, value| !keeps(value)) {
            self.bytes -= key.len() + V::BYTES;
            add(self.others.get_or_insert_default(), value);
        }
    }

    /// The value of all keys that had no room.
    #[must_use]
    pub fn others(&self) -> Option<&V> {
        self.others.as_ref()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.others.is_none()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
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
    fn keys_that_are_removed_make_room_and_count_with_the_others() {
        let mut tally = Tally::<u64>::bounded(4, 1 << 20);
        for (at, key) in ["a", "b", "c", "d", "e"].iter().enumerate() {
            *tally.value(key) += at as u64 + 1;
        }
        assert!(tally.is_nearly_full());
        tally.retain(|count| *count > 2, |others, count| *others += count);
        assert!(!tally.is_nearly_full());
        assert_eq!(tally.others(), Some(&8));
        assert_eq!(tally.bytes, 2 * (1 + u64::BYTES));
        *tally.value("f") += 9;
        assert_eq!(tally.sorted(|count| *count)[0], ("f", &9));
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
