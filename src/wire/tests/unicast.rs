//! Packets that are not sent from one host to another are passed.

use crate::common;

use common::{Choice, LINUX_OPTIONS, Request, Setup, V6};
use tcp_bounce_wire::address::Ipv4Address;
use tcp_bounce_wire::broadcast_set::MAX_BROADCASTS;
use tcp_bounce_wire::{BroadcastSet, Verdict};

/// Checks the verdicts on a SYN and an ACK, both changed by `edit`: `Answered` and `Completed` if `expected` is true,
/// otherwise `NotUnicast`.
fn assert_unicast(expected: bool, edit: impl Fn(Request) -> Request) {
    for setup in Setup::both() {
        for (request, verdict) in [(Request::syn(), Verdict::Answered), (Request::ack(), Verdict::Completed)] {
            let request = edit(request);
            let expected = if expected { verdict } else { Verdict::NotUnicast };
            assert_eq!(setup.verdict(&request.frame()), expected, "{request:?}");
        }
    }
}

/// Returns whether a host can have this address: not in 0/8, 127/8 and 224/4, and not the broadcast address. Linux
/// treats the reserved addresses of 240/4 as unicast.
fn is_host(address: [u8; 4]) -> bool {
    let [first, ..] = address;
    first != 0 && first != 127 && first / 16 != 14 && address != [255; 4]
}

#[test]
fn never_answers_for_the_unspecified_address() {
    let linux = Request { options: LINUX_OPTIONS.to_vec(), ..Request::syn() };
    let over_ipv6 = V6 { destination: [0; 16], ..V6::new() };
    // Without a primary address, the interface state has zeros, which must not match the unspecified address.
    for primary in [None, Some(Default::default())] {
        let setup = Setup::new(Choice { mac: Some(linux.destination_mac), primary, ..Choice::DEFAULT });
        let v4 = Request { destination: [0; 4], ..linux.clone() };
        assert_eq!(setup.verdict(&v4.frame()), Verdict::NotUnicast);
        let v6 = Request { v6: Some(over_ipv6.clone()), ..linux.clone().over_ipv6() };
        assert_eq!(setup.verdict(&v6.frame()), Verdict::NotUnicast);
    }
}

/// Returns the lowest, the highest and two other addresses of each /8.
fn addresses() -> impl Iterator<Item = [u8; 4]> {
    (0..=u8::MAX).flat_map(|first| [[first, 0, 0, 0], [first, 255, 255, 255], [first, 0, 0, 1], [first, 1, 2, 3]])
}

#[test]
fn passes_impossible_sources() {
    for source in addresses() {
        assert_unicast(is_host(source), |request| Request { source, ..request });
    }
}

#[test]
fn passes_impossible_destinations() {
    for destination in addresses() {
        assert_unicast(is_host(destination), |request| Request { destination, ..request });
    }
}

#[test]
fn passes_packets_to_their_own_source() {
    for address in addresses() {
        assert_unicast(false, |request| Request { source: address, destination: address, ..request });
    }
    // In a LAND attack, the ports are equal, too.
    let port = 139;
    let address = [192, 0, 2, 1];
    assert_unicast(false, |request| Request {
        source: address,
        destination: address,
        source_port: port,
        destination_port: port,
        ..request
    });
}

#[test]
fn distinguishes_addresses_by_each_bit() {
    // If any one bit of this address changes, a host can still have the resulting address.
    let source = [10, 20, 30, 40];
    for bit in 0..32 {
        let destination = (u32::from_be_bytes(source) ^ 1 << bit).to_be_bytes();
        assert_unicast(true, |request| Request { source, destination, ..request });
        assert_unicast(true, |request| Request { source: destination, destination: source, ..request });
    }
}

#[test]
fn answers_between_equal_ports() {
    assert_unicast(true, |request| Request { source_port: 443, destination_port: 443, ..request });
}

#[test]
fn passes_broadcast_addresses_of_the_own_subnets() {
    let linux = Request { options: LINUX_OPTIONS.to_vec(), ..Request::syn() };
    let primary = Some((linux.destination, V6::new().destination));
    let broadcasts = [[192, 0, 2, 255], [10, 1, 2, 127], [198, 51, 100, 3]];
    for count in 0..=broadcasts.len() {
        let choice = Choice { mac: Some(linux.destination_mac), primary, ..Choice::DEFAULT };
        let mut setup = Setup::new(choice);
        for &broadcast in &broadcasts[..count] {
            setup.filters.broadcasts.insert(Ipv4Address(broadcast)).expect("room for three addresses");
        }
        for source in addresses().chain(broadcasts).chain([[192, 0, 2, 127], [10, 1, 2, 3]]) {
            let is_client = is_host(source) && !broadcasts[..count].contains(&source);
            let expected = if is_client { Verdict::Answered } else { Verdict::NotUnicast };
            // The first SYN takes the fast path.
            for syn in [linux.clone(), Request::syn()] {
                let syn = Request { source, ..syn };
                assert_eq!(setup.verdict(&syn.frame()), expected, "{syn:?}");
            }
        }
    }
}

#[test]
fn holds_a_limited_number_of_broadcast_addresses() {
    let mut set = BroadcastSet::new();
    for number in 0..MAX_BROADCASTS as u8 {
        assert_eq!(set.insert(Ipv4Address([10, number, 0, 255])), Some(()));
    }
    let full = set;
    assert_eq!(set.insert(Ipv4Address([10, 99, 0, 255])), None);
    assert_eq!(set, full);
    assert!(set.contains(Ipv4Address([10, MAX_BROADCASTS as u8 - 1, 0, 255])));
}

#[test]
fn passes_group_mac_addresses() {
    for first in 0..=u8::MAX {
        // The addresses include broadcast and all zeros.
        for rest in [0, 0xff, 0x01] {
            let mac = [first, rest, rest, rest, rest, rest];
            let is_single = first % 2 == 0;
            assert_unicast(is_single, |request| Request { destination_mac: mac, ..request });
            assert_unicast(is_single, |request| Request { source_mac: mac, ..request });
        }
    }
}
