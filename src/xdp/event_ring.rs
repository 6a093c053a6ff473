//! The ring buffer of events: available records, decoding, and the counts of seen, delivered and dropped events.

use libbpf_rs::libbpf_sys::{BPF_RINGBUF_HDR_SZ, ring__avail_data_size, ring_buffer__ring};
use libbpf_rs::{AsRawLibbpf as _, RingBuffer};
use tcp_bounce_wire::{DataEvent, Event, EventCounts, EventKind};
use zerocopy::FromBytes as _;

use super::{TcpBounceSkel, per_cpu};

/// The size of the shortest record in the ring buffer with the kernel's header, in bytes.
const RECORD_BYTES: usize = size_of::<Event>() + BPF_RINGBUF_HDR_SZ as usize;

/// A record of the ring buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The client, the port, the time and the kind.
    pub event: Event,
    /// The first data of the client, if this is the kind of the event.
    pub data: Option<ClientData>,
}

/// The first data of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientData {
    /// The first bytes of the segment.
    pub bytes: Box<[u8]>,
    /// The number of bytes in the segment.
    pub length: u32,
}

/// Returns the largest number of records that may be in the ring buffer that `reader` reads.
pub fn available(reader: &RingBuffer) -> usize {
    // SAFETY: `reader` keeps the object of libbpf alive, and has at least one ring buffer, whose index is 0.
    let bytes = unsafe { ring__avail_data_size(ring_buffer__ring(reader.as_libbpf_object().as_ptr(), 0)) };
    bytes as usize / RECORD_BYTES
}

/// Decodes a record of the ring buffer. Returns `None` if the record is too short.
pub fn decode(bytes: &[u8]) -> Option<Record> {
    let (event, _) = Event::read_from_prefix(bytes).ok()?;
    if event.kind != EventKind::Data as u32 {
        return Some(Record { event, data: None });
    }
    let (DataEvent { copied, length, .. }, bytes) = DataEvent::read_from_prefix(bytes).ok()?;
    let bytes = bytes.get(..copied as usize)?.into();
    Some(Record { event, data: Some(ClientData { bytes, length }) })
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
