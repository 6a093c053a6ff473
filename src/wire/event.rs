//! Client events, which the XDP program writes into a ring buffer.

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::AddressBits;
use crate::tcp::Tcp;
use crate::verdict::Verdict;

/// The kind of a client event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum EventKind {
    /// The client sent a SYN and got a SYN-ACK.
    Syn,
    /// The client completed the handshake.
    Completed,
    /// The client closed or reset the connection.
    Disconnected,
    /// The client sent its first data. The event is a [`DataEvent`].
    Data,
}

impl EventKind {
    /// All kinds, in the order of their values.
    pub const ALL: [Self; 4] = [Self::Syn, Self::Completed, Self::Disconnected, Self::Data];

    /// Returns the event kind of a segment with these TCP flags and this verdict, or `None` if it causes no client
    /// event. [`Self::Data`] depends on neither.
    #[inline(always)]
    pub const fn of(verdict: Verdict, flags: u8) -> Option<Self> {
        match verdict {
            Verdict::Answered => Some(Self::Syn),
            Verdict::Completed | Verdict::Reset | Verdict::Closed | Verdict::Greeted | Verdict::Accepted => {
                Some(Self::Completed)
            }
            Verdict::Later | Verdict::Replied | Verdict::NoRoomForPayload if flags & (Tcp::FIN | Tcp::RST) != 0 => {
                Some(Self::Disconnected)
            }
            _ => None,
        }
    }
}

/// A client event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Event {
    /// Time of the event, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// The client's address.
    pub source: AddressBits,
    /// The address to which the client connects.
    pub destination: AddressBits,
    /// The client's port.
    pub source_port: U16,
    /// The port to which the client connects.
    pub destination_port: U16,
    /// An [`EventKind`] as a number.
    pub kind: u32,
}

/// The header of an event of the kind [`EventKind::Data`]. The copied data follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DataEvent {
    /// The client, the port and the time.
    pub event: Event,
    /// The number of bytes that follow.
    pub copied: u32,
    /// The number of bytes in the segment.
    pub length: u32,
}

impl DataEvent {
    /// The largest number of bytes that follow.
    pub const MAX_DATA: usize = 1024;
}

/// The numbers of client events on one CPU, since the program was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EventCounts {
    /// All events, including events that sampling skips.
    pub seen: u64,
    /// Events written into the ring buffer.
    pub delivered: u64,
    /// Events for which the ring buffer had no room.
    pub dropped: u64,
}
