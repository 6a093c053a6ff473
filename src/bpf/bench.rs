//! What benchmarks and tests use besides the XDP program; no part of the product.
//!
//! A repeated test run feeds a program its own output, so after the first round a SYN would be a SYN-ACK. `restore`
//! writes the packet anew each round, and then tail-calls the program under test.

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
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use frame::XdpFrame;
use global::Global;
use tcp_bounce_wire::ProgramConfig;
use tcp_bounce_wire::ethernet::Ethernet;
use tcp_bounce_wire::frame::Frame;

/// The packet that each round begins with.
#[repr(C)]
pub struct Packet {
    /// Its length in bytes, a multiple of 2.
    length: u64,
    /// Its bytes.
    words: [[u8; 8]; 16],
}

#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata")]
static PACKET: Global<Packet> = Global::new(Packet { length: 0, words: [[0; 8]; 16] });

/// When the first and the last round began: the kernel tells the time of a round in whole nanoseconds only.
#[repr(C)]
pub struct Clock {
    /// Rounds to go.
    rounds: Cell<u64>,
    /// `bpf_ktime_get_ns` at the first round and at the last.
    first: Cell<u64>,
    last: Cell<u64>,
}

#[unsafe(no_mangle)]
static CLOCK: Global<Clock> = Global::new(Clock { rounds: Cell::new(0), first: Cell::new(0), last: Cell::new(0) });

/// The program under test.
#[btf_map]
static NEXT: ProgramArray<1> = ProgramArray::new();

/// Writes the packet and runs the program under test on it.
#[xdp]
pub fn restore(ctx: XdpContext) -> u32 {
    stamp();
    if write_packet(&mut XdpFrame::new(XdpContext::new(ctx.ctx), &ProgramConfig::BUILT_IN)).is_some() {
        // A packet comes from the NIC by memory. What was just written is still on its way there, and a read of bytes
        // from two writes would have to wait. This takes long enough.
        black_box(now());
        // SAFETY: It does not return, and nothing here needs dropping.
        unsafe { NEXT.tail_call(&ctx, 0) };
    }
    XDP_ABORTED
}

/// Counts the round, and stamps the first and the last.
#[inline(always)]
fn stamp() {
    let Clock { rounds, first, last } = CLOCK.get();
    if first.get() == 0 {
        first.set(now());
    }
    rounds.set(rounds.get().wrapping_sub(1));
    if rounds.get() == 0 {
        last.set(now());
    }
}

#[inline(always)]
fn write_packet(frame: &mut XdpFrame) -> Option<()> {
    let Packet { length, words } = PACKET.get();
    let length = *length as usize;
    if frame.len() != length {
        frame.resize(length)?;
    }
    // Written out, because a loop would not be unrolled.
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
    // SAFETY: The helper takes nothing.
    unsafe { bpf_ktime_get_ns() }
}

/// Zero: what the measuring itself costs.
#[xdp]
pub fn transmit(_ctx: XdpContext) -> u32 {
    XDP_TX
}

/// Floor: the least that sends a frame back to where it came from.
#[xdp]
pub fn swap_macs(ctx: XdpContext) -> u32 {
    let mut frame = XdpFrame::new(ctx, &ProgramConfig::BUILT_IN);
    let Some(ethernet) = frame.at::<Ethernet>(0) else { return XDP_ABORTED };
    core::mem::swap(&mut ethernet.source, &mut ethernet.destination);
    XDP_TX
}

/// For the far end of a veth pair, which carries native XDP_TX only if it has a program too.
#[xdp]
pub fn pass(_ctx: XdpContext) -> u32 {
    XDP_PASS
}
