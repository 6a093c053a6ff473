//! Sets of VLAN tags.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ethernet::{ETHERTYPE_8021AD, Ethernet, VlanTag};
use crate::frame::Frame;

/// The number of VLAN identifiers, including the reserved identifiers 0 and 4095.
const IDENTIFIERS: usize = 4096;

/// The VLAN tags that the host has on an interface.
///
/// A frame with two tags is in the set if both tags are. If there are several pairs of an outer and an inner tag, the
/// set contains their other combinations, too.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct VlanSet {
    /// The tags of VLAN devices on the interface: a bit for each identifier, first for 802.1Q, then for 802.1ad.
    outer: [u64; 2 * IDENTIFIERS / 64],
    /// The tags of VLAN devices on these VLAN devices, in the layout of `outer`.
    inner: [u64; 2 * IDENTIFIERS / 64],
}

impl VlanSet {
    /// Returns the empty set.
    pub const fn new() -> Self {
        Self { outer: [0; 2 * IDENTIFIERS / 64], inner: [0; 2 * IDENTIFIERS / 64] }
    }

    /// Adds the tag of a VLAN device on the interface.
    pub fn insert(&mut self, tag: VlanTag) {
        let index = index(tag);
        self.outer[index / 64] |= 1 << (index % 64);
    }

    /// Adds the tag of a VLAN device on another VLAN device.
    pub fn insert_inner(&mut self, tag: VlanTag) {
        let index = index(tag);
        self.inner[index / 64] |= 1 << (index % 64);
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
            return outer.id == 0 || has(&self.outer, outer);
        }
        let Some(inner) = Ethernet::tag(frame, 1) else { return false };
        has(&self.outer, outer) && has(&self.inner, inner)
    }
}

/// Returns the index of a tag's bit.
#[inline(always)]
const fn index(VlanTag { protocol, id }: VlanTag) -> usize {
    ((protocol == ETHERTYPE_8021AD) as usize) * IDENTIFIERS + id as usize % IDENTIFIERS
}

#[inline(always)]
fn has(bits: &[u64; 2 * IDENTIFIERS / 64], tag: VlanTag) -> bool {
    let index = index(tag);
    bits[index / 64] & 1 << (index % 64) != 0
}

impl Default for VlanSet {
    fn default() -> Self {
        Self::new()
    }
}
