//! The packets of the benchmarks.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use tcp_bounce_wire::Action;
use tcp_bounce_wire::address::Ipv4Address;
use tcp_bounce_wire::ip::Ip as _;
use tcp_bounce_wire::ipv4::Ipv4;
use tcp_bounce_wire::post_handshake::isn_offset;
use tcp_bounce_wire::serve::service_isn;
use tcp_bounce_wire::siphash::SipHash13;

/// A Linux client's SYN over IPv4, with MSS, SACK permitted, timestamps and window scale.
pub const LINUX_SYN: &str = "020000000002 020000000001 0800 \
    4500003c1c4640004006 0a70 0a000001 0a000002 \
    c350 1388 a1b2c3d4 00000000 a002faf0 b0a8 0000 020405b4 0402 080a1122334400000000 01 030307";
/// A Linux client's SYN over IPv6.
pub const LINUX_SYN_V6: &str = "020000000002 020000000001 86dd \
    60012345 0028 06 40 fd000000000000000000000000000001 fd000000000000000000000000000002 \
    c350 1388 a1b2c3d4 00000000 a002faf0 b0a8 0000 020405a0 0402 080a1122334400000000 01 030307";
/// A Linux client's SYN over IPv6 with two VLAN tags.
pub const TAGGED_LINUX_SYN_V6: &str = "020000000002 020000000001 88a8 0064 8100 002a 86dd \
    60012345 0028 06 40 fd000000000000000000000000000001 fd000000000000000000000000000002 \
    c350 1388 a1b2c3d4 00000000 a002faf0 b0a8 0000 020405a0 0402 080a1122334400000000 01 030307";

/// The key for [`Isn::Keyed`](tcp_bounce_wire::Isn::Keyed).
pub const KEY: [u8; 16] = *b"0123456789abcdef";

/// `XDP_DROP` of `linux/bpf.h`.
pub const DROP: u32 = 1;
/// `XDP_PASS` of `linux/bpf.h`.
pub const PASS: u32 = 2;
/// `XDP_TX` of `linux/bpf.h`.
pub const TX: u32 = 3;

/// Packets other than a Linux client's SYN. Each has a description, the target in nanoseconds above the baseline, the
/// expected XDP action, and the bytes in hexadecimal.
pub const OTHERS: [(&str, Option<f64>, u32, &str); 8] = [
    (
        "SYN of macOS, 78 bytes",
        Some(14.0),
        TX,
        "020000000002 020000000001 0800 \
        450000401c4640004006 0a6c 0a000001 0a000002 c350 1388 a1b2c3d4 00000000 b002ffff b0a8 0000 \
        020405b4 01 030306 01 01 080a1122334400000000 0402 0000",
    ),
    (
        "SYN of macOS over IPv6, 98 bytes",
        None,
        TX,
        "020000000002 020000000001 86dd \
        60012345 002c 06 40 fd000000000000000000000000000001 fd000000000000000000000000000002 \
        c350 1388 a1b2c3d4 00000000 b002ffff b0a8 0000 020405a0 01 030306 01 01 080a1122334400000000 0402 0000",
    ),
    (
        "SYN of Windows 10, 66 bytes",
        Some(14.0),
        TX,
        "020000000002 020000000001 0800 \
        450000341c4640008006 0a6c 0a000001 0a000002 c350 1388 a1b2c3d4 00000000 8002faf0 b0a8 0000 \
        020405b4 01 030308 01 01 0402",
    ),
    (
        "SYN of Windows 10 over IPv6, 86 bytes",
        None,
        TX,
        "020000000002 020000000001 86dd \
        60012345 0020 06 80 fd000000000000000000000000000001 fd000000000000000000000000000002 \
        c350 1388 a1b2c3d4 00000000 8002faf0 b0a8 0000 020405a0 01 030308 01 01 0402",
    ),
    (
        "SYN without options, 60 bytes",
        None,
        TX,
        "020000000002 020000000001 0800 \
        450000281c4640004006 0a84 0a000001 0a000002 c350 1388 a1b2c3d4 00000000 5002faf0 b0a8 0000 000000000000",
    ),
    (
        "SYN without options, 54 bytes (grows)",
        None,
        TX,
        "020000000002 020000000001 0800 \
        450000281c4640004006 0a84 0a000001 0a000002 c350 1388 a1b2c3d4 00000000 5002faf0 b0a8 0000",
    ),
    (
        "SYN with 64 bytes of data (shrinks)",
        None,
        TX,
        "020000000002 020000000001 0800 \
        450000681c4640004006 0a44 0a000001 0a000002 c350 1388 a1b2c3d4 00000000 5002faf0 b0a8 0000 \
        00000000000000000000000000000000 00000000000000000000000000000000 \
        00000000000000000000000000000000 00000000000000000000000000000000",
    ),
    (
        "segment of the host's own connection",
        None,
        PASS,
        "020000000002 020000000001 0800 \
        450000341c4640004006 0a78 0a000001 0a000002 c350 1388 a1b2c3d5 12345678 801001f6 b0a8 0000 \
        01 01 080a1122334400000000",
    ),
];

