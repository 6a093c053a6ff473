//! The rules that derive findings and the attach mode from the facts about an interface.

use std::net::IpAddr;

use super::facts::{Above, Facts};
use super::finding::{Finding, Severity};
use crate::config::{AttachMode, PostHandshake, Profile};
use crate::responder::mode::LOST_ON_VETH;
use crate::responder::scope::join_first;
use crate::responder::{
    MTU_OF_ETHERNET, MTU_OF_SMALL_BUFFERS, ResponderError, Scope, is_tested_with_fragments, supports_any_mtu,
};
use crate::xdp::AttachedProgram;

/// The predicted attach mode, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The predicted mode. The driver may still refuse it.
    pub mode: AttachMode,
    /// The reason for the mode, if the user should know it.
    pub reason: Option<String>,
}

/// How tcp-bounce answers on an interface, or would answer.
pub struct Answering<'a> {
    /// The addresses that are answered.
    pub scope: &'a Scope,
    /// The attach mode.
    pub mode: AttachMode,
    /// Whether the program supports multi-buffer frames.
    pub has_fragments: bool,
    /// The answers to data that are shorter than the data, as from [`short_answers`].
    pub short_answers: Option<String>,
}

/// Returns the settings that answer data with less data: post-handshake actions, or a profile with replies. `None` if
/// there are none.
pub fn short_answers(post_handshake: &PostHandshake, profile: Option<&Profile>) -> Option<String> {
    let actions = post_handshake.acknowledging_actions();
    let has_replies = |profile: &Profile| profile.services().iter().any(|service| !service.replies.is_empty());
    match actions.is_empty() {
        true => profile.filter(|profile| has_replies(profile)).map(|_| "the profile".to_owned()),
        false => Some(format!("--on-connect {}", actions.join(" and "))),
    }
}

/// Predicts the attach mode of an interface, and returns it with the findings about the mode.
///
/// `configured` is the mode that the user selected. Without it, the rules mirror [`crate::responder::mode`]: skb mode
/// on veth; otherwise native mode, or skb mode if the driver refuses native mode.
pub fn choose(facts: &Facts, configured: Option<AttachMode>) -> (Choice, Vec<Finding>) {
    let choice = |mode, reason: Option<&str>| Choice { mode, reason: reason.map(str::to_owned) };
    let is_veth = facts.kind.as_deref() == Some("veth");
    let refusal = native_refusal(facts);
    match (configured, refusal) {
        (Some(AttachMode::Skb), _) => (choice(AttachMode::Skb, None), vec![]),
        (Some(AttachMode::Hw), _) => (choice(AttachMode::Hw, None), offload_refusal(facts).into_iter().collect()),
        (None, _) if is_veth => (choice(AttachMode::Skb, Some(LOST_ON_VETH)), vec![]),
        (None, Some(refusal)) => {
            let choice = choice(AttachMode::Skb, Some(&refusal.message));
            // The reason already explains the mode. The refusal is a finding only if a command can resolve it.
            (choice, vec![refusal].into_iter().filter(|refusal| refusal.command.is_some()).collect())
        }
        (Some(AttachMode::Native), Some(refusal)) => {
            (choice(AttachMode::Native, None), vec![Finding { severity: Severity::Error, ..refusal }])
        }
        (Some(AttachMode::Native), None) if is_veth => {
            let lost = Finding::warning("native_on_veth", LOST_ON_VETH)
                .with_hint("use --mode auto, which selects skb mode on veth");
            (choice(AttachMode::Native, None), [vec![lost], native_doubts(facts)].concat())
        }
        (Some(AttachMode::Native), None) => (choice(AttachMode::Native, None), native_doubts(facts)),
        (None, None) => {
            let unknown = facts.xdp.is_none().then_some("skb mode is used instead if the driver refuses native mode");
            (choice(AttachMode::Native, unknown), native_doubts(facts))
        }
    }
}

/// Returns a warning with the reason why the driver will refuse native mode, if a reason is known.
fn native_refusal(facts: &Facts) -> Option<Finding> {
    // While a setting prevents native mode, ena (since Linux 6.3) and mlx5 report no support for it.
    refusal_by_setting(facts).or_else(|| {
        let is_unsupported = facts.xdp.is_some_and(|xdp| !xdp.native);
        let refusal = Finding::warning("no_native_xdp", "the driver does not support native XDP");
        is_unsupported.then(|| refusal.with_hint("use --mode skb, which works with every driver"))
    })
}

/// Returns a warning if a setting of the NIC prevents native mode.
///
/// The rules follow `virtnet_xdp_set`, `ena_xdp_set` and `mlx5e_set_xdp_feature` of Linux.
fn refusal_by_setting(facts: &Facts) -> Option<Finding> {
    let name = &facts.name;
    match (facts.driver.as_deref()?, facts.offloads.gro_hw, facts.queues) {
        ("virtio_net", Some(gro), _) if gro.on && gro.fixed => {
            let message = "virtio_net refuses native mode while the hypervisor merges packets (rx-gro-hw)";
            Some(
                Finding::warning("gro_hw_fixed", message)
                    .with_hint("use --mode skb, or turn off packet merging in the hypervisor"),
            )
        }
        ("ena", _, Some(queues)) if queues.max_combined > 1 && queues.combined > queues.max_combined / 2 => {
            let message = format!(
                "ena needs half of its channels free for native mode: {} of {} are in use",
                queues.combined, queues.max_combined
            );
            let command = format!("ethtool -L {name} combined {}", queues.max_combined / 2);
            Some(Finding::warning("channels", message).with_command(command))
        }
        ("mlx5_core", ..) if facts.xdp.is_some_and(|xdp| !xdp.native) => merging(facts).next(),
        _ => None,
    }
}

