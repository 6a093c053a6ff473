//! The state of an interface, which user space keeps up to date.

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::{IpAddress as _, Ipv4Address, Ipv6Address, Mac};
use crate::ip::Ip;

/// The length of IPv4 and TCP headers without options, in bytes: the difference between MTU and MSS.
const IPV4_HEADERS: u32 = 40;
/// The length of IPv6 and TCP headers without options, in bytes: the difference between MTU and MSS.
const IPV6_HEADERS: u32 = 60;
/// The smallest MSS that Linux advertises over IPv4, in bytes (`ip_rt_min_advmss`).
const IPV4_LEAST_MSS: u32 = 256;
/// The smallest MSS that Linux advertises over IPv6, in bytes (`ip6_rt_min_advmss`).
const IPV6_LEAST_MSS: u32 = 1220;
/// The length of the timestamps option in each segment, in bytes, with padding.
const TIMESTAMPS_LENGTH: u16 = 12;

/// The addresses of an interface and the values that its SYN-ACKs advertise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InterfaceState {
    /// The interface's MAC address.
    pub mac: Mac,
    /// The advertised values over IPv4.
    pub v4: Advertised,
    /// The advertised values over IPv6.
    pub v6: Advertised,
    /// The primary IPv4 address, compared before the address set is searched. Unspecified (all zeros) if there is none.
    pub primary_v4: Ipv4Address,
    /// The primary IPv6 address, compared before the address set is searched. Unspecified (all zeros) if there is none.
    pub primary_v6: Ipv6Address,
}

impl InterfaceState {
    /// The state of an Ethernet interface with an MTU of 1500 bytes. The MAC address is zero, and there are no primary
    /// addresses.
    pub const BUILT_IN: Self = Self::new(Mac([0; 6]), 1500, None, None);

    /// Returns the state of an interface with an MTU of `mtu` bytes, without primary addresses.
    ///
    /// `mss` and `window`, in bytes, replace the values derived from the MTU.
    pub const fn new(mac: Mac, mtu: u32, mss: Option<u16>, window: Option<u16>) -> Self {
        Self {
            mac,
            v4: Advertised::new(mtu.saturating_sub(IPV4_HEADERS), IPV4_LEAST_MSS, mss, window),
            v6: Advertised::new(mtu.saturating_sub(IPV6_HEADERS), IPV6_LEAST_MSS, mss, window),
            primary_v4: Ipv4Address::UNSPECIFIED,
            primary_v6: Ipv6Address::UNSPECIFIED,
        }
    }

    /// Returns whether `address` is the primary address of its IP version.
    #[inline(always)]
    pub fn is_primary<I: Ip>(&self, address: I::Address) -> bool {
        address == *I::choose_address(&self.primary_v4, &self.primary_v6) && address != I::Address::UNSPECIFIED
    }

    /// Returns the values that SYN-ACKs over IP version `I` advertise.
    #[inline(always)]
    pub fn advertised<I: Ip>(&self) -> &Advertised {
        I::choose(&self.v4, &self.v6)
    }
}

/// The values that a SYN-ACK advertises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Advertised {
    /// The maximum segment size (MSS) in bytes.
    pub mss: U16,
    /// The receive window of a SYN-ACK without timestamps, in bytes.
    pub window: U16,
    /// The receive window of a SYN-ACK with timestamps, in bytes.
    pub window_with_timestamps: U16,
}

impl Advertised {
    /// Returns the values for an interface whose packets have room for `available_mss` bytes of TCP payload.
    ///
    /// The derived MSS is at least `least_mss` bytes. `mss` and `window` replace the derived values.
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

    /// Returns values with which the client sends at most one segment of `length` bytes at a time.
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

/// Returns the largest multiple of `mss` up to 64 KiB, but at most 65,535, in bytes.
///
/// Linux computes the same window for a receive buffer of 128 KiB (`tcp_select_initial_window`).
const fn whole_segments(mss: u16) -> u16 {
    const SPACE: u32 = 65_536;
    let window = if mss == 0 { SPACE } else { SPACE - SPACE % mss as u32 };
    if window > u16::MAX as u32 { u16::MAX } else { window as u16 }
}
