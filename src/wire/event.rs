//! What clients do: told of packets to whoever asks for more than the counters, and only then.

use core::iter::Sum;
use core::ops::AddAssign;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::addresses::Number;
use crate::frame::Frame;
use crate::ip::Ip;
use crate::segment::Segment;
use crate::tcp::Tcp;
use crate::verdict::Verdict;

/// What is told besides the counters. Nothing, by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observe {
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
pub enum Kind {
    /// It sent a SYN, which was answered.
    Syn,
    /// It completed the handshake.
    Completed,
    /// It closed the connection, or reset it.
    Closed,
}

impl Kind {
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
    pub source: Number,
    /// The address that it wanted.
    pub destination: Number,
    /// The client's port.
    pub source_port: U16,
    /// The port that it wanted.
    pub destination_port: U16,
    /// A [`Kind`].
    pub kind: u32,
}

/// What clients did at a port, or what one client did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Count {
    /// How many SYNs were answered.
    pub syns: u64,
    /// How many handshakes were completed.
    pub completed: u64,
}

impl Count {
    /// Both together.
    #[inline(always)]
    pub const fn total(self) -> u64 {
        self.syns.wrapping_add(self.completed)
    }
}

impl Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |mut sum, count| {
            sum += count;
            sum
        })
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.syns = self.syns.wrapping_add(other.syns);
        self.completed = self.completed.wrapping_add(other.completed);
    }
}

/// What a client did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SourceCount {
    /// Its address.
    pub source: Number,
    /// What it did: nothing, if there is no client here.
    pub count: Count,
}

/// Clients whose addresses have the same hash. Together, buckets are a table that remembers those who do most: where there is
/// no place for a client, the one with the least of its bucket is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Bucket(pub [SourceCount; 4]);

impl Bucket {
    /// How many there are, in each stripe of a table.
    pub const COUNT: usize = 1 << Self::BITS;
    const BITS: u32 = 12;

    /// The index of the bucket for clients with this address.
    #[inline(always)]
    pub const fn index(Number { high, low }: Number) -> usize {
        // Fibonacci hashing: neighbours come to lie far from each other. (The factor is 2^64 by the golden ratio.)
        let hash = (low ^ high.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash >> (u64::BITS - Self::BITS)) as usize
    }

    /// The place of the client with this address, which may be one of another's; then it is emptied.
    #[inline(always)]
    pub fn place(&mut self, source: Number) -> &mut Count {
        // An empty place has the least there is.
        let mut least = 0;
        for index in 0..self.0.len() {
            let SourceCount { source: other, count } = self.0[index];
            if other == source && count.total() != 0 {
                return &mut self.0[index].count;
            }
            if count.total() < self.0[least].count.total() {
                least = index;
            }
        }
        self.0[least & 3] = SourceCount { source, count: Count { syns: 0, completed: 0 } };
        &mut self.0[least & 3].count
    }
}

/// What became of events on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EventCount {
    /// How many there were.
    pub seen: u64,
    /// How many were put into the ring buffer.
    pub told: u64,
    /// How many were to be, but there was no room for them.
    pub lost: u64,
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
