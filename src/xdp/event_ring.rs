//! The ring buffer of events: decoding records, and the counts of seen, delivered and dropped events.

use tcp_bounce_wire::{Event, EventCounts};
use zerocopy::FromBytes as _;

use super::{TcpBounceSkel, per_cpu};

/// Decodes a record of the ring buffer. Returns `None` if the record is too short.
pub fn decode(bytes: &[u8]) -> Option<Event> {
    Event::read_from_prefix(bytes).ok().map(|(event, _)| event)
}

/// Reads the event counts of `program`, summed over all CPUs.
///
/// # Errors
///
/// The error of `BPF_MAP_LOOKUP_ELEM`.
pub fn counts(program: &TcpBounceSkel) -> libbpf_rs::Result<EventCounts> {
    let [seen, delivered, dropped] = per_cpu::sum(&program.maps.EVENT_COUNTS)?;
    Ok(EventCounts { seen, delivered, dropped })
}
