//! Connections to the services of a profile.
//!
//! `Setup::respond` checks the common properties of all answers: lengths, addresses, checksums, timestamps.

use crate::common;

use common::{ACK, Choice, FIN, PSH, RST, Request, Segment, Setup, TestService};
use proptest::prelude::*;
use tcp_bounce_wire::frame::{Buffer, LEAST_HEADROOM, View};
use tcp_bounce_wire::service::{MAX_PAYLOAD, MAX_REPLIES};
use tcp_bounce_wire::{Ending, Frame, Verdict, XdpAction};

/// The client's ISN. Sequence numbers wrap after the first bytes of data.
const CLIENT: u32 = u32::MAX - 10;

const BANNER: &[u8] = b"220 ready\r\n";
const HELLO: &[u8] = b"250 hello\r\n";
const OTHER: &[u8] = b"500 unknown command\r\n";

/// The fields of an answer: flags, sequence number, acknowledgment number, payload.
pub type Fields = (u8, u32, u32, Vec<u8>);

/// A connection to a service. Methods take and return sequence numbers relative to the ISNs.
pub struct Connection {
    setup: Setup,
    request: Request,
    /// The server's ISN.
    server: u32,
}

impl Connection {
    /// Returns the connection whose segments look like `request`.
    pub fn open(setup: &Setup, request: &Request, has_window_scale: bool) -> Self {
        let options = if has_window_scale { vec![3, 3, 7, 1] } else { Vec::new() };
        let syn = Request { sequence_number: CLIENT, flags: common::SYN, options, ..request.clone() };
        let (verdict, syn_ack) = setup.respond(&syn.frame());
        assert_eq!(verdict, Verdict::Answered);
        let server = Segment::parse(&syn_ack).expect("a segment").tcp.sequence_number();
        Self { setup: setup.clone(), request: request.clone(), server }
    }

    /// Returns connections over IPv4 and IPv6, with and without timestamps, VLAN tags, IP options and window scaling.
    fn all(service: &TestService) -> Vec<Self> {
        let setup = Setup::serving(service.clone(), Choice::DEFAULT);
        let mut connections = Vec::new();
        for options in [vec![], vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]] {
            let request = Request { options, source_port: 1234, ..Request::ack() };
            for request in [
                request.clone(),
                request.clone().over_ipv6(),
                request.clone().over_ipv6().twice_tagged(),
                Request { ip_options: vec![1; 8], ..request.tagged() },
            ] {
                connections.extend([true, false].map(|scales| Self::open(&setup, &request, scales)));
            }
        }
        connections
    }

    fn frame(&self, flags: u8, sequence: u32, acknowledgment: u32, payload: &[u8]) -> Vec<u8> {
        let request = Request {
            flags,
            sequence_number: CLIENT.wrapping_add(sequence),
            acknowledgment_number: self.server.wrapping_add(acknowledgment),
            payload: payload.to_vec(),
            ..self.request.clone()
        };
        request.with_checksum().frame()
    }

    /// Sends a segment, and returns its verdict and the answer.
    pub fn send(&self, flags: u8, sequence: u32, acknowledgment: u32, payload: &[u8]) -> (Verdict, Option<Fields>) {
        let (verdict, result) = self.setup.respond(&self.frame(flags, sequence, acknowledgment, payload));
        let answer = (verdict.action() == XdpAction::Tx).then(|| {
            let segment = Segment::parse(&result).expect("a segment");
            let sequence = segment.tcp.sequence_number().wrapping_sub(self.server);
            let acknowledgment = segment.tcp.acknowledgment_number().wrapping_sub(CLIENT);
            (segment.flags(), sequence, acknowledgment, segment.tcp.payload().to_vec())
        });
        (verdict, answer)
    }
}

pub fn answer(flags: u8, sequence: u32, acknowledgment: u32, payload: &[u8]) -> Option<Fields> {
    Some((flags, sequence, acknowledgment, payload.to_vec()))
}

/// Returns the sequence number after a SYN and `data`.
pub fn after(data: &[u8]) -> u32 {
    1 + data.len() as u32
}

fn mail(ending: Ending) -> TestService {
    TestService::new(BANNER, &[(b"EHLO ", HELLO), (b"", OTHER)], ending)
}

