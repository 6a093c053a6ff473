//! What is particular to IPv6: addresses, extension headers, fragments.

use crate::common;

use common::{Request, Setup, V6};
use tcp_bounce_wire::Verdict;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// A SYN and an ACK over IPv6 that were changed by `edit`, with their verdicts: `None` if it makes no difference.
fn assert_verdict(expected: Option<Verdict>, edit: impl Fn(&mut Request, &mut V6)) {
    for setup in Setup::both() {
        for (request, verdict) in [(Request::syn(), Verdict::Answered), (Request::ack(), Verdict::Completed)] {
            for mut request in [request.clone().over_ipv6(), request.over_ipv6().tagged()] {
                let mut v6 = V6::new();
                edit(&mut request, &mut v6);
                request.v6 = Some(v6);
                assert_eq!(setup.verdict(&request.frame()), expected.unwrap_or(verdict), "{request:?}");
            }
        }
    }
}

/// Extension headers of these types, each of so many times 8 bytes: the type of the first, and all bytes.
fn extensions(headers: &[(u8, u8)]) -> (Option<u8>, Vec<u8>) {
    let next = |index: usize| headers.get(index).map_or(6, |&(kind, _)| kind);
    let header = |(index, &(_, words)): (usize, &(u8, u8))| {
        let mut bytes = vec![0; usize::from(words) * 8];
        (bytes[0], bytes[1]) = (next(index + 1), words - 1);
        bytes
    };
    (Some(next(0)), headers.iter().enumerate().flat_map(header).collect())
}

fn assert_extensions(expected: Option<Verdict>, headers: &[(u8, u8)]) {
    assert_verdict(expected, |_, v6| (v6.next_header, v6.extensions) = extensions(headers));
}

#[test]
fn every_version_but_6_is_malformed() {
    for version in 0..16 {
        assert_verdict((version != 6).then_some(Verdict::Malformed), |request, _| request.version = version);
    }
}

#[test]
fn traffic_class_and_flow_label_do_not_matter() {
    for class_and_flow in [1, 0xf_ffff, 0x0ff0_0000, 0x0fff_ffff] {
        assert_verdict(None, |_, v6| v6.class_and_flow = class_and_flow);
    }
}

#[test]
fn every_other_upper_layer_is_passed() {
    for protocol in (0..=u8::MAX).filter(|protocol| ![HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS].contains(protocol)) {
        let expected = match protocol {
            6 => None,
            FRAGMENT => Some(Verdict::Fragment),
            _ => Some(Verdict::NotTcp),
        };
        assert_verdict(expected, |request, _| request.protocol = protocol);
    }
}

#[test]
fn extension_headers_are_walked() {
    for kind in [HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS] {
        for words in [1, 2, 3, 17, 40] {
            assert_extensions(None, &[(kind, words)]);
        }
    }
    assert_extensions(None, &[(HOP_BY_HOP, 1), (DESTINATION_OPTIONS, 2), (ROUTING, 3), (DESTINATION_OPTIONS, 1)]);
}

#[test]
fn more_extension_headers_than_make_sense_are_passed() {
    let headers = [(HOP_BY_HOP, 1), (DESTINATION_OPTIONS, 1), (ROUTING, 1), (DESTINATION_OPTIONS, 1), (ROUTING, 1)];
    assert_extensions(Some(Verdict::NotTcp), &headers);
}

/// The kernel takes the type for that of an unknown protocol (`ip6_protocol_deliver_rcu`).
#[test]
fn hop_by_hop_options_that_do_not_come_first_are_passed() {
    for before in [HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS] {
        assert_extensions(Some(Verdict::NotTcp), &[(before, 1), (HOP_BY_HOP, 1)]);
        assert_extensions(Some(Verdict::NotTcp), &[(before, 2), (DESTINATION_OPTIONS, 1), (HOP_BY_HOP, 1)]);
    }
}

#[test]
fn a_fragment_is_passed_wherever_its_header_is() {
    assert_extensions(Some(Verdict::Fragment), &[(FRAGMENT, 1)]);
    assert_extensions(Some(Verdict::Fragment), &[(HOP_BY_HOP, 1), (FRAGMENT, 1)]);
    assert_extensions(Some(Verdict::Fragment), &[(DESTINATION_OPTIONS, 1), (ROUTING, 1), (FRAGMENT, 1)]);
}

#[test]
fn a_segment_that_is_to_be_routed_on_is_passed() {
    for segments_left in 1..=u8::MAX {
        assert_verdict(Some(Verdict::NotTcp), |_, v6| {
            (v6.next_header, v6.extensions) = extensions(&[(ROUTING, 3)]);
            v6.extensions[3] = segments_left;
        });
    }
}

#[test]
fn headers_that_end_beyond_the_packet_are_malformed() {
    for words in 1..=u8::MAX {
        assert_verdict(Some(Verdict::Malformed), |request, v6| {
            (v6.next_header, v6.extensions) = extensions(&[(DESTINATION_OPTIONS, words)]);
            v6.extensions.truncate(8);
            request.options = Vec::new();
            v6.extensions[1] = v6.extensions[1].max(3);
        });
    }
    for missing in 1..40 {
        assert_verdict(Some(Verdict::Malformed), |request, v6| {
            request.trailer = vec![0; 40];
            v6.payload_length = Some((20 + request.options.len()).saturating_sub(missing) as u16);
        });
    }
}

/// Nothing is wrong with a packet that is all header, unless that says that TCP follows.
#[test]
fn an_empty_packet_is_whole() {
    for (next_header, verdict) in [(59, Verdict::NotTcp), (17, Verdict::NotTcp), (6, Verdict::Malformed)] {
        assert_verdict(Some(verdict), |_, v6| {
            (v6.next_header, v6.payload_length) = (Some(next_header), Some(0));
        });
        assert_verdict(Some(verdict), |_, v6| {
            (v6.next_header, v6.extensions) = (Some(DESTINATION_OPTIONS), vec![next_header, 0, 1, 4, 0, 0, 0, 0]);
            v6.payload_length = Some(8);
        });
    }
}

#[test]
fn what_lies_behind_the_packet_is_no_data() {
    assert_verdict(None, |request, _| request.trailer = vec![0xee; 9]);
}

#[test]
fn only_addresses_that_a_host_can_have_are_answered() {
    let address = |text: &str| text.parse::<std::net::Ipv6Addr>().expect("an address").octets();
    for (text, is_host) in [
        ("::", false),
        ("::1", false),
        ("::2", true),
        ("::1:0:0", true),
        ("::ffff:192.0.2.1", false),
        ("::fffe:192.0.2.1", true),
        ("::1:ffff:192.0.2.1", true),
        ("64:ff9b::192.0.2.1", true),
        ("2001:db8::1", true),
        ("fe80::1", true),
        ("fd00::1", true),
        ("feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true),
        ("ff00::", false),
        ("ff02::1", false),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false),
    ] {
        let expected = (!is_host).then_some(Verdict::NotUnicast);
        assert_verdict(expected, |_, v6| v6.source = address(text));
        assert_verdict(expected, |_, v6| v6.destination = address(text));
        assert_verdict(Some(Verdict::NotUnicast), |_, v6| (v6.source, v6.destination) = (address(text), address(text)));
    }
}