/// Returns a warning for each setting that makes some drivers refuse native mode.
fn native_doubts(facts: &Facts) -> Vec<Finding> {
    let supports_mtu = facts.xdp.is_some_and(|xdp| xdp.fragments) || supports_any_mtu(facts.driver.as_deref());
    let mtu = (facts.mtu > MTU_OF_SMALL_BUFFERS && !supports_mtu).then(|| {
        let message = format!("the driver may refuse native mode with MTU {}", facts.mtu);
        let command = format!("ip link set dev {} mtu {MTU_OF_SMALL_BUFFERS}", facts.name);
        Finding::warning("mtu", message).with_command(command)
    });
    mtu.into_iter().chain(merging(facts)).collect()
}

/// Returns a warning for each feature by which the NIC merges packets.
fn merging(facts: &Facts) -> impl Iterator<Item = Finding> {
    let features = [("lro", "lro", facts.offloads.lro), ("gro_hw", "rx-gro-hw", facts.offloads.gro_hw)];
    let active = features.into_iter().filter(|(_, _, feature)| feature.is_some_and(|it| it.on && !it.fixed));
    active.map(|(code, feature, _)| {
        let message = format!("the driver may refuse native mode while the NIC merges packets ({feature})");
        Finding::warning(code, message).with_command(format!("ethtool -K {} {feature} off", facts.name))
    })
}

/// Returns an error if the driver reports no support for hw mode.
fn offload_refusal(facts: &Facts) -> Option<Finding> {
    let can = facts.xdp.is_none_or(|xdp| xdp.offload);
    (!can).then(|| {
        Finding::error("no_offload", "the driver does not support hw mode")
            .with_hint("use --mode auto, which selects a supported mode")
    })
}

/// Returns the findings about the interface and its neighbours, other than those of [`choose`].
pub fn findings(facts: &Facts, answering: &Answering) -> Vec<Finding> {
    let mut findings = attached_programs(facts);
    findings.extend(warnings(facts, answering));
    findings
}

/// Returns the warnings among [`findings`]. They do not keep tcp-bounce from starting.
pub fn warnings(facts: &Facts, answering: &Answering) -> Vec<Finding> {
    let scope = answering.scope;
    let mut findings = lacks(facts, scope);
    findings.extend(neighbours(facts, answering));
    findings.extend(local_addresses(facts, scope));
    findings.extend(merged_segments(facts, answering));
    findings.extend(untested_fragments(facts, answering));
    findings
}

/// Returns an error for each XDP program that prevents attaching.
fn attached_programs(facts: &Facts) -> Vec<Finding> {
    let finding = |code, error: ResponderError, program: &AttachedProgram, interface: &str| {
        // The hint of the error repeats the command.
        let hint = Some(program.explanation(interface));
        Finding { command: program.detach_command(interface), ..Finding::from_error(code, &error, hint) }
    };
    let occupied = facts.program.iter().map(|program| {
        let error = ResponderError::Occupied { interface: facts.name.clone(), program: program.clone() };
        finding("occupied", error, program, &facts.name)
    });
    let above = facts.programs_above.iter().map(|Above { name, program }| {
        let (interface, above) = (facts.name.clone(), name.clone());
        let error = ResponderError::OccupiedAbove { interface, above, program: program.clone() };
        finding("occupied_above", error, program, name)
    });
    occupied.chain(above).collect()
}

/// Returns a warning if the interface is down, and one if it has no address to answer for.
///
/// A port of a bridge or bond normally has no address, so an interface with a master device gets no warning
/// about its address.
fn lacks(facts: &Facts, scope: &Scope) -> Vec<Finding> {
    let name = &facts.name;
    let down = (!facts.up)
        .then(|| Finding::warning("down", "the interface is down").with_command(format!("ip link set dev {name} up")));
    let owner = match scope {
        Scope::Own(addresses) if addresses.is_empty() && facts.master.is_none() => Some("interface"),
        Scope::Local(addresses) if addresses.is_empty() => Some("host"),
        _ => None,
    };
    let no_address = owner.map(|owner| {
        Finding::warning("no_address", format!("the {owner} has no IP address, so nothing is answered"))
            .with_hint(format!("run `ip address add ADDRESS/LENGTH dev {name}`, or select addresses with --dst"))
    });
    down.into_iter().chain(no_address).collect()
}

