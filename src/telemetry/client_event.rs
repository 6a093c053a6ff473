//! Client events in the form that is printed and serialized.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};
use serde::{Serialize, Serializer};
use tcp_bounce_wire::{Event, EventKind};

use crate::xdp::client_tables::address;

/// An event of a client: an answered SYN, a completed handshake, or the end of a connection.
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
    /// The kind: `syn`, `completed` or `disconnected`.
    pub event: &'static str,
}

impl ClientEvent {
    /// Converts an event that the program on `interface` recorded. `clock` converts the time.
    pub(super) fn new(event: &Event, clock: &Clock, interface: &Arc<str>) -> Self {
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
                None => "",
            },
        }
    }
}

impl Display for ClientEvent {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { time, interface, event, .. } = self;
        let time = humantime::format_rfc3339_micros(*time);
        let source = SocketAddr::new(self.source, self.source_port);
        let destination = SocketAddr::new(self.destination, self.port);
        write!(f, "{time} {interface} {source} > {destination} {event}")
    }
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
