//! Malformed packets from the network: the program counts each of them, and the host keeps working.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::Command;
use std::sync::LazyLock;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::sockopt::RcvBufForce;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket};
use tcp_bounce_wire::{Counters, Verdict};

use crate::fixtures::kernel_log::KernelLog;
use crate::fixtures::machine::MachineLock;
use crate::fixtures::network::{HOST, HOST_V6, Mode, Network};
use crate::fixtures::packet::{ACK, ECE, SYN, Segment, hex};
use crate::fixtures::programs::{attached, counters};
use crate::fixtures::segment::{Injector, Mac, text};
use crate::fixtures::{accept, exchange, until};

in_each_mode! {
    malformed_packets_are_counted_and_do_no_harm,
}

/// The seed of the corpus. It is fixed, so every run sends the same packets.
const SEED: u32 = 0x5eed;
/// The approximate number of packets from scapy's `fuzz()`. The corpus adds a truncated or extended copy of each, and
/// packets of other kinds.
const FUZZED: usize = 4000;
const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/stress/corpus.py");

/// The MAC address to which the packets go.
pub const HOST_MAC: Mac = [2, 0, 0, 0, 0, 1];
/// The source MAC address of the packets. No host has it, so nothing answers the host's packets.
const SENDER_MAC: Mac = [2, 0, 0, 0, 0, 0x42];
const SENDER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);
const SENDER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x66);

/// The port of the host's listener. Some packets go to it.
const LISTENING: u16 = 2222;
/// The default ISN, by which the program's SYN-ACKs are recognised.
const ISN: u32 = 0x7463_7062;

/// The number of packets sent at once. In native mode, a veth end has room for 256 frames.
pub const BATCH: usize = 128;

/// The frames that `corpus.py` generates, shared by the tests of this file and of a day.
pub static FRAMES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    // The system's Python has scapy; another `python3` in PATH may not.
    let mut python = Command::new("/usr/bin/python3");
    python.args([CORPUS, &SEED.to_string(), &FUZZED.to_string()]).args([text(HOST_MAC), text(SENDER_MAC)]);
    python.args([IpAddr::from(HOST), SENDER.into(), HOST_V6.into(), SENDER_V6.into()].map(|ip| ip.to_string()));
    let made = python.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (mut frames, mut rest) = (Vec::new(), &made.stdout[..]);
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (frame, behind) = behind.split_at(u16::from_be_bytes(*length).into());
        frames.push(frame.to_vec());
        rest = behind;
    }
    frames
});

/// Opens a non-blocking socket that receives every frame on `client0`.
fn listen_to_all(network: &Network) -> OwnedFd {
    network.client.enter(|| {
        let (flags, protocol) = (SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, SockProtocol::EthAll);
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, protocol).unwrap();
        // 8 MiB hold a batch and its answers.
        setsockopt(&socket, RcvBufForce, &(8 << 20)).unwrap();
        let mut addresses = getifaddrs().unwrap().filter(|entry| entry.interface_name == "client0");
        let address = addresses.find_map(|entry| entry.address.filter(|address| address.as_link_addr().is_some()));
        bind(socket.as_raw_fd(), &address.unwrap()).unwrap();
        socket
    })
}

/// Returns the frames from the host that arrived since the last call.
fn sent_by_host(socket: &OwnedFd) -> Vec<Vec<u8>> {
    let (mut frames, mut frame) = (Vec::new(), [0; 2048]);
    loop {
        match recv(socket.as_raw_fd(), &mut frame, MsgFlags::empty()) {
            Ok(length) if frame[6..12] == HOST_MAC => frames.push(frame[..length].to_vec()),
            Ok(_) => {}
            Err(errno) => {
                assert_eq!(errno, Errno::EAGAIN);
                return frames;
            }
        }
    }
}

