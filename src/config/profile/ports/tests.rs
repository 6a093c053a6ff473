//! Tests of the assignment of ports.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::config::{PortList, PortSelection, Profile};

/// Returns a profile with a service for each of `ports`.
fn profile(ports: &[String]) -> Profile {
    let services: Vec<String> =
        ports.iter().map(|ports| format!("[[service]]\nports = \"{ports}\"\nbanner = \"a\"\n")).collect();
    Profile::parse(&services.concat(), "test").unwrap()
}

fn ports_of(profile: &Profile, key: [u8; 16], service: usize) -> BTreeSet<u16> {
    let ports = profile.ports(&key).into_iter();
    ports.filter(|&(_, index)| index == service).map(|(port, _)| port).collect()
}

#[test]
fn others_have_all_ports_that_are_left() {
    let profile = profile(&["others".into(), "80,443".into(), "random:10".into(), "0".into()]);
    let ports = profile.ports(&[1; 16]);
    assert_eq!(ports.len(), 65536);
    assert_eq!([0, 80, 443].map(|port| ports[&port]), [3, 1, 1]);
    assert_eq!([0, 1, 2, 3].map(|service| ports_of(&profile, [1; 16], service).len()), [65523, 2, 10, 1]);
}

#[test]
fn only_ports_of_the_selection_can_be_served() {
    let selection = |only: &str, excluded: &str| {
        let excluded = if excluded.is_empty() { PortList::default() } else { excluded.parse().unwrap() };
        PortSelection::new(Some(only.parse().unwrap()), excluded).unwrap()
    };
    for (ports, only, excluded, may_serve) in [
        ("80,443", "443", "", true),
        ("80,443", "1-79,81", "", false),
        ("80,443", "443-444", "443", false),
        ("random:1", "5", "", true),
        ("others", "5", "", true),
    ] {
        assert_eq!(profile(&[ports.into()]).may_serve(&selection(only, excluded)), may_serve, "{ports} {only}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the key, each service has its listed ports and as many others as it selects. No port has two services,
    /// and the same key gives the same ports.
    #[test]
    fn the_key_selects_ports_that_no_service_lists(
        key: [u8; 16],
        listed in prop::collection::btree_set(any::<u16>(), 2..50),
        first in 1usize..2000,
        second in 1usize..2000,
    ) {
        let list = PortList(listed.iter().copied().skip(1).collect());
        let single = *listed.first().unwrap();
        let services = [format!("{single},random:{first}"), list.to_string(), format!("random:{second}")];
        let profile = profile(&services);
        let ports = [0, 1, 2].map(|service| ports_of(&profile, key, service));
        prop_assert_eq!(ports[0].len(), 1 + first);
        prop_assert_eq!(&ports[1], &list.0);
        prop_assert_eq!(ports[2].len(), second);
        prop_assert!(ports[0].contains(&single));
        // The map has one service for each port, so the sets are disjoint if nothing is missing.
        prop_assert_eq!(profile.ports(&key).len(), listed.len() + first + second);
        prop_assert!(!ports[2].contains(&0));
        prop_assert_eq!(profile.ports(&key), profile.ports(&key));
    }
}

#[test]
fn another_key_selects_other_ports() {
    let profile = profile(&["random:100".into()]);
    let [first, second] = [[1; 16], [2; 16]].map(|key| ports_of(&profile, key, 0));
    // Two independent choices of 100 ports have 0.15 ports in common on average.
    assert!(first.intersection(&second).count() < 20, "{first:?} {second:?}");
}
