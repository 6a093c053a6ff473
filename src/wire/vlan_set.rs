//! Sets of VLAN tags.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ethernet::{ETHERTYPE_8021AD, Ethernet, VlanTag};
use crate::frame::Frame;

/// The number of 64-bit words with a bit for each value of a 16-bit field. VLAN identifiers take 12 of the bits.
const WORDS: usize = (1 << u16::BITS) / 64;

/// The VLAN tags that the host has on an interface.
///
/// A frame with two tags is in the set if both tags are. If there are several pairs of an outer and an inner tag, the
/// set contains their other combinations, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct VlanSet {
    /// The tags of VLAN devices on the interface.
    outer: Tags,
    /// The tags of VLAN devices on these VLAN devices.
    inner: Tags,
}

/// A set of single tags, with a bit for each identifier.
///
/// A bit's index is the identifier in network byte order. Old verifiers know no upper bound for the result of a byte
/// swap, and none for an index that also contains the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Tags {
    /// The identifiers of 802.1Q.
    customer: [u64; WORDS],
    /// The identifiers of 802.1ad.
    service: [u64; WORDS],
}

impl Tags {
    const fn new() -> Self {
        Self { customer: [0; WORDS], service: [0; WORDS] }
    }

    fn insert(&mut self, VlanTag { protocol, id }: VlanTag) {
        let bits = if protocol == ETHERTYPE_8021AD { &mut self.service } else { &mut self.customer };
        let index = (id & VlanTag::ID).to_be() as usize;
        bits[index / 64] |= 1 << (index % 64);
    }

    #[inline(always)]
    fn contains(&self, VlanTag { protocol, id }: VlanTag) -> bool {
        let bits = if protocol == ETHERTYPE_8021AD { &self.service } else { &self.customer };
        let index = (id & VlanTag::ID).to_be() as usize;
        bits[index / 64] & 1 << (index % 64) != 0
    }
}

impl VlanSet {
    /// Returns the empty set.
    pub const fn new() -> Self {
        Self { outer: Tags::new(), inner: Tags::new() }
    }

    /// Adds the tag of a VLAN device on the interface.
    pub fn insert(&mut self, tag: VlanTag) {
        self.outer.insert(tag);
    }

    /// Adds the tag of a VLAN device on another VLAN device.
    pub fn insert_inner(&mut self, tag: VlanTag) {
        self.inner.insert(tag);
    }

    /// Returns whether the set contains all tags of `frame`, whose IP header is at `ip_offset`.
    ///
    /// A single tag with the identifier 0 only gives a priority. Linux receives such a frame on the interface itself
    /// (`vlan_do_receive`), so every set contains it.
    #[inline(always)]
    pub fn contains<F: Frame>(&self, frame: &mut F, ip_offset: usize) -> bool {
        const ONE_TAG: usize = size_of::<Ethernet>() + 4;
        if ip_offset < ONE_TAG {
            return true;
        }
        let Some(outer) = Ethernet::tag(frame, 0) else { return false };
        if ip_offset == ONE_TAG {
            return outer.id == 0 || self.outer.contains(outer);
        }
        let Some(inner) = Ethernet::tag(frame, 1) else { return false };
        self.outer.contains(outer) && self.inner.contains(inner)
    }
}

impl Default for VlanSet {
    fn default() -> Self {
        Self::new()
    }
}
