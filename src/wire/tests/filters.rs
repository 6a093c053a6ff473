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
