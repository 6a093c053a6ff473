//! SYNs to all ports are answered, except to excluded ports. Segments to excluded ports are passed unchanged.

use crate::common;

use std::collections::HashSet;

use common::{ACK, FIN, PSH, RST, Request, SYN, Setup};
use proptest::collection::hash_set;
use proptest::prelude::*;
use tcp_bounce_wire::{PortSet, Verdict};

fn excluding(ports: impl IntoIterator<Item = u16>) -> PortSet {
    let mut excluded = PortSet::new();
    ports.into_iter().for_each(|port| excluded.insert(port));
    excluded
}

fn verdict_on_syn(setup: &Setup, destination_port: u16) -> Verdict {
    setup.verdict(&Request { destination_port, ..Request::syn() }.frame())
}

#[test]
fn answers_all_ports() {
    let setup = Setup::standard();
    for port in 0..=u16::MAX {
        assert_eq!(verdict_on_syn(&setup, port), Verdict::Answered, "port {port}");
    }
}

#[test]
fn answers_no_port_if_all_are_excluded() {
    let setup = Setup::takeover().excluding_ports(excluding(0..=u16::MAX));
    for port in 0..=u16::MAX {
        assert_eq!(verdict_on_syn(&setup, port), Verdict::Excluded, "port {port}");
    }
}

#[test]
fn passes_all_tcp_to_excluded_ports_under_takeover() {
    for setup in Setup::both() {
        let setup = setup.excluding_ports(excluding([443]));
        for flags in 0..=u8::MAX {
            for payload in [vec![], vec![0]] {
                let request = Request { destination_port: 443, flags, payload, ..Request::ack() };
                assert_eq!(setup.verdict(&request.frame()), Verdict::Excluded, "{request:?}");
            }
        }
    }
}

#[test]
fn ignores_excluded_source_ports() {
    let setup = Setup::takeover().excluding_ports(excluding([443]));
    for flags in [SYN, ACK, ACK | PSH, FIN | ACK, RST] {
        let request = Request { source_port: 443, destination_port: 444, flags, ..Request::ack() };
        let expected = common::expected(flags, true, false, true);
        assert_eq!(setup.verdict(&request.frame()), expected, "{request:?}");
    }
}

#[test]
fn starts_empty() {
    for empty in [PortSet::new(), PortSet::default()] {
        assert!((0..=u16::MAX).all(|port| !empty.contains(port)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn contains_exactly_the_inserted_ports(inserted in hash_set(any::<u16>(), 0..300)) {
        let excluded = excluding(inserted.iter().copied());
        let held: HashSet<u16> = (0..=u16::MAX).filter(|&port| excluded.contains(port)).collect();
        prop_assert_eq!(&held, &inserted);
        // Order and repetition have no effect.
        let again = inserted.iter().chain(&inserted).copied().collect::<Vec<_>>();
        prop_assert_eq!(excluding(again.into_iter().rev()), excluded);
    }

    #[test]
    fn excludes_exactly_the_inserted_ports(inserted in hash_set(1..u16::MAX, 1..100)) {
        let setup = Setup::takeover().excluding_ports(excluding(inserted.iter().copied()));
        // A mistake in the index would most likely affect adjacent ports, or ports that differ in one bit.
        let near = |port: u16| (0..16).map(move |bit| port ^ 1 << bit).chain([port - 1, port, port + 1]);
        for port in inserted.iter().copied().flat_map(near) {
            let expected = if inserted.contains(&port) { Verdict::Excluded } else { Verdict::Answered };
            prop_assert_eq!(verdict_on_syn(&setup, port), expected, "port {}", port);
        }
    }
}
