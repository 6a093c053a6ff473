//! Connections after the handshake, for each action.
//!
//! `Setup::respond` checks the common properties of all answers: lengths, addresses, checksums, timestamps.

use crate::common;

use common::{ACK, Choice, ECE, FIN, PSH, RST, Request, Segment, Setup, V6};
use tcp_bounce_wire::post_handshake::{SegmentVariables, UNSCALED, isn_offset};
use tcp_bounce_wire::{Action, ActionSet, Verdict};

/// The client's ISN. Sequence numbers wrap after the first bytes of data.
const CLIENT: u32 = u32::MAX - 10;
/// Stands for the value of the window field in answers of close and discard, which `Setup::respond` checks.
const WINDOW: u16 = 64240;

/// The fields of an answer: flags, sequence number, acknowledgment number, window, payload.
type Fields = (u8, u32, u32, u16, Vec<u8>);

/// A connection to a port with a given action. Methods take and return sequence numbers relative to the ISNs.
struct Connection {
    setup: Setup,
    request: Request,
    /// The server's ISN.
    server: u32,
}

impl Connection {
    /// Returns connections over IPv4 and IPv6, with and without timestamps, VLAN tags and IP options.
    ///
    /// Each connection is included with a keyed ISN and, unless the action needs a key, with a fixed ISN. For close and
    /// discard, it is included with and without window scaling.
    fn all(action: Action) -> Vec<Self> {
        let mut connections = Vec::new();
        let timestamps = vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        let sack = [&timestamps[..], &[1, 1, 5, 10, 0, 0, 0, 9, 0, 0, 0, 12]].concat();
        let elsewhere = [&[1, 5, 10, 0, 0, 0, 9, 0, 0, 0, 12, 1][..], &timestamps[2..], &[1, 1]].concat();
        for options in [vec![], timestamps, sack, elsewhere] {
            let request = Request { options, source_port: 1234, ..Request::ack() };
            for request in [
                request.clone(),
                request.clone().over_ipv6(),
                request.clone().over_ipv6().twice_tagged(),
                Request { ip_options: vec![1; 8], ..request.tagged() },
            ] {
                for key in [None, Some([7; 16])] {
                    if key.is_none() && action.follows_client() {
                        continue;
                    }
                    let setup = Setup::new(Choice { action, key, ..Choice::DEFAULT });
                    let tuple = Segment::parse(&request.frame()).expect("a segment").tuple();
                    let server = if action.follows_client() {
                        CLIENT.wrapping_add(setup.settings.offset_of(&tuple))
                    } else {
                        setup.settings.isn_of(&tuple)
                    };
                    if matches!(action, Action::Close | Action::Discard) {
                        let (setup, request) = (Setup::new(setup.settings), request.clone());
                        connections.push(Self { setup, request, server: server.wrapping_add(UNSCALED) });
                    }
                    connections.push(Self { setup, request: request.clone(), server });
                }
            }
        }
        connections
    }

    /// Sends a segment with the correct checksum, and returns its verdict and the answer.
    fn send(&self, flags: u8, sequence: u32, acknowledgment: u32, payload: &[u8]) -> (Verdict, Option<Fields>) {
        self.send_request(&self.request(flags, sequence, acknowledgment, payload).with_checksum())
    }

    /// Returns a segment with a wrong TCP checksum.
    fn request(&self, flags: u8, sequence: u32, acknowledgment: u32, payload: &[u8]) -> Request {
        Request {
            flags,
            sequence_number: CLIENT.wrapping_add(sequence),
            acknowledgment_number: self.server.wrapping_add(acknowledgment),
            payload: payload.to_vec(),
            window: 65535,
            ..self.request.clone()
        }
    }

    fn send_request(&self, request: &Request) -> (Verdict, Option<Fields>) {
        let (verdict, result) = self.setup.respond(&request.frame());
        let answer = (verdict.action() == tcp_bounce_wire::XdpAction::Tx).then(|| {
            let segment = Segment::parse(&result).expect("a segment");
            let sequence = segment.tcp.sequence_number().wrapping_sub(self.server);
            let acknowledgment = segment.tcp.acknowledgment_number().wrapping_sub(CLIENT);
            let window = match self.setup.settings.action {
                Action::Close | Action::Discard => WINDOW,
                _ => segment.tcp.window_size(),
            };
            (segment.flags(), sequence, acknowledgment, window, segment.tcp.payload().to_vec())
        });
        (verdict, answer)
    }
}

