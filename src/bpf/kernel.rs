//! The kernel as the [`Host`] of the packet logic, and the global functions of the XDP program.
//!
//! The verifier checks each global function separately and assumes any values for its arguments. Functions that receive
//! offsets therefore mask them.

use core::ptr;

use aya_ebpf::bindings::{BPF_F_CURRENT_NETNS, BPF_TCP_LISTEN, xdp_md};
use aya_ebpf::helpers::{bpf_jiffies64, bpf_sk_release, bpf_skc_lookup_tcp};
use aya_ebpf::programs::XdpContext;
use tcp_bounce_wire::checksum::Sum;
use tcp_bounce_wire::flow_label::FlowLabels;
use tcp_bounce_wire::frame::{Frame, MAX_OFFSET, Span};
use tcp_bounce_wire::ip::Ip;
use tcp_bounce_wire::ipv4::Ipv4;
use tcp_bounce_wire::ipv6::Ipv6;
use tcp_bounce_wire::segment::{FourTuple, Segment};
use tcp_bounce_wire::syn_options::SynOptions;
use tcp_bounce_wire::{AddressBits, EventKind, Host, Policy, ProgramConfig, Verdict};
use zerocopy::TryFromBytes as _;

use crate::frame::XdpFrame;
use crate::{CONFIG, FILTERS, INTERFACE, policy, telemetry};

/// The type of global functions that exist once for each IP version.
type GlobalFunction = extern "C" fn(*mut xdp_md, u32, u32, u32, u32) -> u32;

/// The kernel as the [`Host`], for one run of the program on one packet.
pub struct Kernel {
    ctx: *mut xdp_md,
}

impl Kernel {
    #[inline(always)]
    pub fn new(ctx: *mut xdp_md) -> Self {
        Self { ctx }
    }
}

impl Host for Kernel {
    /// Returns the jiffies in milliseconds. Reading them is cheap.
    #[inline(always)]
    fn now(&self) -> u32 {
        // SAFETY: The helper takes no arguments.
        CONFIG.get().clock.milliseconds(unsafe { bpf_jiffies64() })
    }

    #[inline(always)]
    fn answers_for(&self, AddressBits { high, low }: AddressBits) -> bool {
        answers_for(high, low) != 0
    }

    /// Returns whether the kernel has a TCP socket with these endpoints that is not a listener. The socket may be
    /// established, opening, closing, or in TIME_WAIT.
    #[inline(always)]
    fn has_connection<I: Ip>(&self, ends: &FourTuple<I>) -> bool {
        let (tuple, length) = (ptr::from_ref(ends).cast_mut().cast(), FourTuple::<I>::LENGTH as u32);
        // SAFETY: `FourTuple` has the layout of `struct bpf_sock_tuple`, whose length selects the address family. The
        // helper only reads.
        let sock = unsafe { bpf_skc_lookup_tcp(self.ctx.cast(), tuple, length, BPF_F_CURRENT_NETNS as u64, 0) };
        // SAFETY: The pointer is null or refers to a socket that the kernel holds until `bpf_sk_release`.
        unsafe {
            let Some(state) = sock.as_ref().map(|sock| sock.state) else { return false };
            bpf_sk_release(sock.cast());
            state != BPF_TCP_LISTEN
        }
    }

    #[inline(always)]
    fn handle_post_handshake<I: Ip, F: Frame>(
        &self,
        _frame: &mut F,
        Segment { ip_offset, span, .. }: Segment<I>,
        isn_base: u32,
        _policy: &Policy<Self>,
    ) -> Option<Verdict> {
        let handle = I::choose::<GlobalFunction>(post_handshake_ipv4, post_handshake_ipv6);
        let verdict = handle(self.ctx, ip_offset as u32, span.offset as u32, span.length as u32, isn_base);
        Verdict::try_read_from_bytes(&verdict.to_ne_bytes()).ok()
    }

    #[inline(always)]
    fn parse_options<F: Frame>(&self, _frame: &mut F, Span { offset, length }: Span) -> SynOptions {
        // This check costs less than a call, and many segments have no options.
        if length == 0 { SynOptions::NONE } else { SynOptions(parse_options(self.ctx, offset as u32, length as u32)) }
    }

    #[inline(always)]
    fn sum<F: Frame>(&self, _frame: &mut F, Span { offset, length }: Span) -> Option<Sum> {
        let sum = sum(self.ctx, offset as u32, length as u32);
        if sum == NO_SUM { None } else { Some(Sum(sum)) }
    }

