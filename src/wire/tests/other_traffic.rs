//! What is not TCP over IP over Ethernet, and whole, is passed as it came.

use crate::common;

use common::{Request, Setup};
use tcp_bounce_wire::Verdict;

/// Checks a SYN and an ACK that were changed by `edit`; `None`: that it makes no difference. All is under takeover,
/// where the most could be dropped.
fn assert_verdict(expected: Option<Verdict>, edit: impl Fn(Request) -> Request) {
    let setup = Setup::takeover();
    for (request, verdict) in [(Request::syn(), Verdict::Answered), (Request::ack(), Verdict::Completed)] {
        let request = edit(request);
        assert_eq!(setup.verdict(&request.frame()), expected.unwrap_or(verdict), "{request:?}");
    }
}

#[test]
fn every_ethertype_but_that_of_ipv4_is_passed() {
    for ethertype in 0..=u16::MAX {
        let expected = match ethertype {
            0x0800 => None,
            // Version 4 over the type of version 6.
            0x86dd => Some(Verdict::Malformed),
            _ => Some(Verdict::NotIp),
        };
        assert_verdict(expected, |request| Request { ethertype, ..request });
    }
}

#[test]
fn every_ip_version_but_4_is_passed() {
    for version in 0..16 {
        let expected = (version != 4).then_some(Verdict::Malformed);
        assert_verdict(expected, |request| Request { version, ..request });
    }
}

#[test]
fn every_protocol_but_tcp_is_passed() {
    for protocol in 0..=u8::MAX {
        let expected = (protocol != 6).then_some(Verdict::NotTcp);
        assert_verdict(expected, |request| Request { protocol, ..request });
    }
}

#[test]
fn every_fragment_is_passed_and_df_and_the_reserved_flag_do_not_make_one() {
    for fragment in 0..=u16::MAX {
        let more_fragments = fragment >> 13 & 1 == 1;
        let fragment_offset = fragment % (1 << 13);
        let expected = (more_fragments || fragment_offset != 0).then_some(Verdict::Fragment);
        assert_verdict(expected, |request| Request { fragment, ..request });
    }
}

/// Nothing is wrong with a datagram that is all header.
#[test]
fn an_empty_datagram_is_whole() {
    for ip_options in [vec![], vec![1; 8]] {
        let empty = |request| Request {
            total_length: Some(20 + ip_options.len() as u16),
            ip_options: ip_options.clone(),
            ..request
        };
        assert_verdict(Some(Verdict::NotTcp), |request| Request { protocol: 17, ..empty(request) });
        assert_verdict(Some(Verdict::Fragment), |request| Request { fragment: 0x2000, ..empty(request) });
        assert_verdict(Some(Verdict::Malformed), empty);
    }
}
