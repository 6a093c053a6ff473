//! The loaded program and the packet logic in the test process agree on the replies in the style of each operating
//! system.

use std::collections::BTreeMap;

use etherparse::NetSlice;
use fastrand::Rng;
use tcp_bounce_wire::frame::Buffer;
use tcp_bounce_wire::{Action, Frame, Identification, SystemReplies, Verdict, XdpAction};

use crate::fixtures::amount;
use crate::fixtures::packet::generator::{Generator, Shape};
use crate::fixtures::packet::{self, Choice, ETHERNET_LENGTH, Kernel, LONGEST, Outcome, Request, Segment, Setup};

const SYSTEMS: [(&str, SystemReplies); 7] = [
    ("Windows 10", SystemReplies::WINDOWS_10),
    ("Windows Server 2016", SystemReplies::WINDOWS_SERVER_2016),
    ("FreeBSD", SystemReplies::FREEBSD),
    ("macOS", SystemReplies::MACOS),
    ("OpenBSD", SystemReplies::OPENBSD),
    ("Cisco IOS", SystemReplies::CISCO_IOS),
    ("lwIP", SystemReplies::LWIP),
];

#[test]
#[ignore = "needs root: loads a BPF program"]
fn kernel_and_host_agree_on_each_system() {
    let actions = Action::ALL.map(Some).into_iter().chain([None]);
    let shapes: Vec<_> = actions.flat_map(|action| SYSTEMS.map(|system| (action, system))).collect();
    let packets = amount("PACKETS", 40_000, 2_000_000).div_ceil(shapes.len());
    let mut rng = Rng::with_seed(0x0b5e_55ed);
    let mut answered = BTreeMap::<_, usize>::new();
    for (action, (name, system)) in shapes {
        let (checks_mac, primary) = (rng.bool(), rng.bool());
        let shape = Shape {
            action,
            keyed: true,
            takeover: rng.bool(),
            checks_mac,
            primary,
            filters_destinations: false,
            filters_sources: false,
            observed: false,
        };
        let mut host = shape.setup(&mut rng);
        host.settings.system = Some(system);
        let mut kernel = Kernel::load_setup(&host);
        for _ in 0..packets {
            let packet = Generator { choices: &mut rng, setup: &host }.packet(LONGEST);
            let mut outcome = kernel.run(&packet);
            host.settings.now = packet::clock(&packet, &outcome.frame, &host.settings).unwrap_or_default();
            let mut expected = run(&host, &packet);
            let verdict = expected.counted[0].0;
            if verdict.action() == XdpAction::Tx {
                // The test process knows the kernel's clock only if the reply has timestamps.
                let number = take_identification(&mut outcome.frame);
                take_identification(&mut expected.frame);
                let is_zero = system.identification == Identification::Zero;
                assert!(!is_zero || number.is_none_or(|number| number == 0), "{name}: {outcome:?}");
                *answered.entry((name, verdict.name())).or_default() += 1;
            }
            assert_eq!(outcome, expected, "{name}, {shape:?}, packet {}", packet::hex(&packet));
        }
    }
    for (name, _) in SYSTEMS {
        for (verdict, least) in [(Verdict::Answered, 100), (Verdict::Replied, 10), (Verdict::Closed, 1)] {
            let count = answered.get(&(name, verdict.name())).copied().unwrap_or_default();
            assert!(count >= least, "{name}: {answered:?}");
        }
    }
}

/// Runs the packet logic in the test process.
fn run(setup: &Setup, packet: &[u8]) -> Outcome {
    let mut bytes = [0xa5; LONGEST];
    bytes[..packet.len()].copy_from_slice(packet);
    let mut frame = Buffer::new(&mut bytes, packet.len());
    let verdict = setup.run(&mut frame);
    let length = frame.len();
    Outcome::of(verdict, bytes[..length].to_vec())
}

/// Replaces the identification and the checksum of an IPv4 header by zeros. Returns the identification, or `None` over
/// IPv6. The checksum must be correct.
fn take_identification(frame: &mut [u8]) -> Option<u16> {
    let segment = Segment::parse(frame).expect("a reply is a complete segment");
    let NetSlice::Ipv4(ipv4) = &segment.net else { return None };
    let header = ipv4.header();
    let number = header.identification();
    assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum(), "IPv4 checksum");
    let ip = ETHERNET_LENGTH + segment.tags * 4;
    frame[ip + 4..ip + 6].fill(0);
    frame[ip + 10..ip + 12].fill(0);
    Some(number)
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn rising_identifications_follow_the_clock() {
    let mut kernel = Kernel::load(Choice { system: Some(SystemReplies::LWIP), ..Choice::DEFAULT });
    let mut number = || take_identification(&mut kernel.run(&Request::syn().frame()).frame).expect("IPv4");
    let first = number();
    // The clock ticks, so the loop ends early. Each turn takes some microseconds.
    let next = (0..10_000_000).map(|_| number()).find(|&number| number != first).expect("the clock ticks");
    assert!(next.wrapping_sub(first) < 1000, "{first} is followed by {next}");
}
