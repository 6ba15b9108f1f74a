//! Sets of texts: whether a text is one of them, or begins or ends with one of them.

use std::cmp::Ordering;

/// A hash table of texts with numbers. All texts come from rules, and values of events are only looked up, so an attacker
/// cannot cause collisions.
#[derive(Debug, Default)]
pub(crate) struct TextSet {
    texts: Box<[Box<[u8]>]>,
    /// The number of a text plus one, or 0 for a free slot. Its length is a power of two.
    table: Box<[u32]>,
    /// Bit n is set if there is a text of length n; bit 63 also for longer ones. Most look-ups end here.
    lengths: u64,
}

impl TextSet {
    /// Numbers the texts in order. Equal texts have one number.
    pub(crate) fn new(texts: impl IntoIterator<Item = Box<[u8]>>) -> Self {
        let texts: Vec<Box<[u8]>> = texts.into_iter().collect();
        let mut set = Self {
            lengths: 0,
            table: vec![0; (texts.len() * 2 + 1).next_power_of_two()].into(),
            texts: Box::default(),
        };
        let mut kept: Vec<Box<[u8]>> = Vec::with_capacity(texts.len());
        for text in texts {
            let mut at = set.first_place(&text);
            while set.table[at] != 0 && kept[set.table[at] as usize - 1] != text {
                at = (at + 1) & (set.table.len() - 1);
            }
            if set.table[at] == 0 {
                set.lengths |= length_bit(&text);
                kept.push(text);
                set.table[at] = u32::try_from(kept.len()).unwrap_or(u32::MAX);
            }
        }
        set.texts = kept.into();
        set
    }

    fn first_place(&self, text: &[u8]) -> usize {
        let hash = usize::try_from(hash(text) >> 32).unwrap_or(0);
        hash & (self.table.len() - 1)
    }

    /// The number of a text.
    #[inline]
    pub(crate) fn find(&self, text: &[u8]) -> Option<u32> {
        if self.lengths & length_bit(text) == 0 {
            return None;
        }
        let mut at = self.first_place(text);
        loop {
            let number = self.table[at].checked_sub(1)?;
            if *self.texts[number as usize] == *text {
                return Some(number);
            }
            at = (at + 1) & (self.table.len() - 1);
        }
    }

    #[inline]
    pub(crate) fn contains(&self, text: &[u8]) -> bool {
        self.find(text).is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }
}

fn length_bit(text: &[u8]) -> u64 {
    1 << text.len().min(63)
}

/// A multiplicative hash of the length and all bytes, eight at a time.
fn hash(text: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    let mut hash = text.len() as u64;
    for chunk in text.chunks(8) {
        hash = (hash.rotate_left(5) ^ word(chunk)).wrapping_mul(ODD);
    }
    hash ^ hash >> 29
}

/// Prefixes or suffixes. None of them begins (ends) with another one, so at most one fits a text, and that is the last one
/// that sorts before the text.
#[derive(Debug)]
pub(crate) struct Affixes {
    sorted: Box<[Box<[u8]>]>,
    side: Side,
}

/// A side of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Beginning,
    End,
}

impl Affixes {
    pub(crate) fn new(side: Side, texts: impl IntoIterator<Item = Box<[u8]>>) -> Self {
        let mut sorted: Vec<Box<[u8]>> = texts.into_iter().collect();
        sorted.sort_unstable_by(|a, b| order(side, a, b));
        // A text that begins with another one follows it directly, or follows others that do.
        sorted.dedup_by(|later, earlier| fits(side, later, earlier));
        Self {
            sorted: sorted.into(),
            side,
        }
    }

    #[inline]
    pub(crate) fn fit(&self, text: &[u8]) -> bool {
        if let [only] = &*self.sorted {
            return fits(self.side, text, only);
        }
        let after = self
            .sorted
            .partition_point(|affix| order(self.side, affix, text) != Ordering::Greater);
        after > 0 && fits(self.side, text, &self.sorted[after - 1])
    }
}

#[inline]
fn fits(side: Side, text: &[u8], affix: &[u8]) -> bool {
    match side {
        Side::Beginning => text.starts_with(affix),
        Side::End => text.ends_with(affix),
    }
}

fn order(side: Side, a: &[u8], b: &[u8]) -> Ordering {
    match side {
        Side::Beginning => a.cmp(b),
        Side::End => a.iter().rev().cmp(b.iter().rev()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxes(texts: &[&str]) -> Vec<Box<[u8]>> {
        texts.iter().map(|text| text.as_bytes().into()).collect()
    }

    #[test]
    fn a_set_finds_what_is_in_it_and_nothing_else() {
        let long = "x".repeat(80);
        let texts = ["bash", "sh", "", "zsh", &long, "sh"];
        let set = TextSet::new(boxes(&texts));
        assert_eq!(set.len(), 5);
        for text in texts {
            assert!(set.contains(text.as_bytes()), "{text}");
        }
        for text in ["ash", "s", "bashx", "y", &"x".repeat(81)] {
            assert!(!set.contains(text.as_bytes()), "{text}");
        }
        assert!(!TextSet::new([]).contains(b""));
        assert_eq!(set.find(b"sh"), Some(1));
    }

    #[test]
    fn a_large_set_has_all_it_was_given() {
        let texts: Vec<String> = (0..5000).map(|n| format!("/usr/lib/{n}")).collect();
        let set = TextSet::new(texts.iter().map(|text| text.as_bytes().into()));
        assert!(texts.iter().all(|text| set.contains(text.as_bytes())));
        assert!(!(5000..9000).any(|n| set.contains(format!("/usr/lib/{n}").as_bytes())));
    }

    #[test]
    fn affixes_agree_with_trying_each() {
        let words = [
            "", "a", "b", "ab", "ba", "aab", "abb", "bab", "abab", "bbbb", "/etc", "/et",
        ];
        for side in [Side::Beginning, Side::End] {
            for mask in 0_u32..1 << words.len() {
                let chosen: Vec<_> = (0..words.len()).filter(|n| mask >> n & 1 == 1).collect();
                if chosen.len() > 3 {
                    continue;
                }
                let chosen: Vec<&str> = chosen.into_iter().map(|n| words[n]).collect();
                let set = Affixes::new(side, boxes(&chosen));
                for text in ["", "a", "ab", "abab", "babab", "/etcetera", "/e", "c"] {
                    let one = |affix: &&str| fits(side, text.as_bytes(), affix.as_bytes());
                    let expected = chosen.iter().any(one);
                    assert_eq!(
                        set.fit(text.as_bytes()),
                        expected,
                        "{chosen:?} {text} {side:?}"
                    );
                }
            }
        }
    }
}
