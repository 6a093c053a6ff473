//! Segments of no connection, to a port with a listener and to a port on which tcp-bounce answers: silence, or an
//! identical RST.

use std::iter;

use super::comparison::{Comparison, assert_identical};
use super::frame::Frame;
use super::segment::{ACK, CWR, ECE, FIN, Family, PORT, PSH, RST, SYN, Segment, URG};
use super::state::{DEFAULTS, FLOW_LABELS, HOP_LIMITS};
use super::wire::{Source, Wire};
use crate::fixtures::network::Mode;

in_each_mode! {
    stray_segments_get_the_replies_of_a_listener,
    stray_segments_get_the_replies_of_a_listener_with_any_arguments,
    stray_segments_get_the_replies_of_a_listener_in_other_states,
    closed_port_resets_stray_segments,
}

/// Segments other than SYNs, as names and flags. A listener replies with an RST if ACK is set and RST is not.
const FLAGS: [(&str, u8); 26] = [
    ("NULL", 0),
    ("FIN", FIN),
    ("Xmas", FIN | PSH | URG),
    ("PSH", PSH),
    ("URG", URG),
    ("PSH and URG", PSH | URG),
    ("FIN and PSH", FIN | PSH),
    ("FIN and URG", FIN | URG),
    ("ECE", ECE),
    ("CWR", CWR),
    ("ECE and CWR", ECE | CWR),
    ("SYN and FIN", SYN | FIN),
    ("nmap -O, T3", SYN | FIN | URG | PSH),
    ("RST", RST),
    ("RST and ACK", RST | ACK),
    ("SYN and RST", SYN | RST),
    ("all but ACK", !ACK),
    ("all flags", 0xff),
    ("ACK", ACK),
    ("ACK and PSH", ACK | PSH),
    ("ACK and URG", ACK | URG),
    ("ACK and FIN", ACK | FIN),
    ("ACK and SYN", ACK | SYN),
    ("ACK, SYN and FIN", ACK | SYN | FIN),
    ("ACK, FIN, PSH and URG", ACK | FIN | PSH | URG),
    ("ACK, ECE and CWR", ACK | ECE | CWR),
];

/// Returns a segment with each of [`FLAGS`], without options and data.
fn plain() -> Vec<Segment> {
    let segment = |(&(name, flags), number): (&(&str, u8), u32)| Segment {
        flags,
        sequence_number: 0x1234_5678,
        acknowledgment_number: 0x7fed_0000 + number,
        ..Segment::syn(name, "")
    };
    FLAGS.iter().zip(0..).map(segment).collect()
}

/// Returns segments with each of [`FLAGS`] and another traffic class, TTL and flow label.
fn with_other_ip_headers() -> Vec<Segment> {
    let change = |segment: Segment| {
        let name = format!("{}, DSCP, ECT(1), TTL 1, flow label", segment.name);
        Segment { name, traffic_class: 0xb9, ttl: 1, flow_label: 0xabcde, ..segment }
    };
    plain().into_iter().map(change).collect()
}

/// Returns segments with each of [`FLAGS`] in several variants: with data, with options, and with other header fields.
fn variants() -> Vec<Segment> {
    let variants = |plain: Segment| {
        let named = |variant: &str| Segment { name: format!("{}, {variant}", plain.name), ..plain.clone() };
        [
            Segment { payload: b"data".to_vec(), ..named("data") },
            Segment { options: "nop nop ts".to_owned(), ..named("timestamps") },
            Segment { options: "mss sok ts nop ws".to_owned(), payload: vec![b'x'; 99], ..named("options and data") },
            Segment { acknowledgment_number: 0, window: 0, ..named("acknowledgment number 0, window 0") },
            Segment { acknowledgment_number: u32::MAX, sequence_number: u32::MAX, ..named("largest numbers") },
            Segment { reserved: 0xf, dont_fragment: false, identification: 0, ..named("reserved bits, DF clear") },
        ]
    };
    plain().into_iter().flat_map(variants).chain(plain()).chain(with_other_ip_headers()).collect()
}

/// Returns the reply to each segment, if any.
#[track_caller]
fn replies(wire: &Wire, requests: &[(Family, Segment)]) -> Vec<Option<Frame>> {
    let reply = |((family, segment), port): (&(Family, Segment), u16)| {
        let mut replies = wire.settled_replies(*family, segment, Source::Absent, port);
        assert!(replies.len() < 2, "{}, {}: {replies:?}", segment.name, wire.setting(*family));
        replies.pop()
    };
    iter::zip(requests, 10_000..).map(reply).collect()
}

/// Checks that a listener and tcp-bounce, with each of `arguments`, give the same replies to `segments`.
#[track_caller]
fn assert_replies_of_a_listener(wire: &Wire, segments: &[Segment], arguments: &[&str]) {
    let requests = wire.requests(segments);
    let listeners = wire.listen();
    let kernel = replies(wire, &requests);
    drop(listeners);
    for ((_, segment), reply) in iter::zip(&requests, &kernel) {
        assert_eq!(reply.is_some(), segment.flags & (ACK | RST) == ACK, "{segment:?} {reply:?}");
    }
    for arguments in arguments {
        let responder = wire.respond(arguments);
        let ours = replies(wire, &requests);
        responder.interrupt();
        let name = |comparison: Comparison| {
            let setting = format!("{}, {arguments:?}", comparison.setting);
            Comparison { setting, ..comparison }
        };
        let comparisons = wire.comparisons(&requests, kernel.clone(), ours);
        assert_identical(&comparisons.into_iter().map(name).collect::<Vec<_>>());
    }
}

fn stray_segments_get_the_replies_of_a_listener(mode: Mode) {
    assert_replies_of_a_listener(&Wire::new(mode, &DEFAULTS).unwrap(), &variants(), &[""]);
}

fn stray_segments_get_the_replies_of_a_listener_with_any_arguments(mode: Mode) {
    let arguments = [
        "--on-connect reset",
        "--on-connect close",
        "--on-connect discard",
        "--on-connect echo",
        "--on-connect tarpit",
        "--isn keyed",
        "--events",
        "--dst any --ports 1-1000",
    ];
    assert_replies_of_a_listener(&Wire::new(mode, &DEFAULTS).unwrap(), &plain(), &arguments);
}

/// Checks the states that shape an RST.
///
/// With `flowlabel_reflect`, the flow label of the kernel's RST depends on whether the port has a listener.
fn stray_segments_get_the_replies_of_a_listener_in_other_states(mode: Mode) {
    for state in HOP_LIMITS.iter().chain(FLOW_LABELS.iter().filter(|state| !state.reflects_flow_labels())) {
        assert_replies_of_a_listener(&Wire::new(mode, state).unwrap(), &with_other_ip_headers(), &[""]);
    }
}

/// Checks that ports on which tcp-bounce does not answer are closed to all kinds of segments.
fn closed_port_resets_stray_segments(mode: Mode) {
    let wire = Wire::new(mode, &DEFAULTS).unwrap();
    let requests = wire.requests(&plain());
    let closed = replies(&wire, &requests);
    for ((_, segment), reply) in iter::zip(&requests, &closed) {
        assert_eq!(reply.is_some(), segment.flags & RST == 0, "{segment:?} {reply:?}");
    }
    let responder = wire.respond(&format!("--ports {}", PORT + 1));
    assert_identical(&wire.comparisons(&requests, closed, replies(&wire, &requests)));
    responder.interrupt();
}
