//! What clients do: told of packets to whoever asks for more than the counters, and only then.

use core::cell::Cell;
use core::iter::Sum;
use core::ops::AddAssign;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address_set::AddressBits;
use crate::frame::Frame;
use crate::ip::Ip;
use crate::segment::Segment;
use crate::tcp::Tcp;
use crate::verdict::Verdict;

/// What is told besides the counters. Nothing, by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Whether it is counted by port what clients do.
    pub ports: bool,
    /// Whether it is counted by source address.
    pub sources: bool,
    /// Of how many events one is told; 0: of none.
    pub events: u32,
    /// How many stripes the tables by port and by source have, a power of two: a CPU writes to that which has its number, or
    /// the lower bits of it.
    pub stripes: u32,
    /// Whether CPUs share stripes, since there are more.
    pub shared: bool,
}

/// What a client did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum EventKind {
    /// It sent a SYN, which was answered.
    Syn,
    /// It completed the handshake.
    Completed,
    /// It closed the connection, or reset it.
    Closed,
}

impl EventKind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 3] = [Self::Syn, Self::Completed, Self::Closed];

    /// What its sender did with a segment with these control bits that got `verdict`.
    #[inline(always)]
    pub const fn of(verdict: Verdict, flags: u8) -> Option<Self> {
        match verdict {
            Verdict::Answered => Some(Self::Syn),
            Verdict::Completed | Verdict::Reset | Verdict::Closed => Some(Self::Completed),
            Verdict::Later | Verdict::Replied if flags & (Tcp::FIN | Tcp::RST) != 0 => Some(Self::Closed),
            _ => None,
        }
    }
}

/// One thing that a client did, as the XDP program puts it into the ring buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Event {
    /// When: nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// The client's address.
    pub source: AddressBits,
    /// The address that it wanted.
    pub destination: AddressBits,
    /// The client's port.
    pub source_port: U16,
    /// The port that it wanted.
    pub destination_port: U16,
    /// A [`EventKind`].
    pub kind: u32,
}

/// What clients did at a port, or what one client did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCounts {
    /// How many SYNs were answered.
    pub syns: u64,
    /// How many handshakes were completed.
    pub completed: u64,
}

impl ClientCounts {
    /// Both together.
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

/// The same where a CPU counts it, and others read it meanwhile; or write to it, where they share it. Hence the cells, which
/// promise the compiler nothing of what is in them.
#[derive(Debug, Default)]
#[repr(C)]
pub struct ClientCounters {
    /// As in [`ClientCounts`].
    pub syns: Cell<u64>,
    /// As in [`ClientCounts`].
    pub completed: Cell<u64>,
}

impl ClientCounters {
    /// What has been counted.
    #[inline(always)]
    pub fn get(&self) -> ClientCounts {
        ClientCounts { syns: self.syns.get(), completed: self.completed.get() }
    }
}

/// A place for a client in a table.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Slot {
    high: Cell<u64>,
    low: Cell<u64>,
    tally: ClientCounters,
}

impl Slot {
    /// Who has it, and what that client has done; nothing, if nobody has it.
    #[inline(always)]
    pub fn get(&self) -> (AddressBits, ClientCounts) {
        (AddressBits { high: self.high.get(), low: self.low.get() }, self.tally.get())
    }

    #[inline(always)]
    fn give_to(&self, AddressBits { high, low }: AddressBits) {
        self.high.set(high);
        self.low.set(low);
        self.tally.syns.set(0);
        self.tally.completed.set(0);
    }
}

/// Places for clients whose addresses have the same hash. Together, buckets are a table that remembers those who do most: where
/// there is no place for a client, the one with the least of its bucket is forgotten.
///
/// CPUs that share a table may give the same place to two clients at the same moment; then one is counted as the other.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Bucket(pub [Slot; 4]);

impl Bucket {
    /// How many there are, in each stripe of a table.
    pub const COUNT: usize = 1 << Self::BITS;
    const BITS: u32 = 12;

    /// The index of the bucket for clients with this address.
    #[inline(always)]
    pub const fn index(AddressBits { high, low }: AddressBits) -> usize {
        // Fibonacci hashing: neighbours come to lie far from each other. (The factor is 2^64 by the golden ratio.)
        let hash = (low ^ high.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash >> (u64::BITS - Self::BITS)) as usize
    }

    /// What the client with this address has done; the place for it may be one of another's, which is forgotten then.
    #[inline(always)]
    pub fn tally(&self, source: AddressBits) -> &ClientCounters {
        // A place that nobody has has the least there is.
        let (mut least, mut least_total) = (0, u64::MAX);
        for (index, place) in self.0.iter().enumerate() {
            let (other, count) = place.get();
            if other == source && count.total() != 0 {
                return &place.tally;
            }
            if count.total() < least_total {
                (least, least_total) = (index, count.total());
            }
        }
        let place = &self.0[least & 3];
        place.give_to(source);
        &place.tally
    }
}

/// What became of events on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EventCounts {
    /// How many there were.
    pub seen: u64,
    /// How many were put into the ring buffer.
    pub delivered: u64,
    /// How many were to be, but there was no room for them.
    pub dropped: u64,
}

impl<I: Ip> Segment<I> {
    /// Who did it, and where: of this segment, or if `is_reply`, of that to which it is the answer. The time and the kind are
    /// left for whoever knows them.
    #[inline(always)]
    pub fn event<F: Frame>(&self, frame: &mut F, is_reply: bool) -> Option<Event> {
        let ip = self.ip(frame)?;
        let [mut source, mut destination] = [ip.source(), ip.destination()].map(I::number);
        let Tcp { mut source_port, mut destination_port, .. } = *self.tcp(frame)?;
        if is_reply {
            (source, destination) = (destination, source);
            (source_port, destination_port) = (destination_port, source_port);
        }
        Some(Event { time: 0, source, destination, source_port, destination_port, kind: 0 })
    }
}
