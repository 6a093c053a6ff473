//! What the packet logic asks of where it runs, and what it tells.

use crate::common;

use std::cell::RefCell;

use common::{ACK, Choice, FIN, PSH, RST, Request, SYN, Segment as Parsed, Setup, V6};
use tcp_bounce_wire::address::{AddressBits, IpAddress};
use tcp_bounce_wire::frame::{Buffer, Frame, Span};
use tcp_bounce_wire::ip::Ip;
use tcp_bounce_wire::ipv4::Ipv4;
use tcp_bounce_wire::ipv6::Ipv6;
use tcp_bounce_wire::segment::{FourTuple, Segment};
use tcp_bounce_wire::{
    Action, ActionByPort, Event, EventKind, Host, Policy, ProgramConfig, TelemetrySettings, Verdict, XdpAction, respond,
};

/// What was noted: where the IP header and the segment are, whether that is a reply, and what it was about.
type Note = (usize, Span, bool, EventKind);

/// Remembers what it is asked and told.
#[derive(Default)]
struct Witness {
    asked: RefCell<Vec<String>>,
    told: RefCell<Vec<Note>>,
}

impl Host for &Witness {
    fn now(&self) -> u32 {
        Choice::DEFAULT.now
    }

    fn answers_for(&self, destination: AddressBits) -> bool {
        self.asked.borrow_mut().push(format!("{destination:?}"));
        true
    }

    fn has_connection<I: Ip>(&self, ends: &FourTuple<I>) -> bool {
        self.asked.borrow_mut().push(format!("{ends:?}"));
        false
    }

    fn handle_post_handshake<I: Ip, F: Frame>(
        &self,
        frame: &mut F,
        segment: Segment<I>,
        isn_base: u32,
        policy: &Policy<Self>,
    ) -> Option<Verdict> {
        segment.handle_post_handshake(frame, isn_base, policy)
    }

    fn report<I: Ip>(&self, segment: Segment<I>, is_reply: bool, kind: EventKind) {
        self.told.borrow_mut().push((segment.ip_offset, segment.span, is_reply, kind));
    }
}

/// The verdict on `request`, what the world was asked meanwhile, and the event that it was told of, as it makes one of the
/// frame afterwards.
fn observe(setup: &Setup, request: &Request) -> (Verdict, Vec<String>, Option<(EventKind, Event)>) {
    let witness = Witness::default();
    let (config, link) = (ProgramConfig::new(setup.settings()), setup.settings.interface());
    static NONE: ActionByPort = ActionByPort::new();
    let rules =
        Policy { config: &config, interface: &link, filters: &setup.filters, actions_by_port: &NONE, host: &witness };
    let mut bytes = request.frame();
    let length = bytes.len();
    bytes.resize(length + setup.room, 0xa5);
    let mut frame = Buffer::new(&mut bytes, length);
    let verdict = respond(&mut frame, &rules);
    let notes = witness.told.take();
    assert!(notes.len() <= 1, "{notes:?}");
    let event = notes.first().map(|&(ip_offset, span, is_reply, kind)| {
        assert_eq!(is_reply, verdict.action() == XdpAction::Tx);
        let event = match request.v6 {
            Some(_) => Segment::<Ipv6>::new(ip_offset, span).event(&mut frame, is_reply),
            None => Segment::<Ipv4>::new(ip_offset, span).event(&mut frame, is_reply),
        };
        (kind, event.expect("the segment is where it is said to be"))
    });
    (verdict, witness.asked.take(), event)
}

/// Requests over IPv4 and IPv6, with and without tags, and with options and extension headers of IP's.
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

/// The same with the acknowledgment number that fits a bounced connection, and the right checksum.
fn fitting(setup: &Setup, request: &Request) -> Request {
    let tuple = Parsed::parse(&request.frame()).expect("a segment").tuple();
    let acknowledgment_number = match setup.settings.action.follows_client() {
        true => request.sequence_number.wrapping_add(setup.settings.offset_of(&tuple)),
        false => setup.settings.isn_of(&tuple).wrapping_add(1),
    };
    Request { acknowledgment_number, ..request.clone() }.with_checksum()
}

