//! IPv6: addresses, extension headers, fragments.

use crate::common;

use common::{Request, Setup, V6};
use tcp_bounce_wire::Verdict;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// Checks the verdicts on a SYN and an ACK over IPv6, both changed by `edit`. `None` expects `Answered` and
/// `Completed`.
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

/// Returns the type of the first extension header, and the bytes of all extension headers. `headers` has their types
/// and their lengths in units of 8 bytes.
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
fn rejects_other_versions() {
    for version in 0..16 {
        assert_verdict((version != 6).then_some(Verdict::Malformed), |request, _| request.version = version);
    }
}

#[test]
fn ignores_traffic_class_and_flow_label() {
    for class_and_flow in [1, 0xf_ffff, 0x0ff0_0000, 0x0fff_ffff] {
        assert_verdict(None, |_, v6| v6.class_and_flow = class_and_flow);
    }
}

#[test]
fn passes_other_protocols() {
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
fn skips_extension_headers() {
    for kind in [HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS] {
        for words in [1, 2, 3, 17, 40] {
            assert_extensions(None, &[(kind, words)]);
        }
    }
    assert_extensions(None, &[(HOP_BY_HOP, 1), (DESTINATION_OPTIONS, 2), (ROUTING, 3), (DESTINATION_OPTIONS, 1)]);
}

#[test]
fn passes_packets_with_too_many_extension_headers() {
    let headers = [(HOP_BY_HOP, 1), (DESTINATION_OPTIONS, 1), (ROUTING, 1), (DESTINATION_OPTIONS, 1), (ROUTING, 1)];
    assert_extensions(Some(Verdict::NotTcp), &headers);
}

#[test]
fn passes_packets_with_late_hop_by_hop_options() {
    // After another header, the kernel treats hop-by-hop options as an unknown protocol (`ip6_protocol_deliver_rcu`).
    for before in [HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS] {
        assert_extensions(Some(Verdict::NotTcp), &[(before, 1), (HOP_BY_HOP, 1)]);
        assert_extensions(Some(Verdict::NotTcp), &[(before, 2), (DESTINATION_OPTIONS, 1), (HOP_BY_HOP, 1)]);
    }
}

#[test]
fn passes_fragments() {
    for offset in [8, 9, 0xfff8] {
        let [high, low] = u16::to_be_bytes(offset);
        let later = vec![6, 0, high, low, 0, 0, 0, 9];
        assert_verdict(Some(Verdict::Fragment), |_, v6| {
            (v6.next_header, v6.extensions) = (Some(FRAGMENT), later.clone())
        });
    }
    // The position of the TCP header is not searched after other extension headers.
    assert_extensions(Some(Verdict::Fragment), &[(HOP_BY_HOP, 1), (FRAGMENT, 1)]);
    assert_extensions(Some(Verdict::Fragment), &[(DESTINATION_OPTIONS, 1), (ROUTING, 1), (FRAGMENT, 1)]);
}

#[test]
fn passes_packets_with_segments_left() {
    for segments_left in 1..=u8::MAX {
        assert_verdict(Some(Verdict::NotTcp), |_, v6| {
            (v6.next_header, v6.extensions) = extensions(&[(ROUTING, 3)]);
            v6.extensions[3] = segments_left;
        });
    }
}

#[test]
fn rejects_headers_beyond_the_packet() {
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

#[test]
fn accepts_empty_packets() {
    // A packet without payload is valid, unless its last header announces TCP.
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
fn ignores_bytes_after_the_packet() {
    assert_verdict(None, |request, _| request.trailer = vec![0xee; 9]);
}

#[test]
fn answers_between_possible_addresses_only() {
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
