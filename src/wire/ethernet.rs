//! Ethernet II (IEEE 802.3).

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The `ETH_P_IP` of `linux/if_ether.h`.
pub const ETHERTYPE_IPV4: u16 = 0x0800;

/// An Ethernet header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ethernet {
    /// Destination MAC address.
    pub destination: Mac,
    /// Source MAC address.
    pub source: Mac,
    /// Type of the payload.
    pub ethertype: U16,
}

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether this is a group address, multicast or broadcast: the I/G bit is the first that is sent.
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}