/// Whatever is sent back, and wherever the segment lay, the event has the client as its source.
#[test]
fn what_a_client_does_is_noted_with_its_ends() {
    let observed = TelemetrySettings { events: 1, ..TelemetrySettings::default() };
    for action in Action::ALL {
        let choice = Choice { action, key: Some([8; 16]), ..Choice::DEFAULT };
        let (setup, unobserved) = (Setup { telemetry: observed, ..Setup::new(choice) }, Setup::new(choice));
        // Under echo, the end of a handshake looks like any other ACK.
        let bare = (action != Action::Echo).then_some(EventKind::Completed);
        for (flags, payload, kind) in [
            (SYN, &b""[..], Some(EventKind::Syn)),
            (ACK, b"", bare),
            (ACK | PSH, b"data", None),
            (ACK | FIN, b"data", Some(EventKind::Closed)),
            (ACK | RST, b"", Some(EventKind::Closed)),
            // Of the host's own.
            (SYN | ACK, b"", None),
            (RST, b"", None),
        ] {
            for request in requests(&Request { flags, payload: payload.to_vec(), ..Request::ack() }) {
                let request = fitting(&setup, &request);
                let expected = kind.map(|kind| {
                    let (source, destination) = (source(&request), destination(&request));
                    let (source_port, destination_port) = (1234.into(), 80.into());
                    (kind, Event { time: 0, source, destination, source_port, destination_port, kind: 0 })
                });
                assert_eq!(observe(&setup, &request).2, expected, "{action:?} {request:?}");
                assert_eq!(observe(&unobserved, &request).2, None, "{action:?} {request:?}");
            }
        }
    }
}

/// The SYN that is recognised at one glance is noted, too.
#[test]
fn the_syn_of_linux_is_noted() {
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
        let (verdict, _, event) = observe(&setup, &request);
        assert_eq!(verdict, Verdict::Answered);
        let (kind, event) = event.expect("it is noted");
        assert_eq!((kind, event.source, event.destination), (EventKind::Syn, source(&request), destination(&request)));
        assert_eq!((event.source_port.get(), event.destination_port.get()), (1234, 80));
    }
}

/// The kernel is asked with a `struct bpf_sock_tuple`: addresses and ports as they lie in the client's segments.
#[test]
fn the_host_is_asked_for_the_ends_of_a_segment_that_seems_ours() {
    for action in Action::ALL {
        let setup = Setup::new(Choice { action, key: Some([8; 16]), ..Choice::DEFAULT });
        for request in requests(&Request { flags: ACK | PSH, payload: b"data".to_vec(), ..Request::ack() }) {
            let request = fitting(&setup, &request);
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
            assert_eq!(observe(&setup, &request).1, [expected], "{action:?} {request:?}");
            // Nothing is asked about what is not.
            let other = Request { acknowledgment_number: request.acknowledgment_number ^ 1 << 31, ..request };
            assert_eq!(observe(&setup, &other).1, [""; 0], "{action:?} {other:?}");
        }
    }
}

fn ends<I: Ip>(source: <I::Address as IpAddress>::Words, destination: <I::Address as IpAddress>::Words) -> String {
    let (source_port, destination_port) = (1234.into(), 80.into());
    format!("{:?}", FourTuple::<I> { source, destination, source_port, destination_port })
}

/// `tuple.ipv4` and `tuple.ipv6` of `linux/bpf.h`.
#[test]
fn the_ends_are_as_long_as_the_kernel_wants_them() {
    assert_eq!((FourTuple::<Ipv4>::LENGTH, FourTuple::<Ipv6>::LENGTH), (12, 36));
}

/// The kernel is asked for the destination, unless it is the one that is asked for most.
#[test]
fn the_world_is_asked_for_a_destination_that_is_not_the_usual_one() {
    let primary = Some((Request::syn().destination, V6::new().destination));
    for (primary, is_asked) in [(None, true), (primary, false)] {
        let setup = Setup { filters_destinations: true, ..Setup::new(Choice { primary, ..Choice::DEFAULT }) };
        for request in requests(&Request::syn()) {
            let (verdict, asked, _) = observe(&setup, &request);
            assert_eq!(verdict, Verdict::Answered);
            let expected = is_asked.then(|| format!("{:?}", destination(&request)));
            assert_eq!(asked, Vec::from_iter(expected), "{request:?}");
        }
    }
}
