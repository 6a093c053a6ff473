//! Programs that send a flood of TCP segments from spoofed sources, and count the replies.

use core::cell::Cell;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use tcp_bounce_wire::ProgramConfig;
use tcp_bounce_wire::address::Ipv4Address;
use tcp_bounce_wire::checksum::Sum;
use tcp_bounce_wire::ethernet::{ETHERTYPE_IPV4, Ethernet};
use tcp_bounce_wire::frame::Frame;
use tcp_bounce_wire::ip::PROTOCOL_TCP;
use tcp_bounce_wire::ipv4::Ipv4;
use tcp_bounce_wire::tcp::Tcp;

use crate::frame::XdpFrame;
use crate::global::Global;
use crate::{record_round, write_packet};

/// The first byte of all spoofed source addresses, which are in 10.0.0.0/8.
const FORGED: u8 = 10;

/// The number of segments sent. A flood runs on one CPU, so the counter is not per CPU.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.flood")]
static SENT: Global<Cell<u64>> = Global::new(Cell::new(0));

/// Sends the packet, a TCP segment over IPv4 from 10.0.0.0, with a different spoofed source each time.
///
/// The source address counts up through 10.0.0.0/8. After the last address, it starts again with the next source port.
/// The first port is the source port of the packet. The program runs on live frames (`BPF_F_TEST_XDP_LIVE_FRAMES`),
/// which the kernel reuses.
#[xdp]
pub fn flood(ctx: XdpContext) -> u32 {
    forge(&mut XdpFrame::new(ctx, &ProgramConfig::BUILT_IN)).map_or(XDP_ABORTED, |()| XDP_TX)
}

/// Writes the same packets as [`flood`] and drops them, to measure the time that the flood itself takes.
#[xdp]
pub fn rehearse(ctx: XdpContext) -> u32 {
    forge(&mut XdpFrame::new(ctx, &ProgramConfig::BUILT_IN)).map_or(XDP_ABORTED, |()| XDP_DROP)
}

#[inline(always)]
fn forge(frame: &mut XdpFrame) -> Option<()> {
    record_round();
    let number = SENT.get().get();
    SENT.get().set(number.wrapping_add(1));
    write_packet(frame)?;
    let [.., high, a, b, c] = number.to_be_bytes();
    // Both checksums are updated incrementally, by adding the increments of the changed words (RFC 1624).
    let address = Sum::ZERO.word([0, a]).word([b, c]);
    let ipv4 = frame.at::<Ipv4>(size_of::<Ethernet>())?;
    ipv4.source_address = Ipv4Address([FORGED, a, b, c]);
    ipv4.header_checksum = (complement(ipv4.header_checksum) + address).checksum();

    let tcp = frame.at::<Tcp>(size_of::<Ethernet>() + size_of::<Ipv4>())?;
    tcp.source_port.set(tcp.source_port.get().wrapping_add(high.into()));
    tcp.checksum = (complement(tcp.checksum) + address.word([0, high])).checksum();
    Some(())
}

/// Returns the sum of the words that `checksum` covers: its complement.
#[inline(always)]
fn complement(checksum: [u8; 2]) -> Sum {
    Sum::ZERO.word(checksum.map(|byte| !byte))
}

/// The numbers of segments that [`sink`] counted, by TCP flags, on one CPU.
#[repr(C)]
pub struct Received {
    syn_acks: u64,
    resets: u64,
    others: u64,
}

#[btf_map]
static RECEIVED: PerCpuArray<Received, 1> = PerCpuArray::new();

/// Counts and drops TCP segments to and from spoofed sources, and passes all other frames.
#[xdp]
pub fn sink(ctx: XdpContext) -> u32 {
    let Some(flags) = forged_flags(&mut XdpFrame::new(ctx, &ProgramConfig::BUILT_IN)) else { return XDP_PASS };
    if let Some(received) = RECEIVED.get_ptr_mut(0) {
        // SAFETY: The counters belong to this CPU, which handles one packet at a time.
        let Received { syn_acks, resets, others } = unsafe { &mut *received };
        let counter = match flags {
            flags if flags & (Tcp::SYN | Tcp::ACK) == Tcp::SYN | Tcp::ACK => syn_acks,
            flags if flags & Tcp::RST != 0 => resets,
            _ => others,
        };
        *counter = counter.wrapping_add(1);
    }
    XDP_DROP
}

/// Returns the TCP flags of a segment to or from a spoofed source, or `None` for any other frame.
#[inline(always)]
fn forged_flags(frame: &mut XdpFrame) -> Option<u8> {
    let (ethertype, offset) = Ethernet::payload(frame)?;
    let ipv4 = frame.at::<Ipv4>(offset)?;
    let is_forged = ethertype == ETHERTYPE_IPV4
        && ipv4.version_ihl == Ipv4::VERSION_4_IHL_5
        && ipv4.protocol == PROTOCOL_TCP
        && [ipv4.destination_address, ipv4.source_address].iter().any(|address| address.0[0] == FORGED);
    if is_forged { Some(frame.at::<Tcp>(offset + size_of::<Ipv4>())?.flags) } else { None }
}

/// Drops all frames. The time of this program is the lower bound for a received frame.
#[xdp]
pub fn discard(_ctx: XdpContext) -> u32 {
    XDP_DROP
}
