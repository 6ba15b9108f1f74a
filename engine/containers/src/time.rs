//! Parses the times that runtimes write.

/// An RFC 3339 time, with or without an offset, in nanoseconds since the epoch. None: it is malformed, or before the
/// epoch, as the year 1, which means never.
pub(super) fn epoch_ns(text: &str) -> Option<u64> {
    let at = text.find(['T', ' '])? + 1;
    let (zone_at, zone) = match text[at..].find(['Z', 'z', '+', '-']) {
        Some(zone) => (at + zone, &text.as_bytes()[at + zone..]),
        None => (text.len(), &b"Z"[..]),
    };
    let time = humantime::parse_rfc3339_weak(&text[..zone_at]).ok()?;
    let ns = time.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos();
    let offset_s = match zone {
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let number = |tens: u8, ones: u8| {
                let digit = |byte: u8| char::from(byte).to_digit(10).map(i64::from);
                Some(digit(tens)? * 10 + digit(ones)?)
            };
            let seconds = (number(*h1, *h2)? * 60 + number(*m1, *m2)?) * 60;
            if *sign == b'+' { seconds } else { -seconds }
        }
        [b'Z' | b'z'] => 0,
        _ => return None,
    };
    let ns = i128::try_from(ns).ok()? - i128::from(offset_s) * 1_000_000_000;
    u64::try_from(ns).ok()
}

#[cfg(test)]
mod tests {
    use super::epoch_ns;

    #[test]
    fn times_with_and_without_offset() {
        let base = 1_767_225_600_000_000_000;
        assert_eq!(epoch_ns("2026-01-01T00:00:00Z"), Some(base));
        assert_eq!(
            epoch_ns("2026-01-01T01:00:00.000000042+01:00"),
            Some(base + 42)
        );
        assert_eq!(epoch_ns("2025-12-31T22:30:00-01:30"), Some(base));
        for never in ["0001-01-01T00:00:00Z", "", "T", "2026-01-01T00:00:00+é"] {
            assert_eq!(epoch_ns(never), None, "{never}");
        }
    }
}
