//! Client events, tables of clients, and the settings that enable them.

use crate::common;

use std::cell::Cell;

use common::{ACK, Choice, FIN, PSH, RST, Request, SYN, Segment, Setup, TestService};
use tcp_bounce_wire::address::AddressBits;
use tcp_bounce_wire::frame::Buffer;
use tcp_bounce_wire::{
    Bucket, ClientCounts, Ending, EventKind, PortSet, ProgramConfig, ProgramSettings, Slot, TelemetrySettings, Verdict,
};

#[test]
fn maps_verdicts_to_events() {
    for verdict in Verdict::ALL {
        for flags in [SYN, ACK, ACK | PSH, ACK | FIN, ACK | RST, RST] {
            let expected = match verdict {
                Verdict::Answered => Some(EventKind::Syn),
                Verdict::Completed | Verdict::Reset | Verdict::Closed | Verdict::Greeted | Verdict::Accepted => {
                    Some(EventKind::Completed)
                }
                Verdict::Later | Verdict::Replied | Verdict::NoRoomForPayload
                    if [ACK | FIN, ACK | RST, RST].contains(&flags) =>
                {
                    Some(EventKind::Disconnected)
                }
                _ => None,
            };
            assert_eq!(EventKind::of(verdict, flags), expected, "{verdict:?} {flags:#x}");
        }
    }
}

/// A table of clients with one stripe.
struct Table(Vec<Bucket>);

impl Table {
    fn new() -> Self {
        Self((0..Bucket::COUNT).map(|_| Bucket::default()).collect())
    }

    fn count(&self, source: AddressBits) {
        add(&self.0[Bucket::index(source)].counters_of(source).syns, 1);
    }

    /// Returns the number of SYNs from a client, or 0 if the client has no slot.
    fn get(&self, source: AddressBits) -> u64 {
        let slots = self.0[Bucket::index(source)].0.iter();
        slots.map(Slot::get).find(|(other, _)| *other == source).map_or(0, |(_, count)| count.syns)
    }
}

fn add(counter: &Cell<u64>, number: u64) {
    counter.set(counter.get() + number);
}

fn v4(address: u32) -> AddressBits {
    AddressBits { high: 0, low: 0xffff << 32 | u64::from(address) }
}

#[test]
fn counts_the_clients_of_a_network_exactly() {
    let v6 = |address| AddressBits { high: 0x2001_0db8 << 32, low: u64::from(address) };
    for number in [v4, v6 as fn(u32) -> AddressBits] {
        let table = Table::new();
        // 4,096 adjacent addresses, and one address in each of 4,096 networks.
        let sources = || (0..4096).chain((0..4096u32).map(|network| network << 20)).map(number);
        for source in sources().chain(sources().step_by(2)) {
            table.count(source);
        }
        for (index, source) in (0..4096).map(number).enumerate() {
            let twice = u64::from(index % 2 == 0);
            // Address 0 is in both groups, at an even index.
            assert_eq!(table.get(source), if index == 0 { 4 } else { 1 + twice }, "{index}");
        }
    }
}

#[test]
fn keeps_active_clients_under_a_flood() {
    let table = Table::new();
    let regulars: Vec<AddressBits> = (0..1000).map(|client| v4(0x0a00_0000 + client)).collect();
    for _ in 0..100 {
        regulars.iter().for_each(|&client| table.count(client));
    }
    // A million other clients connect once each.
    for other in 0..1_000_000u32 {
        table.count(v4(0x2000_0000 + other.wrapping_mul(0x9e37_79b9) % 0x8000_0000));
    }
    assert!(regulars.iter().all(|&client| table.get(client) == 100));
}

#[test]
fn keeps_clients_that_only_completed_handshakes() {
    let bucket = Bucket::default();
    // Another CPU may have handled the client's SYN, and counted it in another stripe.
    for client in 1..=4 {
        add(&bucket.counters_of(v4(client)).completed, 1);
    }
    for client in 1..=4 {
        assert_eq!(bucket.counters_of(v4(client)).get(), ClientCounts { syns: 0, completed: 1 }, "{client}");
        add(&bucket.counters_of(v4(client)).syns, if client == 3 { 9 } else { 10 });
    }
    // All slots are taken, so client 5 replaces the least active client, which is 3.
    add(&bucket.counters_of(v4(5)).syns, 1);
    assert!(bucket.0.iter().all(|slot| slot.get().0 != v4(3)));
    assert_eq!(bucket.counters_of(v4(5)).get(), ClientCounts { syns: 1, completed: 0 });
}

