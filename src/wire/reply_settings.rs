//! The settings that shape the replies on an interface: Linux's sysctls, or the user's options in their place.

use crate::reply_style::ReplyStyle;

/// The settings of an interface from which [`InterfaceState`](crate::InterfaceState) is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplySettings {
    /// The time to live over IPv4, in hops (`net.ipv4.ip_default_ttl`).
    pub ttl: u8,
    /// The hop limit over IPv6, in hops (`net.ipv6.conf.IFACE.hop_limit`).
    pub hop_limit: u8,
    /// The MTU of the interface in bytes, which determines the MSS over IPv4.
    pub mtu: u32,
    /// The MTU over IPv6, in bytes (`net.ipv6.conf.IFACE.mtu`).
    pub mtu_v6: u32,
    /// The advertised MSS in bytes. `None` derives it from the MTU.
    pub mss: Option<u16>,
    /// The advertised window in bytes. `None` derives it from `receive_space` and the MSS.
    pub window: Option<u16>,
    /// The bytes of data for which the receive buffer of a new connection has room.
    pub receive_space: u32,
    /// The upper limit of the derived window in bytes (`net.ipv4.tcp_workaround_signed_windows`).
    pub largest_window: u32,
    /// The window scale of SYN-ACKs, as a shift count (RFC 7323, 2.2).
    pub window_scale: u8,
    /// Whether SYN-ACKs accept selective acknowledgments (`net.ipv4.tcp_sack`).
    pub has_sack: bool,
    /// Whether SYN-ACKs accept timestamps (`net.ipv4.tcp_timestamps`).
    pub has_timestamps: bool,
    /// Whether SYN-ACKs accept window scaling (`net.ipv4.tcp_window_scaling`).
    pub has_window_scale: bool,
    /// Whether SYN-ACKs accept explicit congestion notification (`net.ipv4.tcp_ecn`).
    pub has_ecn: bool,
    /// Whether replies have IPv6 flow labels (`net.ipv6.auto_flowlabels`).
    pub has_flow_labels: bool,
    /// Whether flow labels have the bit of labels without state (`net.ipv6.flowlabel_state_ranges`).
    pub marks_flow_labels: bool,
    /// Whether replies reflect the client's flow label (`net.ipv6.flowlabel_reflect`).
    pub reflects_flow_labels: bool,
    /// A random number, which the flow labels depend on.
    pub seed: u64,
    /// The offset of TSvals from the clock, in milliseconds.
    pub timestamp_offset: u32,
    /// Whether a keyed ISN also adds an offset for each connection to TSvals.
    pub has_connection_offsets: bool,
    /// The style of the replies. The program supports another style than Linux's only if it is loaded with this style
    /// ([`ProgramSettings::style`](crate::ProgramSettings::style)).
    pub style: ReplyStyle,
}

impl ReplySettings {
    /// Linux's defaults on an Ethernet interface.
    pub const DEFAULT: Self = Self {
        ttl: 64,
        hop_limit: 64,
        mtu: 1500,
        mtu_v6: 1500,
        mss: None,
        window: None,
        receive_space: 65_536,
        largest_window: u32::MAX,
        window_scale: 7,
        has_sack: true,
        has_timestamps: true,
        has_window_scale: true,
        has_ecn: true,
        has_flow_labels: true,
        marks_flow_labels: false,
        reflects_flow_labels: false,
        seed: 0x7463_702d_626f_756e,
        timestamp_offset: 0,
        has_connection_offsets: true,
        style: ReplyStyle::LINUX,
    };

    /// Returns Linux's defaults with the MTU, the seed and the offset of these settings.
    pub const fn with_defaults_of_linux(self) -> Self {
        let Self { mtu, mtu_v6, seed, timestamp_offset, .. } = self;
        Self { mtu, mtu_v6, seed, timestamp_offset, ..Self::DEFAULT }
    }
}
