//! Tests of the rules, with facts about NICs that a test machine does not have.

use super::super::facts::{Facts, Neighbour, Offloads, XdpFeatures};
use super::*;
use crate::host::ethtool::{Channels, Feature};

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

/// Returns the predicted mode, and a tuple for each finding: its code, whether it is an error, and its command.
fn predict(facts: &Facts, configured: Option<AttachMode>) -> (AttachMode, Vec<(&'static str, bool, String)>) {
    let (choice, found) = choose(facts, configured);
    let short = |finding: Finding| (finding.code, finding.is_error(), finding.command.unwrap_or_default());
    (choice.mode, found.into_iter().map(short).collect())
}

/// Returns the findings in native mode without multi-buffer frames, and with the default action.
fn findings(facts: &Facts, scope: &Scope) -> Vec<Finding> {
    let answering = Answering { scope, mode: AttachMode::Native, has_fragments: false, short_answers: None };
    super::findings(facts, &answering)
}

/// Returns the findings with the post-handshake action of each word in `actions`.
fn findings_with(facts: &Facts, mode: AttachMode, actions: &str) -> Vec<Finding> {
    let actions: Vec<_> = actions.split_whitespace().map(|action| action.parse().unwrap()).collect();
    let short_answers = short_answers(&PostHandshake::new(&actions).unwrap(), None);
    let scope = &Scope::Own([[192, 0, 2, 1].into()].into());
    super::findings(facts, &Answering { scope, mode, has_fragments: false, short_answers })
}

/// Returns the code and the command of each of the [`findings`].
fn codes(facts: &Facts) -> Vec<(&'static str, Option<String>)> {
    findings(facts, &Scope::Any).into_iter().map(|finding| (finding.code, finding.command)).collect()
}

#[test]
fn auto_takes_native_mode_unless_a_fact_rules_it_out() {
    assert_eq!(predict(&nic("ice"), None), (AttachMode::Native, vec![]));
    assert_eq!(codes(&nic("ice")), []);
    let (choice, _) = choose(&Facts { xdp: None, ..nic("ice") }, None);
    assert_eq!(choice.mode, AttachMode::Native);
    assert!(choice.reason.is_some());
}

#[test]
fn missing_native_mode_is_an_error_only_if_configured() {
    let facts = Facts { xdp: Some(XdpFeatures { native: false, ..NATIVE }), ..nic("r8169") };
    assert_eq!(predict(&facts, None), (AttachMode::Skb, vec![]));
    assert_eq!(predict(&facts, Some(AttachMode::Skb)), (AttachMode::Skb, vec![]));
    assert_eq!(
        predict(&facts, Some(AttachMode::Native)),
        (AttachMode::Native, vec![("no_native_xdp", true, String::new())])
    );
}

#[test]
fn ena_needs_half_of_its_channels_free() {
    let channels = |combined| Channels { rx: 0, tx: 0, combined, max_rx: 0, max_tx: 0, max_combined: 8 };
    let facts = |combined| Facts { queues: Some(channels(combined)), ..nic("ena") };
    let command = || "ethtool -L eth1 combined 4".to_owned();
    assert_eq!(predict(&facts(8), None), (AttachMode::Skb, vec![("channels", false, command())]));
    assert_eq!(predict(&facts(5), Some(AttachMode::Native)), (AttachMode::Native, vec![("channels", true, command())]));
    assert_eq!(predict(&facts(4), None), (AttachMode::Native, vec![]));
    // Since Linux 6.3, the driver reports no native mode while too many channels are in use.
    let facts = |combined| Facts { xdp: Some(XdpFeatures { native: false, ..NATIVE }), ..facts(combined) };
    assert_eq!(predict(&facts(8), None), (AttachMode::Skb, vec![("channels", false, command())]));
    assert_eq!(predict(&facts(8), Some(AttachMode::Native)).1, [("channels", true, command())]);
    let single = Channels { max_combined: 1, ..channels(1) };
    assert_eq!(predict(&Facts { queues: Some(single), ..facts(1) }, None), (AttachMode::Skb, vec![]));
}

#[test]
fn mlx5_reports_no_native_mode_while_it_merges_packets() {
    let facts = |lro, native| Facts {
        offloads: Offloads { lro, ..Offloads::default() },
        xdp: Some(XdpFeatures { native, ..NATIVE }),
        ..nic("mlx5_core")
    };
    let found = |is_error| vec![("lro", is_error, "ethtool -K eth1 lro off".to_owned())];
    assert_eq!(predict(&facts(ON, false), None), (AttachMode::Skb, found(false)));
    assert_eq!(predict(&facts(ON, false), Some(AttachMode::Native)), (AttachMode::Native, found(true)));
    assert_eq!(predict(&facts(ON, true), None), (AttachMode::Native, found(false)));
    assert_eq!(predict(&facts(None, false), None), (AttachMode::Skb, vec![]));
}

#[test]
fn virtio_net_refuses_native_mode_while_its_host_merges_packets() {
    let facts = |gro_hw| Facts { offloads: Offloads { gro_hw, ..Offloads::default() }, ..nic("virtio_net") };
    assert_eq!(predict(&facts(FIXED), None), (AttachMode::Skb, vec![]));
    let (mode, found) = predict(&facts(ON), None);
    assert_eq!(mode, AttachMode::Native);
    assert_eq!(found, [("gro_hw", false, "ethtool -K eth1 rx-gro-hw off".into())]);
}

#[test]
fn warns_of_a_large_mtu_without_fragments() {
    let facts = |mtu, fragments| Facts { mtu, xdp: Some(XdpFeatures { fragments, ..NATIVE }), ..nic("igb") };
    let command = "ip link set dev eth1 mtu 3046".to_owned();
    assert_eq!(predict(&facts(9000, false), None), (AttachMode::Native, vec![("mtu", false, command)]));
    assert_eq!(predict(&facts(9000, false), Some(AttachMode::Skb)).1, []);
    assert_eq!(predict(&facts(9000, true), None).1, []);
    assert_eq!(predict(&facts(3046, false), None).1, []);
    let tap = Facts { driver: Some("tun".into()), ..facts(9000, false) };
    assert_eq!(predict(&tap, None), (AttachMode::Native, vec![]));
}

#[test]
fn warns_of_lro_unless_it_is_fixed() {
    let facts = |lro| Facts { offloads: Offloads { lro, ..Offloads::default() }, ..nic("bnxt_en") };
    assert_eq!(predict(&facts(ON), None).1, [("lro", false, "ethtool -K eth1 lro off".into())]);
    assert_eq!(predict(&facts(FIXED), None).1, []);
    assert_eq!(predict(&facts(None), None).1, []);
}

#[test]
fn warns_of_stripped_tags_if_there_are_vlans() {
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
fn skb_mode_keeps_stripped_tags() {
    let facts = Facts {
        offloads: Offloads { rx_vlan: ON, ..Offloads::default() },
        vlans: vec!["eth1.5".into()],
        ..nic("e1000e")
    };
    let codes =
        |mode| -> Vec<_> { findings_with(&facts, mode, "ignore").into_iter().map(|finding| finding.code).collect() };
    assert_eq!(codes(AttachMode::Skb), [] as [&str; 0]);
    assert_eq!(codes(AttachMode::Native), ["vlan_tags"]);
}

#[test]
fn warns_of_local_addresses_outside_the_scope() {
    let virtual_address = || [203, 0, 113, 7].into();
    let facts = Facts { host_addresses: vec![virtual_address()], ..nic("ice") };
    let found = |scope: Scope| findings(&facts, &scope).first().map(|finding| (finding.code, finding.is_error()));
    assert_eq!(found(Scope::Own(Default::default())).unwrap().0, "no_address");
    assert_eq!(found(Scope::Local(Default::default())), Some(("no_address", false)));
    assert_eq!(found(Scope::Own([[192, 0, 2, 1].into()].into())), Some(("local_addresses", false)));
    assert_eq!(found(Scope::Own([virtual_address()].into())), None);
    assert_eq!(found(Scope::Local([virtual_address()].into())), None);
    assert_eq!(found(Scope::Prefixes(vec![])), None, "the user chose the destinations");
    assert_eq!(found(Scope::Any), None);
}

#[test]
fn warns_of_ports_of_bonds_and_bridges_but_not_of_vrfs() {
    for (kind, found) in
        [("bond", Some("bond_port")), ("team", Some("bond_port")), ("bridge", Some("bridge_port")), ("vrf", None)]
    {
        let master = Neighbour { name: "master0".into(), kind: Some(kind.into()), gro_below: vec![] };
        let facts = Facts { master: Some(master), ..nic("ice") };
        let code = |to| findings(&facts, &to).first().map(|finding| finding.code);
        assert_eq!(code(Scope::Own(Default::default())), found);
        // The scope `any` includes the addresses of the bridge.
        assert_eq!(code(Scope::Any), found.filter(|&code| code != "bridge_port"));
    }
}

#[test]
fn suggests_a_command_only_for_programs_that_it_can_detach() {
    const BESIDE: &str = "run `xdp-loader load -m skb eth1 tcp_bounce.bpf.o` to add the object";
    let program = |mode, name: &str, has_link| AttachedProgram { name: Some(name.into()), id: 7, mode, has_link };
    for (attached, command, hint) in [
        // Loaded by xdp-loader, the object excludes no ports, so adding it to a dispatcher is only a hint.
        (program(AttachMode::Skb, "xdp_dispatcher", true), None, BESIDE),
        (program(AttachMode::Skb, "xdp_dispatcher", false), None, BESIDE),
        (
            program(AttachMode::Native, "pass", false),
            Some("ip link set dev eth1 xdpdrv off"),
            "identify it with `bpftool prog show id 7`",
        ),
        (
            program(AttachMode::Skb, "pass", false),
            Some("ip link set dev eth1 xdpgeneric off"),
            "identify it with `bpftool prog show id 7`",
        ),
        (program(AttachMode::Skb, "pass", true), None, "until its process ends"),
    ] {
        let findings = findings(&Facts { program: Some(attached), ..nic("ice") }, &Scope::Any);
        assert!(findings[0].is_error());
        assert_eq!(findings[0].command.as_deref(), command);
        assert!(findings[0].hint.as_ref().is_some_and(|text| text.contains(hint)), "{hint}");
    }
}

#[test]
fn warns_of_gro_below_if_an_action_answers_merged_segments() {
    let below = || vec!["eth1".into(), "eth2".into()];
    let bridge = Facts { name: "br0".into(), kind: Some("bridge".into()), gro_below: below(), ..Facts::default() };
    let bridge = Facts { up: true, ..bridge };
    let command = "ethtool -K eth1 gro off && ethtool -K eth2 gro off";
    for (actions, named) in [
        ("discard", Some("discard")),
        ("close:80", Some("close")),
        ("close:80 discard:9 echo", Some("close and discard")),
        ("echo", None),
        ("tarpit", None),
        ("reset ignore:9", None),
        ("", None),
    ] {
        let found = findings_with(&bridge, AttachMode::Skb, actions);
        let found: Vec<_> = found.iter().map(|it| (it.code, it.message.as_str(), it.command.as_deref())).collect();
        let message = |actions| {
            format!("GRO of eth1, eth2 merges segments, and replies of --on-connect {actions} to them may be lost")
        };
        let message = named.map(message);
        let expected: Vec<_> = message.iter().map(|text| ("gro_below", text.as_str(), Some(command))).collect();
        assert_eq!(found, expected, "{actions}");
    }
    assert_eq!(findings_with(&bridge, AttachMode::Native, "discard"), [], "native mode runs before GRO");
    assert_eq!(findings_with(&Facts { gro_below: vec![], ..bridge }, AttachMode::Skb, "discard"), []);
}

#[test]
fn replies_of_a_profile_are_short_answers() {
    let banner = "[[service]]\nports = \"22\"\nbanner = \"SSH-2.0-x\\r\\n\"\n";
    let reply = "replies = [{ prefix = \"x\", send = \"y\" }]\n";
    let answers = |text: &str| short_answers(&PostHandshake::default(), Some(&Profile::parse(text, "test").unwrap()));
    assert_eq!(answers(banner), None, "the banner answers an ACK without data");
    assert_eq!(answers(&format!("{banner}{reply}")).as_deref(), Some("the profile"));
}

#[test]
fn advice_to_use_a_master_includes_its_gro() {
    for (kind, gro_below, actions, hint) in [
        (
            "bridge",
            &["eth1"] as &[_],
            "discard",
            "run tcp-bounce on master0 instead; in skb mode, first run `ethtool -K eth1 gro off`",
        ),
        (
            "bond",
            &["eth1"],
            "close",
            "run tcp-bounce on master0 instead; in skb mode, first run `ethtool -K eth1 gro off`",
        ),
        ("bridge", &["eth1"], "echo", "run tcp-bounce on master0 instead"),
        ("bridge", &[], "discard", "run tcp-bounce on master0 instead"),
    ] {
        let gro_below = gro_below.iter().map(|&name| name.into()).collect();
        let master = Neighbour { name: "master0".into(), kind: Some(kind.into()), gro_below };
        let found = findings_with(&Facts { master: Some(master), ..nic("ice") }, AttachMode::Native, actions);
        assert_eq!(found.iter().map(|it| it.hint.as_deref()).collect::<Vec<_>>(), [Some(hint)], "{kind} {actions}");
    }
}

#[test]
fn warns_of_untested_fragments() {
    let found = |facts: &Facts, has_fragments| {
        let mode = AttachMode::Native;
        let answering = Answering { scope: &Scope::Any, mode, has_fragments, short_answers: None };
        let found = super::findings(facts, &answering);
        found.into_iter().map(|it| (it.code, it.message, it.command.unwrap_or_default())).collect::<Vec<_>>()
    };
    let facts = |driver, fragments| Facts { mtu: 9000, xdp: Some(XdpFeatures { fragments, ..NATIVE }), ..nic(driver) };
    let warning = |mtu, problem, smaller| {
        let message = format!("MTU {mtu} requires multi-buffer frames, {problem}");
        [("untested_fragments", message, format!("ip link set dev eth1 mtu {smaller}"))]
    };
    let not_tested = |driver| format!("and answering them was not tested with {driver}");
    assert_eq!(found(&facts("ice", true), true), warning(9000, not_tested("ice"), 3046));
    assert_eq!(found(&Facts { mtu: 3400, ..facts("ice", true) }, true), warning(3400, not_tested("ice"), 3046));
    assert_eq!(found(&Facts { mtu: 3000, ..facts("igc", true) }, true), warning(3000, not_tested("igc"), 1500));
    let unknown = Facts { xdp: None, driver: None, ..facts("", true) };
    assert_eq!(found(&unknown, true), warning(9000, not_tested("this driver"), 3046));
    let veth = "whose memory Linux 6.18 frees incorrectly on veth".to_owned();
    assert_eq!(found(&facts("veth", true), true), warning(9000, veth, 3046));
    assert_eq!(found(&facts("ice", true), false), []);
    assert_eq!(found(&facts("ice", false), true), [], "the driver delivers no multi-buffer frames");
    assert_eq!(found(&facts("virtio_net", true), true), []);
}
