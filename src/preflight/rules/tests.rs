//! NICs that the machine of the tests does not have.

use super::super::facts::{Facts, Neighbour, Offloads, XdpFeatures};
use super::*;
use crate::host::ethtool::{Channels, Feature};
use crate::xdp::AttachedProgram;

const NATIVE: XdpFeatures = XdpFeatures { native: true, fragments: false, offload: false };
const ON: Option<Feature> = Some(Feature { on: true, fixed: false });
const FIXED: Option<Feature> = Some(Feature { on: true, fixed: true });

fn nic(driver: &str) -> Facts {
    Facts {
        name: "eth1".into(),
        driver: Some(driver.into()),
        up: true,
        mtu: 1500,
        addresses: vec![[192, 0, 2, 1].into()],
        xdp: Some(NATIVE),
        ..Facts::default()
    }
}

/// The mode, and the findings as code, whether it is a problem, and command.
fn chosen(facts: &Facts, asked: Option<AttachMode>) -> (AttachMode, Vec<(&'static str, bool, String)>) {
    let (choice, found) = choose(facts, asked);
    let short = |finding: Finding| (finding.code, finding.is_problem(), finding.command.unwrap_or_default());
    (choice.mode, found.into_iter().map(short).collect())
}

fn codes(facts: &Facts) -> Vec<(&'static str, Option<String>)> {
    findings(facts, &Scope::Any).into_iter().map(|finding| (finding.code, finding.command)).collect()
}

#[test]
fn auto_takes_native_mode_where_nothing_speaks_against_it() {
    assert_eq!(chosen(&nic("ice"), None), (AttachMode::Native, vec![]));
    assert_eq!(codes(&nic("ice")), []);
    let (choice, _) = choose(&Facts { xdp: None, ..nic("ice") }, None);
    assert_eq!(choice.mode, AttachMode::Native);
    assert!(choice.reason.is_some());
}

#[test]
fn a_driver_without_native_mode_matters_only_to_who_asks_for_it() {
    let facts = Facts { xdp: Some(XdpFeatures { native: false, ..NATIVE }), ..nic("r8169") };
    assert_eq!(chosen(&facts, None), (AttachMode::Skb, vec![]));
    assert_eq!(chosen(&facts, Some(AttachMode::Skb)), (AttachMode::Skb, vec![]));
    assert_eq!(
        chosen(&facts, Some(AttachMode::Native)),
        (AttachMode::Native, vec![("no_native_xdp", true, String::new())])
    );
}

#[test]
fn ena_needs_half_of_its_channels() {
    let channels = |combined| Channels { rx: 0, tx: 0, combined, max_rx: 0, max_tx: 0, max_combined: 8 };
    let facts = |combined| Facts { queues: Some(channels(combined)), ..nic("ena") };
    let command = || "ethtool -L eth1 combined 4".to_owned();
    assert_eq!(chosen(&facts(8), None), (AttachMode::Skb, vec![("channels", false, command())]));
    assert_eq!(chosen(&facts(5), Some(AttachMode::Native)), (AttachMode::Native, vec![("channels", true, command())]));
    assert_eq!(chosen(&facts(4), None), (AttachMode::Native, vec![]));
}

#[test]
fn virtio_net_needs_a_host_that_does_not_merge() {
    let facts = |gro_hw| Facts { offloads: Offloads { gro_hw, ..Offloads::default() }, ..nic("virtio_net") };
    assert_eq!(chosen(&facts(FIXED), None), (AttachMode::Skb, vec![]));
    let (mode, found) = chosen(&facts(ON), None);
    assert_eq!(mode, AttachMode::Native);
    assert_eq!(found, [("gro_hw", false, "ethtool -K eth1 rx-gro-hw off".into())]);
}

#[test]
fn a_large_mtu_matters_without_fragments() {
    let facts = |mtu, fragments| Facts { mtu, xdp: Some(XdpFeatures { fragments, ..NATIVE }), ..nic("igb") };
    let command = "ip link set dev eth1 mtu 3498".to_owned();
    assert_eq!(chosen(&facts(9000, false), None), (AttachMode::Native, vec![("mtu", false, command)]));
    assert_eq!(chosen(&facts(9000, false), Some(AttachMode::Skb)).1, []);
    assert_eq!(chosen(&facts(9000, true), None).1, []);
    assert_eq!(chosen(&facts(3498, false), None).1, []);
}

#[test]
fn lro_matters_unless_it_is_fixed() {
    let facts = |lro| Facts { offloads: Offloads { lro, ..Offloads::default() }, ..nic("bnxt_en") };
    assert_eq!(chosen(&facts(ON), None).1, [("lro", false, "ethtool -K eth1 lro off".into())]);
    assert_eq!(chosen(&facts(FIXED), None).1, []);
    assert_eq!(chosen(&facts(None), None).1, []);
}

#[test]
fn stripped_tags_matter_where_there_are_vlans() {
    let facts = |rx_vlan, vlans: &[&str]| Facts {
        offloads: Offloads { rx_vlan, ..Offloads::default() },
        vlans: vlans.iter().map(|&name| name.into()).collect(),
        ..nic("ice")
    };
    assert_eq!(codes(&facts(ON, &["eth1.5"])), [("vlan_tags", Some("ethtool -K eth1 rxvlan off".into()))]);
    assert_eq!(codes(&facts(FIXED, &["eth1.5"])), [("vlan_tags", None)]);
    assert_eq!(codes(&facts(ON, &[])), []);
    assert_eq!(codes(&facts(None, &["eth1.5"])), []);
}

#[test]
fn ports_of_bonds_and_bridges_are_told_from_members_of_a_vrf() {
    for (kind, found) in
        [("bond", Some("bond_port")), ("team", Some("bond_port")), ("bridge", Some("bridge_port")), ("vrf", None)]
    {
        let master = Neighbour { name: "master0".into(), kind: Some(kind.into()) };
        let facts = Facts { master: Some(master), ..nic("ice") };
        let code = |to| findings(&facts, &to).first().map(|finding| finding.code);
        assert_eq!(code(Scope::Own(Default::default())), found);
        // Who answers for any address does so for those of the bridge.
        assert_eq!(code(Scope::Any), found.filter(|&code| code != "bridge_port"));
    }
}

#[test]
fn who_is_there_already_is_to_be_asked_or_taken_off() {
    const BESIDE: &str = "`xdp-loader load -m skb eth1 tcp_bounce.bpf.o` adds the object";
    let occupant = |mode, name: &str, has_link| AttachedProgram { name: Some(name.into()), id: 7, mode, has_link };
    for (occupant, command, hint) in [
        // It is no command that mends it: what the object does by itself is not what was asked for.
        (occupant(AttachMode::Skb, "xdp_dispatcher", true), None, BESIDE),
        (occupant(AttachMode::Skb, "xdp_dispatcher", false), None, BESIDE),
        (occupant(AttachMode::Native, "pass", false), Some("ip link set dev eth1 xdpdrv off"), "takes it off"),
        (occupant(AttachMode::Skb, "pass", false), Some("ip link set dev eth1 xdpgeneric off"), "takes it off"),
        (occupant(AttachMode::Skb, "pass", true), None, "when the process ends"),
    ] {
        let findings = findings(&Facts { program: Some(occupant), ..nic("ice") }, &Scope::Any);
        assert!(findings[0].is_problem());
        assert_eq!(findings[0].command.as_deref(), command);
        assert!(findings[0].hint.as_ref().is_some_and(|said| said.contains(hint)), "{hint}");
    }
}