/// Segments after the handshake that are answered. Each has the post-handshake action, a description, and the bytes in
/// hexadecimal.
pub const ANSWERED: [(Action, &str, &str); 6] = [
    (Action::Reset, "--on-connect reset: the last ACK, answered with RST", LAST_ACK),
    (Action::Close, "--on-connect close: the last ACK, answered with FIN", LAST_ACK),
    (
        Action::Discard,
        "--on-connect discard: FIN, answered with FIN",
        "020000000002 020000000001 0800 \
        450000341c4640004006 0a78 0a000001 0a000002 c350 1388 a1b2c3d5 74637063 801101f6 b0a8 0000 \
        01 01 080a1122334455667788",
    ),
    (Action::Discard, "--on-connect discard: 48 bytes, answered with ACK (shrinks)", DATA),
    (Action::Echo, "--on-connect echo: 48 bytes, sent back", DATA),
    (Action::Tarpit, "--on-connect tarpit: 48 bytes, answered with ACK (shrinks)", DATA),
];

/// The last ACK of a handshake over IPv4. It acknowledges the default initial sequence number, 0x74637062.
pub const LAST_ACK: &str = "020000000002 020000000001 0800 \
    450000341c4640004006 0a78 0a000001 0a000002 c350 1388 a1b2c3d5 74637063 801001f6 b0a8 0000 \
    01 01 080a1122334455667788";
/// The last ACK of a handshake over IPv6. It acknowledges the default initial sequence number, 0x74637062.
pub const LAST_ACK_V6: &str = "020000000002 020000000001 86dd \
    60012345 0020 06 40 fd000000000000000000000000000001 fd000000000000000000000000000002 \
    c350 1388 a1b2c3d5 74637063 801001f6 b0a8 0000 01 01 080a1122334455667788";

/// A segment with 48 bytes of data, which acknowledges the default initial sequence number.
const DATA: &str = "020000000002 020000000001 0800 \
    450000641c4640004006 0a48 0a000001 0a000002 c350 1388 a1b2c3d5 74637063 801801f6 b0a8 0000 \
    01 01 080a1122334455667788 \
    000000000000000000000000000000000000000000000000 000000000000000000000000000000000000000000000000";

/// A request over HTTP, `GET / HTTP/1.0` with a header, of 48 bytes.
pub const GET: &str = "020000000002 020000000001 0800 \
    450000641c4640004006 0a48 0a000001 0a000002 c350 1388 a1b2c3d5 74637063 801801f6 b0a8 0000 \
    01 01 080a1122334455667788 \
    474554202f20485454502f312e300d0a 486f73743a203139322e302e322e310d0a 4163636570743a20 2a2f2a0d 0a0d0a";

/// Parses a packet in hexadecimal, and corrects its checksums if it is TCP over IPv4. Ignores spaces.
pub fn packet(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let mut packet: Vec<u8> = digits.chunks_exact(2).map(|byte| (byte[0] * 16 + byte[1]) as u8).collect();
    correct(&mut packet);
    packet
}

/// Sets the acknowledgment number of a client's first segment after the handshake over IPv4, so that the segment
/// acknowledges a SYN-ACK with a keyed ISN.
///
/// The key is [`KEY`]. `follows_client` is [`Action::follows_client`] of the port's action.
pub fn acknowledge_keyed(packet: &mut [u8], follows_client: bool) {
    let number = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| packet[at + byte]));
    let [source, destination] = [26, 30].map(|offset| Ipv4Address(number(offset).to_be_bytes()));
    let hash = Ipv4::hash(SipHash13::new(KEY), source, destination, number(34).to_be_bytes()) as u32;
    // The segment's sequence number is the client's ISN plus 1.
    let acknowledgment_number =
        if follows_client { number(38).wrapping_add(isn_offset(hash)) } else { hash.wrapping_add(1) };
    packet[42..46].copy_from_slice(&acknowledgment_number.to_be_bytes());
    correct(packet);
}

/// Sets the acknowledgment number of a segment over IPv4 to a service, so that it acknowledges `received` bytes after
/// the SYN-ACK. The key is [`KEY`].
pub fn acknowledge_service(packet: &mut [u8], received: u32) {
    let number = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| packet[at + byte]));
    let [source, destination] = [26, 30].map(|offset| Ipv4Address(number(offset).to_be_bytes()));
    let hash = Ipv4::hash(SipHash13::new(KEY), source, destination, number(34).to_be_bytes()) as u32;
    let isn = service_isn(hash, number(38).wrapping_sub(1), true);
    packet[42..46].copy_from_slice(&isn.wrapping_add(1 + received).to_be_bytes());
    correct(packet);
}

/// Corrects the IPv4 and TCP checksums of a segment over IPv4. Leaves other packets unchanged.
fn correct(packet: &mut [u8]) {
    let checksums = match SlicedPacket::from_ethernet(packet) {
        Ok(SlicedPacket { net: Some(NetSlice::Ipv4(ipv4)), transport: Some(TransportSlice::Tcp(tcp)), .. }) => {
            let header = ipv4.header();
            let checksum = tcp.calc_checksum_ipv4(header.source(), header.destination());
            Some((header.to_header().calc_header_checksum(), checksum.expect("the segment is short")))
        }
        _ => None,
    };
    if let Some((ipv4, tcp)) = checksums {
        packet[24..26].copy_from_slice(&ipv4.to_be_bytes());
        packet[50..52].copy_from_slice(&tcp.to_be_bytes());
    }
}