/// Returns a warning if addresses on `lo` or on dummy interfaces are not answered, unless the user chose destinations.
fn local_addresses(facts: &Facts, scope: &Scope) -> Option<Finding> {
    let is_missing = |address: &&IpAddr| matches!(scope, Scope::Own(_)) && !scope.contains(**address);
    let missing: Vec<IpAddr> = facts.host_addresses.iter().filter(is_missing).copied().collect();
    let message = || format!("not answering for addresses on lo or a dummy interface: {}", join_first(&missing));
    let finding = || {
        Finding::warning("local_addresses", message()).with_hint("add --dst local to answer for every local address")
    };
    (!missing.is_empty()).then(finding)
}

/// Returns warnings about the bond, team or bridge above the interface, and about its VLAN devices.
fn neighbours(facts: &Facts, answering: &Answering) -> Vec<Finding> {
    let master = facts.master.as_ref().and_then(|master| {
        let (name, kind) = (&master.name, master.kind.as_deref()?);
        let (code, message) = match kind {
            "bond" | "team" => (
                "bond_port",
                format!(
                    "the interface is one port of {kind} {name}, and the other interfaces of the {kind} do not answer"
                ),
            ),
            "bridge" if matches!(answering.scope, Scope::Own(_)) => {
                ("bridge_port", format!("the interface is a port of bridge {name}, whose addresses are not answered"))
            }
            _ => return None,
        };
        let loses_replies = answering.short_answers.is_some() && !master.gro_below.is_empty();
        let condition = loses_replies.then(|| format!("; in skb mode, first run `{}`", gro_off(&master.gro_below)));
        let hint = format!("run tcp-bounce on {name} instead{}", condition.unwrap_or_default());
        Some(Finding::warning(code, message).with_hint(hint))
    });
    master.into_iter().chain(stripped_tags(facts, answering.mode)).collect()
}

/// Returns a warning if GRO below the interface merges segments, and merged segments get short answers.
///
/// In skb mode, the kernel switches GRO off on the interface itself, but not on the interfaces below it. It keeps the
/// GSO mark of a merged segment on the reply. A reply that is shorter than the segment size of its mark is lost where
/// the kernel splits packets in software (`tcp_gso_segment` of Linux), and undefined for a NIC that splits them. SYNs
/// and segments without data are never merged, and the replies of `echo` are long enough.
fn merged_segments(facts: &Facts, answering: &Answering) -> Option<Finding> {
    let is_affected = answering.mode == AttachMode::Skb && !facts.gro_below.is_empty();
    let answers = answering.short_answers.as_ref().filter(|_| is_affected)?;
    let below = join_first(&facts.gro_below);
    let message = format!("GRO of {below} merges segments, and replies of {answers} to them may be lost");
    Some(Finding::warning("gro_below", message).with_command(gro_off(&facts.gro_below)))
}

/// Returns the command that switches GRO off on `interfaces`.
fn gro_off(interfaces: &[String]) -> String {
    let commands: Vec<_> = interfaces.iter().map(|name| format!("ethtool -K {name} gro off")).collect();
    commands.join(" && ")
}

/// Returns a warning if the program receives multi-buffer frames from a driver on which answering them was not tested.
///
/// A reply is shorter than such a frame, so the driver or the kernel has to free a part of its memory.
fn untested_fragments(facts: &Facts, answering: &Answering) -> Option<Finding> {
    let driver = facts.driver.as_deref();
    let delivers_them = facts.xdp.is_none_or(|xdp| xdp.fragments);
    let is_untested = answering.has_fragments && delivers_them && !is_tested_with_fragments(driver);
    is_untested.then(|| {
        let (name, mtu) = (&facts.name, facts.mtu);
        let problem = match driver {
            Some("veth") => "whose memory Linux 6.18 frees incorrectly on veth".to_owned(),
            driver => format!("and answering them was not tested with {}", driver.unwrap_or("this driver")),
        };
        // Some drivers require multi-buffer frames at a smaller MTU.
        let smaller = if mtu > MTU_OF_SMALL_BUFFERS { MTU_OF_SMALL_BUFFERS } else { MTU_OF_ETHERNET };
        Finding::warning("untested_fragments", format!("MTU {mtu} requires multi-buffer frames, {problem}"))
            .with_hint("use --mode skb, or a smaller MTU")
            .with_command(format!("ip link set dev {name} mtu {smaller}"))
    })
}

/// Returns a warning if the NIC removes VLAN tags and the interface has VLAN devices.
///
/// In skb mode, the kernel keeps the tag beside the frame, and the driver inserts it into the reply.
fn stripped_tags(facts: &Facts, mode: AttachMode) -> Option<Finding> {
    let is_lost = mode != AttachMode::Skb && !facts.vlans.is_empty();
    let rx_vlan = facts.offloads.rx_vlan.filter(|it| it.on && is_lost)?;
    let vlans = facts.vlans.join(", ");
    let message = format!("the NIC strips VLAN tags before XDP, so replies for {vlans} are sent untagged");
    let finding = Finding::warning("vlan_tags", message);
    Some(match rx_vlan.fixed {
        true => finding.with_hint("this NIC always strips them: run tcp-bounce on an interface without VLANs"),
        false => finding.with_command(format!("ethtool -K {} rxvlan off", facts.name)),
    })
}

#[cfg(test)]
mod tests;
