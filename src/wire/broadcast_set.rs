//! Sets of IPv4 broadcast addresses.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::{IpAddress, Ipv4Address};

/// The largest number of addresses in a set.
pub const MAX_BROADCASTS: usize = 16;

/// The broadcast addresses of an interface's subnets.
///
/// The host part of a broadcast address has only ones. An address that lacks a bit which all addresses of the set have
/// is not in the set. This test rejects nearly all addresses without a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BroadcastSet {
    /// The bits, in memory order, that are zero in some address of the set. All bits are zero in the empty set.
    ignored: u32,
    len: u32,
    addresses: [Ipv4Address; MAX_BROADCASTS],
}

impl BroadcastSet {
    /// Returns the empty set.
    pub const fn new() -> Self {
        Self { ignored: 0, len: 0, addresses: [Ipv4Address([0; 4]); MAX_BROADCASTS] }
    }

    /// Adds an address. Returns `None` and leaves the set unchanged if it is full.
    pub fn insert(&mut self, address: Ipv4Address) -> Option<()> {
        *self.addresses.get_mut(self.len as usize)? = address;
        self.len += 1;
        self.ignored |= !address.words();
        Some(())
    }

    /// Returns `false` if the set does not contain `address`. Returns `true` if the set may contain it.
    #[inline(always)]
    pub fn may_contain<A: IpAddress>(&self, address: A) -> bool {
        address.to_v4().is_some_and(|address| address.words() | self.ignored == u32::MAX)
    }

    /// Returns whether the set contains `address`.
    #[inline(always)]
    pub fn contains<A: IpAddress>(&self, address: A) -> bool {
        self.may_contain(address) && address.to_v4().is_some_and(|address| self.addresses.contains(&address))
    }
}

impl Default for BroadcastSet {
    fn default() -> Self {
        Self::new()
    }
}
