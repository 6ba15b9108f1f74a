//! Histograms of powers of two, drawn as bpftrace draws them.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::tally::Tallied;

/// Columns of the longest bar.
const WIDTH: u64 = 52;
/// Buckets: negative numbers, 0, 1, 2 to 3, 4 to 7, and so on up to 2^127.
const BUCKETS: usize = 129;

/// How often numbers of each power of two came.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    buckets: Box<[u64; BUCKETS]>,
    pub(crate) count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: Box::new([0; BUCKETS]),
            count: 0,
        }
    }
}

impl Tallied for Histogram {
    const BYTES: usize = BUCKETS * size_of::<u64>();
}

/// The bucket of a number.
fn bucket(number: i128) -> usize {
    match u128::try_from(number) {
        Err(_) => 0,
        Ok(0) => 1,
        Ok(number) => usize::try_from(number.ilog2()).unwrap_or(0) + 2,
    }
    .min(BUCKETS - 1)
}

/// The least number of a bucket, and the first one after it. None: there is no bound.
fn bounds(bucket: usize) -> (Option<u128>, Option<u128>) {
    match bucket {
        0 => (None, Some(0)),
        1 => (Some(0), Some(1)),
        _ => (
            Some(1 << (bucket - 2)),
            1_u128.checked_shl(u32::try_from(bucket - 1).unwrap_or(u32::MAX)),
        ),
    }
}

/// A power of two with the prefix that bpftrace gives it: 1024 is `1K`.
fn short(number: u128) -> String {
    const PREFIXES: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
    let mut number = number;
    let mut at = 0;
    while number >= 1024 && at + 1 < PREFIXES.len() {
        number /= 1024;
        at += 1;
    }
    format!("{number}{}", PREFIXES[at])
}

fn label(bucket: usize) -> String {
    match bounds(bucket) {
        (None, _) => "(..., 0)".to_owned(),
        (Some(least), Some(end)) if end == least + 1 => format!("[{least}]"),
        (Some(least), end) => {
            let end = end.map_or_else(|| "...".to_owned(), short);
            format!("[{}, {end})", short(least))
        }
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, number: i128) {
        self.buckets[bucket(number)] += 1;
        self.count += 1;
    }

    /// The buckets from the first to the last one that is not empty.
    fn rows(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let first = self.buckets.iter().position(|count| *count > 0);
        let last = self.buckets.iter().rposition(|count| *count > 0);
        let range = first.zip(last).map(|(first, last)| first..last + 1);
        range.into_iter().flatten().map(|at| (at, self.buckets[at]))
    }

    /// Appends it as lines.
    pub(crate) fn text(&self, out: &mut String) {
        let most = self.buckets.iter().copied().max().unwrap_or(0).max(1);
        for (at, count) in self.rows() {
            // in 128 bits, as the count may be any number
            let bar = u128::from(count) * u128::from(WIDTH) / u128::from(most);
            let bar = "@".repeat(usize::try_from(bar).unwrap_or(0));
            let _ = writeln!(out, "{:<16}{count:>8} |{bar:<52}|", label(at));
        }
    }

    pub(crate) fn json(&self) -> Value {
        let number =
            |bound: Option<u128>| bound.map(|bound| u64::try_from(bound).unwrap_or(u64::MAX));
        let rows = self.rows().map(|(at, count)| {
            let (least, end) = bounds(at);
            json!({"min": number(least), "max": number(end.map(|end| end.saturating_sub(1))).filter(|_| least.is_some()), "count": count})
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_drawn_as_bpftrace_draws_it() {
        let mut histogram = Histogram::default();
        for number in [-5, 0, 0, 1, 3, 1024, 1500, 1500, 1500] {
            histogram.add(number);
        }
        let mut text = String::new();
        histogram.text(&mut text);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 13);
        assert_eq!(
            lines[0],
            format!("(..., 0)               1 |{:<52}|", "@".repeat(13))
        );
        assert_eq!(
            lines[1],
            format!("[0]                    2 |{:<52}|", "@".repeat(26))
        );
        assert_eq!(
            lines[2],
            format!("[1]                    1 |{:<52}|", "@".repeat(13))
        );
        assert_eq!(
            lines[3],
            format!("[2, 4)                 1 |{:<52}|", "@".repeat(13))
        );
        assert_eq!(lines[4], format!("[4, 8)                 0 |{:<52}|", ""));
        assert_eq!(
            lines[12],
            format!("[1K, 2K)               4 |{}|", "@".repeat(52))
        );
    }

    #[test]
    fn every_number_has_a_bucket_that_holds_it() {
        for number in [
            i128::MIN,
            -1,
            0,
            1,
            2,
            3,
            4,
            7,
            8,
            i128::from(u64::MAX),
            i128::MAX,
        ] {
            let (least, end) = bounds(bucket(number));
            match u128::try_from(number) {
                Err(_) => assert!(least.is_none(), "{number}"),
                Ok(number) => {
                    assert!(least.is_some_and(|least| least <= number), "{number}");
                    assert!(end.is_none_or(|end| number < end), "{number}");
                }
            }
        }
    }
}
