//! Packets other than complete TCP segments are passed unchanged.

use crate::common;

use common::{ACK, PSH, Request, Setup};
use tcp_bounce_wire::Verdict;

/// Checks the verdicts on a SYN and an ACK, both changed by `edit`. `None` expects `Answered` and `Completed`.
///
/// Takeover is on, so a packet that is mistaken for TCP would be dropped.
fn assert_verdict(expected: Option<Verdict>, edit: impl Fn(Request) -> Request) {
    let setup = Setup::takeover();
    for (request, verdict) in [(Request::syn(), Verdict::Answered), (Request::ack(), Verdict::Completed)] {
        let request = edit(request);
        assert_eq!(setup.verdict(&request.frame()), expected.unwrap_or(verdict), "{request:?}");
    }
}

#[test]
fn passes_other_ethertypes() {
    for ethertype in 0..=u16::MAX {
        let expected = match ethertype {
            0x0800 => None,
            // The IP version is 4, but the ethertype says IPv6.
            0x86dd => Some(Verdict::Malformed),
            _ => Some(Verdict::NotIp),
        };
        assert_verdict(expected, |request| Request { ethertype, ..request });
    }
}

#[test]
fn passes_other_ip_versions() {
    for version in 0..16 {
        let expected = (version != 4).then_some(Verdict::Malformed);
        assert_verdict(expected, |request| Request { version, ..request });
    }
}

#[test]
fn passes_other_protocols() {
    for protocol in 0..=u8::MAX {
        let expected = (protocol != 6).then_some(Verdict::NotTcp);
        assert_verdict(expected, |request| Request { protocol, ..request });
    }
}

#[test]
fn passes_later_fragments_and_ignores_other_flags() {
    for fragment in 0..=u16::MAX {
        let more_fragments = fragment >> 13 & 1 == 1;
        let fragment_offset = fragment % (1 << 13);
        if fragment_offset != 0 || !more_fragments {
            let expected = (fragment_offset != 0).then_some(Verdict::Fragment);
            assert_verdict(expected, |request| Request { fragment, ..request });
        }
    }
}

#[test]
fn drops_first_fragments_of_accepted_connections_only() {
    let first = |request: Request| [Request { fragment: 0x2000, ..request.clone() }, request.first_fragment()];
    let data = Request { flags: ACK | PSH, payload: vec![1; 24], ..Request::ack() };
    for (request, expected) in [
        (data.clone(), Verdict::Later),
        (Request::ack(), Verdict::Later),
        (Request { acknowledgment_number: 0, ..data.clone() }, Verdict::Fragment),
        (Request::syn(), Verdict::Fragment),
    ] {
        for fragment in first(request) {
            assert_eq!(Setup::standard().verdict(&fragment.frame()), expected, "{fragment:?}");
        }
    }
    // Segments of the host's own connections are passed.
    let setup = Setup { connected: Some(data.source_port), ..Setup::standard() };
    for fragment in first(data) {
        assert_eq!(setup.verdict(&fragment.frame()), Verdict::OtherTcp, "{fragment:?}");
    }
}

#[test]
fn accepts_empty_packets() {
    // A packet without payload is valid, unless its protocol is TCP.
    for ip_options in [vec![], vec![1; 8]] {
        let empty = |request| Request {
            total_length: Some(20 + ip_options.len() as u16),
            ip_options: ip_options.clone(),
            ..request
        };
        assert_verdict(Some(Verdict::NotTcp), |request| Request { protocol: 17, ..empty(request) });
        assert_verdict(Some(Verdict::Fragment), |request| Request { fragment: 1, ..empty(request) });
        assert_verdict(Some(Verdict::Malformed), empty);
    }
}