#[test]
fn adds_counts_separately() {
    let counts = [(1, 20), (300, 4000), (50_000, 600_000)].map(|(syns, completed)| ClientCounts { syns, completed });
    // The stripes of a table are added up with `sum`.
    let sum = counts.into_iter().sum::<ClientCounts>();
    assert_eq!(sum, ClientCounts { syns: 50_301, completed: 604_020 });
    assert_eq!(sum.total(), 654_321);
}

#[test]
fn enables_no_telemetry_by_default() {
    let has_telemetry = |telemetry| {
        ProgramConfig::new(ProgramSettings { telemetry, ..ProgramSettings::DEFAULT }).features.has_telemetry()
    };
    let nothing = TelemetrySettings { stripes: 16, shared: true, ..TelemetrySettings::default() };
    assert!(!has_telemetry(TelemetrySettings::default()) && !has_telemetry(nothing));
    for telemetry in [
        TelemetrySettings { ports: true, ..nothing },
        TelemetrySettings { sources: true, ..nothing },
        TelemetrySettings { events: 1, ..TelemetrySettings::default() },
    ] {
        for telemetry in [telemetry, TelemetrySettings { shared: false, ..telemetry }] {
            assert!(has_telemetry(telemetry));
            assert_eq!(
                ProgramConfig::new(ProgramSettings { telemetry, ..ProgramSettings::DEFAULT }).telemetry(),
                telemetry
            );
        }
    }
}

#[test]
fn counts_syns_to_excluded_ports_if_ports_are_counted() {
    let mut excluded = PortSet::new();
    excluded.insert(22);
    for ports in [true, false] {
        let mut setup = Setup::standard().excluding_ports(excluded);
        setup.telemetry = TelemetrySettings { ports, sources: true, events: 1, ..TelemetrySettings::default() };
        for (port, flags, is_counted) in
            [(22, SYN, true), (22, SYN | PSH, true), (22, ACK, false), (22, SYN | ACK, false), (80, SYN, false)]
        {
            let request = Request { destination_port: port, flags, ..Request::syn() };
            for frame in [request.frame(), request.clone().over_ipv6().frame()] {
                let mut bytes = frame.clone();
                bytes.resize(frame.len() + setup.room, 0);
                let (_, counted) = setup.run_and_count(&mut Buffer::new(&mut bytes, frame.len()));
                let expected = if is_counted && ports { vec![22] } else { vec![] };
                assert_eq!(counted, expected, "{port} {flags:#x} {ports}");
            }
        }
    }
}

#[test]
fn reports_handshakes_without_room_for_the_banner() {
    let mut setup = Setup::serving(TestService::new(&[b'x'; 300], &[], Ending::Stay), Choice::DEFAULT);
    setup.telemetry = TelemetrySettings { events: 1, ..TelemetrySettings::default() };
    for request in [Request::ack(), Request::ack().over_ipv6()] {
        let tuple = Segment::parse(&request.frame()).expect("a segment").tuple();
        let isn = setup.settings.service_isn(&tuple, request.sequence_number.wrapping_sub(1), true);
        let request = Request { acknowledgment_number: isn.wrapping_add(1), ..request };
        for (room, flags, is_open, expected) in [
            (300, ACK, true, (Verdict::Greeted, Some(EventKind::Completed))),
            (299, ACK, true, (Verdict::NoRoomForPayload, Some(EventKind::Completed))),
            (299, ACK, false, (Verdict::NoRoomForPayload, None)),
            (299, ACK | FIN, false, (Verdict::NoRoomForPayload, Some(EventKind::Disconnected))),
        ] {
            (setup.room, setup.has_open_handshake) = (room, is_open);
            let frame = Request { flags, ..request.clone() }.frame();
            let mut bytes = [&frame[..], &vec![0; room]].concat();
            let (verdict, events) = setup.run_and_report(&mut Buffer::new(&mut bytes, frame.len()));
            assert_eq!(
                (verdict, events.as_slice()),
                (expected.0, expected.1.as_slice()),
                "{room} {flags:#x} {is_open}"
            );
        }
    }
}