#[test]
fn sends_the_banner_until_it_is_acknowledged() {
    for connection in Connection::all(&mail(Ending::Stay)) {
        let banner = answer(ACK | PSH, 1, 1, BANNER);
        assert_eq!(connection.send(ACK, 1, 1, b""), (Verdict::Greeted, banner.clone()));
        assert_eq!(connection.send(ACK, 1, 1, b""), (Verdict::Greeted, banner.clone()));
        // A client that has received a part of the banner gets all of it.
        assert_eq!(connection.send(ACK, 1, 5, b""), (Verdict::Replied, banner.clone()));
        // Without room for data, a client would acknowledge the banner again and again.
        let closed = Request { window: 0, ..connection.request.clone() };
        let closed = Connection { request: closed, setup: connection.setup.clone(), server: connection.server };
        assert_eq!(closed.send(ACK, 1, 1, b""), (Verdict::Completed, None));
        assert_eq!(closed.send(ACK, 1, 5, b""), (Verdict::Later, None));
        assert_eq!(closed.send(ACK, 1, 1, b"EHLO "), (Verdict::Replied, banner));
        assert_eq!(connection.send(ACK, 1, after(BANNER), b""), (Verdict::Later, None));
        assert_eq!(connection.send(ACK | RST, 1, 1, b""), (Verdict::Later, None));
    }
}

#[test]
fn acknowledges_no_request_before_the_banner_arrived() {
    for connection in Connection::all(&mail(Ending::Stay)) {
        let banner = answer(ACK | PSH, 1, 1, BANNER);
        assert_eq!(connection.send(ACK | PSH, 1, 1, b"EHLO a\r\n"), (Verdict::Replied, banner.clone()));
        assert_eq!(connection.send(ACK | FIN, 1, 1, b""), (Verdict::Replied, banner.clone()));
        assert_eq!(connection.send(ACK | FIN, 1, 1, b"EHLO a\r\n"), (Verdict::Replied, banner));
    }
}

#[test]
fn sends_the_first_reply_that_answers_a_request() {
    for connection in Connection::all(&mail(Ending::Stay)) {
        let start = after(BANNER);
        for (request, reply) in
            [(&b"EHLO a\r\n"[..], HELLO), (b"EHLO ", HELLO), (b"EHLO", OTHER), (b"ehlo a\r\n", OTHER), (b"x", OTHER)]
        {
            let end = after(request);
            let expected = answer(ACK | PSH, start, end, reply);
            assert_eq!(connection.send(ACK | PSH, 1, start, request), (Verdict::Replied, expected), "{request:?}");
            let expected = answer(ACK | PSH | FIN, start, end + 1, reply);
            assert_eq!(connection.send(ACK | FIN, 1, start, request), (Verdict::Replied, expected), "{request:?}");
        }
        // The second request of a dialogue.
        let next = start + HELLO.len() as u32;
        assert_eq!(connection.send(ACK, 9, next, b"QUIT\r\n"), (Verdict::Replied, answer(ACK | PSH, next, 15, OTHER)));
    }
}

#[test]
fn distinguishes_requests_by_up_to_eight_bytes() {
    let replies: [(&[u8], &[u8]); MAX_REPLIES] =
        [(b"GET /abc", b"eight"), (b"GET /\0", b"six"), (b"\xff", b"one"), (b"GET", b"three")];
    let setup = Setup::serving(TestService::new(b"", &replies, Ending::Stay), Choice::DEFAULT);
    let connection = Connection::open(&setup, &Request::ack(), true);
    for (request, reply) in [
        (&b"GET /abc"[..], &b"eight"[..]),
        (b"GET /abcd", b"eight"),
        (b"GET /abC", b"three"),
        (b"GET /ab", b"three"),
        (b"GET /", b"three"),
        (b"GET /\0", b"six"),
        (b"GE", b""),
        (b"\xff", b"one"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"one"),
        (b"\0GET", b""),
    ] {
        let flags = if reply.is_empty() { ACK } else { ACK | PSH };
        let expected = answer(flags, 1, after(request), reply);
        assert_eq!(connection.send(ACK, 1, 1, request), (Verdict::Replied, expected), "{request:?}");
    }
}

