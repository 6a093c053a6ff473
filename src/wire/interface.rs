//! The state of an interface, which user space keeps up to date.

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::{IpAddress as _, Ipv4Address, Ipv6Address, Mac};
use crate::ip::Ip;

/// The headers of a segment over IPv4 without options, in bytes, which MTU and MSS differ by.
const IPV4_HEADERS: u32 = 40;
/// The headers of a segment over IPv6, in bytes.
const IPV6_HEADERS: u32 = 60;
/// The smallest MSS that Linux advertises over IPv4 (`ip_rt_min_advmss`).
const IPV4_LEAST_MSS: u32 = 256;
/// The smallest MSS that Linux advertises over IPv6 (`ip6_rt_min_advmss`).
const IPV6_LEAST_MSS: u32 = 1220;
/// The length of the timestamps option in each segment, with padding, in bytes.
const TIMESTAMPS_LENGTH: u16 = 12;

/// The state of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InterfaceState {
    /// The interface's MAC address.
    pub mac: Mac,
    /// Advertised values over IPv4.
    pub v4: Advertised,
    /// Advertised values over IPv6.
    pub v6: Advertised,
    /// The primary IPv4 address, compared before the address set is searched. Unspecified for none.
    pub primary_v4: Ipv4Address,
    /// The primary IPv6 address, compared before the address set is searched. Unspecified for none.
    pub primary_v6: Ipv6Address,
}

impl InterfaceState {
    /// The state of an Ethernet interface with an MTU of 1500 bytes.
    pub const BUILT_IN: Self = Self::new(Mac([0; 6]), 1500, None, None);

    /// Returns the state of an interface with this MTU in bytes, without primary addresses. `mss` and `window` override
    /// the values for the MTU.
    pub const fn new(mac: Mac, mtu: u32, mss: Option<u16>, window: Option<u16>) -> Self {
        Self {
            mac,
            v4: Advertised::new(mtu.saturating_sub(IPV4_HEADERS), IPV4_LEAST_MSS, mss, window),
            v6: Advertised::new(mtu.saturating_sub(IPV6_HEADERS), IPV6_LEAST_MSS, mss, window),
            primary_v4: Ipv4Address::UNSPECIFIED,
            primary_v6: Ipv6Address::UNSPECIFIED,
        }
    }

    /// Returns whether this is the primary address of its IP version.
    #[inline(always)]
    pub fn is_primary<I: Ip>(&self, address: I::Address) -> bool {
        address == *I::choose_address(&self.primary_v4, &self.primary_v6) && address != I::Address::UNSPECIFIED
    }

    /// Returns the advertised values for an IP version.
    #[inline(always)]
    pub fn advertised<I: Ip>(&self) -> &Advertised {
        I::choose(&self.v4, &self.v6)
    }
}

/// The values that a SYN-ACK advertises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Advertised {
    /// Maximum segment size in bytes.
    pub mss: U16,
    /// Receive window without timestamps, in bytes.
    pub window: U16,
    /// Receive window with timestamps, in bytes.
    pub window_with_timestamps: U16,
}

impl Advertised {
    /// Returns the values for a path with room for `available_mss` bytes of data in a packet, and of `least_mss` at
    /// least.
    const fn new(available_mss: u32, least_mss: u32, mss: Option<u16>, window: Option<u16>) -> Self {
        let mss = match mss {
            Some(mss) => mss,
            None => {
                let mss = if available_mss < least_mss { least_mss } else { available_mss };
                if mss > u16::MAX as u32 { u16::MAX } else { mss as u16 }
            }
        };
        let (without, with) = match window {
            Some(window) => (window, window),
            None => (whole_segments(mss), whole_segments(mss.saturating_sub(TIMESTAMPS_LENGTH))),
        };
        Self { mss: U16::new(mss), window: U16::new(without), window_with_timestamps: U16::new(with) }
    }

    /// Returns values that limit the client to one segment of `length` bytes at a time.
    pub(crate) const fn one_segment(length: u16) -> Self {
        let length = U16::new(length);
        Self { mss: length, window: length, window_with_timestamps: length }
    }

    /// Returns these values with a window of zero.
    pub(crate) const fn without_window(self) -> Self {
        let window = U16::new(0);
        Self { window, window_with_timestamps: window, ..self }
    }
}

/// Returns the largest multiple of `mss` up to 64 KiB, in bytes, as `tcp_select_initial_window` of Linux computes it
/// for a receive buffer of 128 KiB.
const fn whole_segments(mss: u16) -> u16 {
    const SPACE: u32 = 65_536;
    let window = if mss == 0 { SPACE } else { SPACE - SPACE % mss as u32 };
    if window > u16::MAX as u32 { u16::MAX } else { window as u16 }
}
