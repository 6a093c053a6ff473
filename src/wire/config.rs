//! What the XDP program is told once, before it runs.

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::syn_ack::SynAck;

/// What the user may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Initial sequence number of every SYN-ACK.
    pub isn: u32,
    /// Time to live of a SYN-ACK, in hops.
    pub ttl: u8,
    /// Receive window that a SYN-ACK announces, in bytes.
    pub window: u16,
    /// Maximum segment size that a SYN-ACK announces, in bytes.
    pub mss: u16,
    /// Whether TCP that is not ours is dropped instead of passed to the host.
    pub takeover: bool,
    /// The mode that the program is attached in, as `XDP_FLAGS_*_MODE` of `linux/if_link.h`. For whoever inspects
    /// the loaded program: it does the same in each.
    pub attach_mode: u16,
}

impl Settings {
    /// The ISN reads "tcpb" in a hex dump; TTL, window and MSS are what Linux sends on an Ethernet with an MTU of
    /// 1500.
    pub const DEFAULT: Self =
        Self { isn: 0x7463_7062, ttl: 64, window: 65_160, mss: 1460, takeover: false, attach_mode: 0 };
}

/// The settings as the XDP program reads them: in read-only memory, frozen before it is verified, so that the
/// verifier removes what is off. What goes into a packet is in network byte order.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Config {
    pub(crate) isn: U32,
    pub(crate) window: U16,
    pub(crate) mss: U16,
    pub(crate) ttl: u8,
    pub(crate) takeover: u8,
    attach_mode: u16,
    /// The sums of all that is the same in each SYN-ACK, made ahead: of the IP header, and of the TCP pseudo-header
    /// and segment.
    pub(crate) ipv4_sum: u16,
    pub(crate) tcp_sum: u16,
}

impl Config {
    /// What the object does when something other than tcp-bounce loads it: it answers on every port, and takes
    /// nothing else from the host.
    pub const BUILT_IN: Self = Self::new(Settings::DEFAULT);

    /// The settings for the XDP program.
    pub const fn new(settings: Settings) -> Self {
        let config = Self {
            isn: U32::new(settings.isn),
            window: U16::new(settings.window),
            mss: U16::new(settings.mss),
            ttl: settings.ttl,
            takeover: settings.takeover as u8,
            attach_mode: settings.attach_mode,
            ipv4_sum: 0,
            tcp_sum: 0,
        };
        let [ipv4_sum, tcp_sum] = SynAck::constant_sums(&config);
        Self { ipv4_sum, tcp_sum, ..config }
    }
}
