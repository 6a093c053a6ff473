//! The summary of a run: counters, event totals, and the busiest ports and clients.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};
use tcp_bounce_wire::Counters;

use super::handshakes::CountedHandshakes;
use crate::xdp::counters;

/// The maximum number of ports, and of clients, that a summary lists.
const LISTED: usize = 5;

/// The totals of a run, which are printed when it ends.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The time between attaching and detaching.
    #[serde(serialize_with = "seconds")]
    pub elapsed: Duration,
    /// The packet counters, summed over all interfaces.
    #[serde(serialize_with = "counters::by_name")]
    pub counters: Counters,
    /// The packet counters of each interface, in the order of the command line.
    pub interfaces: Vec<InterfaceCounters>,
    /// The ports at which completed handshakes are counted.
    #[serde(skip)]
    pub handshakes: CountedHandshakes,
    /// Whether the ports have the services of a profile.
    #[serde(skip)]
    pub has_profile: bool,
    /// The event totals, if events are enabled.
    pub events: Option<EventTotals>,
    /// The busiest ports, if they are counted.
    pub ports: Option<TopList<u16>>,
    /// The busiest clients, if they are counted.
    pub sources: Option<TopList<IpAddr>>,
}

/// The packet counters of one interface.
#[derive(Debug, Serialize)]
pub struct InterfaceCounters {
    /// The name that the interface had at the start.
    pub interface: String,
    /// The packets since the program was attached, by verdict.
    #[serde(serialize_with = "counters::by_name")]
    pub counters: Counters,
}

/// The numbers of client events in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventTotals {
    /// All events, including those that sampling leaves out.
    pub seen: u64,
    /// The sampled events that reached an output.
    pub delivered: u64,
    /// The sampled events for which the ring buffer or the output had no room.
    pub dropped: u64,
}

/// The busiest ports or clients.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct TopList<T> {
    /// The number of distinct ports or clients.
    pub distinct: usize,
    /// Whether `distinct` is a lower bound, because the table was full.
    pub at_least: bool,
    /// The entries with the most SYNs, in descending order.
    pub entries: Vec<TopEntry<T>>,
}

/// The counts of one port or client.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct TopEntry<T> {
    /// The port, or the client's address.
    pub name: T,
    /// The number of answered SYNs.
    pub syns: u64,
    /// The number of completed handshakes.
    pub completed: u64,
}

impl<T: Ord + Copy> TopList<T> {
    /// Selects the entries with the most SYNs. `at_least` states whether the table was full.
    pub fn new(mut entries: Vec<TopEntry<T>>, at_least: bool) -> Self {
        let distinct = entries.len();
        entries.sort_by_key(|entry| (Reverse(entry.syns), entry.name));
        entries.truncate(LISTED);
        Self { distinct, at_least, entries }
    }
}

fn seconds<S: Serializer>(elapsed: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(elapsed.as_secs_f64())
}
