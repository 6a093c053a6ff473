//! Filters by MAC address, destination and source, and the address sets that implement the filters.

use crate::common;

use std::collections::BTreeSet;

use common::{Choice, Request, Setup, V6};
use proptest::collection::btree_set;
use proptest::prelude::*;
use tcp_bounce_wire::address::AddressBits;
use tcp_bounce_wire::address_set::{AddressRange, MAX_RANGES};
use tcp_bounce_wire::{AddressSet, Verdict};
use zerocopy::FromZeros as _;

/// Returns an IPv4 address as the number of its IPv4-mapped IPv6 address.
fn v4(address: [u8; 4]) -> u128 {
    0xffff_0000_0000 | u128::from(u32::from_be_bytes(address))
}

fn number(number: u128) -> AddressBits {
    AddressBits { high: (number >> 64) as u64, low: number as u64 }
}

fn ranges(bounds: &[(u128, u128)]) -> Vec<AddressRange> {
    bounds.iter().map(|&(first, last)| AddressRange { first: number(first), last: number(last) }).collect()
}

fn set(bounds: &[(u128, u128)]) -> Box<AddressSet> {
    let mut set = AddressSet::new_box_zeroed().expect("memory");
    set.fill(&ranges(bounds)).expect("not too many");
    set
}

#[test]
fn answers_for_destinations_of_the_set_only() {
    for setup in Setup::both() {
        let mut setup = Setup { filters_destinations: true, ..setup };
        let request = Request::syn();
        assert_eq!(setup.verdict(&request.frame()), Verdict::OtherDestination, "the set is empty");
        let own = v4(request.destination);
        for (bounds, expected) in [
            ((own, own), Verdict::Answered),
            ((own - 1, own - 1), Verdict::OtherDestination),
            ((own + 1, own + 1), Verdict::OtherDestination),
            ((own - 1, own + 1), Verdict::Answered),
        ] {
            setup.filters.destinations[0].fill(&ranges(&[bounds])).unwrap();
            assert_eq!(setup.verdict(&request.frame()), expected, "{bounds:x?}");
            // The set of destinations has no effect on sources.
            let back = Request { source: request.destination, destination: request.source, ..request.clone() };
            assert_eq!(setup.verdict(&back.frame()), Verdict::OtherDestination);
        }
        let own = u128::from_be_bytes(V6::new().destination);
        setup.filters.destinations[0].fill(&ranges(&[(v4([1, 2, 3, 4]), v4([1, 2, 3, 4])), (own, own)])).unwrap();
        assert_eq!(setup.verdict(&request.clone().over_ipv6().frame()), Verdict::Answered);
        assert_eq!(setup.verdict(&Request::ack().over_ipv6().frame()), Verdict::Completed);
        assert_eq!(setup.verdict(&request.frame()), Verdict::OtherDestination);
    }
}

#[test]
fn uses_the_active_set_of_destinations() {
    let mut setup = Setup { filters_destinations: true, ..Setup::standard() };
    let request = Request::syn();
    let own = v4(request.destination);
    setup.filters.destinations[1].fill(&ranges(&[(own, own)])).unwrap();
    assert_eq!(setup.verdict(&request.frame()), Verdict::OtherDestination);
    setup.filters.active_destinations = 1;
    assert_eq!(setup.verdict(&request.frame()), Verdict::Answered);
}

#[test]
fn answers_sources_of_the_set_only() {
    let mut setup = Setup { filters_sources: true, ..Setup::takeover() };
    let request = Request::syn();
    assert_eq!(setup.verdict(&request.frame()), Verdict::OtherSource);
    let client = v4(request.source);
    setup.filters.sources.fill(&ranges(&[(client, client)])).unwrap();
    assert_eq!(setup.verdict(&request.frame()), Verdict::Answered);
    assert_eq!(setup.verdict(&Request::ack().frame()), Verdict::Completed);
    assert_eq!(setup.verdict(&Request { source: [10, 0, 0, 1], ..request }.frame()), Verdict::OtherSource);
}

