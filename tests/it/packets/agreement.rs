//! The loaded program and the packet logic in the test process agree on every generated packet.
//!
//! The generator has a fixed seed, so every run tests the same packets.

use std::cmp::Ordering;

use fastrand::Rng;
use tcp_bounce_wire::frame::Buffer;
use tcp_bounce_wire::{Counters, Frame, Verdict, XdpAction};

use crate::fixtures::packet::generator::{Choices, Generator, Shape};
use crate::fixtures::packet::{self, Kernel, LONGEST, Outcome, Setup};
use crate::fixtures::{amount, is_long};

const SEED: u64 = 0x5eed_0f5e_a50e_d175;

/// In a short run, only every 37th combination of settings is tested. The stride shares no factor with the number of
/// choices of any setting, so each choice occurs.
const STRIDE: usize = 37;

impl Choices for Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.usize(..bound)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        Rng::fill(self, bytes);
    }
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn kernel_and_host_agree_on_every_packet() {
    let packets = amount("PACKETS", 200_000, 10_000_000);
    let shapes: Vec<_> = Shape::all().into_iter().step_by(if is_long() { 1 } else { STRIDE }).collect();
    println!("{packets} packets of seed {SEED:#x}, {} programs", shapes.len());
    let mut rng = Rng::with_seed(SEED);
    let mut coverage = Coverage::default();
    for shape in &shapes {
        let mut sides = Sides::new(shape.setup(&mut rng));
        for _ in 0..packets.div_ceil(shapes.len()) {
            let packet = Generator { choices: &mut rng, setup: &sides.host }.packet(LONGEST);
            let (verdict, reply_length) = sides.compare(&packet).unwrap_or_else(|disagreement| {
                panic!("seed {SEED:#x}, {shape:?}, {:?}\n{disagreement}", sides.host.settings);
            });
            coverage.count(verdict, packet.len(), reply_length);
        }
    }
    coverage.check(packets);
}

/// The program in the kernel, and the packet logic in the test process (`host`).
struct Sides {
    kernel: Kernel,
    host: Setup,
}

impl Sides {
    fn new(host: Setup) -> Self {
        Self { kernel: Kernel::load_setup(&host), host }
    }

    /// Runs a packet on both sides, and returns the verdict and the length of the frame afterwards.
    ///
    /// # Errors
    ///
    /// The packet and both results, if they differ.
    fn compare(&mut self, packet: &[u8]) -> Result<(Verdict, usize), String> {
        let kernel = self.kernel.run(packet);
        // The test process cannot know the kernel's clock, so it uses the TSval of the kernel's reply.
        self.host.settings.now = packet::clock(packet, &kernel.frame, &self.host.settings).unwrap_or_default();
        let (verdict, host) = self.host(packet);
        if kernel == host {
            Ok((verdict, host.frame.len()))
        } else {
            let (length, hex) = (packet.len(), packet::hex(packet));
            Err(format!("packet: {length} bytes: {hex}\nhost:   {host:?}\nkernel: {kernel:?}"))
        }
    }

    /// Runs the packet logic in the test process, in a buffer of [`LONGEST`] bytes with arbitrary bytes after the
    /// packet.
    fn host(&self, packet: &[u8]) -> (Verdict, Outcome) {
        let mut bytes = [0xa5; LONGEST];
        bytes[..packet.len()].copy_from_slice(packet);
        let mut frame = Buffer::new(&mut bytes, packet.len());
        let verdict = self.host.run(&mut frame);
        let length = frame.len();
        (verdict, Outcome::of(verdict, bytes[..length].to_vec()))
    }
}

/// The number of packets for each verdict, and of replies for each change of length.
#[derive(Default)]
struct Coverage {
    verdicts: Counters,
    /// The numbers of replies longer than, as long as, and shorter than their requests.
    replies: [usize; 3],
}

impl Coverage {
    fn count(&mut self, verdict: Verdict, request_length: usize, reply_length: usize) {
        self.verdicts.count(verdict as usize);
        if verdict.action() == XdpAction::Tx {
            let [grown, kept, shrunk] = &mut self.replies;
            *match reply_length.cmp(&request_length) {
                Ordering::Greater => grown,
                Ordering::Equal => kept,
                Ordering::Less => shrunk,
            } += 1;
        }
    }

    /// Checks that every kind of reply occurred often, and every verdict but those of services, `NoRoom` and
    /// `Accepted`.
    fn check(&self, packets: usize) {
        for verdict in Verdict::ALL {
            println!("{:>9} {}", self.verdicts[verdict], verdict.name());
        }
        let [grown, kept, shrunk] = self.replies;
        println!("{grown:>9} frames grew, {kept} kept their length, {shrunk} shrank");

        for verdict in Verdict::ALL {
            let count = self.verdicts[verdict];
            let enough = match verdict {
                // A test run always has room for a reply that is longer than the request.
                Verdict::NoRoom => count == 0,
                // Nearly no generated packet follows a SYN of its connection.
                Verdict::Accepted => true,
                // No generated setup has services. `services.rs` compares their answers.
                Verdict::Greeted | Verdict::NoRoomForPayload => count == 0,
                _ => count >= packets as u64 / 5000,
            };
            assert!(enough, "{verdict:?}: {count} of {packets} packets");
        }
        for count in self.replies {
            assert!(count >= packets / 500, "too few of one kind of reply");
        }
    }
}
