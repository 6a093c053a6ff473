//! States of the host's kernel: settings that shape a SYN-ACK.

use super::segment::Family::{self, V4, V6};
use crate::fixtures::namespace::Namespace;

/// The MTU of Ethernet in bytes.
const ETHERNET: u16 = 1500;

/// A state of the host's kernel.
#[derive(Debug)]
pub struct State {
    pub name: &'static str,
    /// The variables under `/proc/sys/net` that differ from the kernel's defaults.
    sysctls: &'static [(&'static str, &'static str)],
    /// The MTU of both ends of the cable, in bytes.
    pub mtu: u16,
    /// The IP versions that the test uses.
    pub families: &'static [Family],
    /// Whether older kernels that tcp-bounce supports do not have this state.
    pub is_new: bool,
}

/// The kernel's defaults.
pub const DEFAULTS: State = State { name: "defaults", sysctls: &[], mtu: ETHERNET, families: &[V4, V6], is_new: false };

/// Settings of explicit congestion notification.
pub const ECN: [State; 3] = [
    changed("tcp_ecn=0", &[("ipv4/tcp_ecn", "0")]),
    changed("tcp_ecn=1", &[("ipv4/tcp_ecn", "1")]),
    // Accurate ECN.
    State { is_new: true, ..changed("tcp_ecn=3", &[("ipv4/tcp_ecn", "3")]) },
];

/// Settings of the options of a SYN-ACK.
pub const OPTIONS: [State; 5] = [
    changed("tcp_timestamps=0", &[("ipv4/tcp_timestamps", "0")]),
    changed("tcp_timestamps=2", &[("ipv4/tcp_timestamps", "2")]),
    changed("tcp_sack=0", &[("ipv4/tcp_sack", "0")]),
    changed("tcp_window_scaling=0", &[("ipv4/tcp_window_scaling", "0")]),
    changed(
        "no optional features",
        &[
            ("ipv4/tcp_ecn", "0"),
            ("ipv4/tcp_timestamps", "0"),
            ("ipv4/tcp_sack", "0"),
            ("ipv4/tcp_window_scaling", "0"),
        ],
    ),
];

/// Settings of the window and of its scale.
pub const WINDOWS: [State; 8] = [
    changed("tcp_rmem of older kernels", &[("ipv4/tcp_rmem", "4096 131072 6291456")]),
    // `net.core.rmem_max` then determines the window scale.
    changed("small tcp_rmem", &[("ipv4/tcp_rmem", "4096 16384 65536")]),
    changed("tiny tcp_rmem", &[("ipv4/tcp_rmem", "2048 4096 4096")]),
    changed("large tcp_rmem", &[("ipv4/tcp_rmem", "4096 1000000 536870912")]),
    changed("largest tcp_rmem", &[("ipv4/tcp_rmem", "4096 2147483647 2147483647")]),
    changed(
        "odd tcp_rmem, tcp_window_scaling=0",
        &[("ipv4/tcp_rmem", "4096 50001 65536"), ("ipv4/tcp_window_scaling", "0"), ("ipv4/tcp_timestamps", "0")],
    ),
    changed("tcp_workaround_signed_windows=1", &[("ipv4/tcp_workaround_signed_windows", "1")]),
    State {
        mtu: 9000,
        ..changed(
            "MTU 9000, old tcp_rmem, tcp_timestamps=0",
            &[("ipv4/tcp_rmem", "4096 87380 6291456"), ("ipv4/tcp_timestamps", "0")],
        )
    },
];

/// Settings of the TTL and of the hop limit.
pub const HOP_LIMITS: [State; 3] = [
    changed("ip_default_ttl=128", &[("ipv4/ip_default_ttl", "128"), ("ipv6/conf/host0/hop_limit", "128")]),
    changed("ip_default_ttl=1", &[("ipv4/ip_default_ttl", "1"), ("ipv6/conf/host0/hop_limit", "2")]),
    // The interface has a value of its own, so this setting has no effect.
    changed("conf/all/hop_limit=77", &[("ipv6/conf/all/hop_limit", "77")]),
];

/// Settings of the flow label.
pub const FLOW_LABELS: [State; 8] = [
    changed("auto_flowlabels=0", &[("ipv6/auto_flowlabels", "0")]),
    changed("auto_flowlabels=2", &[("ipv6/auto_flowlabels", "2")]),
    changed("auto_flowlabels=3", &[("ipv6/auto_flowlabels", "3")]),
    changed("flowlabel_state_ranges=1", &[("ipv6/flowlabel_state_ranges", "1")]),
    changed("flowlabel_reflect=1", &[("ipv6/flowlabel_reflect", "1")]),
    changed(
        "flowlabel_reflect=1, auto_flowlabels=0",
        &[("ipv6/flowlabel_reflect", "1"), ("ipv6/auto_flowlabels", "0")],
    ),
    changed(
        "flowlabel_reflect=1, flowlabel_state_ranges=1",
        &[("ipv6/flowlabel_reflect", "1"), ("ipv6/flowlabel_state_ranges", "1")],
    ),
    // Only for RSTs.
    changed("flowlabel_reflect=2", &[("ipv6/flowlabel_reflect", "2")]),
];

/// States with other MTUs than Ethernet's. IPv6 requires at least 1280 bytes.
///
/// With an MTU of 1064 over IPv4, or 2108 over IPv6, whole segments fill exactly 65536 bytes, one more than a window
/// field holds.
pub const MTUS: [State; 6] = [
    State { mtu: 576, families: &[V4], ..changed("MTU 576", &[]) },
    State { mtu: 1064, families: &[V4], ..changed("MTU 1064", &[]) },
    State { mtu: 1280, ..changed("MTU 1280", &[]) },
    State { mtu: 1400, ..changed("MTU 1400", &[]) },
    State { mtu: 2108, ..changed("MTU 2108", &[]) },
    State { mtu: 9000, ..changed("MTU 9000", &[]) },
];

const fn changed(name: &'static str, sysctls: &'static [(&'static str, &'static str)]) -> State {
    State { name, sysctls, ..DEFAULTS }
}

impl State {
    /// Puts the kernel of `host` into this state. Returns whether the kernel has it, which may be false only for a new
    /// state.
    #[track_caller]
    pub fn apply(&self, host: &Namespace) -> bool {
        self.sysctls.iter().all(|(name, value)| match host.try_sysctl(name, value) {
            Ok(()) => true,
            Err(error) => {
                assert!(self.is_new, "{name}={value}: {error}");
                false
            }
        })
    }

    /// Returns whether the kernel marks the flow labels that it chooses with their highest bit.
    pub fn marks_flow_labels(&self) -> bool {
        self.sysctls.contains(&("ipv6/flowlabel_state_ranges", "1"))
    }

    /// Returns whether the kernel repeats the flow labels of clients.
    pub fn reflects_flow_labels(&self) -> bool {
        self.sysctls.iter().any(|&(name, value)| name == "ipv6/flowlabel_reflect" && value != "0")
    }
}
