//! All 256 combinations of TCP flags, and the reserved bits of the TCP header.

use crate::common;

use common::{ACK, CWR, Choice, ECE, FIN, LINUX_OPTIONS, PSH, RST, Request, SYN, Segment, Setup, URG, V6};
use tcp_bounce_wire::Verdict;

/// Returns segments that acknowledge `number`, each paired with whether it carries data.
fn segments(number: u32) -> [(bool, Request); 6] {
    let bare = Request { acknowledgment_number: number, ..Request::ack() };
    let payload = Request { payload: vec![0], ..bare.clone() };
    // Ethernet pads frames to 60 bytes. Padding does not count as data.
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
fn decides_about_each_combination_of_flags() {
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

#[test]
fn decides_about_the_segments_of_a_connection() {
    // These verdicts do not depend on `common::expected`, and so verify its rule.
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
    // Replies in connections that the host opened.
    assert_eq!(verdict(SYN | ACK, b""), Verdict::OtherTcp);
    assert_eq!(verdict(RST, b""), Verdict::OtherTcp);
    // Probes of scanners.
    assert_eq!(verdict(0, b""), Verdict::WithoutAck);
    assert_eq!(verdict(FIN, b""), Verdict::WithoutAck);
    assert_eq!(verdict(FIN | PSH | URG, b""), Verdict::WithoutAck);
    assert_eq!(verdict(SYN | FIN, b""), Verdict::WithoutAck);
    assert_eq!(verdict(PSH, b"data"), Verdict::WithoutAck);
    assert_eq!(verdict(SYN | RST, b""), Verdict::OtherTcp);
}

/// The cases come from a listener of Linux 6.18: reserved bits with AE, marks in the IP header, `tcp_ecn` 0 to 2.
#[test]
fn accepts_ecn_as_linux_does() {
    for (ecn, flags, reserved, mark, is_accepted) in [
        (true, ECE | CWR, 0, 0, true),
        (false, ECE | CWR, 0, 0, false),
        (true, ECE, 0, 0, false),
        (true, CWR, 0, 0, false),
        (true, 0, 1, 0, false),
        (true, ECE, 1, 0, false),
        (true, ECE | CWR, 0, 1, false),
        (true, ECE | CWR, 0, 2, false),
        (true, ECE | CWR, 0, 3, false),
        (true, ECE | CWR, 1, 2, true),
        (true, ECE | CWR, 4, 3, true),
        (false, ECE | CWR, 1, 2, false),
    ] {
        let setup = Setup::new(Choice { ecn, ..Choice::DEFAULT });
        let syn = Request { flags: SYN | flags, reserved, type_of_service: mark, ..Request::syn() };
        let v6 = V6 { class_and_flow: u32::from(mark) << 20, ..V6::new() };
        let options = LINUX_OPTIONS.to_vec();
        for request in [
            syn.clone(),
            Request { options: options.clone(), ..syn.clone() },
            Request { v6: Some(v6), options, ..syn.over_ipv6() },
        ] {
            let answer = setup.respond(&request.frame()).1;
            let answer = Segment::parse(&answer).expect("a segment").flags();
            assert_eq!(answer, SYN | ACK | if is_accepted { ECE } else { 0 }, "{request:?}");
        }
    }
}

#[test]
fn ignores_reserved_bits() {
    let setup = Setup::standard();
    for reserved in 0..16 {
        assert_eq!(setup.verdict(&Request { reserved, ..Request::syn() }.frame()), Verdict::Answered);
        assert_eq!(setup.verdict(&Request { reserved, ..Request::ack() }.frame()), Verdict::Completed);
    }
}

#[test]
fn wraps_the_number_after_the_isn() {
    let setup = Setup::new(Choice { isn: u32::MAX, ..Choice::DEFAULT });
    let verdict = |acknowledgment_number| setup.verdict(&Request { acknowledgment_number, ..Request::ack() }.frame());
    assert_eq!(verdict(0), Verdict::Completed);
    assert_eq!(verdict(1), Verdict::OtherTcp);
    assert_eq!(verdict(u32::MAX), Verdict::OtherTcp);
}
