//! Sets of IP addresses, stored as sorted ranges and tables that lead to them.

use core::ops::Range;

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

/// The largest depth of tables in a set.
const MAX_LEVELS: usize = 4;

/// The largest number of slots in a set. If all ranges are prefixes, the tables of one level have at most as many slots
/// as the set has ranges. If the slots run out, lists of ranges are longer.
const MAX_SLOTS: usize = 2 * MAX_RANGES;

// `contains` masks indexes.
const _: () = assert!(MAX_SLOTS.is_power_of_two() && MAX_RANGES.is_power_of_two());

/// The part of a set that covers one block of addresses: a table with a slot for each smaller block, or a list of
/// ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Slot {
    /// The index of the table's first slot, or of the first range in the list.
    start: u16,
    /// The number of slots in the table minus one, as a mask. Zero for a list of ranges.
    mask: u16,
    /// The number of ranges in the list.
    count: u16,
    /// The position of the lowest address bit that selects a slot of the table.
    shift: u16,
}

impl Slot {
    /// The empty list of ranges.
    const EMPTY: Self = Self { start: 0, mask: 0, count: 0, shift: 0 };
}

/// A set of addresses: up to [`MAX_RANGES`] disjoint ranges in ascending order, and tables that lead to them.
///
/// A table skips the address bits that all its ranges have in common. The next bits of an address select a slot. Most
/// searches end after one or two tables, at a single range. A longer list of ranges is searched in halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AddressSet {
    /// The slot that covers all addresses.
    root: Slot,
    slots: [Slot; MAX_SLOTS],
    ranges: [AddressRange; MAX_RANGES],
}

impl AddressSet {
    /// Returns the empty set.
    pub const fn new() -> Self {
        const ZERO: AddressBits = AddressBits { high: 0, low: 0 };
        Self {
            root: Slot::EMPTY,
            slots: [Slot::EMPTY; MAX_SLOTS],
            ranges: [AddressRange { first: ZERO, last: ZERO }; MAX_RANGES],
        }
    }

    /// Replaces the contents with `ranges`, which must be disjoint and in ascending order.
    ///
    /// Returns `None` and leaves the set unchanged if there are more than [`MAX_RANGES`].
    pub fn fill(&mut self, ranges: &[AddressRange]) -> Option<()> {
        self.ranges.get_mut(..ranges.len())?.copy_from_slice(ranges);
        self.root = self.add(0..ranges.len(), (0, u128::MAX), &mut 0, MAX_LEVELS);
        Some(())
    }

    /// Adds up to `levels` levels of tables for the part between two addresses of the ranges with these indexes.
    /// Returns the slot that leads to these ranges.
    ///
    /// The number of slots in use is `used`.
    fn add(&mut self, part: Range<usize>, (from, to): (u128, u128), used: &mut usize, levels: usize) -> Slot {
        let list = Slot { start: part.start as u16, count: part.len() as u16, ..Slot::EMPTY };
        let ranges = &self.ranges[part.clone()];
        let ([first, .., last], 1..) = (ranges, levels) else { return list };
        let (from, to) = (from.max(first.first.number()), to.min(last.last.number()));
        // The bits of one table must not cross the middle of the address.
        let top = (from ^ to).ilog2();
        let bits = ranges.len().ilog2().min(top % 64 + 1);
        let (table, length, shift) = (*used, 1 << bits, top + 1 - bits);
        if table + length > MAX_SLOTS {
            return list;
        }
        *used += length;
        for index in 0..length {
            // The lowest bits of `block` are the index.
            let block = from >> top >> 1 << bits | index as u128;
            let (from, to) = (block << shift, block << shift | !(u128::MAX << shift));
            let ranges = &self.ranges[part.clone()];
            let start = part.start + ranges.partition_point(|range| range.last.number() < from);
            let end = part.start + ranges.partition_point(|range| range.first.number() <= to);
            self.slots[table + index] = self.add(start..end, (from, to), used, levels - 1);
        }
        Slot { start: table as u16, mask: length as u16 - 1, count: 0, shift: shift as u16 }
    }

    /// Returns whether the set contains `address`.
    #[inline(always)]
    pub fn contains(&self, address: AddressBits) -> bool {
        let mut slot = &self.root;
        for _ in 0..MAX_LEVELS {
            let Slot { start, mask, shift, .. } = *slot;
            if mask == 0 {
                break;
            }
            let word = if shift < 64 { address.low } else { address.high };
            let index = u64::from(start) + (word >> (shift % 64) & u64::from(mask));
            // The masks give the verifier upper bounds for the indexes. They never change an index.
            slot = &self.slots[index as usize & (MAX_SLOTS - 1)];
        }
        let range = |index: u64| &self.ranges[index as usize & (MAX_RANGES - 1)];
        let (mut base, mut size) = (u64::from(slot.start), u64::from(slot.count));
        // Invariant: if a range contains the address, it is one of the `size` ranges from `base`.
        for _ in 0..MAX_RANGES.ilog2() {
            if size <= 1 {
                break;
            }
            let half = size / 2;
            if range(base + half).first.is_at_most(address) {
                base += half;
            }
            size -= half;
        }
        size != 0 && range(base).first.is_at_most(address) && address.is_at_most(range(base).last)
    }
}

impl Default for AddressSet {
    fn default() -> Self {
        Self::new()
    }
}
