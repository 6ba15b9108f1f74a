//! Sets of addresses and networks.

use std::net::IpAddr;

use crate::numbers::without_blanks;

/// An address, or a network: all addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct IpRange {
    address: IpAddr,
    bits: u8,
}

impl IpRange {
    /// `address` or `address/bits`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            // The length is read like a number.
            Some(bits) => without_blanks(bits)
                .parse()
                .ok()
                .filter(|bits| *bits <= most)?,
            None => most,
        };
        Some(Self { address, bits })
    }

    /// First and last address.
    fn ends(self) -> (u128, u128) {
        let (address, width) = match self.address {
            IpAddr::V4(ip) => (u128::from(u32::from(ip)), 32),
            IpAddr::V6(ip) => (u128::from(ip), 128),
        };
        let free = width - u32::from(self.bits);
        let mask = 1_u128.checked_shl(free).map_or(u128::MAX, |bit| bit - 1);
        (address & !mask, address | mask)
    }
}

/// Addresses and networks, as sorted ranges that neither touch nor overlap.
#[derive(Debug)]
pub(crate) struct IpSet {
    v4: Box<[(u128, u128)]>,
    v6: Box<[(u128, u128)]>,
}

impl IpSet {
    pub(crate) fn new(ranges: &[IpRange]) -> Self {
        let of = |v4: bool| {
            let ranges = ranges.iter().filter(|range| range.address.is_ipv4() == v4);
            merged(ranges.map(|range| range.ends()).collect())
        };
        Self {
            v4: of(true),
            v6: of(false),
        }
    }

    /// An IPv4 address that an IPv6 socket shows (`::ffff:a.b.c.d`) counts as the IPv4 address.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        let in_v4 = match ip.to_canonical() {
            IpAddr::V4(ip) => within(&self.v4, u32::from(ip).into()),
            IpAddr::V6(_) => false,
        };
        in_v4 || matches!(ip, IpAddr::V6(ip) if within(&self.v6, ip.into()))
    }
}

fn merged(mut ranges: Vec<(u128, u128)>) -> Box<[(u128, u128)]> {
    ranges.sort_unstable();
    let mut out: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match out.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => out.push((first, last)),
        }
    }
    out.into()
}

fn within(ranges: &[(u128, u128)], address: u128) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after > 0 && address <= ranges[after - 1].1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_their_networks() {
        let contains = |ranges: &str, ip: &str| {
            let ranges: Vec<_> = ranges
                .split(' ')
                .map(|range| IpRange::parse(range).unwrap())
                .collect();
            IpSet::new(&ranges).contains(ip.parse().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        let blank = IpRange::parse("10.0.0.0/ 8");
        assert_eq!(blank, IpRange::parse("10.0.0.0/8"));
        assert!(contains("0.0.0.0/0", "192.0.2.1"));
        assert!(contains("192.0.2.1", "192.0.2.1"));
        assert!(!contains("192.0.2.1", "192.0.2.2"));
        assert!(contains("fe80::/10", "fe80::1"));
        assert!(!contains("::/0", "192.0.2.1"));
        assert!(contains("::/0", "ffff::1"));
        assert!(contains("127.0.0.0/8", "::ffff:127.0.0.1"));
        let several = "10.0.0.0/8 10.1.0.0/16 172.16.0.0/12 192.0.2.1 192.0.2.2 ::1";
        for inside in [
            "10.9.9.9",
            "172.31.255.255",
            "192.0.2.1",
            "192.0.2.2",
            "::1",
        ] {
            assert!(contains(several, inside), "{inside}");
        }
        for outside in [
            "9.255.255.255",
            "11.0.0.0",
            "172.32.0.0",
            "192.0.2.3",
            "::2",
        ] {
            assert!(!contains(several, outside), "{outside}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "10.0.0.0/33",
            "10.0.0",
            "::/129",
            "x",
            "",
            "10.0.0.1/",
            "10.0.0.0/8 ",
        ] {
            assert!(IpRange::parse(text).is_none(), "{text}");
        }
    }
}
