//! The rules that derive findings and the attach mode from the facts about an interface.

use std::net::IpAddr;

use super::facts::{Above, Facts};
use super::finding::{Finding, Severity};
use crate::config::AttachMode;
use crate::responder::mode::LOST_ON_VETH;
use crate::responder::scope::join_first;
use crate::responder::{MTU_WITHOUT_FRAGMENTS, ResponderError, Scope};

/// The predicted attach mode, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The predicted mode. The driver may still refuse it.
    pub mode: AttachMode,
    /// The reason for the mode, if the user should know it.
    pub reason: Option<String>,
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
            let lost = Finding::warning("native_on_veth", LOST_ON_VETH).with_hint("--mode auto takes skb mode");
            (choice(AttachMode::Native, None), [vec![lost], native_doubts(facts)].concat())
        }
        (Some(AttachMode::Native), None) => (choice(AttachMode::Native, None), native_doubts(facts)),
        (None, None) => {
            let unknown = facts.xdp.is_none().then_some("or skb mode, if the driver refuses it");
            (choice(AttachMode::Native, unknown), native_doubts(facts))
        }
    }
}

/// Returns a warning with the reason why the driver will refuse native mode, if a reason is known.
///
/// The rules for `virtio_net` and `ena` follow `virtnet_xdp_set` and `ena_xdp_set` of Linux.
fn native_refusal(facts: &Facts) -> Option<Finding> {
    let name = &facts.name;
    if facts.xdp.is_some_and(|xdp| !xdp.native) {
        let message = "the driver has no native XDP";
        return Some(Finding::warning("no_native_xdp", message).with_hint("--mode skb works with every driver"));
    }
    match (facts.driver.as_deref()?, facts.offloads.gro_hw, facts.queues) {
        ("virtio_net", Some(gro), _) if gro.on && gro.fixed => {
            let message = "virtio_net refuses native mode as long as the virtual machine's host merges packets";
            Some(Finding::warning("gro_hw_fixed", message).with_hint("--mode skb works; the rest is up to that host"))
        }
        ("ena", _, Some(queues)) if queues.combined > queues.max_combined / 2 => {
            let message = format!(
                "ena refuses native mode unless half of its channels are free: {} of {} are in use",
                queues.combined, queues.max_combined
            );
            let command = format!("ethtool -L {name} combined {}", (queues.max_combined / 2).max(1));
            Some(Finding::warning("channels", message).with_command(command))
        }
        _ => None,
    }
}

/// Returns a warning for each setting that makes some drivers refuse native mode.
fn native_doubts(facts: &Facts) -> Vec<Finding> {
    let name = &facts.name;
    let has_fragments = facts.xdp.is_some_and(|xdp| xdp.fragments);
    let mtu = (facts.mtu > MTU_WITHOUT_FRAGMENTS && !has_fragments).then(|| {
        let message = format!("the driver may refuse native mode with an MTU of {}", facts.mtu);
        Finding::warning("mtu", message).with_command(format!("ip link set dev {name} mtu {MTU_WITHOUT_FRAGMENTS}"))
    });
    let merging = [("lro", "lro", facts.offloads.lro), ("gro_hw", "rx-gro-hw", facts.offloads.gro_hw)];
    let merging = merging.into_iter().filter(|(_, _, feature)| feature.is_some_and(|it| it.on && !it.fixed));
    let merging = merging.map(|(code, feature, _)| {
        let message = format!("the driver may refuse native mode while the NIC merges packets ({feature})");
        Finding::warning(code, message).with_command(format!("ethtool -K {name} {feature} off"))
    });
    mtu.into_iter().chain(merging).collect()
}

/// Returns a problem if the driver reports no support for hw mode.
fn offload_refusal(facts: &Facts) -> Option<Finding> {
    let can = facts.xdp.is_none_or(|xdp| xdp.offload);
    let problem =
        || Finding::problem("no_offload", "the driver has no XDP offload").with_hint("--mode auto takes what works");
    (!can).then(problem)
}

/// Returns the findings that do not depend on the mode. `scope` is the scope of the interface.
pub fn findings(facts: &Facts, scope: &Scope) -> Vec<Finding> {
    let mut findings = attached_programs(facts);
    findings.extend(warnings(facts, scope));
    findings
}