#[test]
fn waits_for_a_request_without_a_banner() {
    for connection in Connection::all(&TestService::new(b"", &[(b"GET ", HELLO)], Ending::Stay)) {
        assert_eq!(connection.send(ACK, 1, 1, b""), (Verdict::Completed, None));
        assert_eq!(connection.send(ACK, 1, 1, b"GET /"), (Verdict::Replied, answer(ACK | PSH, 1, 6, HELLO)));
        assert_eq!(connection.send(ACK, 1, 1, b"PUT /"), (Verdict::Replied, answer(ACK, 1, 6, b"")));
    }
}

#[test]
fn closes_with_the_reply_or_with_the_banner() {
    for connection in Connection::all(&TestService::new(b"", &[(b"GET ", HELLO)], Ending::Close)) {
        assert_eq!(connection.send(ACK, 1, 1, b""), (Verdict::Completed, None));
        assert_eq!(connection.send(ACK, 1, 1, b"GET /"), (Verdict::Replied, answer(ACK | PSH | FIN, 1, 6, HELLO)));
        let end = after(HELLO) + 1;
        assert_eq!(connection.send(ACK, 6, end, b""), (Verdict::Later, None));
        assert_eq!(connection.send(ACK | FIN, 6, end, b""), (Verdict::Replied, answer(ACK | FIN, end, 7, b"")));
    }
    for connection in Connection::all(&TestService::new(BANNER, &[], Ending::Close)) {
        assert_eq!(connection.send(ACK, 1, 1, b""), (Verdict::Greeted, answer(ACK | PSH | FIN, 1, 1, BANNER)));
        let end = after(BANNER) + 1;
        assert_eq!(connection.send(ACK, 1, end, b"x"), (Verdict::Replied, answer(ACK, end, 2, b"")));
    }
}

#[test]
fn resets_when_the_last_payload_is_acknowledged() {
    for connection in Connection::all(&TestService::new(BANNER, &[], Ending::Reset)) {
        assert_eq!(connection.send(ACK, 1, 1, b""), (Verdict::Greeted, answer(ACK | PSH, 1, 1, BANNER)));
        let end = after(BANNER);
        assert_eq!(connection.send(ACK, 1, end, b""), (Verdict::Replied, answer(ACK | RST, end, 1, b"")));
    }
    for connection in Connection::all(&TestService::new(BANNER, &[(b"", OTHER)], Ending::Reset)) {
        let start = after(BANNER);
        assert_eq!(connection.send(ACK, 1, start, b""), (Verdict::Later, None));
        assert_eq!(connection.send(ACK, 1, start, b"x"), (Verdict::Replied, answer(ACK | PSH, start, 2, OTHER)));
        let end = start + OTHER.len() as u32;
        assert_eq!(connection.send(ACK, 2, end, b""), (Verdict::Replied, answer(ACK | RST, end, 2, b"")));
    }
}

#[test]
fn answers_a_fin_with_a_fin() {
    for connection in Connection::all(&mail(Ending::Stay)) {
        let start = after(BANNER);
        // A reply may be on its way, so the FIN is acknowledged only when it is sent again.
        assert_eq!(connection.send(ACK | FIN, 1, start, b""), (Verdict::Replied, answer(ACK | FIN, start, 1, b"")));
        let next = start + 1;
        assert_eq!(connection.send(ACK | FIN, 1, next, b""), (Verdict::Replied, answer(ACK | FIN, next, 2, b"")));
        // The client acknowledges the FIN instead.
        assert_eq!(connection.send(ACK, 2, next, b""), (Verdict::Replied, answer(ACK, next, 2, b"")));
    }
}

#[test]
fn passes_segments_of_other_connections() {
    for connection in Connection::all(&mail(Ending::Stay)) {
        for acknowledgment in [0, 1 + MAX_PAYLOAD as u32 + (1 << 12) + 1, 1 << 28, 0u32.wrapping_sub(1)] {
            assert_eq!(connection.send(ACK, 1, acknowledgment, b"").0, Verdict::OtherTcp, "{acknowledgment}");
        }
        // The acknowledgment number must lie ahead of the sequence number.
        let lead = connection.server.wrapping_sub(CLIENT);
        for ahead in [0, 1 << 27, 7 << 29, 1 << 31] {
            assert_eq!(connection.send(ACK, lead.wrapping_sub(ahead), 1, b"").0, Verdict::OtherTcp, "{ahead:#x}");
        }
    }
}

