//! What is told besides the counters: tables by port and by source, and single events. Each has a map, which is not there if
//! nobody wants to know.

use core::arch::asm;
use core::marker::PhantomData;

use aya_ebpf::bindings::{BPF_F_MMAPABLE, xdp_md};
use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::XdpContext;
use tcp_bounce_wire::frame::MAX_OFFSET;
use tcp_bounce_wire::ip::{Ip, Span};
use tcp_bounce_wire::ipv4::Ipv4;
use tcp_bounce_wire::ipv6::Ipv6;
use tcp_bounce_wire::segment::Segment;
use tcp_bounce_wire::{Bucket, ClientCounters, Event, EventCounts, EventKind, TelemetrySettings};

use crate::CONFIG;
use crate::frame::XdpFrame;
use crate::ring::Ring;

/// Stripe after stripe, of 65,536 ports each. How large these maps are is said when they are made.
#[btf_map]
static PORTS: Array<ClientCounters, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Stripe after stripe, of [`Bucket::COUNT`] each.
#[btf_map]
static SOURCES: Array<Bucket, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Of [`Event`]s.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".maps")]
static EVENTS: Ring = Ring::new();

#[btf_map]
static EVENT_COUNTS: PerCpuArray<EventCounts, 1> = PerCpuArray::new();

const SYN: u32 = EventKind::Syn as u32;
const COMPLETED: u32 = EventKind::Completed as u32;

/// Takes note of what the client did that sent the segment at these offsets; if `is_reply` is not 0, that of the segment to
/// which it is the answer.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_ipv4(ctx: *mut xdp_md, ip_offset: u32, offset: u32, is_reply: u32, kind: u32) -> u32 {
    note::<Ipv4>(ctx, ip_offset, offset, is_reply, kind)
}

/// The same over IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_ipv6(ctx: *mut xdp_md, ip_offset: u32, offset: u32, is_reply: u32, kind: u32) -> u32 {
    note::<Ipv6>(ctx, ip_offset, offset, is_reply, kind)
}

/// Returns 0: a function that the verifier goes over by itself must return something.
#[inline(always)]
fn note<I: Ip>(ctx: *mut xdp_md, ip_offset: u32, offset: u32, is_reply: u32, kind: u32) -> u32 {
    let mut frame = XdpFrame::new(XdpContext::new(ctx), CONFIG.get());
    let [ip_offset, offset] = [ip_offset, offset].map(|offset| offset as usize & MAX_OFFSET);
    let segment = Segment::<I> { ip_offset, span: Span { offset, length: 0 }, ip: PhantomData };
    let Some(event) = segment.event(&mut frame, is_reply != 0) else { return 0 };
    let TelemetrySettings { ports, sources, events, stripes, shared } = CONFIG.get().telemetry();
    // SAFETY: The helper takes nothing.
    let stripe = unsafe { bpf_get_smp_processor_id() } & (stripes - 1);
    let counts = kind == SYN || kind == COMPLETED;
    if ports
        && counts
        && let Some(tally) = PORTS.get(stripe << u16::BITS | u32::from(event.destination_port.get()))
    {
        add(tally, kind, shared);
    }
    if sources && counts {
        let index = stripe * Bucket::COUNT as u32 + Bucket::index(event.source) as u32;
        if let Some(bucket) = SOURCES.get(index) {
            add(bucket.tally(event.source), kind, shared);
        }
    }
    if events != 0 {
        tell(Event { kind, ..event }, events);
    }
    0
}

/// Puts one event in so many into the ring buffer.
#[inline(always)]
fn tell(event: Event, one_in: u32) {
    let Some(counts) = EVENT_COUNTS.get_ptr_mut(0) else { return };
    // SAFETY: They are this CPU's, on which no other packet is handled meanwhile.
    let counts = unsafe { &mut *counts };
    let number = counts.seen;
    counts.seen = number.wrapping_add(1);
    if !number.is_multiple_of(one_in.into()) {
        return;
    }
    // SAFETY: The helper takes nothing.
    match EVENTS.put(|| Event { time: unsafe { bpf_ktime_get_ns() }, ..event }) {
        Some(()) => counts.delivered = counts.delivered.wrapping_add(1),
        None => counts.dropped = counts.dropped.wrapping_add(1),
    }
}

/// Counts what a client did. If it is `shared` with other CPUs, none of their counts is lost.
#[inline(always)]
fn add(tally: &ClientCounters, kind: u32, shared: bool) {
    let mut kind = u64::from(kind);
    // The compiler would make an offset of the kind, for which the verifier knows no bound.
    // SAFETY: It does nothing.
    unsafe { asm!("{0} = {0}", inout(reg) kind, options(pure, nomem, nostack, preserves_flags)) };
    let counter = match kind as u32 {
        SYN => &tally.syns,
        COMPLETED => &tally.completed,
        _ => return,
    };
    if shared {
        // The compiler cannot do it for this target.
        // SAFETY: It adds to a number that may be written to.
        unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter.as_ptr(), in(reg) 1u64, options(nostack)) };
    } else {
        counter.set(counter.get().wrapping_add(1));
    }
}