const NOTHING: Option<Fields> = None;

fn answer(flags: u8, sequence: u32, acknowledgment: u32, window: u16) -> Option<Fields> {
    Some((flags, sequence, acknowledgment, window, Vec::new()))
}

#[test]
fn passes_unknown_segments_for_each_action() {
    for action in Action::ALL {
        for connection in Connection::all(action) {
            for acknowledgment in [600, 5000, 1 << 31, 0u32.wrapping_sub(70_000)] {
                // The last segment is a SYN-ACK for a connection that the host opened.
                for (flags, payload) in [(ACK, &b""[..]), (ACK | FIN, b""), (ACK | PSH, b"data"), (ACK | 2, b"")] {
                    let outcome = connection.send(flags, 1, acknowledgment, payload);
                    assert_eq!(outcome, (Verdict::OtherTcp, None), "{action:?} {acknowledgment} {flags:#x}");
                }
            }
            // A RST is never answered, whether or not it belongs to the connection.
            for sequence in [1, 5] {
                let (verdict, answer) = connection.send(ACK | RST, sequence, 1, b"");
                assert!(matches!(verdict, Verdict::Later | Verdict::OtherTcp), "{action:?} {verdict:?}");
                assert_eq!(answer, None, "{action:?}");
            }
        }
    }
}

#[test]
fn passes_the_hosts_connections_for_each_action() {
    for action in Action::ALL {
        for mut connection in Connection::all(action) {
            connection.setup.connected = Some(1234);
            for (flags, payload) in [(ACK, &b""[..]), (ACK | FIN, b""), (ACK | PSH, b"data"), (ACK | RST, b"")] {
                assert_eq!(connection.send(flags, 1, 1, payload), (Verdict::OtherTcp, None), "{action:?}");
            }
            // Port 443 is the destination of the segments. Connections must be matched by the client port.
            connection.setup.connected = Some(443);
            assert_ne!(connection.send(ACK | PSH, 1, 1, b"data").0, Verdict::OtherTcp, "{action:?}");
            // Under takeover, the host's connections are not protected.
            connection.setup.connected = Some(1234);
            connection.setup.settings.takeover = true;
            assert_ne!(connection.send(ACK | PSH, 1, 1, b"data").0, Verdict::OtherTcp, "{action:?}");
        }
    }
}

#[test]
fn ignores_everything() {
    for connection in Connection::all(Action::Ignore) {
        assert_eq!(connection.send(ACK, 1, 1, b""), (Verdict::Completed, NOTHING));
        assert_eq!(connection.send(ACK | PSH, 1, 1, b"data"), (Verdict::Later, NOTHING));
        assert_eq!(connection.send(ACK | FIN, 5, 1, b""), (Verdict::Later, NOTHING));
        assert_eq!(connection.send(ACK, 1, 2, b""), (Verdict::OtherTcp, NOTHING), "the server sends no FIN");
    }
}

#[test]
fn resets_in_sequence() {
    for connection in Connection::all(Action::Reset) {
        assert_eq!(connection.send(ACK, 1, 1, b""), (Verdict::Reset, answer(RST | ACK, 1, 1, 0)));
        assert_eq!(connection.send(ACK | PSH, 1, 1, b"data"), (Verdict::Replied, answer(RST | ACK, 1, 5, 0)));
        assert_eq!(connection.send(ACK | FIN, 1, 1, b"data"), (Verdict::Replied, answer(RST | ACK, 1, 6, 0)));
        assert_eq!(connection.send(ACK | RST, 1, 1, b""), (Verdict::Later, NOTHING));
        assert_eq!(connection.send(ACK, 1, 2, b""), (Verdict::OtherTcp, NOTHING), "the server sends no FIN");
    }
}

