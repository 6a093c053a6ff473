//! Ethernet II headers (IEEE 802.3) and VLAN tags (IEEE 802.1Q).

use core::mem::offset_of;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::address::Mac;
use crate::frame::Frame;

/// The ethertype of IPv4 (`ETH_P_IP` in `linux/if_ether.h`).
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// The ethertype of IPv6 (`ETH_P_IPV6`).
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// The ethertype of a VLAN tag (`ETH_P_8021Q`).
pub const ETHERTYPE_8021Q: u16 = 0x8100;
/// The ethertype of a service VLAN tag, the outer tag of two (`ETH_P_8021AD`).
pub const ETHERTYPE_8021AD: u16 = 0x88a8;

/// The largest number of VLAN tags in a supported frame.
const MAX_TAGS: usize = 2;

/// An Ethernet header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ethernet {
    /// Destination MAC address.
    pub destination: Mac,
    /// Source MAC address.
    pub source: Mac,
    /// Ethertype of the payload, or of the first VLAN tag.
    pub ethertype: U16,
}

/// A VLAN tag without its own ethertype, which is the last field of the preceding header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Tag {
    /// Priority (3 bits), drop eligible indicator (1 bit), VLAN identifier (12 bits).
    pub control_information: U16,
    /// Ethertype of the payload, or of the next tag.
    pub ethertype: U16,
}

/// An Ethernet header with the largest number of VLAN tags. With fewer tags, other headers lie in their place.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TaggedEthernet {
    /// The header before the tags.
    pub ethernet: Ethernet,
    /// The tags.
    pub tags: [Tag; MAX_TAGS],
}

/// The protocol and the identifier of a VLAN tag, without its priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VlanTag {
    /// The ethertype of the tag: [`ETHERTYPE_8021Q`] or [`ETHERTYPE_8021AD`].
    pub protocol: u16,
    /// The VLAN identifier, 0 to 4095.
    pub id: u16,
}

impl VlanTag {
    /// The mask of the VLAN identifier in [`Tag::control_information`].
    pub(crate) const ID: u16 = 0x0fff;
}

/// The MAC addresses of frames to an interface: its own address as the destination, and any source but a group.
///
/// One comparison of the first eight bytes of a frame checks both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct MacFilter(u64);

impl MacFilter {
    /// The filter that no frame matches. Its lowest bits are one. After the shift in [`Self::matches`], those of a
    /// frame are zero.
    pub const NOTHING: Self = Self(u64::MAX);

    /// The number of bits after the I/G bit of the source, which is bit 48 of the first eight bytes.
    const IGNORED_BITS: u32 = 15;

    /// Returns the filter for frames to `mac`.
    pub const fn new(mac: Mac) -> Self {
        let [a, b, c, d, e, f] = mac.0;
        Self(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) << Self::IGNORED_BITS)
    }

    /// Returns whether these are the first eight bytes of a frame that matches.
    #[inline(always)]
    pub const fn matches(self, start: [u8; 8]) -> bool {
        u64::from_le_bytes(start) << Self::IGNORED_BITS == self.0
    }
}

impl Ethernet {
    /// Returns the payload's ethertype and its offset in bytes, after up to two VLAN tags. Returns `None` if the header
    /// or a tag is truncated.
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

    /// Returns the VLAN tag at `index`, 0 for the outer one. The frame must have this tag. Returns `None` if the tag is
    /// truncated.
    #[inline(always)]
    pub fn tag<F: Frame>(frame: &mut F, index: usize) -> Option<VlanTag> {
        // The tag's ethertype is the last field of the header before it.
        let [ethertype, control_information] =
            *frame.at::<[U16; 2]>(offset_of!(Self, ethertype) + index * size_of::<Tag>())?;
        Some(VlanTag { protocol: ethertype.get(), id: control_information.get() & VlanTag::ID })
    }
}
