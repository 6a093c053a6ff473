//! Telemetry besides the verdict counters: client tables by port and by source address, and client events.
//!
//! User space creates only the maps of enabled telemetry, and sets their sizes before loading.

use core::arch::asm;
use core::cell::Cell;

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
use tcp_bounce_wire::{Bucket, ClientCounters, DataEvent, Event, EventCounts, EventKind, TelemetrySettings};

use crate::CONFIG;
use crate::frame::XdpFrame;
use crate::ring::Ring;

/// The client table by port: the counters of 65,536 ports in each stripe.
#[btf_map]
static PORTS: Array<ClientCounters, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// The client table by source address: [`Bucket::COUNT`] buckets in each stripe.
#[btf_map]
static SOURCES: Array<Bucket, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// The number of SYNs to each port while it was excluded.
///
/// All CPUs share the counters. Handing the SYN to the host costs far more than an atomic addition.
#[btf_map]
static EXCLUDED_SYNS: Array<Cell<u64>, { 1 << u16::BITS }, { BPF_F_MMAPABLE as usize }> = Array::new();

/// The ring buffer with [`Event`]s and [`DataEvent`]s for user space.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".maps")]
static EVENTS: Ring = Ring::new();

#[btf_map]
static EVENT_COUNTS: PerCpuArray<EventCounts, 1> = PerCpuArray::new();

const SYN: u32 = EventKind::Syn as u32;
const COMPLETED: u32 = EventKind::Completed as u32;

/// Reports a client event for an IPv4 segment, and returns 0. The client is the source of the segment, or its
/// destination if `is_reply` is not 0.
///
/// The IP header is at `ip_offset`, the TCP header at `offset`, both in bytes. `kind` is an [`EventKind`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn report_ipv4(ctx: *mut xdp_md, ip_offset: u32, offset: u32, is_reply: u32, kind: u32) -> u32 {
    report::<Ipv4>(ctx, ip_offset, offset, is_reply, kind)
}

/// Reports a client event for an IPv6 segment, and returns 0. The client is the source of the segment, or its
/// destination if `is_reply` is not 0.
///
/// The IP header is at `ip_offset`, the TCP header at `offset`, both in bytes. `kind` is an [`EventKind`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn report_ipv6(ctx: *mut xdp_md, ip_offset: u32, offset: u32, is_reply: u32, kind: u32) -> u32 {
    report::<Ipv6>(ctx, ip_offset, offset, is_reply, kind)
}

/// Counts a SYN or a completed handshake in the enabled client tables, and delivers an event of any kind if events are
/// enabled. Returns 0, because the verifier requires a result from global functions.
#[inline(always)]
fn report<I: Ip>(ctx: *mut xdp_md, ip_offset: u32, offset: u32, is_reply: u32, kind: u32) -> u32 {
    let mut frame = XdpFrame::new(XdpContext::new(ctx), CONFIG.get());
    let [ip_offset, offset] = [ip_offset, offset].map(|offset| offset as usize & MAX_OFFSET);
    let segment = Segment::<I>::new(ip_offset, Span { offset, length: 0 });
    let Ok(event) = segment.event(&mut frame, is_reply != 0) else { return 0 };
    let telemetry = CONFIG.get().telemetry();
    if (telemetry.ports || telemetry.sources) && (kind == SYN || kind == COMPLETED) {
        count_client(&event, kind, telemetry);
    }
    if telemetry.events != 0 {
        deliver(telemetry.events, |time| EVENTS.put(|| Event { time, kind, ..event }));
    }
    0
}

/// Counts a SYN or a completed handshake in the enabled client tables.
#[inline(always)]
fn count_client(event: &Event, kind: u32, telemetry: TelemetrySettings) {
    let TelemetrySettings { ports, sources, stripes, shared, .. } = telemetry;
    // SAFETY: The helper takes no arguments.
    let stripe = unsafe { bpf_get_smp_processor_id() } & (stripes - 1);
    if ports && let Some(counters) = PORTS.get(stripe << u16::BITS | u32::from(event.destination_port.get())) {
        count(counters, kind, shared);
    }
    if sources {
        let index = stripe * Bucket::COUNT as u32 + Bucket::index(event.source) as u32;
        if let Some(bucket) = SOURCES.get(index) {
            count(bucket.counters_of(event.source), kind, shared);
        }
    }
}

/// Reports the data of an IPv4 segment, the first of its connection, and returns 0.
///
/// The IP header is at `ip_offset`, the TCP header at `offset`, both in bytes. `header_length` and `length` are the
/// lengths of the TCP header with options, and of the whole segment.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn report_data_ipv4(
    ctx: *mut xdp_md,
    ip_offset: u32,
    offset: u32,
    header_length: u32,
    length: u32,
) -> u32 {
    report_data::<Ipv4>(ctx, ip_offset, offset, header_length, length)
}

