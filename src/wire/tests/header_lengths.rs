//! Each combination of IHL and data offset, in frames that hold the headers and in frames that do not.

use crate::common;

use common::{Request, Setup};
use tcp_bounce_wire::Verdict;

/// Returns a SYN with these header lengths, in 32-bit words. Its actual headers have at least 5 words each.
///
/// Sequence and acknowledgment number look like a data offset of 5 with the SYN flag. If the TCP header were read too
/// early, it would seem valid.
fn syn(ihl: u8, data_offset: u8) -> Request {
    let options = |words: u8, byte| vec![byte; usize::from(words.saturating_sub(5)) * 4];
    Request {
        sequence_number: 0x5002_5002,
        acknowledgment_number: 0x5002_5002,
        ihl: Some(ihl),
        data_offset: Some(data_offset),
        ip_options: options(ihl, 0x1e),
        options: options(data_offset, 0xfe),
        ..Request::syn()
    }
}

/// Calls `test` for each combination, with the SYN and the expected verdict on its complete frame.
fn for_each_syn(mut test: impl FnMut(Request, Verdict)) {
    for ihl in 0..16 {
        for data_offset in 0..16 {
            let valid = ihl >= 5 && data_offset >= 5;
            test(syn(ihl, data_offset), if valid { Verdict::Answered } else { Verdict::Malformed });
        }
    }
}

#[test]
fn answers_headers_that_the_packet_holds() {
    let setup = Setup::standard();
    for_each_syn(|syn, expected| {
        for payload in 0..4 {
            let syn = Request { payload: vec![0xee; payload], ..syn.clone() };
            assert_eq!(setup.verdict(&syn.frame()), expected, "{syn:?}");
        }
    });
}

#[test]
fn rejects_headers_beyond_the_packet() {
    let setup = Setup::standard();
    for_each_syn(|syn, _| {
        let total_length = Some(syn.datagram_length() as u16 - 1);
        let syn = Request { total_length, trailer: vec![0xee; 64], ..syn };
        assert_eq!(setup.verdict(&syn.frame()), Verdict::Malformed, "{syn:?}");
    });
}

#[test]
fn rejects_headers_beyond_the_frame() {
    let setup = Setup::standard();
    for_each_syn(|syn, _| {
        let frame = syn.frame();
        assert_eq!(setup.verdict(&frame[..frame.len() - 1]), Verdict::Malformed, "{syn:?}");
    });
}

#[test]
fn accepts_only_headers_of_five_words_in_a_minimal_packet() {
    let setup = Setup::standard();
    for_each_syn(|syn, _| {
        let syn = Request { ip_options: Vec::new(), options: Vec::new(), ..syn };
        let is_minimal = syn.ihl == Some(5) && syn.data_offset == Some(5);
        let expected = if is_minimal { Verdict::Answered } else { Verdict::Malformed };
        assert_eq!(setup.verdict(&syn.frame()), expected, "{syn:?}");
    });
}

#[test]
fn finds_data_after_the_data_offset() {
    let setup = Setup::standard();
    for_each_syn(|syn, valid| {
        if valid == Verdict::Answered {
            let bare = Request { options: syn.options.clone(), ip_options: syn.ip_options.clone(), ..Request::ack() };
            assert_eq!(setup.verdict(&bare.frame()), Verdict::Completed, "{bare:?}");
            let later = Request { payload: vec![0], ..bare };
            assert_eq!(setup.verdict(&later.frame()), Verdict::Later, "{later:?}");
        }
    });
}