/// Returns whether a frame from the host is a SYN-ACK of the program. Checks that the frame is complete and has correct
/// checksums.
#[track_caller]
fn is_answer(frame: &[u8]) -> bool {
    let packet = SlicedPacket::from_ethernet(frame).unwrap_or_else(|error| panic!("{error}: {}", hex(frame)));
    if let Some(NetSlice::Ipv4(ipv4)) = &packet.net {
        let header = ipv4.header();
        assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum(), "{}", hex(frame));
    }
    if !matches!(packet.transport, Some(TransportSlice::Tcp(_))) {
        return false;
    }
    let segment = Segment::parse(frame).unwrap_or_else(|| panic!("{}", hex(frame)));
    assert_eq!(segment.tcp.checksum(), segment.checksum(), "{}", hex(frame));
    // A SYN that requests ECN gets ECE. With `discard`, a SYN without the window scale option gets another ISN.
    segment.flags() & !ECE == SYN | ACK && [ISN, ISN + (1 << 30)].contains(&segment.tcp.sequence_number())
}

fn malformed_packets_are_counted_and_do_no_harm(mode: Mode) {
    let _machine = MachineLock::exclusive();
    let frames = &*FRAMES;
    println!("{} packets of seed {SEED:#x}", frames.len());
    let mut log = KernelLog::open();
    let network = Network::new(mode);
    network.host.ip(&format!("link set host0 address {}", text(HOST_MAC)));
    // With checksum offload, the kernel's packets would have incomplete checksums.
    network.host.run("ethtool", "--offload host0 tx off");
    for sender in [IpAddr::from(SENDER), SENDER_V6.into()] {
        let neighbor = format!("neighbor add {sender} lladdr {} dev host0 nud permanent", text(SENDER_MAC));
        network.host.ip(&neighbor);
    }
    // The client's kernel must send nothing, so that all packets can be counted.
    network.client.sysctl("ipv6/conf/client0/disable_ipv6", "1");
    network.client.sysctl("ipv4/conf/client0/arp_ignore", "8");
    let listener = network.listen(LISTENING);
    // With explicit destinations, frames of all VLANs are answered.
    let arguments = format!("--events --top-talkers --on-connect discard --dst {HOST},{HOST_V6}");
    let responder = network.start_responder(&arguments);

    let program = attached(&network.host, "host0").unwrap();
    let total = |counters: Counters| Verdict::ALL.iter().map(|&verdict| counters[verdict]).sum::<u64>();
    let (injector, socket) = (Injector::new(&network.client, "client0"), listen_to_all(&network));
    let before = total(counters(program));
    let (mut sent, mut answers) = (0, 0);
    let mut count_answers = || {
        answers += sent_by_host(&socket).iter().filter(|frame| is_answer(frame)).count() as u64;
        answers
    };
    for batch in frames.chunks(BATCH) {
        batch.iter().for_each(|frame| injector.send_frame(frame));
        sent += batch.len() as u64;
        until("for the packets to be counted", || (total(counters(program)) - before >= sent).then_some(()));
        count_answers();
    }
    let counted = counters(program);
    Verdict::ALL.iter().for_each(|&verdict| println!("{:>9} {}", counted[verdict], verdict.name()));
    assert_eq!(total(counted) - before, sent);
    until("for all answers to come", || (count_answers() >= counted[Verdict::Answered]).then_some(()));
    assert_eq!(count_answers(), counted[Verdict::Answered]);
    // The corpus covers each of these verdicts, and many of its packets are malformed.
    assert!(counted[Verdict::Malformed] >= 10_000, "{}", counted[Verdict::Malformed]);
    for verdict in [
        Verdict::Answered,
        Verdict::Replied,
        Verdict::NotIp,
        Verdict::NotTcp,
        Verdict::Fragment,
        Verdict::NotUnicast,
        Verdict::OtherDestination,
        Verdict::Excluded,
        Verdict::OtherTcp,
    ] {
        assert!(counted[verdict] >= 20, "{verdict:?}: {}", counted[verdict]);
    }

    // The program, the host's listener and detaching still work.
    network.client.sysctl("ipv4/conf/client0/arp_ignore", "0");
    network.connect(80).unwrap();
    let mut client_end = network.connect(LISTENING).unwrap();
    exchange(&mut client_end, &mut accept(&listener));
    assert_eq!(responder.interrupt().count("SYNs answered"), counted[Verdict::Answered] + 1);
    network.assert_nothing_is_attached();
    assert_eq!(log.complaints(), Vec::<String>::new());
}
