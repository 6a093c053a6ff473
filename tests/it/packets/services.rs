//! The services of a profile under `BPF_PROG_TEST_RUN`: the loaded program and the packet logic in the test process
//! agree on every segment of a connection.

use fastrand::Rng;
use tcp_bounce_wire::service::MAX_PAYLOAD;
use tcp_bounce_wire::{Ending, FieldKind, Fields, Verdict};

use crate::fixtures::packet::{
    ACK, Choice, FIN, Kernel, PSH, Part, RST, Request, Segment, Setup, TestPayload, TestService, V6,
};

/// The client's ISN.
const CLIENT: u32 = 0xffff_fff0;

/// The largest payload that fits into every frame of a test run on every kernel.
const LARGEST: usize = 600;

/// The length of the longest field: an endpoint over IPv6, as in `[ADDRESS]:PORT`, and one more byte.
const LONGEST_FIELD: usize = 1 + 39 + 2 + 5 + 1;

/// Returns the requests of connections over IPv4 and IPv6, with and without timestamps, VLAN tags and IP options.
fn requests() -> Vec<Request> {
    let timestamps = vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
    let mut requests = Vec::new();
    for options in [vec![], timestamps] {
        let request = Request { options, source_port: 1234, ..Request::ack() };
        requests.push(request.clone());
        requests.push(request.clone().over_ipv6());
        requests.push(request.clone().over_ipv6().twice_tagged());
        requests.push(Request { ip_options: vec![1; 8], ..request.tagged() });
    }
    requests
}

/// Runs `frame` in the kernel and in the test process, and returns the common verdict.
fn compare(kernel: &mut Kernel, setup: &Setup, frame: &[u8]) -> Verdict {
    let (verdict, expected) = setup.respond(frame);
    let outcome = kernel.run(frame);
    assert_eq!(outcome.counted, [(verdict, 1)], "{frame:02x?}");
    assert_eq!(outcome.frame, expected, "{verdict:?}");
    verdict
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn kernel_and_host_send_the_same_payloads() {
    let mut random = Rng::with_seed(0x5e71_1ce5);
    let bytes: Vec<u8> = (0..MAX_PAYLOAD).map(|_| random.u8(..)).collect();
    let mut seen = Vec::new();
    for ending in [Ending::Stay, Ending::Close, Ending::Reset] {
        for turn in 0..12 {
            let banner = if turn % 3 == 0 { 0 } else { random.usize(1..LARGEST) };
            let reply = random.usize(1..LARGEST);
            let replies: [(&[u8], &[u8]); 2] = [(b"GET ", &bytes[..reply]), (b"\x16\x03", &bytes[..7])];
            let setup = Setup::serving(TestService::new(&bytes[..banner], &replies, ending), Choice::DEFAULT);
            let mut kernel = Kernel::load_setup(&setup);
            for request in requests() {
                let tuple = Segment::parse(&request.frame()).expect("a segment").tuple();
                let server = setup.settings.service_isn(&tuple, CLIENT, random.bool());
                for acknowledged in [0, 1, banner as u32, banner as u32 + 1, (banner + reply) as u32 + 1, 40_000] {
                    for payload in [&b""[..], b"G", b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01", &bytes] {
                        let flags = [ACK, ACK | PSH, ACK | FIN, ACK | RST][random.usize(..4)];
                        let request = Request {
                            flags,
                            sequence_number: CLIENT.wrapping_add(1),
                            acknowledgment_number: server.wrapping_add(acknowledged),
                            payload: payload.to_vec(),
                            ..request.clone()
                        };
                        seen.push(compare(&mut kernel, &setup, &request.with_checksum().frame()));
                    }
                }
            }
        }
    }
    for verdict in [Verdict::Greeted, Verdict::Replied, Verdict::Completed, Verdict::Later, Verdict::OtherTcp] {
        let count = seen.iter().filter(|&&own| own == verdict).count();
        assert!(count > 50, "{verdict:?}: {count} of {}", seen.len());
    }
}

/// Returns a payload of at most [`LARGEST`] bytes over IPv6, with random fields and random bytes between them.
fn payload_with_fields(random: &mut Rng, fields: usize) -> TestPayload {
    let bytes = |random: &mut Rng| {
        let length = if random.bool() {
            random.usize(..4)
        } else {
            random.usize(..(LARGEST - fields * LONGEST_FIELD) / (fields + 1))
        };
        Part::Bytes((0..length).map(|_| random.u8(..)).collect())
    };
    // An endpoint cannot be first.
    let mut parts = vec![Part::Bytes(vec![random.u8(..)]), bytes(random)];
    for _ in 0..fields {
        parts.extend([Part::Field(random.choice(FieldKind::ALL).expect("a kind")), bytes(random)]);
    }
    TestPayload(parts)
}

/// Returns `request` from a random client.
fn from_random_client(request: &Request, random: &mut Rng) -> Request {
    let v6 = request.v6.clone().map(|v6| {
        let mut source = v6.source;
        random.fill(&mut source[2..]);
        V6 { source, ..v6 }
    });
    let [a, b, c] = [(); 3].map(|()| *random.choice(&[0, 9, 10, 99, 100, 255]).expect("an octet"));
    Request { source: [random.u8(128..192), a, b, c], source_port: random.u16(..), v6, ..request.clone() }
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn kernel_and_host_render_the_same_fields() {
    let mut random = Rng::with_seed(0xf1e1_d5ee_d000);
    let mut replied = 0;
    for turn in 0..3 * (Fields::MAX_COUNT + 1) {
        // A service without a banner waits for a request. All services have a payload with fields.
        let has_banner = turn % 3 != 0;
        let banner = if has_banner { payload_with_fields(&mut random, turn % 5) } else { TestPayload(Vec::new()) };
        let reply = payload_with_fields(&mut random, 1 + turn % 4);
        let service = TestService::rendering(&banner, &[(b"GET ", reply.clone())], Ending::Stay);
        let setup = Setup::serving(service, Choice::DEFAULT);
        let key = setup.settings.key.expect("a key");
        let mut kernel = Kernel::load_setup(&setup);
        for request in requests().iter().flat_map(|request| [request; 10]) {
            let request = from_random_client(request, &mut random);
            let frame = request.frame();
            let segment = Segment::parse(&frame).expect("a segment");
            let server = setup.settings.service_isn(&segment.tuple(), CLIENT, random.bool());
            let [banner, reply] = [&banner, &reply].map(|payload| payload.rendered(&segment, &key));
            for (acknowledged, data, expected) in [(0, &b""[..], &banner), (banner.len(), b"GET /", &reply)] {
                let request = Request {
                    flags: ACK,
                    sequence_number: CLIENT.wrapping_add(1),
                    acknowledgment_number: server.wrapping_add(1 + acknowledged as u32),
                    payload: data.to_vec(),
                    ..request.clone()
                };
                let frame = request.with_checksum().frame();
                let verdict = compare(&mut kernel, &setup, &frame);
                let (_, answer) = setup.respond(&frame);
                if [Verdict::Greeted, Verdict::Replied].contains(&verdict) {
                    assert_eq!(Segment::parse(&answer).expect("a segment").tcp.payload(), expected);
                    replied += 1;
                }
            }
        }
    }
    assert!(replied > 1500, "{replied}");
}
