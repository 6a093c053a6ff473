//! TCP options: the SYN-ACK accepts the options that Linux accepts, in Linux's order.
//!
//! `Setup::verdict` compares the reply's options with the options that `common::SynOptions` computes.

use crate::common;

use common::{Choice, LINUX_OPTIONS, Request, Setup};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tcp_bounce_wire::Verdict;

const MSS: &[u8] = &[2, 4, 5, 0xb4];
const WINDOW_SCALE: &[u8] = &[3, 3, 9];
const SACK: &[u8] = &[4, 2];
const TIMESTAMPS: &[u8] = &[8, 10, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0];
const NOP: &[u8] = &[1];
const END: &[u8] = &[0];

/// Returns the options of the reply to a SYN with these options.
fn reply(options: &[&[u8]]) -> Vec<u8> {
    let mut options = options.concat();
    options.resize(options.len().next_multiple_of(4), 0);
    let (verdict, reply) = Setup::standard().respond(&Request { options, ..Request::syn() }.frame());
    assert_eq!(verdict, Verdict::Answered);
    let data_offset = usize::from(reply[46] >> 4) * 4;
    reply[54..34 + data_offset].to_vec()
}

#[test]
fn echoes_the_last_timestamp() {
    // Linux also uses the last of several timestamps (`tcp_parse_options`).
    let second = &[8, 10, 0x88, 0, 0x99, 0, 0, 0, 0, 0][..];
    let timestamps = [1, 1, 8, 10, 1, 2, 3, 4, 0x88, 0, 0x99, 0];
    assert_eq!(reply(&[TIMESTAMPS, second]), [MSS, &timestamps].concat());
}

#[test]
fn accepts_each_option() {
    let mss = [2, 4, 5, 0xb4];
    let timestamps = [8, 10, 1, 2, 3, 4, 0x11, 0x22, 0x33, 0x44];
    let nops = [1, 1];
    assert_eq!(reply(&[]), mss);
    assert_eq!(reply(&[MSS]), mss);
    assert_eq!(reply(&[SACK]), [&mss[..], &nops, SACK].concat());
    assert_eq!(reply(&[WINDOW_SCALE]), [&mss[..], &[1, 3, 3, 7]].concat());
    assert_eq!(reply(&[TIMESTAMPS]), [&mss[..], &nops, &timestamps].concat());
    assert_eq!(reply(&[TIMESTAMPS, SACK]), [&mss[..], SACK, &timestamps].concat());
    assert_eq!(reply(&[SACK, WINDOW_SCALE]), [&mss[..], &nops, SACK, &[1, 3, 3, 7]].concat());
    assert_eq!(
        reply(&[MSS, SACK, TIMESTAMPS, NOP, WINDOW_SCALE]),
        [&mss[..], SACK, &timestamps, &[1, 3, 3, 7]].concat()
    );
    for all in [[WINDOW_SCALE, SACK, TIMESTAMPS], [SACK, WINDOW_SCALE, TIMESTAMPS], [TIMESTAMPS, WINDOW_SCALE, SACK]] {
        assert_eq!(reply(&all), [&mss[..], SACK, &timestamps, &[1, 3, 3, 7]].concat(), "{all:?}");
    }
}

#[test]
fn parses_options_similar_to_those_of_linux() {
    // The packet logic recognises Linux's options by their layout. Similar options must not be mistaken for them.
    let answer = |options: &[u8], payload: &[u8]| {
        let request = Request { options: options.to_vec(), payload: payload.to_vec(), ..Request::syn() };
        let verdict = Setup::standard().verdict(&request.frame());
        assert!(matches!(verdict, Verdict::Answered | Verdict::Signed), "{request:?}");
        verdict
    };
    for place in 0..LINUX_OPTIONS.len() {
        for byte in 0..=u8::MAX {
            let mut options = LINUX_OPTIONS;
            options[place] = byte;
            answer(&options, b"");
        }
    }
    answer(&[&LINUX_OPTIONS[..16], &[0xfe, 0xfc, 0xfc, 0]].concat(), b"");
    // The data offset ends the options early, so the rest of these bytes are data.
    for length in (0..LINUX_OPTIONS.len()).step_by(4) {
        answer(&LINUX_OPTIONS[..length], &LINUX_OPTIONS[length..]);
    }
    let signature = [&[1, 1, 19, 18][..], &[0xee; 16]].concat();
    assert_eq!(answer(&[&LINUX_OPTIONS, &signature[..]].concat(), b""), Verdict::Signed);
}

