//! The services of a profile under `BPF_PROG_TEST_RUN`: the loaded program and the packet logic in the test process
//! agree on every segment of a connection.

use fastrand::Rng;
use tcp_bounce_wire::service::MAX_PAYLOAD;
use tcp_bounce_wire::{Ending, Verdict};

use crate::fixtures::packet::{ACK, Choice, FIN, Kernel, PSH, RST, Request, Segment, Setup, TestService};

/// The client's ISN.
const CLIENT: u32 = 0xffff_fff0;

/// The largest payload that fits into every frame of a test run on every kernel.
const LARGEST: usize = 600;

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
