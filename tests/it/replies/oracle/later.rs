//! The first reply after the handshake: its window, and the echo of congestion marks.

use std::iter;

use super::frame::{Frame, hex};
use super::segment::Family;
use super::segment::{ACK, CWR, ECE, FIN, PSH, SYN, Segment};
use super::state::{self, DEFAULTS};
use super::wire::{Listeners, Source, Wire};
use crate::fixtures::accept;
use crate::fixtures::network::Mode;

in_each_mode! {
    windows_equal_a_listeners,
    marks_are_echoed_as_by_a_listener,
}

/// SYNs with and without a window scale, by their names and options.
const SYNS: [(&str, &str); 5] = [
    ("Linux", "mss sok ts nop ws"),
    ("Windows", "mss nop 030308 nop nop sok"),
    ("no window scale", "mss sok ts"),
    ("only an MSS", "mss"),
    ("only a window scale", "ws"),
];

/// A SYN, and the segment after the handshake, if any.
type Conversation = (Family, Segment, Option<Segment>);

/// A side that accepts connections.
#[derive(Clone, Copy)]
enum Side<'a> {
    /// Listeners of the kernel. If the flag is set, their program accepts each connection and closes it.
    Kernel(&'a Listeners, bool),
    Responder,
}

/// The first reply after a handshake.
struct Reply {
    /// The SYN-ACK's shift count for the window.
    scale: u8,
    frame: Frame,
}

impl Reply {
    /// Returns the receive window in bytes.
    fn window(&self) -> u32 {
        u32::from(self.frame.tcp().window_size) << self.scale
    }
}

/// Completes a handshake and sends `segment`, if any, whose numbers and timestamps this function sets. Returns the
/// first reply after the SYN-ACK.
#[track_caller]
fn first_reply(
    wire: &Wire,
    side: Side,
    (family, port): (Family, u16),
    syn: &Segment,
    segment: Option<&Segment>,
) -> Reply {
    let next = || loop {
        let frame = wire.next(family, &syn.name);
        if frame.tcp().destination_port == port {
            return frame;
        }
    };
    wire.send(family, syn, Source::Absent, port);
    let syn_ack = next();
    assert!(syn_ack.is_syn_ack(), "{syn_ack:?}");
    let template = segment.cloned().unwrap_or_else(|| Segment { flags: ACK, ..Segment::syn("ACK", "") });
    let timestamps = syn_ack.tsval().map(|tsval| format!("nop nop 080a12345679{tsval:08x}"));
    let numbered = Segment {
        sequence_number: syn.sequence_number.wrapping_add(1),
        acknowledgment_number: syn_ack.tcp().sequence_number.wrapping_add(1),
        options: timestamps.unwrap_or_default(),
        ..template
    };
    let ack = Segment { flags: ACK, payload: Vec::new(), traffic_class: 0, ..numbered.clone() };
    wire.send(family, &ack, Source::Absent, port);
    if let Side::Kernel(listeners, true) = side {
        let index = wire.state.families.iter().position(|&other| other == family).unwrap();
        drop(accept(&listeners.0[index]));
    }
    if segment.is_some() {
        wire.send(family, &numbered, Source::Absent, port);
    }
    Reply { scale: syn_ack.window_scale(), frame: next() }
}

/// Returns the first reply to each of `conversations`.
#[track_caller]
fn replies(wire: &Wire, side: Side, conversations: &[Conversation]) -> Vec<Reply> {
    // The kernel resets the connections of closed listeners, to the clients' ports.
    let first_port = if matches!(side, Side::Kernel(..)) { 10_000 } else { 20_000 };
    let reply = |(port, (family, syn, segment)): (u16, &Conversation)| {
        first_reply(wire, side, (*family, port), syn, segment.as_ref())
    };
    iter::zip(first_port.., conversations).map(reply).collect()
}

