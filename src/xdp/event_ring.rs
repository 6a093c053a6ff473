//! The ring buffer of events: decoding records, and the counts of delivered and dropped events.

use libbpf_rs::{MapCore as _, MapFlags};
use plain::Plain;
use tcp_bounce_wire::{Event, EventCounts};
use zerocopy::FromZeros as _;

use super::TcpBounceSkel;
use super::client_tables::words;

/// An event as it is laid out in the ring buffer.
#[repr(transparent)]
struct Record(Event);

// SAFETY: `Event` consists of integers without padding, so every bit pattern is valid.
unsafe impl Plain for Record {}

/// Decodes a record of the ring buffer. `None` if it is too short.
pub fn decode(bytes: &[u8]) -> Option<Event> {
    let mut record = Record(Event::new_zeroed());
    plain::copy_from_bytes(&mut record, bytes).ok()?;
    Some(record.0)
}

/// Reads the event counts of `program`, summed over all CPUs.
pub fn counts(program: &TcpBounceSkel) -> libbpf_rs::Result<EventCounts> {
    let cpus = program.maps.EVENT_COUNTS.lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY)?.unwrap_or_default();
    let counts = cpus.iter().filter_map(|cpu| words(cpu));
    let sum = |sum: EventCounts, [seen, delivered, dropped]: [u64; 3]| EventCounts {
        seen: sum.seen + seen,
        delivered: sum.delivered + delivered,
        dropped: sum.dropped + dropped,
    };
    Ok(counts.fold(EventCounts::default(), sum))
}
