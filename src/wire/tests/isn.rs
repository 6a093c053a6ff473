//! Keyed initial sequence numbers.

use crate::common;

use common::{ACK, Choice, FIN, Request, Setup};
use proptest::prelude::*;
use tcp_bounce_wire::Verdict;
use tcp_bounce_wire::siphash::SipHash13;

fn keyed() -> Choice {
    Choice { key: Some(*b"sixteen bytes key"[..16].first_chunk().unwrap()), ..Choice::DEFAULT }
}

#[test]
fn hashes_addresses_and_ports() {
    // `Setup::respond` compares the ISN of each reply with the hash of the siphasher crate.
    let setup = Setup::new(keyed());
    let syn = Request::syn();
    for request in [syn.clone(), syn.clone().over_ipv6(), Request { source_port: 7, ..syn.clone() }, syn.tagged()] {
        let first = setup.respond(&request.frame());
        assert_eq!(first.0, Verdict::Answered);
        // A retransmitted SYN gets an identical reply.
        assert_eq!(setup.respond(&request.frame()), first);
    }
}

#[test]
fn adds_an_offset_to_the_timestamps_of_each_connection() {
    // `Setup::respond` compares the TSval of each reply with the hash of the siphasher crate.
    for of_connections in [true, false] {
        let setup = Setup::new(Choice { timestamp_offsets: (7, of_connections), ..keyed() });
        let timestamp = |source_port| {
            let syn = Request { source_port, options: common::LINUX_OPTIONS.to_vec(), ..Request::syn() };
            let answer = setup.respond(&syn.frame()).1;
            common::SynOptions::of(common::Segment::parse(&answer).expect("a segment").tcp.options()).timestamp
        };
        assert_eq!(timestamp(1), timestamp(1), "a retransmitted SYN");
        assert_eq!(timestamp(1) != timestamp(2), of_connections);
    }
}

#[test]
fn accepts_only_acks_of_the_keyed_isn() {
    let choice = keyed();
    let setup = Setup::new(choice);
    for request in [Request::ack(), Request::ack().over_ipv6()] {
        let isn = choice.isn_of(&request.tuple());
        let verdict = |acknowledgment_number, flags, payload: &[u8]| {
            let request = Request { acknowledgment_number, flags, payload: payload.to_vec(), ..request.clone() };
            setup.verdict(&request.frame())
        };
        assert_eq!(verdict(isn.wrapping_add(1), ACK, b""), Verdict::Completed);
        assert_eq!(verdict(isn.wrapping_add(1), ACK, b"data"), Verdict::Later);
        assert_eq!(verdict(isn.wrapping_add(1), ACK | FIN, b""), Verdict::Later);
        for forged in [0, 1, isn, isn.wrapping_add(2), choice.isn + 1] {
            assert_eq!(verdict(forged, ACK, b""), Verdict::OtherTcp, "{forged:x}");
        }
    }
}

proptest! {
    #[test]
    fn matches_another_siphash_implementation(
        key in any::<[u8; 16]>(),
        blocks in proptest::collection::vec(any::<[u8; 8]>(), 0..5),
        last in any::<[u8; 4]>(),
    ) {
        let mut hash = SipHash13::new(key);
        for &block in &blocks {
            hash = hash.block(block);
        }
        let bytes = [blocks.concat(), last.to_vec()].concat();
        let expected = siphasher::sip::SipHasher13::new_with_key(&key).hash(&bytes);
        prop_assert_eq!(hash.finish(last, bytes.len() as u8), expected);
    }
}