/// Returns the warnings among [`findings`]. They do not keep tcp-bounce from starting.
pub fn warnings(facts: &Facts, scope: &Scope) -> Vec<Finding> {
    let mut findings = lacks(facts, scope);
    findings.extend(neighbours(facts, scope));
    findings.extend(local_addresses(facts, scope));
    findings
}

/// Returns a problem for each XDP program that prevents attaching.
fn attached_programs(facts: &Facts) -> Vec<Finding> {
    let occupied = facts.program.iter().map(|program| {
        let error = ResponderError::Occupied { interface: facts.name.clone(), program: program.clone() };
        Finding { command: program.detach_command(&facts.name), ..Finding::error("occupied", &error, error.hint()) }
    });
    let above = facts.programs_above.iter().map(|Above { name, program }| {
        let (interface, above) = (facts.name.clone(), name.clone());
        let error = ResponderError::OccupiedAbove { interface, above, program: program.clone() };
        Finding { command: program.detach_command(name), ..Finding::error("occupied_above", &error, error.hint()) }
    });
    occupied.chain(above).collect()
}

/// Returns a warning if the interface is down, and one if it has no address to answer for.
///
/// A port of a bridge or bond normally has no address, so an interface with a master device gets no warning
/// about its address.
fn lacks(facts: &Facts, scope: &Scope) -> Vec<Finding> {
    let name = &facts.name;
    let down =
        (!facts.up).then(|| Finding::warning("down", "it is down").with_command(format!("ip link set dev {name} up")));
    let has_none = matches!(scope, Scope::Own(addresses) if addresses.is_empty());
    let no_address = (has_none && facts.master.is_none()).then(|| {
        Finding::warning("no_address", "it has no IP address, so it answers for none without --dst")
            .with_hint(format!("`ip address add ADDRESS/LENGTH dev {name}`"))
    });
    down.into_iter().chain(no_address).collect()
}

/// Returns a warning if addresses on `lo` or on dummy interfaces are not answered, unless the user chose destinations.
fn local_addresses(facts: &Facts, scope: &Scope) -> Option<Finding> {
    let is_missing = |address: &&IpAddr| matches!(scope, Scope::Own(_)) && !scope.contains(**address);
    let missing: Vec<IpAddr> = facts.host_addresses.iter().filter(is_missing).copied().collect();
    let message = || format!("not answering for {}, on lo or a dummy interface", join_first(&missing));
    let finding = || {
        Finding::warning("local_addresses", message()).with_hint("add --dst local to answer for every local address")
    };
    (!missing.is_empty()).then(finding)
}

/// Returns warnings about the bond, team or bridge above the interface, and about its VLAN devices.
fn neighbours(facts: &Facts, scope: &Scope) -> Vec<Finding> {
    let master = facts.master.as_ref().and_then(|master| {
        let (name, kind) = (&master.name, master.kind.as_deref()?);
        match kind {
            "bond" | "team" => Some(
                Finding::warning("bond_port", format!("it is one port of the {kind} {name}; the others do not answer"))
                    .with_hint(format!("attach to {name} instead")),
            ),
            "bridge" if matches!(scope, Scope::Own(_)) => Some(
                Finding::warning(
                    "bridge_port",
                    format!("it is a port of the bridge {name}, whose addresses it does not answer for"),
                )
                .with_hint(format!("attach to {name} instead")),
            ),
            _ => None,
        }
    });
    master.into_iter().chain(stripped_tags(facts)).collect()
}

/// Returns a warning if the NIC removes VLAN tags and the interface has VLAN devices.
fn stripped_tags(facts: &Facts) -> Option<Finding> {
    let rx_vlan = facts.offloads.rx_vlan.filter(|it| it.on && !facts.vlans.is_empty())?;
    let vlans = facts.vlans.join(", ");
    let message = format!("the NIC takes VLAN tags off before XDP sees them: what is for {vlans} is answered untagged");
    let finding = Finding::warning("vlan_tags", message);
    Some(match rx_vlan.fixed {
        true => finding.with_hint("this NIC cannot leave them on; attach to an interface without VLANs"),
        false => finding.with_command(format!("ethtool -K {} rxvlan off", facts.name)),
    })
}

#[cfg(test)]
mod tests;