#[test]
fn ignores_options_that_exceed_the_header() {
    // The header ends within an option. The data looks like the missing bytes of the option.
    for (options, payload) in [
        (&[1, 1, 8, 10][..], &[1, 2, 3, 4, 5, 6, 7, 8][..]),
        (&[1, 1, 3, 3], &[7]),
        (&[1, 1, 1, 4], &[2]),
        (&[1, 1, 19, 18], &[0xee; 16]),
    ] {
        let request = Request { options: options.to_vec(), payload: payload.to_vec(), ..Request::syn() };
        let (verdict, reply) = Setup::standard().respond(&request.frame());
        assert_eq!((verdict, reply[46] >> 4), (Verdict::Answered, 6), "{request:?}");
    }
}

#[test]
fn stops_at_malformed_options() {
    let mss = [2, 4, 5, 0xb4];
    for nonsense in [&[5, 0][..], &[5, 1], &[3, 200], &[99]] {
        assert_eq!(reply(&[nonsense, SACK]), mss, "{nonsense:?}");
        let before = reply(&[SACK, nonsense]);
        assert_eq!(before, [&mss[..], &[1, 1, 4, 2]].concat(), "{nonsense:?}");
    }
    assert_eq!(reply(&[END, SACK]), mss);
    // Bytes after the end of the list have no meaning.
    assert_eq!(reply(&[END, &[2], SACK]), mss);
    // Known options of a wrong length are skipped. The options after them are used.
    assert_eq!(reply(&[&[3, 4, 9, 9], &[4, 3, 0], &[8, 9, 0, 0, 0, 0, 0, 0, 0], SACK]).len(), 8);
}

#[test]
fn never_reflects_unknown_options() {
    // MPTCP, a Fast Open cookie, and two experimental options.
    for unknown in [&[30, 4, 0, 1][..], &[34, 4, 0xab, 0xcd], &[253, 4, 1, 2], &[254, 4, 1, 2]] {
        assert_eq!(reply(&[unknown]), [2, 4, 5, 0xb4], "{unknown:?}");
    }
}

#[test]
fn passes_signed_syns() {
    let md5: Vec<u8> = [&[19, 18][..], &[0xee; 16]].concat();
    let authentication: Vec<u8> = [&[29, 16, 1, 2][..], &[0xee; 12]].concat();
    for signature in [&md5, &authentication] {
        for (before, behind) in [(&[][..], &[][..]), (SACK, &[]), (&[1, 1, 1], &[]), (&[], TIMESTAMPS)] {
            let mut options = [before, signature, behind].concat();
            options.resize(options.len().next_multiple_of(4), 1);
            let request = Request { options, ..Request::syn() };
            for request in [request.clone(), request.over_ipv6()] {
                assert_eq!(Setup::takeover().verdict(&request.frame()), Verdict::Signed, "{request:?}");
            }
        }
        // In segments other than SYNs, a signature has no effect.
        let request = Request { options: [signature, &[1; 2][..]].concat(), ..Request::ack() };
        assert_eq!(
            Setup::standard().verdict(&Request { options: request.options[..16].to_vec(), ..request }.frame()),
            Verdict::Completed
        );
    }
}

#[test]
fn derives_mss_and_window_from_the_mtu() {
    for mtu in [68, 300, 576, 1279, 1280, 1281, 1400, 1500, 9000, 65535, u32::MAX] {
        let setup = Setup::new(Choice { mtu, ..Choice::DEFAULT });
        for options in [vec![], TIMESTAMPS[..].iter().copied().chain([1, 1]).collect()] {
            let request = Request { options, ..Request::syn() };
            assert_eq!(setup.verdict(&request.frame()), Verdict::Answered);
            assert_eq!(setup.verdict(&request.over_ipv6().frame()), Verdict::Answered);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn accepts_options_in_any_order(
        options in vec(
            prop_oneof![
                3 => select(vec![MSS, WINDOW_SCALE, SACK, TIMESTAMPS, NOP, END]).prop_map(<[u8]>::to_vec),
                2 => select(vec![&[2, 3, 5][..], &[3, 4, 1, 1], &[19, 2], &[30, 3, 9]]).prop_map(<[u8]>::to_vec),
                1 => vec(any::<u8>(), 1..6),
            ],
            0..12,
        ),
        over_ipv6 in any::<bool>(),
    ) {
        let mut options = options.concat();
        options.truncate(40);
        options.resize(options.len().next_multiple_of(4), 1);
        let request = Request { options, ..Request::syn() };
        let request = if over_ipv6 { request.over_ipv6() } else { request };
        let verdict = Setup::standard().verdict(&request.frame());
        prop_assert!(matches!(verdict, Verdict::Answered | Verdict::Signed));
    }
}
