//! Sets of addresses.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How many ranges a set can have.
pub const MAX_RANGES: usize = 4096;

/// An IPv6 address as a number; an IPv4 address as that of the IPv6 address it is mapped to (RFC 4291, 2.5.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AddressBits {
    /// The upper 64 bits.
    pub high: u64,
    /// The lower 64 bits.
    pub low: u64,
}

/// The addresses from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AddressRange {
    /// The lowest.
    pub first: AddressBits,
    /// The highest.
    pub last: AddressBits,
}

/// A set of addresses: ranges in ascending order that have no address in common.
///
/// A search halves them, always as often as the largest set needs: the verifier would follow what comes after it once for
/// each number of steps that it could take.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AddressSet {
    ranges: [AddressRange; MAX_RANGES],
    /// How many of them are in use.
    len: u64,
}

impl AddressSet {
    /// The empty set.
    pub const fn new() -> Self {
        const NONE: AddressBits = AddressBits { high: 0, low: 0 };
        Self { ranges: [AddressRange { first: NONE, last: NONE }; MAX_RANGES], len: 0 }
    }

    /// Makes it the set of these ranges, which are in ascending order and have no address in common; `None` if they
    /// are more than [`MAX_RANGES`].
    pub fn fill(&mut self, ranges: &[AddressRange]) -> Option<()> {
        self.ranges.get_mut(..ranges.len())?.copy_from_slice(ranges);
        self.len = ranges.len() as u64;
        Some(())
    }

    /// Whether an address is in the set.
    #[inline(always)]
    pub fn contains(&self, address: AddressBits) -> bool {
        // The masks are for the verifier: nothing is ever beyond them.
        let range = |index: u64| &self.ranges[index as usize & (MAX_RANGES - 1)];
        let (mut base, mut size) = (0, self.len);
        // Invariant: if any range has the address, it is one of the `size` from `base`.
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
