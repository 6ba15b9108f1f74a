//! Times as Falco writes them.

use std::fmt::Write as _;

const NS: u64 = 1_000_000_000;

/// A time, split into the parts of date and clock.
fn parts(seconds: u64, local: bool) -> libc::tm {
    let seconds = libc::time_t::try_from(seconds).unwrap_or(0);
    // SAFETY: all of `tm` may be zero.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call, and the `_r` functions keep neither.
    unsafe {
        if local {
            libc::localtime_r(&raw const seconds, &raw mut tm);
        } else {
            libc::gmtime_r(&raw const seconds, &raw mut tm);
        }
    }
    tm
}

/// `HH:MM:SS` in local time.
pub fn clock_s(out: &mut String, ns: u64) {
    let tm = parts(ns / NS, true);
    let _ = write!(out, "{:02}:{:02}:{:02}", tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/// `HH:MM:SS.nnnnnnnnn` in local time.
pub fn clock(out: &mut String, ns: u64) {
    clock_s(out, ns);
    let _ = write!(out, ".{:09}", ns % NS);
}

/// `YYYY-MM-DD HH:MM:SS` in local time.
pub fn date_s(out: &mut String, ns: u64) {
    let tm = parts(ns / NS, true);
    let (year, month) = (tm.tm_year + 1900, tm.tm_mon + 1);
    let _ = write!(out, "{year:04}-{month:02}-{:02} ", tm.tm_mday);
    clock_s(out, ns);
}

/// `YYYY-MM-DD HH:MM:SS.nnnnnnnnn` in local time.
pub fn date(out: &mut String, ns: u64) {
    date_s(out, ns);
    let _ = write!(out, ".{:09}", ns % NS);
}

/// A span of time for people: nanoseconds, or with two digits after the point in a larger unit, such as `1.23ms`.
pub fn span(out: &mut String, ns: u64) {
    let units = [(NS, "s"), (1_000_000, "ms"), (1_000, "us")];
    let _ = match units.into_iter().find(|(unit, _)| ns >= *unit) {
        Some((unit, name)) => write!(out, "{}.{:02}{name}", ns / unit, ns % unit * 100 / unit),
        None => write!(out, "{ns}ns"),
    };
}

/// `YYYY-MM-DDTHH:MM:SS.nnnnnnnnn` in UTC, followed by how the zone is to be written.
pub fn iso8601(out: &mut String, ns: u64, zone: &str) {
    let tm = parts(ns / NS, false);
    let (year, month) = (tm.tm_year + 1900, tm.tm_mon + 1);
    let _ = write!(
        out,
        "{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}.{:09}{zone}",
        tm.tm_mday,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec,
        ns % NS
    );
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_span_has_the_unit_that_keeps_it_short() {
        for (ns, expected) in [
            (0, "0ns"),
            (999, "999ns"),
            (1_000, "1.00us"),
            (1_239_999, "1.23ms"),
            (61_500_000_000, "61.50s"),
            (u64::MAX, "18446744073.70s"),
        ] {
            let mut text = String::new();
            super::span(&mut text, ns);
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn a_time_has_nine_digits_after_the_second() {
        let mut text = String::new();
        super::iso8601(&mut text, 1_767_225_600_000_000_042, "Z");
        assert_eq!(text, "2026-01-01T00:00:00.000000042Z");
        let mut text = String::new();
        super::clock(&mut text, 1_767_225_600_000_000_042);
        assert_eq!(text.len(), "00:00:00.000000042".len());
        assert!(text.ends_with(":00.000000042"));
        let mut text = String::new();
        super::date(&mut text, u64::MAX);
        assert!(!text.is_empty());
    }
}