#[test]
fn closes_and_acknowledges_later_data() {
    for connection in Connection::all(Action::Close) {
        assert_eq!(connection.send(ACK, 1, 1, b""), (Verdict::Closed, answer(FIN | ACK, 1, 1, WINDOW)));
        // The server's FIN is lost, or still in flight.
        assert_eq!(connection.send(ACK | PSH, 1, 1, b"data"), (Verdict::Replied, answer(FIN | ACK, 1, 5, WINDOW)));
        assert_eq!(connection.send(ACK | FIN, 1, 1, b""), (Verdict::Replied, answer(FIN | ACK, 1, 2, WINDOW)));
        // The client has received the FIN.
        assert_eq!(connection.send(ACK, 1, 2, b""), (Verdict::Later, NOTHING));
        assert_eq!(connection.send(ACK | PSH, 1, 2, b"data"), (Verdict::Replied, answer(ACK, 2, 5, WINDOW)));
        assert_eq!(connection.send(ACK | FIN, 5, 2, b""), (Verdict::Replied, answer(ACK, 2, 6, WINDOW)));
        assert_eq!(connection.send(ACK | RST, 5, 2, b""), (Verdict::Later, NOTHING));
        assert_eq!(connection.send(ACK, 5, 3, b""), (Verdict::OtherTcp, NOTHING));
    }
}

#[test]
fn discards_all_data_and_closes_with_the_client() {
    for connection in Connection::all(Action::Discard) {
        assert_eq!(connection.send(ACK, 1, 1, b""), (Verdict::Completed, NOTHING));
        assert_eq!(connection.send(ACK | PSH, 1, 1, b"data"), (Verdict::Replied, answer(ACK, 1, 5, WINDOW)));
        // Earlier data may be missing, since discard reads none of it.
        let much = vec![7; 1400];
        assert_eq!(connection.send(ACK, 7_001, 1, &much), (Verdict::Replied, answer(ACK, 1, 8_401, WINDOW)));
        assert_eq!(connection.send(ACK | FIN, 5, 1, b""), (Verdict::Replied, answer(FIN | ACK, 1, 6, WINDOW)));
        assert_eq!(connection.send(ACK | FIN | PSH, 5, 1, b"end"), (Verdict::Replied, answer(FIN | ACK, 1, 9, WINDOW)));
        assert_eq!(connection.send(ACK, 6, 2, b""), (Verdict::Later, NOTHING));
        assert_eq!(connection.send(ACK | FIN, 5, 2, b""), (Verdict::Later, NOTHING));
        assert_eq!(connection.send(ACK | RST, 5, 1, b""), (Verdict::Later, NOTHING));
    }
}

/// The expected values come from a listener of Linux 6.18 with the same MSS, receive buffer and window scale.
#[test]
fn advertises_the_window_of_a_listener_in_the_negotiated_unit() {
    let (all, sack_and_scale) = (common::LINUX_OPTIONS, [2, 4, 5, 0xb4, 1, 3, 3, 10, 1, 1, 4, 2]);
    let (timestamps, mss) = (&common::LINUX_OPTIONS[..16], &common::LINUX_OPTIONS[..4]);
    for (v6, options, space, window_scale, fields) in [
        (false, &all[..], 65_536, 10, [65_160, 64, 64]),
        (false, timestamps, 65_536, 10, [65_160, 65_160, 65_060]),
        (false, &sack_and_scale, 65_536, 10, [64_240, 63, 63]),
        (false, mss, 65_536, 10, [64_240, 64_240, 64_140]),
        (true, &all, 65_536, 10, [64_260, 63, 63]),
        (true, mss, 65_536, 10, [64_800, 64_800, 64_700]),
        (false, &all, 32_768, 7, [31_856, 249, 249]),
        (false, &sack_and_scale, 43_690, 7, [42_340, 331, 330]),
        (false, &all, 150_000, 7, [65_535, 1166, 1165]),
        (false, timestamps, 150_000, 7, [65_535, 65_535, 65_535]),
        (true, &all, 1500, 7, [1428, 12, 11]),
    ] {
        for action in [Action::Close, Action::Discard] {
            let choice = Choice { action, window_scale, space: (space, u32::MAX), ..Choice::DEFAULT };
            let setup = Setup::new(choice);
            let syn = Request { options: options.to_vec(), ..Request::syn() };
            let syn = if v6 { syn.over_ipv6() } else { syn };
            let window = |frame: &[u8]| Segment::parse(frame).expect("a segment").tcp.window_size();
            let (verdict, syn_ack) = setup.respond(&syn.frame());
            assert_eq!((verdict, window(&syn_ack)), (Verdict::Answered, fields[0]));
            let segment = Segment::parse(&syn_ack).expect("a segment");
            let has_timestamps = options.len() > 12;
            let ack = Request {
                flags: ACK,
                sequence_number: syn.sequence_number.wrapping_add(1),
                acknowledgment_number: segment.tcp.sequence_number().wrapping_add(1),
                options: if has_timestamps { vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8] } else { vec![] },
                ..syn.clone()
            };
            if action == Action::Close {
                assert_eq!(window(&setup.respond(&ack.frame()).1), fields[1], "{syn:?} {choice:?}");
            }
            let data = Request { payload: vec![0; 100], ..ack };
            assert_eq!(window(&setup.respond(&data.frame()).1), fields[2], "{syn:?} {choice:?}");
        }
    }
}

