//! XDP programs for benchmarks and tests, which are not part of the product.
//!
//! A repeated test run (`BPF_PROG_TEST_RUN`) feeds a program its own output: in the second round, a SYN would be a
//! SYN-ACK. [`restore`] therefore writes the original packet in each round and then tail-calls the program under test.

#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod flood;
mod frame;
mod global;
mod panic;

use core::cell::Cell;
use core::hint::black_box;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS, XDP_TX};
use aya_ebpf::btf_maps::ProgramArray;
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_xdp_adjust_head};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use frame::XdpFrame;
use global::Global;
use tcp_bounce_wire::ProgramConfig;
use tcp_bounce_wire::ethernet::Ethernet;
use tcp_bounce_wire::frame::Frame;

/// The packet that the program under test receives in each round.
#[repr(C)]
pub struct Packet {
    /// The length of the packet in bytes, a multiple of 2.
    length: u64,
    /// The packet, followed by unused bytes.
    words: [[u8; 8]; 16],
}

#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata")]
static PACKET: Global<Packet> = Global::new(Packet { length: 0, words: [[0; 8]; 16] });

/// The start times of the first and the last round, in nanoseconds.
///
/// User space computes the duration of a round from both times. The kernel reports the duration of a round in whole
/// nanoseconds only.
#[repr(C)]
pub struct Clock {
    /// The number of rounds that remain. User space sets it before a run.
    rounds: Cell<u64>,
    /// `bpf_ktime_get_ns` in the first round, or 0 before it.
    first: Cell<u64>,
    /// `bpf_ktime_get_ns` in the last round, or 0 before it.
    last: Cell<u64>,
}

#[unsafe(no_mangle)]
static CLOCK: Global<Clock> = Global::new(Clock { rounds: Cell::new(0), first: Cell::new(0), last: Cell::new(0) });

/// A program array with the program under test.
#[btf_map]
static NEXT: ProgramArray<1> = ProgramArray::new();

/// The interval between two packets of [`pace`], in nanoseconds: a million packets in a second.
const INTERVAL: u64 = 1000;

/// The time at which the next packet of [`pace`] is due, in nanoseconds (`bpf_ktime_get_ns`).
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.pace")]
static DUE: Global<Cell<u64>> = Global::new(Cell::new(0));

/// The address at which the packet starts in the first round. The program under test may extend the packet at its
/// start.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.start")]
static START: Global<Cell<u64>> = Global::new(Cell::new(0));

/// Writes the packet and tail-calls the program under test. Returns `XDP_ABORTED` if one of these steps fails.
#[xdp]
pub fn restore(ctx: XdpContext) -> u32 {
    next_round(&ctx)
}

/// Does the same as [`restore`], but waits until the packet is due. A delayed packet does not delay the next ones.
#[xdp]
pub fn pace(ctx: XdpContext) -> u32 {
    if CLOCK.get().first.get() == 0 {
        DUE.get().set(now());
    }
    let due = DUE.get().get();
    DUE.get().set(due.wrapping_add(INTERVAL));
    // Each reading takes more than 10 ns, so the loop is long enough for the interval.
    for _ in 0..INTERVAL / 10 {
        if now() >= due {
            break;
        }
    }
    next_round(&ctx)
}

#[inline(always)]
fn next_round(ctx: &XdpContext) -> u32 {
    record_round();
    if restore_start(ctx).is_some()
        && write_packet(&mut XdpFrame::new(XdpContext::new(ctx.ctx), &ProgramConfig::BUILT_IN)).is_some()
    {
        // A packet from a NIC is in memory. The packet written above is still in the store buffer, where a read that
        // spans two writes stalls. The helper call takes long enough to drain the store buffer.
        black_box(now());
        // SAFETY: A successful tail call does not return, and no value in this function needs to be dropped.
        unsafe { NEXT.tail_call(ctx, 0) };
    }
    XDP_ABORTED
}

/// Counts the round, and records the start time of the first and the last round.
#[inline(always)]
fn record_round() {
    let Clock { rounds, first, last } = CLOCK.get();
    if first.get() == 0 {
        first.set(now());
        // The packets of an earlier run may have been at another address.
        START.get().set(0);
    }
    rounds.set(rounds.get().wrapping_sub(1));
    if rounds.get() == 0 {
        last.set(now());
    }
}

/// Moves the start of the packet to where it was in the first round.
#[inline(always)]
fn restore_start(ctx: &XdpContext) -> Option<()> {
    let place = START.get().as_ptr();
    // SAFETY: The memory belongs to this program. The volatile accesses turn the packet pointer, which the verifier
    // tracks, into a number.
    let (first, current) = unsafe {
        let first = place.read_volatile();
        place.write_volatile(ctx.data() as u64);
        (first, place.read_volatile())
    };
    if first == 0 || first == current {
        return Some(());
    }
    START.get().set(first);
    // SAFETY: The helper checks its arguments.
    let status = unsafe { bpf_xdp_adjust_head(ctx.ctx, first.wrapping_sub(current) as i32) };
    (status == 0).then_some(())
}

#[inline(always)]
fn write_packet(frame: &mut XdpFrame) -> Option<()> {
    let Packet { length, words } = PACKET.get();
    let length = *length as usize;
    if frame.len() != length {
        frame.resize(length)?;
    }
    // A macro, because the compiler does not unroll a loop over the words.
    macro_rules! write_words {
        ($($index:literal)*) => {
            $(if $index * 8 + 8 <= length {
                *frame.at($index * 8)? = words[$index];
            } else {
                for half in 0..4 {
                    let offset = $index * 8 + half * 2;
                    if offset + 2 <= length {
                        *frame.at(offset)? = [words[$index][half * 2], words[$index][half * 2 + 1]];
                    }
                }
            })*
        };
    }
    write_words!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    Some(())
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: The helper takes no arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// Sends all frames unchanged. The time of this program is the overhead of the measurement.
#[xdp]
pub fn transmit(_ctx: XdpContext) -> u32 {
    XDP_TX
}

/// Swaps the MAC addresses and sends the frame. The time of this program is the lower bound for a reply to the sender.
#[xdp]
pub fn swap_macs(ctx: XdpContext) -> u32 {
    let mut frame = XdpFrame::new(ctx, &ProgramConfig::BUILT_IN);
    let Some(ethernet) = frame.at::<Ethernet>(0) else { return XDP_ABORTED };
    core::mem::swap(&mut ethernet.source, &mut ethernet.destination);
    XDP_TX
}

/// Passes all frames. A veth carries native `XDP_TX` only if its peer also has an XDP program, so tests attach this
/// program to the peer.
#[xdp]
pub fn pass(_ctx: XdpContext) -> u32 {
    XDP_PASS
}
