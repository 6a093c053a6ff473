//! Ethernet II headers (IEEE 802.3) and VLAN tags (IEEE 802.1Q).

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::address::Mac;
use crate::frame::Frame;

/// IPv4 (`ETH_P_IP` in `linux/if_ether.h`).
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// IPv6 (`ETH_P_IPV6`).
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// A VLAN tag (`ETH_P_8021Q`).
pub const ETHERTYPE_8021Q: u16 = 0x8100;
/// A service VLAN tag, the outer one of two (`ETH_P_8021AD`).
pub const ETHERTYPE_8021AD: u16 = 0x88a8;

/// The largest number of VLAN tags.
const MAX_TAGS: usize = 2;

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

/// A VLAN tag, which follows its ethertype.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Tag {
    /// Priority (3 bits), drop eligible indicator (1 bit), VLAN identifier (12 bits).
    pub control_information: U16,
    /// Type of the payload, or of the next tag.
    pub ethertype: U16,
}

impl Ethernet {
    /// Returns the type and the offset of the payload, after any VLAN tags, or `None` for a truncated header.
    #[inline(always)]
    pub fn payload<F: Frame>(frame: &mut F) -> Option<(u16, usize)> {
        let (mut ethertype, mut offset) = (frame.at::<Self>(0)?.ethertype.get(), size_of::<Self>());
        for _ in 0..MAX_TAGS {
            if !matches!(ethertype, ETHERTYPE_8021Q | ETHERTYPE_8021AD) {
                break;
            }
            ethertype = frame.at::<Tag>(offset)?.ethertype.get();
            offset += size_of::<Tag>();
        }
        Some((ethertype, offset))
    }
}
