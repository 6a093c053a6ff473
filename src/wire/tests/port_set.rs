//! Every port is answered but those that are spared, and on those nothing is touched.

use crate::common;

use std::collections::HashSet;

use common::{ACK, FIN, PSH, RST, Request, SYN, Setup};
use proptest::collection::hash_set;
use proptest::prelude::*;
use tcp_bounce_wire::{PortSet, Verdict};

fn spare(ports: impl IntoIterator<Item = u16>) -> PortSet {
    let mut spared = PortSet::new();
    ports.into_iter().for_each(|port| spared.insert(port));
    spared
}

fn verdict_on_syn(setup: &Setup, destination_port: u16) -> Verdict {
    setup.verdict(&Request { destination_port, ..Request::syn() }.frame())
}

#[test]
fn every_port_is_answered() {
    let setup = Setup::standard();
    for port in 0..=u16::MAX {
        assert_eq!(verdict_on_syn(&setup, port), Verdict::Answered, "port {port}");
    }
}

#[test]
fn no_port_is_answered_if_all_are_spared() {
    let setup = Setup::takeover().sparing(spare(0..=u16::MAX));
    for port in 0..=u16::MAX {
        assert_eq!(verdict_on_syn(&setup, port), Verdict::Excluded, "port {port}");
    }
}

#[test]
fn on_a_spared_port_all_tcp_is_passed_under_takeover_too() {
    for setup in Setup::both() {
        let setup = setup.sparing(spare([443]));
        for flags in 0..=u8::MAX {
            for payload in [vec![], vec![0]] {
                let request = Request { destination_port: 443, flags, payload, ..Request::ack() };
                assert_eq!(setup.verdict(&request.frame()), Verdict::Excluded, "{request:?}");
            }
        }
    }
}

#[test]
fn a_spared_port_of_the_other_side_does_not_matter() {
    let setup = Setup::takeover().sparing(spare([443]));
    for flags in [SYN, ACK, ACK | PSH, FIN | ACK, RST] {
        let request = Request { source_port: 443, destination_port: 444, flags, ..Request::ack() };
        let expected = common::expected(flags, true, false, true);
        assert_eq!(setup.verdict(&request.frame()), expected, "{request:?}");
    }
}

#[test]
fn a_new_set_is_empty() {
    for empty in [PortSet::new(), PortSet::default()] {
        assert!((0..=u16::MAX).all(|port| !empty.contains(port)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_set_holds_exactly_what_was_inserted(inserted in hash_set(any::<u16>(), 0..300)) {
        let spared = spare(inserted.iter().copied());
        let held: HashSet<u16> = (0..=u16::MAX).filter(|&port| spared.contains(port)).collect();
        prop_assert_eq!(&held, &inserted);
        // Order and repetition do not matter.
        let again = inserted.iter().chain(&inserted).copied().collect::<Vec<_>>();
        prop_assert_eq!(spare(again.into_iter().rev()), spared);
    }

    #[test]
    fn exactly_the_spared_ports_are_not_answered(inserted in hash_set(1..u16::MAX, 1..100)) {
        let setup = Setup::takeover().sparing(spare(inserted.iter().copied()));
        // The ports beside a spared one, and those a bit or a word of the set away, are where a mistake would show.
        let near = |port: u16| (0..16).map(move |bit| port ^ 1 << bit).chain([port - 1, port, port + 1]);
        for port in inserted.iter().copied().flat_map(near) {
            let expected = if inserted.contains(&port) { Verdict::Excluded } else { Verdict::Answered };
            prop_assert_eq!(verdict_on_syn(&setup, port), expected, "port {}", port);
        }
    }
}
