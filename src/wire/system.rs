//! The operating systems whose replies tcp-bounce can imitate.
//!
//! The values come from real SYN-ACKs, as the databases of nmap and p0f describe them. The tests compare them.

use crate::reply_settings::ReplySettings;
use crate::reply_style::{Identification, OptionOrder, ReplyStyle};

/// The replies of an operating system with its default settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemReplies {
    /// The time to live over IPv4, in hops.
    pub ttl: u8,
    /// The hop limit over IPv6, in hops.
    pub hop_limit: u8,
    /// The window of a SYN-ACK.
    pub window: SystemWindow,
    /// The window scale, as a shift count.
    pub window_scale: u8,
    /// Whether SYN-ACKs accept SACK and window scaling.
    pub has_sack_and_window_scale: bool,
    /// Whether SYN-ACKs accept timestamps.
    pub has_timestamps: bool,
    /// Whether the clock of timestamps has another offset for each connection.
    pub has_connection_offsets: bool,
    /// Whether SYN-ACKs accept explicit congestion notification.
    pub has_ecn: bool,
    /// The order of the options.
    pub option_order: OptionOrder,
    /// The choice of IPv4 identifications.
    pub identification: Identification,
    /// Whether IPv4 headers have the DF flag.
    pub dont_fragment: bool,
}

/// The window of a system's SYN-ACKs, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemWindow {
    /// All SYN-ACKs have this window.
    Fixed(u16),
    /// This window. Without window scaling, it is rounded down to whole segments.
    Rounded(u16),
}

impl SystemReplies {
    /// Windows 10 from version 1709 on.
    pub const WINDOWS_10: Self = Self {
        ttl: 128,
        hop_limit: 128,
        window: SystemWindow::Rounded(65535),
        window_scale: 8,
        has_sack_and_window_scale: true,
        has_timestamps: false,
        has_connection_offsets: false,
        has_ecn: false,
        option_order: OptionOrder::Windows,
        identification: Identification::Rising,
        dont_fragment: true,
    };

    /// Windows Server 2016. Windows 10 up to version 1607 differs only in ECN, which it does not accept.
    pub const WINDOWS_SERVER_2016: Self =
        Self { window: SystemWindow::Fixed(8192), has_timestamps: true, has_ecn: true, ..Self::WINDOWS_10 };

    /// FreeBSD 12.
    pub const FREEBSD: Self = Self {
        ttl: 64,
        hop_limit: 64,
        window: SystemWindow::Fixed(65535),
        window_scale: 6,
        has_sack_and_window_scale: true,
        has_timestamps: true,
        has_connection_offsets: true,
        has_ecn: true,
        option_order: OptionOrder::FreeBsd,
        identification: Identification::Zero,
        dont_fragment: true,
    };

    /// macOS 10.14.
    pub const MACOS: Self =
        Self { has_connection_offsets: false, has_ecn: false, option_order: OptionOrder::MacOs, ..Self::FREEBSD };

    /// OpenBSD 6.
    pub const OPENBSD: Self = Self {
        window: SystemWindow::Fixed(16384),
        has_ecn: false,
        option_order: OptionOrder::OpenBsd,
        identification: Identification::Random,
        ..Self::FREEBSD
    };

    /// Cisco IOS 15.
    pub const CISCO_IOS: Self = Self {
        ttl: 255,
        hop_limit: 64,
        window: SystemWindow::Fixed(4128),
        window_scale: 0,
        has_sack_and_window_scale: false,
        has_timestamps: false,
        has_connection_offsets: false,
        has_ecn: false,
        // The only option is MSS.
        option_order: OptionOrder::Linux,
        identification: Identification::Random,
        dont_fragment: false,
    };

    /// lwIP, the TCP/IP stack of many small devices, as in the firmware of the ESP8266.
    pub const LWIP: Self = Self {
        hop_limit: 255,
        window: SystemWindow::Fixed(5840),
        identification: Identification::Rising,
        ..Self::CISCO_IOS
    };

    /// Returns the settings for replies in this style. `host` supplies the MTU and the random numbers.
    pub const fn settings(&self, host: ReplySettings) -> ReplySettings {
        let (window, receive_space, scaled_window) = match self.window {
            SystemWindow::Fixed(window) => (Some(window), window as u32, None),
            SystemWindow::Rounded(window) => (None, window as u32, Some(window)),
        };
        ReplySettings {
            ttl: self.ttl,
            hop_limit: self.hop_limit,
            window,
            receive_space,
            largest_window: u32::MAX,
            window_scale: self.window_scale,
            has_sack: self.has_sack_and_window_scale,
            has_timestamps: self.has_timestamps,
            has_window_scale: self.has_sack_and_window_scale,
            has_ecn: self.has_ecn,
            has_connection_offsets: self.has_connection_offsets,
            style: ReplyStyle {
                option_order: self.option_order,
                identification: self.identification,
                dont_fragment: self.dont_fragment,
                scaled_window,
            },
            ..host
        }
    }
}