#[test]
fn answers_frames_to_the_own_mac_address_only() {
    let own = Request::syn().destination_mac;
    for takeover in [false, true] {
        let setup = Setup::new(Choice { mac: Some(own), takeover, ..Choice::DEFAULT });
        for (request, verdict) in [(Request::syn(), Verdict::Answered), (Request::ack(), Verdict::Completed)] {
            for request in [request.clone(), request.clone().over_ipv6(), request.twice_tagged()] {
                assert_eq!(setup.verdict(&request.frame()), verdict);
                // One bit differs, or the same bit of two bytes. Two differences must not cancel each other out.
                for bit in 0..48 {
                    for byte in 0..6 {
                        let mut difference = [0; 6];
                        difference[bit / 8] |= 1 << (bit % 8);
                        difference[byte] |= 1 << (bit % 8);
                        let destination_mac = std::array::from_fn(|byte| own[byte] ^ difference[byte]);
                        let request = Request { destination_mac, ..request.clone() };
                        assert_eq!(setup.verdict(&request.frame()), Verdict::OtherHost, "{request:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn holds_the_maximum_number_of_ranges() {
    let bounds: Vec<_> = (0..=MAX_RANGES as u128).map(|index| (index * 4, index * 4 + 1)).collect();
    let mut set = set(&bounds[..MAX_RANGES]);
    for index in 0..MAX_RANGES as u128 * 4 + 4 {
        assert_eq!(set.contains(number(index)), index % 4 < 2 && index < MAX_RANGES as u128 * 4, "{index}");
    }
    assert_eq!(set.fill(&ranges(&bounds)), None);
}

/// Fills a set with ranges, and looks up all addresses at the ends of ranges and next to them.
///
/// The expected result comes from a binary search.
fn assert_contains(bounds: &[(u128, u128)], probes: impl IntoIterator<Item = u128>) {
    // The set has other contents before.
    let others: Vec<_> = (0..MAX_RANGES as u128).map(|index| (index << 90, index << 90 | 77)).collect();
    let mut set = set(&others);
    set.fill(&ranges(bounds)).expect("not too many");
    let ends = bounds.iter().flat_map(|&(first, last)| [first, last]);
    let near = ends.flat_map(|end| [end.wrapping_sub(1), end, end.wrapping_add(1)]);
    for probe in near.chain(probes).chain([0, u128::MAX]) {
        let index = bounds.partition_point(|&(_, last)| last < probe);
        let expected = bounds.get(index).is_some_and(|&(first, _)| first <= probe);
        assert_eq!(set.contains(number(probe)), expected, "{probe:x} in {} ranges", bounds.len());
    }
}

/// Returns ranges between consecutive numbers. Some contain a single address, and some directly follow another.
fn between(numbers: BTreeSet<u128>) -> Vec<(u128, u128)> {
    let numbers: Vec<u128> = numbers.into_iter().take(2 * MAX_RANGES).collect();
    let pairs = numbers.windows(2).enumerate();
    let bounds = pairs.filter_map(|(index, pair)| match index % 5 {
        0 | 2 => Some((pair[0], pair[1] - 1)),
        1 => Some((pair[0], pair[0])),
        _ => None,
    });
    bounds.take(MAX_RANGES).collect()
}

/// Returns the prefixes with these first addresses and host bits, without overlaps.
fn prefixes(numbers: BTreeSet<(u128, u32)>) -> Vec<(u128, u128)> {
    let mut bounds: Vec<(u128, u128)> = Vec::new();
    for (number, host_bits) in numbers {
        let mask = (1 << host_bits) - 1;
        let is_free = bounds.last().is_none_or(|&(_, last)| last < number & !mask);
        if is_free && bounds.len() < MAX_RANGES {
            bounds.push((number & !mask, number | mask));
        }
    }
    bounds
}

/// Generates addresses of one kind: IPv4, IPv6, addresses of one /64, addresses of one /32, or small numbers.
fn address() -> impl Strategy<Value = u128> {
    let global = any::<u128>().prop_map(|bits| 0x2 << 124 | bits >> 4);
    prop_oneof![
        3 => any::<[u8; 4]>().prop_map(v4),
        3 => global,
        1 => any::<u128>(),
        3 => any::<u64>().prop_map(|low| 0xfd00_0000_0000_0001 << 64 | u128::from(low)),
        3 => any::<u128>().prop_map(|bits| 0x2001_0db8 << 96 | bits >> 32),
        1 => 0..600u128,
    ]
}

#[test]
fn finds_addresses_in_full_sets() {
    let full = 0..MAX_RANGES as u128;
    let start = 0x2001_0db8 << 96;
    // 4096 prefixes of the lengths /48, /128, /64 and /13, and of IPv4.
    for (base, host_bits, step) in
        [(start, 80, 80), (start, 0, 0), (start, 0, 3), (start, 64, 64), (0, 115, 116), (v4([10, 0, 0, 0]), 4, 8)]
    {
        let bounds: Vec<_> = full
            .clone()
            .map(|index| (base + (index << step), base + (index << step) + ((1 << host_bits) - 1)))
            .collect();
        assert_contains(&bounds, bounds.iter().map(|&(first, last)| first + (last - first) / 2));
    }
    // No single prefix: each range crosses the middle of its block.
    let crossing: Vec<_> = full.clone().map(|index| (index << 80 | 1, ((index + 1) << 80) - 2)).collect();
    assert_contains(&crossing, full.map(|index| index << 80 | 1 << 79));
}

#[test]
fn finds_addresses_in_nested_blocks() {
    // All addresses but one, as 128 prefixes. Each prefix is half as large as the one before.
    for address in [0, 1, u128::MAX, v4([1, 2, 3, 4]), 0x2001_0db8 << 96 | 0x5555] {
        let siblings = (0..128).map(|host_bits| ((address ^ 1 << host_bits) >> host_bits << host_bits, host_bits));
        let mut bounds: Vec<_> = siblings.map(|(first, bits)| (first, first | ((1 << bits) - 1))).collect();
        bounds.sort_unstable();
        assert_contains(&bounds, (0..128).map(|bit| address ^ 1 << bit));
        assert_contains(&bounds[..64], (0..128).map(|bit| address ^ 1 << bit));
    }
    assert_contains(&[(0, u128::MAX)], [1, 1 << 64]);
    assert_contains(&[(0, u128::MAX - 1), (u128::MAX, u128::MAX)], [1, 1 << 64]);
    assert_contains(&[(0, (1 << 127) - 1), (1 << 127, u128::MAX)], [1, 1 << 64]);
    assert_contains(&[], [1, 1 << 64]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn contains_addresses_of_mixed_sets(
        numbers in prop_oneof![
            btree_set(address(), 0..20),
            btree_set(address(), 0..2000),
            btree_set(address(), 8000..9000),
        ],
        of_one_kind in prop_oneof![
            btree_set(any::<[u8; 4]>().prop_map(v4), 0..3000),
            btree_set(any::<u128>(), 0..3000),
            btree_set(any::<u64>().prop_map(|low| 0xfd00 << 112 | u128::from(low)), 0..3000),
        ],
        subnets in btree_set((address(), prop_oneof![Just(0), Just(64), Just(80), 0..100u32]), 0..6000),
        probes in proptest::collection::vec(address(), 100),
    ) {
        for bounds in [between(numbers), between(of_one_kind), prefixes(subnets)] {
            assert_contains(&bounds, probes.iter().copied());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn contains_exactly_the_addresses_of_its_ranges(
        bounds in btree_set(any::<u128>(), 0..40),
        small in btree_set(0..300u128, 0..40),
        probes in proptest::collection::vec(any::<u128>(), 20),
    ) {
        for bounds in [bounds, small] {
            let bounds: Vec<u128> = bounds.into_iter().collect();
            let pairs: Vec<(u128, u128)> = bounds.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
            let set = set(&pairs);
            let near = bounds.iter().flat_map(|&bound| [bound.wrapping_sub(1), bound, bound.wrapping_add(1)]);
            for probe in near.chain(probes.iter().copied()).chain([0, u128::MAX]).collect::<BTreeSet<_>>() {
                // The expected result comes from a linear search.
                let expected = pairs.iter().any(|&(first, last)| first <= probe && probe <= last);
                prop_assert_eq!(set.contains(number(probe)), expected, "{:x} in {:x?}", probe, pairs);
            }
        }
    }
}
