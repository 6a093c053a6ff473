//! All 256 combinations of the TCP flags, and the bits beside them.

use crate::common;

use common::{ACK, Choice, FIN, PSH, RST, Request, SYN, Setup, URG};
use tcp_bounce_wire::Verdict;

/// Segments with the acknowledgment number `number`: whether they carry data, and what else they have.
fn segments(number: u32) -> [(bool, Request); 6] {
    let bare = Request { acknowledgment_number: number, ..Request::ack() };
    let payload = Request { payload: vec![0], ..bare.clone() };
    // A frame on a wire has 60 bytes at least: what fills it up is no data.
    let padded = Request { trailer: vec![0; 6], ..bare.clone() };
    let with_options = |request: &Request| Request {
        ip_options: vec![1; 4],
        options: vec![1, 1, 8, 10, 0, 1, 2, 3, 0, 0, 0, 0],
        ..request.clone()
    };
    let (long, long_payload) = (with_options(&bare), with_options(&payload));
    let huge = Request { payload: vec![0xff; 1400], ..bare.clone() };
    [(false, bare), (true, payload), (false, padded), (false, long), (true, long_payload), (true, huge)]
}

#[test]
fn each_combination_of_flags_gets_its_verdict() {
    let isn = Choice::DEFAULT.isn;
    for setup in Setup::both() {
        for number in [isn + 1, isn, isn + 2, 0, !isn, (isn + 1).swap_bytes(), (isn + 1) ^ 1 << 31] {
            for (has_payload, request) in segments(number) {
                for flags in 0..=u8::MAX {
                    let request = Request { flags, ..request.clone() };
                    let expected = common::expected(flags, number == isn + 1, has_payload, setup.settings.takeover);
                    assert_eq!(setup.verdict(&request.frame()), expected, "{request:?} {:?}", setup.settings);
                }
            }
        }
    }
}

/// The rule of the tests itself, spelled out for the segments that a host really meets.
#[test]
fn the_segments_of_a_connection_get_the_verdicts_that_their_names_suggest() {
    let setup = Setup::standard();
    let verdict =
        |flags, payload: &[u8]| setup.verdict(&Request { flags, payload: payload.to_vec(), ..Request::ack() }.frame());
    assert_eq!(verdict(SYN, b""), Verdict::Answered);
    assert_eq!(verdict(SYN, b"early"), Verdict::Answered);
    assert_eq!(verdict(ACK, b""), Verdict::Completed);
    assert_eq!(verdict(ACK | PSH, b"GET / HTTP/1.1"), Verdict::Later);
    assert_eq!(verdict(ACK | PSH | URG, b"!"), Verdict::Later);
    assert_eq!(verdict(FIN | ACK, b""), Verdict::Later);
    assert_eq!(verdict(RST | ACK, b""), Verdict::Later);
    // What answers or ends a connection that the host opened itself.
    assert_eq!(verdict(SYN | ACK, b""), Verdict::OtherTcp);
    assert_eq!(verdict(RST, b""), Verdict::OtherTcp);
    // What scanners send.
    assert_eq!(verdict(0, b""), Verdict::OtherTcp);
    assert_eq!(verdict(FIN, b""), Verdict::OtherTcp);
    assert_eq!(verdict(SYN | FIN, b""), Verdict::OtherTcp);
    assert_eq!(verdict(SYN | RST, b""), Verdict::OtherTcp);
}

#[test]
fn the_bits_before_the_flags_do_not_matter() {
    let setup = Setup::standard();
    for reserved in 0..16 {
        assert_eq!(setup.verdict(&Request { reserved, ..Request::syn() }.frame()), Verdict::Answered);
        assert_eq!(setup.verdict(&Request { reserved, ..Request::ack() }.frame()), Verdict::Completed);
    }
}

#[test]
fn the_number_after_the_last_isn_is_zero() {
    let setup = Setup::new(Choice { isn: u32::MAX, ..Choice::DEFAULT });
    let verdict = |acknowledgment_number| setup.verdict(&Request { acknowledgment_number, ..Request::ack() }.frame());
    assert_eq!(verdict(0), Verdict::Completed);
    assert_eq!(verdict(1), Verdict::OtherTcp);
    assert_eq!(verdict(u32::MAX), Verdict::OtherTcp);
}
