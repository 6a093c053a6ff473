//! Truncated frames are passed unchanged, wherever they end.

use crate::common;

use common::{ACK, PSH, Request, Setup};
use tcp_bounce_wire::Verdict;

/// Returns the request with IP options, TCP options and data, so that the frame can end within each of them.
fn with_everything(request: Request) -> Request {
    Request {
        ip_options: vec![0x94, 4, 0, 0],
        options: vec![2, 4, 5, 0xb4, 4, 2, 1, 1],
        payload: b"an odd number of bytes".to_vec(),
        ..request
    }
}

fn assert_only_complete(request: &Request, complete: Verdict) {
    let frame = request.frame();
    for setup in Setup::both() {
        for length in 0..frame.len() {
            assert_eq!(setup.verdict(&frame[..length]), Verdict::Malformed, "{length} of {} bytes", frame.len());
        }
        assert_eq!(setup.verdict(&frame), complete);
    }
}

#[test]
fn rejects_truncated_syns() {
    assert_only_complete(&Request::syn(), Verdict::Answered);
    assert_only_complete(&with_everything(Request::syn()), Verdict::Answered);
    assert_only_complete(&with_everything(Request::syn()).twice_tagged(), Verdict::Answered);
    assert_only_complete(&with_everything(Request::syn()).over_ipv6(), Verdict::Answered);
    assert_only_complete(&with_everything(Request::syn()).over_ipv6().tagged(), Verdict::Answered);
}

#[test]
fn rejects_truncated_acks() {
    assert_only_complete(&Request::ack(), Verdict::Completed);
    assert_only_complete(&with_everything(Request { flags: ACK | PSH, ..Request::ack() }), Verdict::Later);
}

#[test]
fn rejects_contradictory_total_lengths() {
    let request = with_everything(Request::syn());
    for setup in Setup::both() {
        for total_length in 0..=u16::MAX {
            let frame = Request { total_length: Some(total_length), ..request.clone() }.frame();
            let fits = (request.headers_length()..=request.datagram_length()).contains(&total_length.into());
            let expected = if fits { Verdict::Answered } else { Verdict::Malformed };
            assert_eq!(setup.verdict(&frame), expected, "total length {total_length}");
        }
    }
}

#[test]
fn answers_the_longest_packet() {
    let mut request = Request::syn();
    request.payload = vec![0xee; usize::from(u16::MAX) - request.headers_length()];
    assert_eq!(request.datagram_length(), 65_535);
    assert_eq!(Setup::standard().verdict(&request.frame()), Verdict::Answered);
}