/// Returns the first replies of the kernel and of tcp-bounce with `action`, for each SYN and each segment.
#[track_caller]
fn first_replies(wire: &Wire, action: &str, conversations: &[Conversation]) -> Vec<(String, [Reply; 2])> {
    let listeners = wire.listen();
    let kernel = replies(wire, Side::Kernel(&listeners, action == "close"), conversations);
    drop(listeners);
    let responder = wire.respond(&format!("--on-connect {action}"));
    let ours = replies(wire, Side::Responder, conversations);
    responder.interrupt();
    let name = |(family, syn, segment): &Conversation| {
        let segment = segment.as_ref().map_or("", |segment| &segment.name);
        format!("{}, {segment}, {}", syn.name, wire.setting(*family))
    };
    iter::zip(conversations.iter().map(name), iter::zip(kernel, ours).map(|(kernel, ours)| [kernel, ours])).collect()
}

fn segment(name: &str, flags: u8, payload: usize) -> Segment {
    Segment { flags, payload: vec![b'x'; payload], ..Segment::syn(name, "") }
}

/// Returns conversations with each of [`SYNS`] and each of `segments`, over the IP versions of the wire.
fn conversations(wire: &Wire, segments: &[Option<Segment>]) -> Vec<Conversation> {
    let mut conversations = Vec::new();
    for &family in wire.state.families {
        for (name, options) in SYNS {
            let conversation = |segment: &Option<Segment>| (family, Segment::syn(name, options), segment.clone());
            conversations.extend(segments.iter().map(conversation));
        }
    }
    conversations
}

/// Checks the windows of discard after data and after a FIN, and the window of close after the handshake.
///
/// The listener's program has not read the data when the kernel replies. Two states are left out. In a tiny receive
/// buffer, the memory that a segment occupies determines the window. With `tcp_workaround_signed_windows`, the kernel
/// refills a window that is not scaled, because its buffer is larger than the window.
fn windows_equal_a_listeners(mode: Mode) {
    let data = [segment("a byte", ACK | PSH, 1), segment("99 bytes", ACK | PSH, 99), segment("FIN", ACK | FIN, 0)];
    let (data, nothing) = (data.map(Some), [None]);
    let states = [&DEFAULTS, &state::MTUS[1]].into_iter().chain(&state::WINDOWS);
    let mut different = Vec::new();
    for state in states.filter(|state| !["tiny tcp_rmem", "tcp_workaround_signed_windows=1"].contains(&state.name)) {
        let wire = Wire::new(mode, state).unwrap();
        for (action, segments) in [("discard", &data[..]), ("close", &nothing)] {
            for (name, replies) in first_replies(&wire, action, &conversations(&wire, segments)) {
                let [kernel, ours] = replies.each_ref().map(Reply::window);
                if kernel != ours {
                    different.push(format!("{name}, {action}: kernel {kernel}, tcp-bounce {ours}"));
                }
            }
        }
    }
    assert!(different.is_empty(), "{}\n{} windows differ", different.join("\n"), different.len());
}

fn marks_are_echoed_as_by_a_listener(mode: Mode) {
    const ECN: u8 = ECE | CWR;
    for state in [&DEFAULTS, &state::ECN[1]] {
        let wire = Wire::new(mode, state).unwrap();
        let syn = Segment { flags: SYN | ECN, ..Segment::syn("ECN", "mss sok ts nop ws") };
        let marked = |(traffic_class, name)| Segment { traffic_class, ..segment(name, ACK | PSH, 10) };
        let segments = [(0, "not ECT"), (1, "ECT(1)"), (2, "ECT(0)"), (3, "CE"), (0xbb, "CE and a DSCP")].map(marked);
        let over = |&family| segments.clone().map(|segment| (family, syn.clone(), Some(segment)));
        let conversations: Vec<_> = state.families.iter().flat_map(over).collect();
        for (name, replies) in first_replies(&wire, "discard", &conversations) {
            let [kernel, ours] = replies.each_ref().map(|reply| reply.frame.flags() & ECN);
            let frames = replies.each_ref().map(|reply| hex(reply.frame.bytes()));
            assert_eq!(ours, kernel, "{name}: {frames:?}");
            assert_eq!(kernel == ECE, name.contains("CE and") || name.contains(", CE,"), "{name}");
        }
    }
}
