//! Ethernet II (IEEE 802.3) and VLAN tags (IEEE 802.1Q).

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::frame::Frame;

/// The `ETH_P_IP` of `linux/if_ether.h`.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// `ETH_P_IPV6`.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// `ETH_P_8021Q`: the tag of a VLAN.
pub const ETHERTYPE_8021Q: u16 = 0x8100;
/// `ETH_P_8021AD`: the outer tag of two.
pub const ETHERTYPE_8021AD: u16 = 0x88a8;

/// How many VLAN tags a frame may have.
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

/// What follows an ethertype that announces a tag.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Tag {
    /// Priority (3 bits), drop eligible indicator (1 bit), VLAN identifier (12 bits).
    pub control_information: U16,
    /// Type of what follows.
    pub ethertype: U16,
}

impl Ethernet {
    /// The type of the payload of `frame`, and the offset at which it begins: behind any tags.
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

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether it is the same address: by words, where `==` would join six bytes first.
    #[inline(always)]
    pub const fn is(&self, other: &Self) -> bool {
        let ([a, b, c, d, e, f], [u, v, w, x, y, z]) = (&self.0, &other.0);
        let first = u32::from_ne_bytes([*a, *b, *c, *d]) ^ u32::from_ne_bytes([*u, *v, *w, *x]);
        let last = u16::from_ne_bytes([*e, *f]) ^ u16::from_ne_bytes([*y, *z]);
        first | last as u32 == 0
    }

    /// Whether this is a group address, multicast or broadcast: the I/G bit is the first that is sent.
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}