#[test]
fn sends_payloads_of_any_length_in_frames_of_any_length() {
    let bytes: Vec<u8> = (0..MAX_PAYLOAD).map(|index| (index * 7 + index / 256) as u8).collect();
    for length in (1..300).chain([MAX_PAYLOAD - 1, MAX_PAYLOAD]) {
        let payload = &bytes[..length];
        let service = TestService::new(payload, &[(b"", payload)], Ending::Stay);
        let setup = Setup::serving(service, Choice::DEFAULT);
        for request in [Request::ack(), Request::ack().over_ipv6().tagged()] {
            let connection = Connection::open(&setup, &request, true);
            assert_eq!(connection.send(ACK, 1, 1, b""), (Verdict::Greeted, answer(ACK | PSH, 1, 1, payload)));
            let start = after(payload);
            for asked in [1, 7, 8, 23, length, 1300] {
                let expected = answer(ACK | PSH, start, 1 + asked as u32, payload);
                assert_eq!(connection.send(ACK, 1, start, &vec![b'x'; asked]), (Verdict::Replied, expected), "{asked}");
            }
        }
    }
}

#[test]
fn counts_frames_without_room_for_the_payload() {
    let setup = Setup::serving(TestService::new(&[b'x'; 300], &[], Ending::Stay), Choice::DEFAULT);
    let mut connection = Connection::open(&setup, &Request::ack(), true);
    connection.setup.room = 299;
    assert_eq!(connection.send(ACK, 1, 1, b""), (Verdict::NoRoomForPayload, None));
    connection.setup.room = 300;
    assert_eq!(connection.send(ACK, 1, 1, b"").0, Verdict::Greeted);
}

/// A frame that grows at its start by 152 bytes at most, as with the drivers of Intel.
struct Tight<'a>(Buffer<'a>);

impl Frame for Tight<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn at<T: View>(&mut self, offset: usize) -> Option<&mut T> {
        self.0.at(offset)
    }

    fn last<T: View>(&mut self) -> Option<&mut T> {
        self.0.last()
    }

    fn resize(&mut self, len: usize) -> Option<()> {
        self.0.resize(len)
    }

    fn extend(&mut self, length: usize) -> Option<usize> {
        let at_start = length.min(LEAST_HEADROOM);
        self.0.resize(self.0.len() + length - at_start)?;
        self.0.extend(at_start)
    }
}

#[test]
fn writes_the_same_answer_if_a_frame_grows_at_its_end() {
    let payload: Vec<u8> = (0..180).collect();
    let setup = Setup::serving(TestService::new(&payload, &[], Ending::Stay), Choice::DEFAULT);
    for request in [Request::ack(), Request::ack().over_ipv6().tagged()] {
        let frame = Connection::open(&setup, &request, true).frame(ACK, 1, 1, b"");
        let (_, expected) = setup.respond(&frame);
        let mut bytes = [&frame[..], &[0xa5; 300]].concat();
        let mut tight = Tight(Buffer::new(&mut bytes, frame.len()));
        assert_eq!(setup.run(&mut tight), Verdict::Greeted);
        let length = tight.len();
        assert_eq!(bytes[..length], expected);
    }
}

proptest! {
    /// The distance between the ISNs is within its limits, and the hash and the flag can be recovered.
    #[test]
    fn places_the_isn_ahead_of_the_clients_isn(hash: u32, client_isn: u32, has_window_scale: bool) {
        let isn = tcp_bounce_wire::serve::service_isn(hash, client_isn, has_window_scale);
        prop_assert!((1 << 29..(1 << 29) + (1 << 30)).contains(&isn.wrapping_sub(client_isn)));
        prop_assert_eq!(isn % (1 << 29), hash % (1 << 29));
        prop_assert_eq!(isn >> 29 & 1 == 0, has_window_scale);
    }
}
