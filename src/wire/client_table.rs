//! Client tables: counts by port and by source address. The XDP program writes them, and user space reads them.

use core::cell::Cell;
use core::iter::Sum;
use core::ops::AddAssign;

use crate::address::AddressBits;

/// The numbers of SYNs and completed handshakes of a port or a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCounts {
    /// Answered SYNs.
    pub syns: u64,
    /// Completed handshakes.
    pub completed: u64,
}

impl ClientCounts {
    /// Returns the number of SYNs and completed handshakes together.
    #[inline(always)]
    pub const fn total(self) -> u64 {
        self.syns.wrapping_add(self.completed)
    }
}

impl Sum for ClientCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |mut sum, count| {
            sum += count;
            sum
        })
    }
}

impl AddAssign for ClientCounts {
    fn add_assign(&mut self, other: Self) {
        self.syns = self.syns.wrapping_add(other.syns);
        self.completed = self.completed.wrapping_add(other.completed);
    }
}

/// [`ClientCounts`] in memory that other CPUs and user space share.
///
/// The cells tell the compiler that the numbers may change at any time.
#[derive(Debug, Default)]
#[repr(C)]
pub struct ClientCounters {
    /// Answered SYNs.
    pub syns: Cell<u64>,
    /// Completed handshakes.
    pub completed: Cell<u64>,
}

impl ClientCounters {
    /// Returns the current counts.
    #[inline(always)]
    pub fn get(&self) -> ClientCounts {
        ClientCounts { syns: self.syns.get(), completed: self.completed.get() }
    }
}

/// A client's slot in a [`Bucket`]. A slot whose counts are zero is free.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Slot {
    high: Cell<u64>,
    low: Cell<u64>,
    counters: ClientCounters,
}

impl Slot {
    /// Returns the client's address and counts.
    #[inline(always)]
    pub fn get(&self) -> (AddressBits, ClientCounts) {
        (AddressBits { high: self.high.get(), low: self.low.get() }, self.counters.get())
    }

    #[inline(always)]
    fn assign(&self, AddressBits { high, low }: AddressBits) {
        self.high.set(high);
        self.low.set(low);
        self.counters.syns.set(0);
        self.counters.completed.set(0);
    }
}

/// The slots for all clients whose addresses have the same hash.
///
/// A table of buckets keeps the most active clients: a new client replaces the least active client of its bucket. CPUs
/// that share a stripe may assign one slot to two clients at the same time. One client's events are then counted for
/// the other.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Bucket(pub [Slot; 4]);

impl Bucket {
    /// The number of buckets in each stripe of a table (see
    /// [`TelemetrySettings::stripes`](crate::TelemetrySettings::stripes)).
    pub const COUNT: usize = 1 << Self::BITS;
    const BITS: u32 = 12;

    /// Returns the index of the bucket for a client's address, within a stripe.
    #[inline(always)]
    pub const fn index(AddressBits { high, low }: AddressBits) -> usize {
        // Fibonacci hashing separates adjacent addresses. The factor is 2^64 divided by the golden ratio.
        let hash = (low ^ high.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash >> (u64::BITS - Self::BITS)) as usize
    }

    /// Returns the counters of a client. A client without a slot gets the slot with the lowest total, and its counters
    /// start at 0.
    #[inline(always)]
    pub fn counters_of(&self, source: AddressBits) -> &ClientCounters {
        let (mut least, mut least_total) = (0, u64::MAX);
        for (index, slot) in self.0.iter().enumerate() {
            let (other, count) = slot.get();
            if other == source && count.total() != 0 {
                return &slot.counters;
            }
            if count.total() < least_total {
                (least, least_total) = (index, count.total());
            }
        }
        // The mask proves to the compiler that the index is in bounds, so that no panic is compiled.
        let slot = &self.0[least & 3];
        slot.assign(source);
        &slot.counters
    }
}
