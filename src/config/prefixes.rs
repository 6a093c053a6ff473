//! Lists of prefixes, and their conversion to the sorted address ranges that the program searches.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tcp_bounce_wire::address::AddressBits;
use tcp_bounce_wire::address_set::{AddressRange, MAX_RANGES};

use super::{ConfigError, ValueError};

/// The first and last IPv4-mapped addresses (`::ffff:0:0/96`). They represent IPv4 addresses in an address set.
const IPV4: (u128, u128) = (0xffff << 32, 0xffff_ffff_ffff);

/// The prefixes whose addresses are never answered, each with the kind of its addresses.
///
/// The program applies the same rule to source and destination (`IpAddress::is_unicast` of `tcp_bounce_wire`). Like
/// Linux, it takes the addresses of 240.0.0.0/4 except 255.255.255.255 for unicast addresses.
const NEVER_ANSWERED: [(IpNet, &str); 6] = [
    (v4(Ipv4Addr::UNSPECIFIED, 8), "unspecified"),
    (v4(Ipv4Addr::new(127, 0, 0, 0), 8), "loopback"),
    (v4(Ipv4Addr::new(224, 0, 0, 0), 4), "multicast"),
    (v4(Ipv4Addr::BROADCAST, 32), "broadcast"),
    (v6(Ipv6Addr::UNSPECIFIED, 127), "unspecified or loopback"),
    (v6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8), "multicast"),
];

const fn v4(address: Ipv4Addr, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(address, length))
}

const fn v6(address: Ipv6Addr, length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(address, length))
}

/// A list of prefixes and single addresses, written as `192.0.2.1,2001:db8::/32`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixList(pub Vec<IpNet>);

impl PrefixList {
    /// Returns the prefixes of all `lists`, in their order.
    pub fn union(lists: &[Self]) -> Vec<IpNet> {
        lists.iter().flat_map(|list| &list.0).copied().collect()
    }
}

impl FromStr for PrefixList {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let prefixes = text.split(',').map(|item| parse_prefix(item.trim()));
        let prefixes = prefixes.collect::<Result<_, _>>();
        prefixes.map(Self).map_err(|error| error.with_examples("a list looks like 192.0.2.1,10.0.0.0/8,2001:db8::/32"))
    }
}

/// Parses a prefix or a single address.
///
/// # Errors
///
/// The error names `text`.
pub fn parse_prefix(text: &str) -> Result<IpNet, ValueError> {
    let prefix = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse());
    prefix.map_err(|_| match text {
        "" => ValueError::new("empty entry in the list"),
        text => ValueError::new(format!("\"{text}\" is not an address or a prefix")),
    })
}

/// Checks the prefixes of an option such as `--src`.
///
/// # Errors
///
/// [`ConfigError::MappedPrefix`] if a prefix is IPv4-mapped; [`ConfigError::NeverAnswered`] if there are prefixes, but
/// no address in them is ever answered; [`ConfigError::TooManyPrefixes`] if the prefixes do not fit in an address set
/// of the program.
pub fn validate(option: &'static str, prefixes: &[IpNet]) -> Result<(), ConfigError> {
    if let Some((prefix, ipv4)) = prefixes.iter().find_map(|prefix| Some((*prefix, unmapped(prefix)?))) {
        return Err(ConfigError::MappedPrefix { option, prefix, ipv4 });
    }
    if let (None, Some(&prefix)) = (answered(prefixes).next(), prefixes.first()) {
        let kind = never_answered(&prefix).unwrap_or_default();
        return Err(ConfigError::NeverAnswered { option, prefix, kind });
    }
    match ranges(prefixes).len() {
        count if count > MAX_RANGES => Err(ConfigError::TooManyPrefixes { option, count, most: MAX_RANGES }),
        _ => Ok(()),
    }
}

/// Returns the `prefixes` that contain an address that may be answered.
pub fn answered(prefixes: &[IpNet]) -> impl Iterator<Item = &IpNet> {
    prefixes.iter().filter(|prefix| never_answered(prefix).is_none())
}

