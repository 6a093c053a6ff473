//! Sets of IP addresses, stored as sorted ranges.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::AddressBits;

/// The largest number of ranges in a set.
pub const MAX_RANGES: usize = 4096;

/// A range of addresses, including both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AddressRange {
    /// The lowest address.
    pub first: AddressBits,
    /// The highest address.
    pub last: AddressBits,
}

/// A set of addresses: up to [`MAX_RANGES`] disjoint ranges in ascending order.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AddressSet {
    ranges: [AddressRange; MAX_RANGES],
    /// The number of ranges in use, at the start of `ranges`.
    len: u64,
}

impl AddressSet {
    /// Returns the empty set.
    pub const fn new() -> Self {
        const ZERO: AddressBits = AddressBits { high: 0, low: 0 };
        Self { ranges: [AddressRange { first: ZERO, last: ZERO }; MAX_RANGES], len: 0 }
    }

    /// Replaces the contents with `ranges`, which must be disjoint and in ascending order.
    ///
    /// Returns `None` and leaves the set unchanged if there are more than [`MAX_RANGES`].
    pub fn fill(&mut self, ranges: &[AddressRange]) -> Option<()> {
        self.ranges.get_mut(..ranges.len())?.copy_from_slice(ranges);
        self.len = ranges.len() as u64;
        Some(())
    }

    /// Returns whether the set contains `address`.
    ///
    /// The binary search always takes the number of steps that a full set needs. With a variable number of steps, the
    /// verifier would check the code after the loop once for each number.
    #[inline(always)]
    pub fn contains(&self, address: AddressBits) -> bool {
        // The mask gives the verifier an upper bound for the index. It never changes an index.
        let range = |index: u64| &self.ranges[index as usize & (MAX_RANGES - 1)];
        let (mut base, mut size) = (0, self.len);
        // Invariant: if a range contains the address, it is one of the `size` ranges from `base`.
        for _ in 0..MAX_RANGES.ilog2() {
            let half = size / 2;
            if range(base + half).first <= address {
                base = (base + half) & (MAX_RANGES as u64 - 1);
            }
            size -= half;
        }
        size != 0 && range(base).first <= address && address <= range(base).last
    }
}

impl Default for AddressSet {
    fn default() -> Self {
        Self::new()
    }
}