/// Reports the data of an IPv6 segment, the first of its connection, and returns 0.
///
/// The IP header is at `ip_offset`, the TCP header at `offset`, both in bytes. `header_length` and `length` are the
/// lengths of the TCP header with options, and of the whole segment.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn report_data_ipv6(
    ctx: *mut xdp_md,
    ip_offset: u32,
    offset: u32,
    header_length: u32,
    length: u32,
) -> u32 {
    report_data::<Ipv6>(ctx, ip_offset, offset, header_length, length)
}

/// Delivers a [`DataEvent`] with the first bytes of the segment's data.
#[inline(always)]
fn report_data<I: Ip>(ctx: *mut xdp_md, ip_offset: u32, offset: u32, header_length: u32, length: u32) -> u32 {
    let TelemetrySettings { events, data: limit, .. } = CONFIG.get().telemetry();
    // Linux before 6.8 verifies global functions even if nothing calls them. This check keeps that short.
    if limit == 0 {
        return 0;
    }
    let mut frame = XdpFrame::new(XdpContext::new(ctx), CONFIG.get());
    let [ip_offset, offset] = [ip_offset, offset].map(|offset| offset as usize & MAX_OFFSET);
    let segment = Segment::<I>::new(ip_offset, Span { offset, length: 0 });
    let Ok(event) = segment.event(&mut frame, false) else { return 0 };
    let data = Span { offset: offset + header_length as usize, length: length.wrapping_sub(header_length) as usize };
    let limit = limit as usize;
    let size = size_of::<DataEvent>() + limit.next_multiple_of(size_of::<u64>());
    deliver(events, |time| {
        EVENTS.put_with(size, |place| {
            // SAFETY: The record has room for the header and for `limit` bytes in whole words. It is aligned to eight
            // bytes.
            let copied = data.read_words(&mut frame, limit, |index, word| unsafe {
                place.add(size_of::<DataEvent>()).cast::<[u8; 8]>().add(index).write(word);
            });
            let event = Event { time, kind: EventKind::Data as u32, ..event };
            let header = DataEvent { event, copied: copied as u32, length: data.length as u32 };
            // SAFETY: As above.
            unsafe { place.cast::<DataEvent>().write(header) };
        })
    });
    0
}

/// Delivers one in `one_in` events with `put`, which gets the time, and counts all events. `put` returns `None` if the
/// ring buffer has no room.
#[inline(always)]
fn deliver(one_in: u32, put: impl FnOnce(u64) -> Option<()>) {
    let Some(counts) = EVENT_COUNTS.get_ptr_mut(0) else { return };
    // SAFETY: The counts belong to this CPU, which handles one packet at a time.
    let counts = unsafe { &mut *counts };
    let number = counts.seen;
    counts.seen = number.wrapping_add(1);
    // The verifier knows `one_in`, and removes the division if it is 1.
    if one_in > 1 && !number.is_multiple_of(one_in.into()) {
        return;
    }
    // SAFETY: The helper takes no arguments.
    match put(unsafe { bpf_ktime_get_ns() }) {
        Some(()) => counts.delivered = counts.delivered.wrapping_add(1),
        None => counts.dropped = counts.dropped.wrapping_add(1),
    }
}

/// Increments the counter for an event of this kind. The increment is atomic if the counters are `shared` with other
/// CPUs.
#[inline(always)]
fn count(counters: &ClientCounters, kind: u32, shared: bool) {
    let mut kind = u64::from(kind);
    // Hides the origin of `kind` from the compiler. Otherwise the compiler turns the number into an offset, for which
    // the verifier knows no bound.
    // SAFETY: The assembly has no effect.
    unsafe { asm!("{0} = {0}", inout(reg) kind, options(pure, nomem, nostack, preserves_flags)) };
    let counter = match kind as u32 {
        SYN => &counters.syns,
        COMPLETED => &counters.completed,
        _ => return,
    };
    if shared {
        increment(counter);
    } else {
        counter.set(counter.get().wrapping_add(1));
    }
}

/// Counts a SYN to the excluded `port`.
#[inline(always)]
pub fn count_excluded_syn(port: u16) {
    if let Some(counter) = EXCLUDED_SYNS.get(port.into()) {
        increment(counter);
    }
}

/// Increments a counter that CPUs share.
#[inline(always)]
fn increment(counter: &Cell<u64>) {
    // The compiler cannot generate an atomic addition for this target.
    // SAFETY: The assembly adds to a counter, whose memory is writable.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter.as_ptr(), in(reg) 1u64, options(nostack)) };
}