#[test]
fn echoes_congestion_marks_of_data() {
    for ecn in [true, false] {
        for action in [Action::Close, Action::Discard, Action::Reset] {
            let setup = Setup::new(Choice { action, ecn, ..Choice::DEFAULT });
            for (mark, payload) in [(3, &b"data"[..]), (3, b""), (2, b"data"), (1, b"data"), (0, b"data")] {
                let data = Request { payload: payload.to_vec(), type_of_service: mark, ..Request::ack() };
                let v6 = V6 { class_and_flow: u32::from(mark) << 20, ..V6::new() };
                for request in [data.clone(), Request { v6: Some(v6), ..data.over_ipv6() }] {
                    let (verdict, answer) = setup.respond(&request.frame());
                    if verdict.action() == tcp_bounce_wire::XdpAction::Tx {
                        let flags = Segment::parse(&answer).expect("a segment").flags();
                        let expected = ecn && mark == 3 && !payload.is_empty() && action != Action::Reset;
                        assert_eq!(flags & ECE != 0, expected, "{request:?} {action:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn finds_timestamps_anywhere_in_the_options() {
    let timestamps = [8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
    let others = [8, 10, 0x11, 2, 3, 4, 0x55, 6, 7, 8];
    for options in [
        [&timestamps[..], &[1, 1]].concat(),
        [&[1][..], &timestamps, &[1]].concat(),
        [&[1, 1][..], &timestamps, &[1, 1], &others].concat(),
        [&timestamps[..], &others].concat(),
        vec![1, 1, 8, 10],
        vec![1, 1, 8, 10, 1, 2, 3, 4],
        vec![],
    ] {
        for mut connection in Connection::all(Action::Discard) {
            connection.request.options = options.clone();
            // The payload looks like an option. `Setup::respond` checks the timestamps of the answer.
            let outcome = connection.send(ACK, 1, 1, &[1, 1, 8, 10, 9, 9, 9, 9, 9, 9, 9, 9]);
            assert_eq!(outcome, (Verdict::Replied, answer(ACK, 1, 13, WINDOW)), "{options:?}");
        }
    }
}

#[test]
fn discards_the_longest_segments() {
    // A virtual NIC delivers segments of up to 65,535 bytes, which the sender's kernel has not split yet.
    let connections = Connection::all(Action::Discard);
    let connection = &connections[0];
    let longest = vec![1; 65_535 - 40];
    assert_eq!(connection.send(ACK, 1, 1, &longest), (Verdict::Replied, answer(ACK, 1, 65_496, WINDOW)));
}

#[test]
fn echoes_data() {
    let echoed = |flags, at, acknowledgment, payload: &[u8]| {
        (Verdict::Replied, Some((flags, at, acknowledgment, 536, payload.to_vec())))
    };
    for connection in Connection::all(Action::Echo) {
        assert_eq!(connection.send(ACK, 1, 1, b""), (Verdict::Later, NOTHING));
        assert_eq!(connection.send(ACK | PSH, 1, 1, b"data"), echoed(ACK | PSH, 1, 5, b"data"));
        // The client has received the echo, and now sends data of every length up to the window.
        for length in 1..=536 {
            let payload: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            let end = 5 + length;
            assert_eq!(connection.send(ACK, 5, 5, &payload), echoed(ACK, 5, end, &payload), "{length}");
        }
        assert_eq!(connection.send(ACK | FIN, 5, 5, b""), echoed(ACK | FIN, 5, 6, b""));
        assert_eq!(connection.send(ACK | FIN | PSH, 5, 5, b"end"), echoed(ACK | FIN | PSH, 5, 9, b"end"));
        assert_eq!(connection.send(ACK, 9, 9, b""), (Verdict::Later, NOTHING));
        assert_eq!(connection.send(ACK | RST, 9, 9, b""), (Verdict::Later, NOTHING));
    }
}

#[test]
fn echo_acknowledges_only_delivered_data() {
    let bare = |acknowledgment, at| (Verdict::Replied, answer(ACK, at, acknowledgment, 536));
    let echoed = |flags, at, acknowledgment, payload: &[u8]| {
        (Verdict::Replied, Some((flags, at, acknowledgment, 536, payload.to_vec())))
    };
    for connection in Connection::all(Action::Echo) {
        // The echo of the first four bytes is still in flight, or lost.
        assert_eq!(connection.send(ACK, 5, 1, b"more"), echoed(ACK, 5, 1, b"more"));
        assert_eq!(connection.send(ACK | FIN, 5, 1, b"more"), echoed(ACK | FIN, 5, 1, b"more"));
        assert_eq!(connection.send(ACK | FIN, 5, 1, b""), echoed(ACK | FIN, 5, 1, b""));
        // The client has received part of the echo or all of it, but may have missed the acknowledgment.
        assert_eq!(connection.send(ACK, 1, 5, b"data"), bare(5, 5));
        assert_eq!(connection.send(ACK, 1, 6, b"data"), bare(6, 6));
        assert_eq!(connection.send(ACK, 1, 4, b"data"), echoed(ACK, 1, 5, b"data"));
        assert_eq!(connection.send(ACK | FIN, 1, 5, b"data"), echoed(ACK | FIN, 1, 6, b"data"));
        assert_eq!(connection.send(ACK | FIN, 1, 2, b""), bare(2, 2));
        // The client's window has room for part of the data, for all data without the FIN, or for nothing.
        let send = |flags, window| {
            connection.send_request(&Request { window, ..connection.request(flags, 5, 5, b"more") }.with_checksum())
        };
        assert_eq!(send(ACK, 3), echoed(ACK, 5, 8, b"mor"));
        assert_eq!(send(ACK | FIN, 3), echoed(ACK, 5, 8, b"mor"));
        assert_eq!(send(ACK | FIN, 4), echoed(ACK, 5, 9, b"more"));
        assert_eq!(send(ACK | FIN, 5), echoed(ACK | FIN, 5, 10, b"more"));
        assert_eq!(send(ACK, 0), (Verdict::Later, NOTHING));
        assert_eq!(
            connection.send_request(&Request { window: 0, ..connection.request(ACK, 5, 7, b"more") }.with_checksum()),
            bare(7, 7)
        );
        assert_eq!(
            connection.send_request(&Request { window: 1, ..connection.request(ACK, 5, 7, b"more") }.with_checksum()),
            echoed(ACK, 5, 8, b"mor")
        );
    }
}

#[test]
fn echo_accepts_segments_within_a_window_and_one_byte() {
    for connection in Connection::all(Action::Echo) {
        // The client may have a full window in flight, with a FIN after it. It may also retransmit data whose echo it
        // has received, or send a keepalive, which starts one byte early.
        for distance in [-538, -537, -536, -1, 0, 1, 536, 537, 538i32] {
            let expected = if distance.abs() <= 537 { Verdict::Later } else { Verdict::OtherTcp };
            let outcome = connection.send(ACK, 1000, 1000u32.wrapping_add_signed(distance), b"");
            assert_eq!(outcome, (expected, NOTHING), "{distance}");
        }
    }
}

#[test]
fn echo_answers_neither_bare_acks_nor_resets() {
    for connection in Connection::all(Action::Echo) {
        // An answer to one of these segments could itself be answered by another responder.
        for acknowledgment in [1, 4, 5, 6, 10] {
            assert_eq!(connection.send(ACK, 5, acknowledgment, b""), (Verdict::Later, NOTHING));
            assert_eq!(connection.send(ACK | RST, 5, acknowledgment, b""), (Verdict::Later, NOTHING));
            assert_eq!(connection.send(ACK | RST, 5, acknowledgment, b"data"), (Verdict::Later, NOTHING));
        }
    }
}

#[test]
fn echo_limits_its_payload() {
    for connection in Connection::all(Action::Echo) {
        // The client exceeds the window of 536 bytes. It gets at most 1,460 bytes back, the payload of an Ethernet
        // frame. A longer segment is answered only if it has no complete checksum to verify.
        let payload: Vec<u8> = (0..3000).map(|byte| byte as u8).collect();
        let fitting = connection.send(ACK, 1, 1, &payload[..1460]);
        let expected = Some((ACK, 1, 1461, 536, payload[..1460].to_vec()));
        assert_eq!(fitting, (Verdict::Replied, expected.clone()));
        assert_eq!(connection.send(ACK, 1, 1, &payload), (Verdict::Later, NOTHING));
        let request = connection.request(ACK, 1, 1, &payload).with_partial_checksum();
        assert_eq!(connection.send_request(&request), (Verdict::Replied, expected));
    }
}

#[test]
fn echo_sends_full_payload_after_the_longest_header() {
    for mut connection in Connection::all(Action::Echo) {
        if connection.request.ip_options.is_empty() {
            connection.request.options = vec![1; 40];
            let payload = vec![7; 1460];
            let expected = Some((ACK, 1, 1461, 536, payload.clone()));
            // `Setup::respond` verifies the checksum of the whole answer.
            assert_eq!(connection.send(ACK, 1, 1, &payload), (Verdict::Replied, expected));
        }
    }
}

#[test]
fn echo_drops_damaged_segments() {
    for connection in Connection::all(Action::Echo) {
        for (flags, payload) in [(ACK | PSH, &b"odd"[..]), (ACK | PSH, b"even"), (ACK | FIN, b"")] {
            let request = connection.request(flags, 1, 1, payload);
            assert_eq!(connection.send_request(&request), (Verdict::Later, NOTHING));
            let partial = request.clone().with_partial_checksum();
            assert_eq!(connection.send_request(&partial).0, Verdict::Replied, "the checksum is not complete yet");
            let intact = request.with_checksum();
            assert_eq!(connection.send_request(&intact).0, Verdict::Replied);
            // The echo of a damaged segment would have a correct checksum, and the client would accept the echo.
            for bit in 0..payload.len() * 8 {
                let mut damaged = intact.clone();
                damaged.payload[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(connection.send_request(&damaged), (Verdict::Later, NOTHING), "{bit}");
            }
        }
    }
}

#[test]
fn echo_drops_segments_with_too_many_options() {
    let mut connections = Connection::all(Action::Echo);
    let connection = &mut connections[0];
    // The answer has TCP padding in place of IP options. TCP options have at most 40 bytes.
    for (ip, tcp, verdict) in [(20, 20, Verdict::Replied), (40, 0, Verdict::Replied), (24, 20, Verdict::Later)] {
        connection.request.ip_options = vec![1; ip];
        connection.request.options = vec![1; tcp];
        let tuple = Segment::parse(&connection.request.frame()).unwrap().tuple();
        connection.server = CLIENT.wrapping_add(connection.setup.settings.offset_of(&tuple));
        assert_eq!(connection.send(ACK, 1, 1, b"data").0, verdict, "{ip} {tcp}");
    }
}

#[test]
fn tarpit_closes_the_window_and_accepts_no_data() {
    let held = (Verdict::Replied, answer(ACK, 1, 1, 0));
    for connection in Connection::all(Action::Tarpit) {
        assert_eq!(connection.send(ACK, 1, 1, b""), (Verdict::Completed, NOTHING));
        // Linux sends window probes and keepalives without data, other systems with one byte.
        assert_eq!(connection.send(ACK, 0, 1, b""), held);
        assert_eq!(connection.send(ACK, 0, 1, b"?"), held);
        assert_eq!(connection.send(ACK, 1, 1, b"?"), held);
        // The client fills the window of the SYN-ACK before it learns that the window has closed.
        for sequence in [1, 2, 1449, 65_534, 65_535] {
            assert_eq!(connection.send(ACK | PSH, sequence, 1, &[1; 1000]), held, "{sequence}");
            assert_eq!(connection.send(ACK | FIN | PSH, sequence, 1, b"last"), held, "{sequence}");
        }
    }
}

#[test]
fn tarpit_answers_neither_bare_acks_nor_fins_nor_resets() {
    for connection in Connection::all(Action::Tarpit) {
        // An answer to one of these segments could itself be answered by another responder.
        for sequence in [2, 1449, 65_536, 65_537] {
            assert_eq!(connection.send(ACK, sequence, 1, b""), (Verdict::Later, NOTHING), "{sequence}");
        }
        for sequence in [0, 1, 1449, 65_536] {
            assert_eq!(connection.send(ACK | FIN, sequence, 1, b""), (Verdict::Later, NOTHING), "{sequence}");
            assert_eq!(connection.send(ACK | RST, sequence, 1, b""), (Verdict::Later, NOTHING), "{sequence}");
            assert_eq!(connection.send(ACK | RST, sequence, 1, b"data"), (Verdict::Later, NOTHING), "{sequence}");
        }
    }
}

#[test]
fn tarpit_passes_segments_outside_the_largest_window() {
    for connection in Connection::all(Action::Tarpit) {
        // 65,535 bytes of data and a FIN end before sequence number 65,537.
        for sequence in [0u32.wrapping_sub(1), 65_538, 1 << 31] {
            for (flags, payload) in [(ACK, &b""[..]), (ACK | PSH, b"data"), (ACK | FIN, b"")] {
                let outcome = connection.send(flags, sequence, 1, payload);
                assert_eq!(outcome, (Verdict::OtherTcp, NOTHING), "{sequence}");
            }
        }
    }
}

#[test]
fn tarpit_completes_handshakes_by_the_first_segment() {
    let actions = ActionSet::only(Action::Tarpit);
    let offset = isn_offset(0x1234_5678);
    for (sequence, flags, completes) in [
        (0, ACK, true),
        (1, ACK, true),
        (1, ACK | PSH, true),
        (1, ACK | FIN, true),
        (1, ACK | RST, false),
        (2, ACK | PSH, false),
        (1449, ACK | PSH, false),
        (0u32.wrapping_sub(1), ACK, false),
    ] {
        let variables = SegmentVariables {
            sequence_number: CLIENT.wrapping_add(sequence),
            acknowledgment_number: CLIENT.wrapping_add(1).wrapping_add(offset),
            payload_length: 0,
            flags,
            window: 0,
        };
        assert_eq!(variables.may_complete(actions, offset), completes, "{sequence} {flags:#x}");
    }
}

#[test]
fn applies_the_action_of_each_port() {
    let setup = Setup {
        actions_by_port: vec![
            (7, Action::Echo),
            (9, Action::Discard),
            (22, Action::Tarpit),
            (79, Action::Close),
            (0, Action::Reset),
            (65535, Action::Reset),
        ],
        ..Setup::new(Choice { key: Some([3; 16]), ..Choice::DEFAULT })
    };
    for port in [0, 7, 8, 9, 22, 79, 443, 0x0700, 0x0900, 65535] {
        for request in [Request::syn(), Request::syn().over_ipv6()] {
            let options = common::LINUX_OPTIONS.to_vec();
            let syn = Request { destination_port: port, options, ..request };
            // `Setup::respond` checks the SYN-ACK for the action of the port.
            let (verdict, syn_ack) = setup.respond(&syn.frame());
            assert_eq!(verdict, Verdict::Answered);
            let syn_ack = Segment::parse(&syn_ack).unwrap();
            let ack = Request {
                sequence_number: syn.sequence_number.wrapping_add(1),
                acknowledgment_number: syn_ack.tcp.sequence_number().wrapping_add(1),
                flags: ACK | PSH,
                options: vec![],
                payload: b"data".to_vec(),
                ..syn.clone()
            };
            let (verdict, answer) = setup.respond(&ack.with_checksum().frame());
            let fields = Segment::parse(&answer).map(|segment| (segment.flags(), segment.tcp.payload().to_vec()));
            let (expected, flags, payload) = match port {
                0 | 65535 => (Verdict::Replied, RST | ACK, &b""[..]),
                7 => (Verdict::Replied, ACK | PSH, &b"data"[..]),
                9 | 22 => (Verdict::Replied, ACK, &b""[..]),
                79 => (Verdict::Replied, FIN | ACK, &b""[..]),
                _ => (Verdict::Later, ACK | PSH, &b"data"[..]),
            };
            assert_eq!((verdict, fields), (expected, Some((flags, payload.to_vec()))), "{port}");
        }
    }
}

#[test]
fn replaces_echo_and_tarpit_without_a_key() {
    // Without a key, a handshake does not prove the client's address, so `Ignore` replaces these actions.
    for action in [Action::Echo, Action::Tarpit] {
        let setup = Setup::new(Choice { action, ..Choice::DEFAULT });
        let ignoring = Setup::standard();
        for request in [Request::ack(), Request { payload: b"data".to_vec(), ..Request::ack() }] {
            assert_eq!(setup.verdict(&request.frame()), ignoring.verdict(&request.frame()));
        }
    }
}