/// Returns the kind of the addresses in `prefix` if none of them is ever answered.
fn never_answered(prefix: &IpNet) -> Option<&'static str> {
    NEVER_ANSWERED.iter().find(|(never, _)| never.contains(prefix)).map(|&(_, kind)| kind)
}

/// Returns the IPv4 form of an IPv4-mapped IPv6 prefix, and `None` for any other prefix.
///
/// An IPv4-mapped prefix never matches, because IPv6 packets do not carry such addresses.
pub fn unmapped(prefix: &IpNet) -> Option<IpNet> {
    let IpNet::V6(prefix) = prefix else { return None };
    let length = prefix.prefix_len().checked_sub(96)?;
    let address = prefix.addr().to_ipv4_mapped()?;
    Ipv4Net::new(address, length).ok().map(IpNet::V4)
}

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
    use tcp_bounce_wire::address::{IpAddress as _, Ipv4Address, Ipv6Address};

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

    #[test]
    fn a_list_names_the_malformed_entry() {
        let list: PrefixList = "10.0.0.0/8, 2001:db8::1".parse().unwrap();
        assert_eq!(list.0, ["10.0.0.0/8", "2001:db8::1/128"].map(|prefix| prefix.parse().unwrap()));
        for (text, message) in [
            ("10.0.0.0/8,x", "\"x\" is not an address or a prefix"),
            ("10.0.0.0/33", "\"10.0.0.0/33\" is not an address or a prefix"),
            ("10.0.0.0/8,", "empty entry in the list"),
            ("", "empty entry in the list"),
        ] {
            assert_eq!(text.parse::<PrefixList>().unwrap_err().reason(), message, "{text}");
        }
    }

    #[test]
    fn ipv4_mapped_prefixes_are_refused() {
        for (prefix, instead) in [
            ("::ffff:192.0.2.0/120", Some("192.0.2.0/24")),
            ("::ffff:192.0.2.1/128", Some("192.0.2.1/32")),
            ("::ffff:0:0/96", Some("0.0.0.0/0")),
            ("::/0", None),
            ("::ffff:0:0/95", None),
            ("2001:db8::/32", None),
            ("192.0.2.0/24", None),
        ] {
            let error = validate("--src", &[prefix.parse().unwrap()]).err();
            let hint = error.and_then(|error| error.hint());
            assert_eq!(hint, instead.map(|ipv4| format!("use the IPv4 prefix {ipv4}")), "{prefix}");
        }
    }

    #[test]
    fn lists_without_an_answered_address_are_refused() {
        for (prefixes, kind) in [
            (&["224.0.0.0/4"] as &[_], Some("multicast")),
            (&["239.1.2.3/32"], Some("multicast")),
            (&["255.255.255.255/32"], Some("broadcast")),
            (&["0.0.0.0/8"], Some("unspecified")),
            (&["127.0.0.1/32"], Some("loopback")),
            (&["::/128"], Some("unspecified or loopback")),
            (&["::1/128"], Some("unspecified or loopback")),
            (&["ff02::1/128", "127.0.0.0/9"], Some("multicast")),
            (&["224.0.0.0/4", "192.0.2.1/32"], None),
            (&["224.0.0.0/3"], None),
            (&["240.0.0.0/4"], None),
            (&["0.0.0.0/0"], None),
            (&["::/0"], None),
            (&["::/126"], None),
            (&["fe80::/10"], None),
            (&[], None),
        ] {
            let list: Vec<IpNet> = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
            let error = validate("--dst", &list).err().map(|error| error.to_string());
            let expected =
                kind.map(|kind| format!("--dst lists no address that is ever answered: {} is {kind}", list[0]));
            assert_eq!(error, expected, "{prefixes:?}");
        }
    }

    #[test]
    fn the_program_answers_no_address_that_is_refused() {
        for (prefix, kind) in NEVER_ANSWERED {
            for address in [prefix.network(), prefix.broadcast()] {
                let is_unicast = match address {
                    IpAddr::V4(address) => Ipv4Address(address.octets()).is_unicast(),
                    IpAddr::V6(address) => Ipv6Address(address.octets()).is_unicast(),
                };
                assert!(!is_unicast, "{address} is {kind}");
            }
        }
    }
}
