//! The queries that the packet logic sends to its [`Host`], and the events that it reports.

use crate::common;

use std::cell::RefCell;

use common::{ACK, Choice, FIN, PSH, RST, Request, SYN, Setup, V6};
use tcp_bounce_wire::address::{AddressBits, IpAddress};
use tcp_bounce_wire::frame::{Buffer, Span};
use tcp_bounce_wire::ip::Ip;
use tcp_bounce_wire::ipv4::Ipv4;
use tcp_bounce_wire::ipv6::Ipv6;
use tcp_bounce_wire::segment::{FourTuple, Segment};
use tcp_bounce_wire::{
    Action, ActionByPort, Event, EventKind, Host, OpenHandshakes, Policy, ProgramConfig, SocketKind, TelemetrySettings,
    Verdict, XdpAction, respond,
};

/// The arguments of [`Host::report`]: the offset of the IP header, the segment's span, `is_reply`, and the kind of
/// event.
type Report = (usize, Span, bool, EventKind);

/// The arguments of [`Host::report_data`]: the offset of the IP header, the segment's span, and the length of the TCP
/// header.
type DataReport = (usize, Span, usize);

/// A host that records queries and reports.
#[derive(Default)]
struct Witness {
    asked: RefCell<Vec<String>>,
    reports: RefCell<Vec<Report>>,
    data_reports: RefCell<Vec<DataReport>>,
    handshakes: OpenHandshakes,
}

impl Host for &Witness {
    fn now(&self) -> u32 {
        Choice::DEFAULT.now
    }

    fn check_scope(
        &self,
        _source: AddressBits,
        destination: AddressBits,
        checks_destination: bool,
        _policy: &Policy<Self>,
    ) -> Result<(), Verdict> {
        assert!(checks_destination, "no test filters sources");
        self.asked.borrow_mut().push(format!("{destination:?}"));
        Ok(())
    }

    fn may_have_socket(&self, _port: u16) -> bool {
        true
    }

    fn has_closed_listener(&self, _port: u16) -> bool {
        false
    }

    fn find_socket<I: Ip>(&self, ends: &FourTuple<I>) -> Option<SocketKind> {
        self.asked.borrow_mut().push(format!("{ends:?}"));
        None
    }

    fn open_handshake(&self, id: u64) {
        self.handshakes.open(id);
    }

    fn complete_handshake(&self, id: u64) -> bool {
        self.handshakes.complete(id)
    }

    fn expects_first_data(&self, id: u64) -> bool {
        self.handshakes.remove(id)
    }

    fn report_data<I: Ip>(&self, segment: Segment<I>, header_length: usize) {
        self.data_reports.borrow_mut().push((segment.ip_offset, segment.span, header_length));
    }

    fn report<I: Ip>(&self, segment: Segment<I>, is_reply: bool, kind: EventKind) {
        self.reports.borrow_mut().push((segment.ip_offset, segment.span, is_reply, kind));
    }
}

/// Returns the verdict on `request`, the queries to the host, and the reported event. The event is read from the
/// resulting frame.
fn run(setup: &Setup, request: &Request) -> (Verdict, Vec<String>, Option<(EventKind, Event)>) {
    run_on(&Witness::default(), setup, request)
}

/// Returns the verdict on `request`, the queries to the host `witness`, and the reported event.
fn run_on(witness: &Witness, setup: &Setup, request: &Request) -> (Verdict, Vec<String>, Option<(EventKind, Event)>) {
    let (config, link) = (ProgramConfig::new(setup.settings()), setup.settings.interface());
    static NONE: ActionByPort = ActionByPort::new();
    let rules = Policy::new(&config, &link, &setup.filters, &NONE, witness);
    let mut bytes = request.frame();
    let length = bytes.len();
    bytes.resize(length + setup.room, 0xa5);
    let mut frame = Buffer::new(&mut bytes, length);
    let verdict = respond(&mut frame, &rules);
    let reports = witness.reports.take();
    assert!(reports.len() <= 1, "{reports:?}");
    let event = reports.first().map(|&(ip_offset, span, is_reply, kind)| {
        assert_eq!(is_reply, verdict.action() == XdpAction::Tx);
        let event = match request.v6 {
            Some(_) => Segment::<Ipv6>::new(ip_offset, span).event(&mut frame, is_reply),
            None => Segment::<Ipv4>::new(ip_offset, span).event(&mut frame, is_reply),
        };
        (kind, event.expect("the segment is at the reported position"))
    });
    (verdict, witness.asked.take(), event)
}

