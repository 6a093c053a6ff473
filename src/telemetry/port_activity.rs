//! The times, clients and payloads of the events at each port, for the port report.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::ClientEvent;

/// The maximum number of clients that are listed for a port.
const MAX_SOURCES: usize = 16;

/// The maximum number of different payloads that are listed for a port.
const MAX_PAYLOADS: usize = 4;

/// The maximum size of the payloads that are listed for all ports together, in bytes.
const MAX_PAYLOAD_BYTES: usize = 16 << 20;

/// The activity at all ports.
#[derive(Default)]
pub struct PortActivities {
    ports: BTreeMap<u16, PortActivity>,
    /// The size of all listed payloads, in bytes.
    payload_bytes: usize,
}

/// The times, clients and payloads of the events at one port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortActivity {
    /// The time of the first event.
    pub first: Option<SystemTime>,
    /// The time of the last event.
    pub last: Option<SystemTime>,
    /// The addresses of the first clients.
    pub sources: BTreeSet<IpAddr>,
    /// Whether there were more clients than `sources` contains.
    pub has_more_sources: bool,
    /// The first data of clients, in the order of arrival.
    pub payloads: Vec<Arc<[u8]>>,
    /// Whether there were more payloads than `payloads` contains.
    pub has_more_payloads: bool,
}

impl PortActivities {
    /// Adds the time, the client and the payload of an event.
    pub fn add(&mut self, event: &ClientEvent) {
        let activity = self.ports.entry(event.port).or_default();
        activity.add_client(event.time, event.source);
        if let Some(data) = &event.data {
            activity.add_payload(&data.payload, &mut self.payload_bytes);
        }
    }

    /// Returns the activity at `port`. It is empty if no event was added.
    pub fn get(&self, port: u16) -> PortActivity {
        self.ports.get(&port).cloned().unwrap_or_default()
    }
}

impl PortActivity {
    fn add_client(&mut self, time: SystemTime, source: IpAddr) {
        self.first = self.first.min(Some(time)).or(Some(time));
        self.last = self.last.max(Some(time));
        if self.sources.len() < MAX_SOURCES || self.sources.contains(&source) {
            self.sources.insert(source);
        } else {
            self.has_more_sources = true;
        }
    }

    /// Adds a payload. `listed` is the size of all listed payloads, in bytes.
    fn add_payload(&mut self, payload: &Arc<[u8]>, listed: &mut usize) {
        if self.payloads.contains(payload) {
            return;
        }
        let bytes = *listed + payload.len();
        if self.payloads.len() < MAX_PAYLOADS && bytes <= MAX_PAYLOAD_BYTES {
            *listed = bytes;
            self.payloads.push(Arc::clone(payload));
        } else {
            self.has_more_payloads = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::telemetry::client_event::FirstData;

    fn event(port: u16, client: u8, payload: Option<&[u8]>) -> ClientEvent {
        ClientEvent {
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(client.into()),
            interface: "eth0".into(),
            source: Ipv4Addr::new(192, 0, 2, client).into(),
            source_port: 40_000,
            destination: Ipv4Addr::new(198, 51, 100, 1).into(),
            port,
            event: "data",
            data: payload.map(|payload| FirstData { payload: payload.into(), payload_length: 2000 }),
        }
    }

    #[test]
    fn lists_sixteen_clients_with_the_first_and_last_time() {
        let mut activities = PortActivities::default();
        for client in [9, 2, 16, 1].into_iter().chain(3..=16) {
            activities.add(&event(80, client, None));
        }
        let activity = activities.get(80);
        let times = [1, 16].map(|seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)));
        assert_eq!([activity.first, activity.last], times);
        assert_eq!((activity.sources.len(), activity.has_more_sources), (16, false));
        activities.add(&event(80, 17, None));
        assert_eq!((activities.get(80).sources.len(), activities.get(80).has_more_sources), (16, true));
        assert_eq!(activities.get(443), PortActivity::default());
    }

    #[test]
    fn lists_four_different_payloads_of_a_port() {
        let mut activities = PortActivities::default();
        for payload in ["a", "b", "a", "c", "d", "b"] {
            activities.add(&event(80, 1, Some(payload.as_bytes())));
        }
        let payloads = |activity: &PortActivity| activity.payloads.concat();
        let activity = activities.get(80);
        assert_eq!((payloads(&activity), activity.has_more_payloads), (b"abcd".to_vec(), false));
        activities.add(&event(80, 1, Some(b"e")));
        activities.add(&event(443, 1, Some(b"e")));
        let [http, https] = [80, 443].map(|port| activities.get(port));
        assert_eq!((payloads(&http), http.has_more_payloads), (b"abcd".to_vec(), true));
        assert_eq!((payloads(&https), https.has_more_payloads), (b"e".to_vec(), false));
    }

    /// Checks that one payload at all ports does not make the report large.
    #[test]
    fn limits_the_payloads_of_all_ports() {
        let mut activities = PortActivities::default();
        for port in 0..=u16::MAX {
            activities.add(&event(port, 1, Some(&[0; 1024])));
        }
        let listed = |port: &u16| !activities.get(*port).payloads.is_empty();
        assert_eq!((0..=u16::MAX).filter(listed).count(), MAX_PAYLOAD_BYTES / 1024);
        assert!(activities.get(u16::MAX).has_more_payloads);
    }
}
