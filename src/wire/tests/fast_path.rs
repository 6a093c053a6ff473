//! The fast path for plain frames, and its SYNs. Any other frame takes the general path.

use crate::common;

use common::{Choice, LINUX_OPTIONS, Request, Setup, V6};
use tcp_bounce_wire::{Action, Verdict};

fn syn() -> Request {
    Request { options: LINUX_OPTIONS.to_vec(), ..Request::syn() }
}

/// Returns a setup that answers only frames to the MAC address and the primary addresses in [`syn`].
fn setup() -> Setup {
    let primary = Some((Request::syn().destination, V6::new().destination));
    let setup = Setup::new(Choice { mac: Some(Request::syn().destination_mac), primary, ..Choice::DEFAULT });
    // The address set stays empty, so tcp-bounce answers only for the primary addresses.
    Setup { filters_destinations: true, ..setup }
}

/// Checks the verdict on a SYN over IPv4 and on a SYN over IPv6, both changed by `edit`.
fn assert_verdict(expected: Verdict, edit: impl Fn(&mut Request, &mut V6)) {
    for mut request in [syn(), syn().over_ipv6()] {
        let mut v6 = V6::new();
        edit(&mut request, &mut v6);
        request.v6 = request.v6.map(|_| v6);
        assert_eq!(setup().verdict(&request.frame()), expected, "{request:?}");
    }
}

#[test]
fn answers_the_syn_of_linux_and_its_variants() {
    assert_verdict(Verdict::Answered, |_, _| {});
    // Variants: with data, with padding, with other options of equal length, and with a VLAN tag.
    assert_verdict(Verdict::Answered, |request, _| request.payload = vec![1; 4]);
    assert_verdict(Verdict::Answered, |request, _| request.trailer = vec![1; 4]);
    assert_verdict(Verdict::Answered, |request, _| request.options = [&[1; 18][..], &[4, 2]].concat());
    assert_verdict(Verdict::Answered, |request, _| request.tags = vec![0x81, 0, 0, 1]);
    // A data offset of 5 turns the bytes of the options into data.
    assert_verdict(Verdict::Answered, |request, _| request.data_offset = Some(5));
}

#[test]
fn checks_each_field() {
    assert_verdict(Verdict::NotIp, |request, _| request.ethertype = 0x0806);
    assert_verdict(Verdict::OtherHost, |request, _| request.destination_mac[5] ^= 1);
    assert_verdict(Verdict::NotUnicast, |request, _| request.source_mac[0] |= 1);
    assert_verdict(Verdict::Malformed, |request, _| request.version = 5);
    assert_verdict(Verdict::NotTcp, |request, _| request.protocol = 17);
    assert_verdict(Verdict::OtherDestination, |request, v6| {
        request.destination[3] ^= 1;
        v6.destination[15] ^= 1;
    });
    assert_verdict(Verdict::NotUnicast, |request, v6| (request.source[0], v6.source[0]) = (224, 0xff));
    assert_verdict(Verdict::NotUnicast, |request, v6| {
        (request.source, v6.source) = (request.destination, v6.destination);
    });
    assert_verdict(Verdict::Malformed, |request, v6| {
        (request.total_length, v6.payload_length) = (Some(61), Some(41));
    });
    for data_offset in [0, 1, 4, 11, 15] {
        assert_verdict(Verdict::Malformed, |request, _| request.data_offset = Some(data_offset));
    }
    for flags in 0..=u8::MAX {
        // With its options, the TCP header has a data offset of 10. A data offset of 5 turns the options into data.
        for data_offset in [10, 5] {
            let expected = common::expected(flags, false, data_offset == 5, false);
            assert_verdict(expected, |request, _| (request.flags, request.data_offset) = (flags, Some(data_offset)));
        }
    }
}

#[test]
fn checks_fragmentation_and_header_length() {
    let verdict = |request: Request| setup().verdict(&request.frame());
    // Another IHL moves the start of the TCP header.
    for ihl in [4, 6] {
        assert_eq!(verdict(Request { ihl: Some(ihl), ..syn() }), Verdict::Malformed);
    }
    for fragment in [1, 0x2000] {
        assert_eq!(verdict(Request { fragment, ..syn() }), Verdict::Fragment);
    }
}

#[test]
fn applies_filters() {
    for request in [syn(), syn().over_ipv6()] {
        let mut excluding = setup();
        excluding.filters.excluded_ports.insert(request.destination_port);
        assert_eq!(excluding.verdict(&request.frame()), Verdict::Excluded);
        let from = Setup { filters_sources: true, ..setup() };
        assert_eq!(from.verdict(&request.frame()), Verdict::OtherSource);
    }
}

#[test]
fn answers_for_each_action() {
    for action in Action::ALL {
        for key in [None, Some([1; 16])].into_iter().filter(|key| key.is_some() || !action.follows_client()) {
            let choice = Choice { action, key, ..setup().settings };
            for request in [syn(), syn().over_ipv6()] {
                // `Setup::verdict` checks the SYN-ACK for the action.
                assert_eq!(Setup::new(choice).verdict(&request.frame()), Verdict::Answered, "{action:?}");
            }
        }
    }
}
