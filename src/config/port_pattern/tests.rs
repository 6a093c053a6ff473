//! Tests of port patterns.

use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> PortPattern {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn patterns_list_ports_and_count_the_selected_ones() {
    for (text, listed, selected) in [
        ("22", "22", 0),
        ("22, 80-82", "22,80-82", 0),
        ("random:12", "", 12),
        ("random:0x10", "", 16),
        ("random:65535", "", 65535),
        ("22,random:3,80,random:4", "22,80", 7),
        ("share:3%", "", 1966),
        ("share:100%", "", 65535),
        ("share:100.00%", "", 65535),
        ("share:0.5%", "", 328),
        ("share:0.05%", "", 33),
        ("share:0.01%", "", 7),
        ("1,share:50%", "1", 32768),
    ] {
        let pattern = pattern(text);
        assert_eq!((pattern.listed().to_string().as_str(), pattern.selected()), (listed, selected), "{text}");
        assert_eq!(pattern.to_string().parse::<PortPattern>().unwrap(), pattern, "{text}");
    }
    assert_eq!(pattern("22,80,random:3").to_string(), "22,80,random:3");
}

#[test]
fn patterns_add_up() {
    let union = PortPattern::union(&[pattern("22,random:3"), pattern("80,random:4"), pattern("22")]);
    assert_eq!(union, pattern("22,80,random:7"));
    assert_eq!(PortPattern::union(&[]), PortPattern::default());
    let most = pattern("random:65535,".repeat(70_000).trim_end_matches(','));
    assert_eq!(most.selected(), u32::MAX);
    assert_eq!(PortPattern::union(&[most.clone(), most]).selected(), u32::MAX);
}

#[test]
fn malformed_patterns_are_refused() {
    let range = "not a number from 1 to 65535 (decimal or 0x hexadecimal)";
    for (text, reason) in [
        ("random:", format!("\"\" after random: is {range}")),
        ("random:0", format!("\"0\" after random: is {range}")),
        ("random:65536", format!("\"65536\" after random: is {range}")),
        ("random:-1", format!("\"-1\" after random: is {range}")),
        ("random", "\"random\" is not a port from 0 to 65535".into()),
        ("others", "\"others\" is not a port from 0 to 65535".into()),
        ("22,,random:1", "empty entry in the port list".into()),
        ("9-7,random:1", "the range 9-7 is reversed: write 7-9".into()),
    ] {
        assert_eq!(text.parse::<PortPattern>().unwrap_err().reason(), reason, "{text}");
    }
    for share in ["", "%", "3", "3 %", "0%", "0.00%", "100.01%", "101%", "1000%", "0.001%", ".5%", "5.%", "-1%", "+1%"]
    {
        let error = format!("share:{share}").parse::<PortPattern>().unwrap_err();
        assert_eq!(error.reason(), format!("\"{share}\" after share: is not a percentage from 0.01% to 100%"));
        assert!(error.examples().unwrap().contains("share:3%"));
    }
}

#[test]
fn too_few_ports_are_an_error() {
    let resolve = |text: &str, excluded: &str| pattern(text).resolve(&[7; 16], &excluded.parse().unwrap());
    for (text, excluded, selected, left) in
        [("1-65530,random:6", "0", 6, 5), ("random:2", "1-65534", 2, 1), ("random:1,5", "1-4,6-65535", 1, 0)]
    {
        match resolve(text, excluded) {
            Err(ConfigError::TooManySelectedPorts { selected: s, left: l }) => assert_eq!((s, l), (selected, left)),
            result => panic!("{text}: {result:?}"),
        }
    }
    assert_eq!(resolve("random:1", "1-65534").unwrap().to_string(), "65535");
    assert_eq!(resolve("0,random:65535", "0").unwrap().0.len(), 65536);
}

#[test]
fn keys_rank_all_ports_but_zero() {
    for key in [[0; 16], [0xff; 16]] {
        assert_eq!(ranking(&key).into_iter().collect::<BTreeSet<u16>>(), (1..=u16::MAX).collect());
    }
    assert_ne!(ranking(&[0; 16]), ranking(&[1; 16]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// `random:N` selects exactly N ports, none that is listed or excluded, and a larger N keeps them.
    #[test]
    fn selects_exactly_as_many_ports_as_the_pattern_says(
        key: [u8; 16],
        listed in prop::collection::btree_set(any::<u16>(), 1..50),
        excluded in prop::collection::btree_set(any::<u16>(), 1..50),
        count in 1usize..5000,
    ) {
        let (listed, excluded) = (PortList(listed), PortList(excluded));
        let resolve = |count: usize| {
            let pattern = format!("{listed},random:{count}").parse::<PortPattern>().unwrap();
            pattern.resolve(&key, &excluded).unwrap().0
        };
        let ports = resolve(count);
        let selected: BTreeSet<u16> = ports.difference(&listed.0).copied().collect();
        prop_assert!(ports.is_superset(&listed.0));
        prop_assert_eq!(selected.len(), count);
        prop_assert!(selected.is_disjoint(&excluded.0) && !selected.contains(&0));
        prop_assert_eq!(&resolve(count), &ports);
        prop_assert!(resolve(count + 1).is_superset(&ports));
    }
}