/// Returns variants of a request: over IPv4 and IPv6, with and without VLAN tags, IP options and extension headers.
fn requests(request: &Request) -> Vec<Request> {
    let request = Request { source_port: 1234, destination_port: 80, ..request.clone() };
    let extensions = vec![6, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let extended = V6 { next_header: Some(60), extensions, ..V6::new() };
    vec![
        request.clone(),
        Request { ip_options: vec![1; 8], ..request.clone() },
        request.clone().twice_tagged(),
        request.clone().over_ipv6(),
        request.clone().over_ipv6().tagged(),
        Request { v6: Some(extended), ..request.over_ipv6() },
    ]
}

fn source(request: &Request) -> AddressBits {
    number(request.v6.as_ref().map(|v6| v6.source), request.source)
}

fn destination(request: &Request) -> AddressBits {
    number(request.v6.as_ref().map(|v6| v6.destination), request.destination)
}

fn number(v6: Option<[u8; 16]>, v4: [u8; 4]) -> AddressBits {
    let number = v6.map_or(0xffff_0000_0000 | u128::from(u32::from_be_bytes(v4)), u128::from_be_bytes);
    AddressBits { high: (number >> 64) as u64, low: number as u64 }
}

#[test]
fn reports_events_with_addresses_and_ports() {
    let telemetry = TelemetrySettings { events: 1, ..TelemetrySettings::default() };
    for action in Action::ALL {
        let choice = Choice { action, key: Some([8; 16]), ..Choice::DEFAULT };
        let (setup, unreported) = (Setup { telemetry, ..Setup::new(choice) }, Setup::new(choice));
        // With echo, the last ACK of a handshake looks like any other ACK.
        let bare = (action != Action::Echo).then_some(EventKind::Completed);
        for (flags, payload, kind) in [
            (SYN, &b""[..], Some(EventKind::Syn)),
            (ACK, b"", bare),
            (ACK | PSH, b"data", None),
            (ACK | FIN, b"data", Some(EventKind::Disconnected)),
            (ACK | RST, b"", Some(EventKind::Disconnected)),
            // Segments of the host's own connections.
            (SYN | ACK, b"", None),
            (RST, b"", None),
        ] {
            for request in requests(&Request { flags, payload: payload.to_vec(), ..Request::ack() }) {
                let request = request.clone().acknowledging(&setup.settings).with_checksum();
                let expected = kind.map(|kind| {
                    // The client is the event's source, whether or not the frame was turned into a reply.
                    let (source, destination) = (source(&request), destination(&request));
                    let (source_port, destination_port) = (1234.into(), 80.into());
                    (kind, Event { time: 0, source, destination, source_port, destination_port, kind: 0 })
                });
                assert_eq!(run(&setup, &request).2, expected, "{action:?} {request:?}");
                assert_eq!(run(&unreported, &request).2, None, "{action:?} {request:?}");
            }
        }
    }
}

/// Checks that the first data of a connection is reported once, at its position in the frame that the client sent.
#[test]
fn reports_the_first_data_of_each_connection() {
    let telemetry = TelemetrySettings { events: 1, data: 64, ..TelemetrySettings::default() };
    for action in Action::ALL {
        let choice = Choice { action, key: Some([8; 16]), ..Choice::DEFAULT };
        let setup = Setup { telemetry, ..Setup::new(choice) };
        let without_data = Setup { telemetry: TelemetrySettings { data: 0, ..telemetry }, ..Setup::new(choice) };
        let options = vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        let later = Request { options, ..Request::ack() };
        for request in requests(&Request { payload: b"GET / HTTP/1.0".to_vec(), ..later }) {
            let data = request.clone().acknowledging(&setup.settings).with_checksum();
            let ack = Request { payload: Vec::new(), ..data.clone() }.with_checksum();
            let syn = Request { flags: SYN, ..ack.clone() }.with_checksum();
            let witness = Witness::default();
            for segment in [&ack, &data, &syn, &ack] {
                run_on(&witness, &setup, segment);
            }
            assert!(witness.data_reports.borrow().is_empty(), "a SYN precedes the first data: {action:?} {request:?}");
            run_on(&witness, &setup, &data);
            run_on(&witness, &setup, &data);
            let reports = witness.data_reports.take();
            let [(ip_offset, Span { offset, length }, header_length)] = reports[..] else { panic!("{reports:?}") };
            let frame = data.frame();
            assert_eq!(frame[offset + header_length..offset + length], data.payload, "{action:?} {request:?}");
            assert_eq!(frame[ip_offset] >> 4, if request.v6.is_some() { 6 } else { 4 });
            // The last ACK of the handshake carries the data.
            for (setup, expected) in [(&setup, 1), (&without_data, 0)] {
                run_on(&witness, setup, &syn);
                run_on(&witness, setup, &data);
                assert_eq!(witness.data_reports.take().len(), expected, "{action:?} {request:?}");
            }
        }
    }
}

#[test]
fn reports_the_syn_of_linux() {
    // This SYN takes the fast path.
    let options = common::LINUX_OPTIONS.to_vec();
    let syn = Request { options, source_port: 1234, destination_port: 80, ..Request::syn() };
    let choice = Choice {
        mac: Some(syn.destination_mac),
        primary: Some((syn.destination, V6::new().destination)),
        ..Choice::DEFAULT
    };
    let setup =
        Setup { telemetry: TelemetrySettings { sources: true, ..TelemetrySettings::default() }, ..Setup::new(choice) };
    for request in [syn.clone(), syn.over_ipv6()] {
        let (verdict, _, event) = run(&setup, &request);
        assert_eq!(verdict, Verdict::Answered);
        let (kind, event) = event.expect("a report");
        assert_eq!((kind, event.source, event.destination), (EventKind::Syn, source(&request), destination(&request)));
        assert_eq!((event.source_port.get(), event.destination_port.get()), (1234, 80));
    }
}

/// Checks that the query has the layout of `struct bpf_sock_tuple`, with addresses and ports as in the client's
/// segment.
#[test]
fn asks_for_the_connection_of_accepted_segments() {
    for action in Action::ALL {
        let setup = Setup::new(Choice { action, key: Some([8; 16]), ..Choice::DEFAULT });
        for request in requests(&Request { flags: ACK | PSH, payload: b"data".to_vec(), ..Request::ack() }) {
            let request = request.clone().acknowledging(&setup.settings).with_checksum();
            let expected = match &request.v6 {
                None => ends::<Ipv4>(u32::from_ne_bytes(request.source), u32::from_ne_bytes(request.destination)),
                Some(v6) => {
                    let halves = |address| {
                        let number = u128::from_ne_bytes(address);
                        let halves = [number as u64, (number >> 64) as u64];
                        if cfg!(target_endian = "big") { [halves[1], halves[0]] } else { halves }
                    };
                    ends::<Ipv6>(halves(v6.source), halves(v6.destination))
                }
            };
            assert_eq!(run(&setup, &request).1, [expected], "{action:?} {request:?}");
            // The host gets no query about other segments.
            let other = Request { acknowledgment_number: request.acknowledgment_number ^ 1 << 31, ..request };
            assert_eq!(run(&setup, &other).1, [""; 0], "{action:?} {other:?}");
        }
    }
}

fn ends<I: Ip>(source: <I::Address as IpAddress>::Words, destination: <I::Address as IpAddress>::Words) -> String {
    let (source_port, destination_port) = (1234.into(), 80.into());
    format!("{:?}", FourTuple::<I> { source, destination, source_port, destination_port })
}

#[test]
fn has_the_kernels_lengths_of_four_tuples() {
    // The lengths of `ipv4` and `ipv6` in `struct bpf_sock_tuple` (`linux/bpf.h`).
    assert_eq!((FourTuple::<Ipv4>::LENGTH, FourTuple::<Ipv6>::LENGTH), (12, 36));
}

#[test]
fn asks_for_destinations_other_than_the_primary_one() {
    let primary = Some((Request::syn().destination, V6::new().destination));
    for (primary, is_asked) in [(None, true), (primary, false)] {
        let setup = Setup { filters_destinations: true, ..Setup::new(Choice { primary, ..Choice::DEFAULT }) };
        for request in requests(&Request::syn()) {
            let (verdict, mut asked, _) = run(&setup, &request);
            assert_eq!(verdict, Verdict::Answered);
            asked.retain(|query| query.starts_with("AddressBits"));
            let expected = is_asked.then(|| format!("{:?}", destination(&request)));
            assert_eq!(asked, Vec::from_iter(expected), "{request:?}");
        }
    }
}
