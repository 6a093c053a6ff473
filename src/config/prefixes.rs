//! Conversion of prefixes to the sorted address ranges that the program searches.

use std::net::IpAddr;

use ipnet::IpNet;
use tcp_bounce_wire::address::AddressBits;
use tcp_bounce_wire::address_set::AddressRange;

/// The first and last IPv4-mapped addresses (`::ffff:0:0/96`). They represent IPv4 addresses in an address set.
const IPV4: (u128, u128) = (0xffff << 32, 0xffff_ffff_ffff);

/// Returns the addresses of all `prefixes` as ranges in ascending order, without overlap.
///
/// IPv4 addresses are IPv4-mapped. IPv6 prefixes exclude the IPv4-mapped addresses: `::/0` covers all IPv6 addresses
/// and no IPv4 address.
pub fn ranges(prefixes: &[IpNet]) -> Vec<AddressRange> {
    let prefixes = IpNet::aggregate(&prefixes.to_vec());
    let mut ranges: Vec<AddressRange> = prefixes.into_iter().flat_map(ranges_of_prefix).collect();
    ranges.sort_unstable();
    ranges
}

/// Returns the address ranges of `prefix`.
///
/// An IPv6 prefix that overlaps the IPv4-mapped addresses is split into the range below them and the range above them.
/// An empty range is omitted.
fn ranges_of_prefix(prefix: IpNet) -> impl Iterator<Item = AddressRange> {
    let (first, last) = (to_number(prefix.network()), to_number(prefix.broadcast()));
    let ranges = match prefix {
        IpNet::V6(_) if first <= IPV4.1 && last >= IPV4.0 => {
            [(first < IPV4.0).then(|| (first, IPV4.0 - 1)), (last > IPV4.1).then(|| (IPV4.1 + 1, last))]
        }
        _ => [Some((first, last)), None],
    };
    let split = |number: u128| AddressBits { high: (number >> 64) as u64, low: number as u64 };
    ranges.into_iter().flatten().map(move |(first, last)| AddressRange { first: split(first), last: split(last) })
}

fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the first and last address of each range of `prefixes`.
    fn bounds(prefixes: &[&str]) -> Vec<(u128, u128)> {
        let join = |number: AddressBits| u128::from(number.high) << 64 | u128::from(number.low);
        let prefixes: Vec<IpNet> = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
        ranges(&prefixes).into_iter().map(|range| (join(range.first), join(range.last))).collect()
    }

    #[test]
    fn a_range_spans_the_whole_prefix() {
        assert_eq!(bounds(&["192.0.2.77/24"]), [(0xffff_c000_0200, 0xffff_c000_02ff)]);
        assert_eq!(bounds(&["2001:db8::/32"]), [(0x2001_0db8 << 96, (0x2001_0db9 << 96) - 1)]);
    }

    #[test]
    fn ranges_ascend_without_overlap() {
        let prefixes = ["10.1.0.0/16", "2001:db8::/64", "10.0.0.0/8", "9.0.0.1/32", "2001:db8::1/128", "9.0.0.1/32"];
        let bounds = bounds(&prefixes);
        assert_eq!(bounds.len(), 3, "{bounds:x?}");
        assert!(bounds.is_sorted_by(|(_, last), (first, _)| last < first), "{bounds:x?}");
    }

    #[test]
    fn ipv6_prefixes_exclude_ipv4() {
        let all = u128::MAX;
        assert_eq!(bounds(&["::/0"]), [(0, 0xfffe_ffff_ffff), (0x1_0000_0000_0000, all)]);
        assert_eq!(bounds(&["::ffff:0:0/96"]), []);
        let both = bounds(&["::/0", "0.0.0.0/0"]);
        assert_eq!(both, [(0, 0xfffe_ffff_ffff), (0xffff_0000_0000, 0xffff_ffff_ffff), (0x1_0000_0000_0000, all)]);
    }
}