    #[inline(always)]
    fn flow_label(&self, _labels: &FlowLabels, requested: u32, Sum(addresses): Sum, ports: [u8; 4]) -> u32 {
        flow_label(requested, addresses, u32::from_ne_bytes(ports))
    }

    #[inline(always)]
    fn report<I: Ip>(&self, Segment { ip_offset, span, .. }: Segment<I>, is_reply: bool, kind: EventKind) {
        let report = I::choose::<GlobalFunction>(telemetry::report_ipv4, telemetry::report_ipv6);
        report(self.ctx, ip_offset as u32, span.offset as u32, is_reply.into(), kind as u32);
    }

    #[inline(always)]
    fn count_excluded_syn(&self, port: u16) {
        telemetry::count_excluded_syn(port);
    }
}

/// Returns 1 if the active set of destinations contains the address with these 64-bit halves, or else 0.
///
/// The set of sources is searched inline, not in a global function. If source filtering is disabled, the verifier
/// removes the search.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answers_for(high: u64, low: u64) -> u32 {
    FILTERS.get().destinations().contains(AddressBits { high, low }) as u32
}

/// Calls [`FlowLabels::label`] for the labels of the interface. Inlined, it would exceed the stack.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn flow_label(requested: u32, addresses: u64, ports: u32) -> u32 {
    INTERFACE.get().flow_labels.label(requested, Sum(addresses), ports.to_ne_bytes())
}

/// Calls [`Segment::handle_post_handshake`] over IPv4. Returns the verdict as a number, or [`NO_VERDICT`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn post_handshake_ipv4(
    ctx: *mut xdp_md,
    ip_offset: u32,
    offset: u32,
    length: u32,
    isn_base: u32,
) -> u32 {
    post_handshake::<Ipv4>(ctx, ip_offset, Span { offset: offset as usize, length: length as usize }, isn_base)
}

/// Calls [`Segment::handle_post_handshake`] over IPv6. Returns the verdict as a number, or [`NO_VERDICT`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn post_handshake_ipv6(
    ctx: *mut xdp_md,
    ip_offset: u32,
    offset: u32,
    length: u32,
    isn_base: u32,
) -> u32 {
    post_handshake::<Ipv6>(ctx, ip_offset, Span { offset: offset as usize, length: length as usize }, isn_base)
}

/// The result of [`post_handshake_ipv4`] and [`post_handshake_ipv6`] if there is no verdict, for example because the
/// host has the connection.
const NO_VERDICT: u32 = u32::MAX;

#[inline(always)]
fn post_handshake<I: Ip>(ctx: *mut xdp_md, ip_offset: u32, span: Span, isn_base: u32) -> u32 {
    let policy = policy(ctx);
    let span = Span { offset: span.offset & MAX_OFFSET, ..span };
    let segment = Segment::<I>::new(ip_offset as usize & MAX_OFFSET, span);
    let mut frame = XdpFrame::new(XdpContext::new(ctx), policy.config);
    segment.handle_post_handshake(&mut frame, isn_base, &policy).map_or(NO_VERDICT, |verdict| verdict as u32)
}

/// Calls [`SynOptions::parse`] and returns the options as a number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn parse_options(ctx: *mut xdp_md, offset: u32, length: u32) -> u64 {
    let mut frame = XdpFrame::new(XdpContext::new(ctx), &ProgramConfig::BUILT_IN);
    SynOptions::parse(&mut frame, masked_span(offset, length)).0
}

/// The result of [`sum`] for a span that exceeds the accessible part. All sums are smaller.
const NO_SUM: u64 = u64::MAX;

/// Calls [`Sum::of`] and returns the sum, or [`NO_SUM`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sum(ctx: *mut xdp_md, offset: u32, length: u32) -> u64 {
    let mut frame = XdpFrame::new(XdpContext::new(ctx), &ProgramConfig::BUILT_IN);
    Sum::of(&mut frame, masked_span(offset, length)).map_or(NO_SUM, |Sum(sum)| sum)
}

/// Returns a span whose offset and length are at most [`MAX_OFFSET`], as the verifier requires.
#[inline(always)]
fn masked_span(offset: u32, length: u32) -> Span {
    Span { offset: offset as usize & MAX_OFFSET, length: length as usize & MAX_OFFSET }
}
