//! What `make bench` measures the XDP program with; no part of the product.
//!
//! A repeated test run feeds a program its own output, so after the first round a SYN would be a SYN-ACK. `restore` writes the
//! packet anew each round, and then tail-calls the program under test.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod frame;
mod global;
mod panic;

use core::cell::Cell;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS, XDP_TX};
use aya_ebpf::btf_maps::ProgramArray;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use frame::XdpFrame;
use global::Global;
use tcp_bounce_wire::ethernet::Ethernet;
use tcp_bounce_wire::frame::Frame;

/// The packet, at most 128 bytes of it.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata")]
static PACKET: Global<[[u8; 8]; 16]> = Global::new([[0; 8]; 16]);

/// The length of the packet in bytes; a multiple of 2.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata")]
static LENGTH: Global<u32> = Global::new(0);

/// The program under test.
#[btf_map]
static NEXT: ProgramArray<1> = ProgramArray::new();

/// When the first and the last round began. The kernel gives the time of a round in whole nanoseconds only.
#[repr(C)]
pub struct Clock {
    /// Rounds to go; written by user space before the first.
    rounds: Cell<u64>,
    /// `bpf_ktime_get_ns` at the first round and at the last.
    times: [Cell<u64>; 2],
}

#[unsafe(no_mangle)]
static CLOCK: Global<Clock> = Global::new(Clock { rounds: Cell::new(0), times: [const { Cell::new(0) }; 2] });

/// Writes the packet and runs the program under test on it.
#[xdp]
pub fn restore(ctx: XdpContext) -> u32 {
    let Clock { rounds, times: [first, last] } = CLOCK.get();
    if first.get() == 0 {
        first.set(now());
    }
    rounds.set(rounds.get().wrapping_sub(1));
    if rounds.get() == 0 {
        last.set(now());
    }
    if write_packet(&mut XdpFrame::new(XdpContext::new(ctx.ctx))).is_some() {
        // SAFETY: It does not return, and nothing here needs dropping.
        unsafe { NEXT.tail_call(&ctx, 0) };
    }
    XDP_ABORTED
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: The helper takes nothing.
    unsafe { bpf_ktime_get_ns() }
}

#[inline(always)]
fn write_packet(frame: &mut XdpFrame) -> Option<()> {
    let length = *LENGTH.get() as usize;
    if frame.len() != length {
        frame.resize(length)?;
    }
    // Written out, because a loop would not be unrolled.
    macro_rules! write_words {
        ($($index:literal)*) => {
            $(if $index * 8 + 8 <= length {
                *frame.at($index * 8)? = PACKET.get()[$index];
            } else if $index * 8 < length {
                *frame.at($index * 8)? = [PACKET.get()[$index][0], PACKET.get()[$index][1]];
            })*
        };
    }
    write_words!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    if *BARRIER.get() != 0 {
        let mut settled = 0u64;
        unsafe { core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) &raw mut settled, in(reg) 1u64) };
    }
    Some(())
}

#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata")]
static BARRIER: Global<u32> = Global::new(0);

/// Zero: what the measuring itself costs.
#[xdp]
pub fn transmit(_ctx: XdpContext) -> u32 {
    XDP_TX
}

/// Floor: the least that sends a frame back.
#[xdp]
pub fn swap_macs(ctx: XdpContext) -> u32 {
    let mut frame = XdpFrame::new(ctx);
    let Some(ethernet) = frame.at::<Ethernet>(0) else { return XDP_ABORTED };
    core::mem::swap(&mut ethernet.source, &mut ethernet.destination);
    XDP_TX
}

/// For the far end of a veth pair, which carries native XDP_TX only if it has a program too.
#[xdp]
pub fn pass(_ctx: XdpContext) -> u32 {
    XDP_PASS
}
