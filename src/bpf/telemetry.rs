//! Telemetry besides the counters: tables of clients by port and by source, and client events.
//!
//! User space creates only the maps of enabled telemetry, and sets their sizes.

use core::arch::asm;

use aya_ebpf::bindings::{BPF_F_MMAPABLE, xdp_md};
use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::XdpContext;
use tcp_bounce_wire::frame::{MAX_OFFSET, Span};
use tcp_bounce_wire::ip::Ip;
use tcp_bounce_wire::ipv4::Ipv4;
use tcp_bounce_wire::ipv6::Ipv6;
use tcp_bounce_wire::segment::Segment;
use tcp_bounce_wire::{Bucket, ClientCounters, Event, EventCounts, EventKind, TelemetrySettings};

use crate::CONFIG;
use crate::frame::XdpFrame;
use crate::ring::Ring;

/// The counters of 65,536 ports in each stripe.
#[btf_map]
static PORTS: Array<ClientCounters, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// [`Bucket::COUNT`] buckets in each stripe.
#[btf_map]
static SOURCES: Array<Bucket, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// [`Event`]s for user space.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".maps")]
static EVENTS: Ring = Ring::new();

#[btf_map]
static EVENT_COUNTS: PerCpuArray<EventCounts, 1> = PerCpuArray::new();

const SYN: u32 = EventKind::Syn as u32;
const COMPLETED: u32 = EventKind::Completed as u32;

/// Reports an event of the client that sent the IPv4 segment at these offsets or, if `is_reply` is not 0, to which the
/// segment is addressed.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn report_ipv4(ctx: *mut xdp_md, ip_offset: u32, offset: u32, is_reply: u32, kind: u32) -> u32 {
    report::<Ipv4>(ctx, ip_offset, offset, is_reply, kind)
}

/// Reports an event of the client that sent the IPv6 segment at these offsets or, if `is_reply` is not 0, to which the
/// segment is addressed.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn report_ipv6(ctx: *mut xdp_md, ip_offset: u32, offset: u32, is_reply: u32, kind: u32) -> u32 {
    report::<Ipv6>(ctx, ip_offset, offset, is_reply, kind)
}

/// Reports an event, and returns 0: the verifier requires a result of global functions.
#[inline(always)]
fn report<I: Ip>(ctx: *mut xdp_md, ip_offset: u32, offset: u32, is_reply: u32, kind: u32) -> u32 {
    let mut frame = XdpFrame::new(XdpContext::new(ctx), CONFIG.get());
    let [ip_offset, offset] = [ip_offset, offset].map(|offset| offset as usize & MAX_OFFSET);
    let segment = Segment::<I>::new(ip_offset, Span { offset, length: 0 });
    let Ok(event) = segment.event(&mut frame, is_reply != 0) else { return 0 };
    let TelemetrySettings { ports, sources, events, stripes, shared } = CONFIG.get().telemetry();
    // SAFETY: The helper takes no arguments.
    let stripe = unsafe { bpf_get_smp_processor_id() } & (stripes - 1);
    let is_counted = kind == SYN || kind == COMPLETED;
    if ports
        && is_counted
        && let Some(counters) = PORTS.get(stripe << u16::BITS | u32::from(event.destination_port.get()))
    {
        count(counters, kind, shared);
    }
    if sources && is_counted {
        let index = stripe * Bucket::COUNT as u32 + Bucket::index(event.source) as u32;
        if let Some(bucket) = SOURCES.get(index) {
            count(bucket.counters_of(event.source), kind, shared);
        }
    }
    if events != 0 {
        deliver(Event { kind, ..event }, events);
    }
    0
}

/// Writes one of `one_in` events into the ring buffer.
#[inline(always)]
fn deliver(event: Event, one_in: u32) {
    let Some(counts) = EVENT_COUNTS.get_ptr_mut(0) else { return };
    // SAFETY: The counts belong to this CPU, which handles one packet at a time.
    let counts = unsafe { &mut *counts };
    let number = counts.seen;
    counts.seen = number.wrapping_add(1);
    if !number.is_multiple_of(one_in.into()) {
        return;
    }
    // SAFETY: The helper takes no arguments.
    match EVENTS.put(|| Event { time: unsafe { bpf_ktime_get_ns() }, ..event }) {
        Some(()) => counts.delivered = counts.delivered.wrapping_add(1),
        None => counts.dropped = counts.dropped.wrapping_add(1),
    }
}

/// Counts an event, atomically if the counters are `shared` with other CPUs.
#[inline(always)]
fn count(counters: &ClientCounters, kind: u32, shared: bool) {
    let mut kind = u64::from(kind);
    // Hides the origin of the number. Otherwise the compiler computes an offset from it, for which the verifier knows
    // no bound. SAFETY: The assembly has no effect.
    unsafe { asm!("{0} = {0}", inout(reg) kind, options(pure, nomem, nostack, preserves_flags)) };
    let counter = match kind as u32 {
        SYN => &counters.syns,
        COMPLETED => &counters.completed,
        _ => return,
    };
    if shared {
        // The compiler has no atomic addition for this target.
        // SAFETY: The assembly adds to a number that may be written.
        unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter.as_ptr(), in(reg) 1u64, options(nostack)) };
    } else {
        counter.set(counter.get().wrapping_add(1));
    }
}
