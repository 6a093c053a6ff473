//! Client events in the form that is printed and serialized.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nix::time::{ClockId, clock_gettime};
use serde::{Serialize, Serializer};
use tcp_bounce_wire::EventKind;

use crate::xdp::client_tables::address;
use crate::xdp::event_ring::{ClientData, Record};

/// An event of a client: an answered SYN, a completed handshake, its first data, or the end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientEvent {
    /// The time at which the XDP program recorded the event.
    #[serde(serialize_with = "timestamp")]
    pub time: SystemTime,
    /// The name that the receiving interface had when the run started.
    pub interface: Arc<str>,
    /// The client's address.
    pub source: IpAddr,
    /// The client's port.
    pub source_port: u16,
    /// The address that the client connects to.
    pub destination: IpAddr,
    /// The port that the client connects to.
    pub port: u16,
    /// The kind: `syn`, `completed`, `data` or `disconnected`.
    pub event: &'static str,
    /// The first data of the client, if the kind is `data`.
    #[serde(flatten)]
    pub data: Option<FirstData>,
}

/// The first data of a client.
///
/// Programs read the bytes in Base64, people read them with escapes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FirstData {
    /// The first bytes.
    #[serde(serialize_with = "base64")]
    pub payload: Arc<[u8]>,
    /// The number of bytes in the segment.
    pub payload_length: u32,
}

impl ClientEvent {
    /// Converts an event that the program on `interface` recorded. `clock` converts the time.
    pub(super) fn new(Record { event, data }: Record, clock: &Clock, interface: &Arc<str>) -> Self {
        let kind = EventKind::ALL.into_iter().find(|&kind| kind as u32 == event.kind);
        Self {
            time: clock.to_system_time(event.time),
            interface: Arc::clone(interface),
            source: address(event.source),
            source_port: event.source_port.get(),
            destination: address(event.destination),
            port: event.destination_port.get(),
            event: match kind {
                Some(EventKind::Syn) => "syn",
                Some(EventKind::Completed) => "completed",
                Some(EventKind::Disconnected) => "disconnected",
                Some(EventKind::Data) => "data",
                None => "",
            },
            data: data.map(|ClientData { bytes, length }| FirstData { payload: bytes.into(), payload_length: length }),
        }
    }
}

impl Display for ClientEvent {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { time, interface, event, data, .. } = self;
        let time = humantime::format_rfc3339_micros(*time);
        let source = SocketAddr::new(self.source, self.source_port);
        let destination = SocketAddr::new(self.destination, self.port);
        write!(f, "{time} {interface} {source} > {destination} {event}")?;
        data.iter().try_for_each(|data| write!(f, " {data}"))
    }
}

impl Display for FirstData {
    /// Writes the bytes in quotes, with the escapes of Rust. An ellipsis stands for further bytes.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { payload, payload_length } = self;
        let rest = if payload.len() < *payload_length as usize { "..." } else { "" };
        write!(f, "\"{}\"{rest}", payload.escape_ascii())
    }
}

fn base64<S: Serializer>(bytes: &Arc<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    BASE64_STANDARD.encode(bytes).serialize(serializer)
}

fn timestamp<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_micros(*time))
}

/// A simultaneous reading of two clocks, which converts the monotonic time of events to system time.
pub(super) struct Clock {
    monotonic: Duration,
    system: SystemTime,
}

impl Clock {
    /// Reads `CLOCK_MONOTONIC` and the system clock.
    pub fn now() -> Self {
        // Every Linux kernel has this clock, so the default is never used.
        let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        Self { monotonic, system: SystemTime::now() }
    }

    /// Converts a time of `CLOCK_MONOTONIC` in nanoseconds to system time.
    pub fn to_system_time(&self, nanoseconds: u64) -> SystemTime {
        let age = self.monotonic.saturating_sub(Duration::from_nanos(nanoseconds));
        self.system.checked_sub(age).unwrap_or(self.system)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_payloads_and_marks_missing_bytes() {
        let payload: Arc<[u8]> = Arc::from(*b"a\0\xff\"\\\r\n");
        for (payload_length, expected) in [(7, r#""a\x00\xff\"\\\r\n""#), (8, r#""a\x00\xff\"\\\r\n"..."#)] {
            assert_eq!(FirstData { payload: Arc::clone(&payload), payload_length }.to_string(), expected);
        }
    }
}
