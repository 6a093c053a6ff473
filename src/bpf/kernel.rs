//! The kernel as the [`Host`] of the packet logic, and the global functions of the XDP program.
//!
//! The verifier checks each global function separately and assumes any values for its arguments. Functions that receive
//! offsets therefore mask them.

use core::ptr;

use aya_ebpf::bindings::{BPF_F_CURRENT_NETNS, BPF_TCP_LISTEN, xdp_md};
use aya_ebpf::helpers::{bpf_jiffies64, bpf_sk_release, bpf_skc_lookup_tcp};
use aya_ebpf::programs::XdpContext;
use tcp_bounce_wire::address::{IpAddress as _, Ipv4Address};
use tcp_bounce_wire::checksum::Sum;
use tcp_bounce_wire::frame::{Frame, MAX_OFFSET, Span};
use tcp_bounce_wire::ip::Ip;
use tcp_bounce_wire::ipv4::Ipv4;
use tcp_bounce_wire::ipv6::{self, Ipv6};
use tcp_bounce_wire::render;
use tcp_bounce_wire::segment::{FourTuple, Segment};
use tcp_bounce_wire::syn_options::SynOptions;
use tcp_bounce_wire::{
    AddressBits, Block, EventKind, Fields, Host, Payload, Policy, ProgramConfig, Service, SocketKind, Verdict,
};
use zerocopy::TryFromBytes as _;

use crate::frame::XdpFrame;
use crate::sockets::LOCAL_PORTS;
use crate::{BLOCKS, CONFIG, FILTERS, OPEN_HANDSHAKES, SERVICE_BY_PORT, SERVICES, policy, telemetry};

/// The type of global functions that exist once for each IP version.
type GlobalFunction = extern "C" fn(*mut xdp_md, u32, u32, u32, u32) -> u32;

/// The type of [`answer_syn_ipv4`], [`answer_styled_syn_ipv4`] and the functions for IPv6.
type AnswerSyn = extern "C" fn(*mut xdp_md, u32, u32, u32) -> u32;

/// The type of [`render_fields_ipv4`] and [`render_fields_ipv6`].
type RenderFields = extern "C" fn(*mut xdp_md, u32, u64) -> u32;

/// The type of [`render_field_ipv4`] and [`render_field_ipv6`].
type RenderField = extern "C" fn(*mut xdp_md, u32, u32, u32) -> u64;

/// The type of [`answer_request_ipv4`] and [`answer_request_ipv6`].
type AnswerRequest = extern "C" fn(*mut xdp_md, u32, u32, u32, u32) -> u64;

/// The type of [`owner_ipv4`] and [`owner_ipv6`].
type FindOwner = extern "C" fn(*mut xdp_md, u32, u32) -> u32;

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
    fn may_have_socket(&self, port: u16) -> bool {
        LOCAL_PORTS.get().may_contain(port)
    }

    #[inline(always)]
    fn has_closed_listener(&self, port: u16) -> bool {
        LOCAL_PORTS.get().has_closed_listener(port)
    }

    /// Finds a socket as the kernel does for a received segment: by network namespace, device, addresses and ports.
    #[inline(always)]
    fn find_socket<I: Ip>(&self, ends: &FourTuple<I>) -> Option<SocketKind> {
        let (tuple, length) = (ptr::from_ref(ends).cast_mut().cast(), FourTuple::<I>::LENGTH as u32);
        // SAFETY: `FourTuple` has the layout of `struct bpf_sock_tuple`, whose length selects the address family. The
        // helper only reads.
        let sock = unsafe { bpf_skc_lookup_tcp(self.ctx.cast(), tuple, length, BPF_F_CURRENT_NETNS as u64, 0) };
        // SAFETY: The pointer is null or refers to a socket that the kernel holds until `bpf_sk_release`.
        unsafe {
            let state = sock.as_ref()?.state;
            bpf_sk_release(sock.cast());
            Some(if state == BPF_TCP_LISTEN { SocketKind::Listener } else { SocketKind::Connection })
        }
    }

    #[inline(always)]
    fn owns<I: Ip, F: Frame>(
        &self,
        _frame: &mut F,
        Segment { ip_offset, span, .. }: Segment<I>,
        _policy: &Policy<Self>,
    ) -> Option<Verdict> {
        let find_owner = I::choose::<FindOwner>(owner_ipv4, owner_ipv6);
        verdict(find_owner(self.ctx, ip_offset as u32, span.offset as u32))
    }

    #[inline(always)]
    fn open_handshake(&self, id: u64) {
        if let Some(handshakes) = OPEN_HANDSHAKES.get(0) {
            handshakes.open(id);
        }
    }

    #[inline(always)]
    fn complete_handshake(&self, id: u64) -> bool {
        OPEN_HANDSHAKES.get(0).is_some_and(|handshakes| handshakes.complete(id))
    }

    #[inline(always)]
    fn expects_first_data(&self, id: u64) -> bool {
        OPEN_HANDSHAKES.get(0).is_some_and(|handshakes| handshakes.remove(id))
    }

    #[inline(always)]
    fn answer_syn<I: Ip, F: Frame>(
        &self,
        _frame: &mut F,
        Segment { ip_offset, span, .. }: Segment<I>,
        _policy: &Policy<Self>,
    ) -> Verdict {
        let answer = I::choose::<AnswerSyn>(answer_syn_ipv4, answer_syn_ipv6);
        let answered = answer(self.ctx, ip_offset as u32, span.offset as u32, span.length as u32);
        verdict(answered).unwrap_or(Verdict::Malformed)
    }

    #[inline(always)]
    fn answer_styled_syn<I: Ip, F: Frame>(
        &self,
        _frame: &mut F,
        Segment { ip_offset, span, .. }: Segment<I>,
        _policy: &Policy<Self>,
    ) -> Verdict {
        let answer = I::choose::<AnswerSyn>(answer_styled_syn_ipv4, answer_styled_syn_ipv6);
        let answered = answer(self.ctx, ip_offset as u32, span.offset as u32, span.length as u32);
        verdict(answered).unwrap_or(Verdict::Malformed)
    }

    #[inline(always)]
    fn answer_later<I: Ip, F: Frame>(
        &self,
        _frame: &mut F,
        Segment { ip_offset, span, .. }: Segment<I>,
        isn_base: u32,
        _policy: &Policy<Self>,
    ) -> Verdict {
        let answer = I::choose::<GlobalFunction>(answer_ipv4, answer_ipv6);
        let answered = answer(self.ctx, ip_offset as u32, span.offset as u32, span.length as u32, isn_base);
        verdict(answered).unwrap_or(Verdict::Later)
    }

    #[inline(always)]
    fn answer_request<I: Ip, F: Frame>(
        &self,
        _frame: &mut F,
        Segment { ip_offset, span, .. }: Segment<I>,
        isn_base: u32,
        _policy: &Policy<Self>,
    ) -> (Verdict, Fields) {
        let answer = I::choose::<AnswerRequest>(answer_request_ipv4, answer_request_ipv6);
        let answered = answer(self.ctx, ip_offset as u32, span.offset as u32, span.length as u32, isn_base);
        (verdict(answered as u8 as u32).unwrap_or(Verdict::Later), Fields(answered >> u8::BITS))
    }

    #[inline(always)]
    fn service<I: Ip>(&self, port: u16) -> Option<&Service> {
        if !CONFIG.get().has_services() {
            return None;
        }
        let index = u32::from(SERVICE_BY_PORT.get(0)?.get(port));
        SERVICES.get(if CONFIG.get().features.has_fields() { 2 * index + I::choose(0, 1) } else { index })
    }

    #[inline(always)]
    fn block(&self, index: u32) -> Option<&Block> {
        if CONFIG.get().has_services() { BLOCKS.get(index) } else { None }
    }

    #[inline(always)]
    fn write_payload<F: Frame>(&self, _frame: &mut F, start: usize, payload: Payload) -> Option<()> {
        (write_payload(self.ctx, start as u32, payload.first_block, payload.length.into()) == WRITTEN).then_some(())
    }

    #[inline(always)]
    fn render_fields<I: Ip, F: Frame>(
        &self,
        _frame: &mut F,
        ip_offset: usize,
        fields: Fields,
        _policy: &Policy<Self>,
    ) -> Option<()> {
        let render = I::choose::<RenderFields>(render_fields_ipv4, render_fields_ipv6);
        (render(self.ctx, ip_offset as u32, fields.0) == WRITTEN).then_some(())
    }

    #[inline(always)]
    fn render_field<I: Ip, F: Frame>(
        &self,
        _frame: &mut F,
        ip_offset: usize,
        (offset, kind): (usize, u16),
        _policy: &Policy<Self>,
    ) -> Option<Sum> {
        let render = I::choose::<RenderField>(render_field_ipv4, render_field_ipv6);
        let sum = render(self.ctx, ip_offset as u32, offset as u32, kind.into());
        if sum == NO_SUM { None } else { Some(Sum(sum)) }
    }

    #[inline(always)]
    fn check_scope(
        &self,
        source: AddressBits,
        destination: AddressBits,
        checks_destination: bool,
        policy: &Policy<Self>,
    ) -> Result<(), Verdict> {
        match check_scope(source.high, source.low, destination.high, destination.low, checks_destination.into()) {
            IN_SCOPE => Ok(()),
            // The verifier does not know the result. Without a source filter, it skips this path.
            OTHER_SOURCE if policy.features.filters_sources() => Err(Verdict::OtherSource),
            _ => Err(Verdict::OtherDestination),
        }
    }

    #[inline(always)]
    fn is_broadcast<I: Ip>(&self, address: I::Address, _policy: &Policy<Self>) -> bool {
        address.to_v4().is_some_and(|address| is_broadcast(address.words()) != 0)
    }

    #[inline(always)]
    fn skip_extensions<F: Frame>(
        &self,
        _frame: &mut F,
        next_header: u8,
        offset: usize,
    ) -> Result<(u8, usize), Verdict> {
        match skip_extensions(self.ctx, next_header.into(), offset as u32) {
            NOT_TCP => Err(Verdict::NotTcp),
            MALFORMED => Err(Verdict::Malformed),
            skipped => Ok(((skipped >> 32) as u8, skipped as usize & MAX_OFFSET)),
        }
    }

    #[inline(always)]
    fn parse_options<F: Frame>(&self, _frame: &mut F, Span { offset, length }: Span) -> SynOptions {
        // This check costs less than a call, and many segments have no options.
        if length == 0 {
            SynOptions::NONE
        } else {
            SynOptions(parse_options(self.ctx, offset as u32, length as u32, 0))
        }
    }

    #[inline(always)]
    fn sum<F: Frame>(&self, _frame: &mut F, Span { offset, length }: Span) -> Option<Sum> {
        let sum = sum(self.ctx, offset as u32, length as u32);
        if sum == NO_SUM { None } else { Some(Sum(sum)) }
    }

    #[inline(always)]
    fn report<I: Ip>(&self, Segment { ip_offset, span, .. }: Segment<I>, is_reply: bool, kind: EventKind) {
        let report = I::choose::<GlobalFunction>(telemetry::report_ipv4, telemetry::report_ipv6);
        report(self.ctx, ip_offset as u32, span.offset as u32, is_reply.into(), kind as u32);
    }

    #[inline(always)]
    fn report_data<I: Ip>(&self, Segment { ip_offset, span, .. }: Segment<I>, header_length: usize) {
        let report = I::choose::<GlobalFunction>(telemetry::report_data_ipv4, telemetry::report_data_ipv6);
        report(self.ctx, ip_offset as u32, span.offset as u32, header_length as u32, span.length as u32);
    }

    #[inline(always)]
    fn count_excluded_syn(&self, port: u16) {
        telemetry::count_excluded_syn(port);
    }
}

/// The result of [`check_scope`] for two addresses in scope.
const IN_SCOPE: u32 = 0;
/// The result of [`check_scope`] for [`Verdict::OtherDestination`].
const OTHER_DESTINATION: u32 = 1;
/// The result of [`check_scope`] for [`Verdict::OtherSource`].
const OTHER_SOURCE: u32 = 2;

/// Calls [`Filters::check_scope`](tcp_bounce_wire::Filters::check_scope) for two addresses, given as 64-bit halves.
///
/// One call checks both addresses. On a kernel that mitigates speculation at function returns, a second call would cost
/// as much as a search.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn check_scope(
    source_high: u64,
    source_low: u64,
    destination_high: u64,
    destination_low: u64,
    checks_destination: u32,
) -> u32 {
    let source = AddressBits { high: source_high, low: source_low };
    let destination = AddressBits { high: destination_high, low: destination_low };
    match FILTERS.get().check_scope(source, destination, checks_destination != 0, CONFIG.get().features) {
        Ok(()) => IN_SCOPE,
        Err(Verdict::OtherDestination) => OTHER_DESTINATION,
        Err(_) => OTHER_SOURCE,
    }
}

/// Returns 1 if the set of broadcast addresses contains the IPv4 address with this 32-bit word, or else 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_broadcast(word: u32) -> u32 {
    FILTERS.get().broadcasts.contains(Ipv4Address(word.to_ne_bytes())) as u32
}

/// Calls [`Segment::belongs_to_host`] over IPv4. Returns the verdict as a number, or [`NO_VERDICT`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn owner_ipv4(ctx: *mut xdp_md, ip_offset: u32, offset: u32) -> u32 {
    owner::<Ipv4>(ctx, ip_offset, offset)
}

/// Calls [`Segment::belongs_to_host`] over IPv6. Returns the verdict as a number, or [`NO_VERDICT`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn owner_ipv6(ctx: *mut xdp_md, ip_offset: u32, offset: u32) -> u32 {
    owner::<Ipv6>(ctx, ip_offset, offset)
}

#[inline(always)]
fn owner<I: Ip>(ctx: *mut xdp_md, ip_offset: u32, offset: u32) -> u32 {
    let policy = policy(ctx);
    let segment = Segment::<I>::new(ip_offset as usize & MAX_OFFSET, masked_span(offset, 0));
    let mut frame = XdpFrame::new(XdpContext::new(ctx), policy.config);
    segment.belongs_to_host(&mut frame, &policy).map_or(NO_VERDICT, |verdict| verdict as u32)
}

/// Calls [`Segment::answer_syn`] over IPv4. Returns the verdict as a number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answer_syn_ipv4(ctx: *mut xdp_md, ip_offset: u32, offset: u32, length: u32) -> u32 {
    answer_syn::<Ipv4>(ctx, ip_offset, Span { offset: offset as usize, length: length as usize })
}

/// Calls [`Segment::answer_syn`] over IPv6. Returns the verdict as a number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answer_syn_ipv6(ctx: *mut xdp_md, ip_offset: u32, offset: u32, length: u32) -> u32 {
    answer_syn::<Ipv6>(ctx, ip_offset, Span { offset: offset as usize, length: length as usize })
}

#[inline(always)]
fn answer_syn<I: Ip>(ctx: *mut xdp_md, ip_offset: u32, span: Span) -> u32 {
    let policy = policy(ctx);
    let span = Span { offset: span.offset & MAX_OFFSET, ..span };
    let segment = Segment::<I>::new(ip_offset as usize & MAX_OFFSET, span);
    segment.answer_syn(&mut XdpFrame::new(XdpContext::new(ctx), policy.config), &policy) as u32
}

/// Calls [`Segment::answer_styled_syn`] over IPv4. Returns the verdict as a number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answer_styled_syn_ipv4(ctx: *mut xdp_md, ip_offset: u32, offset: u32, length: u32) -> u32 {
    answer_styled_syn::<Ipv4>(ctx, ip_offset, Span { offset: offset as usize, length: length as usize })
}

/// Calls [`Segment::answer_styled_syn`] over IPv6. Returns the verdict as a number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answer_styled_syn_ipv6(ctx: *mut xdp_md, ip_offset: u32, offset: u32, length: u32) -> u32 {
    answer_styled_syn::<Ipv6>(ctx, ip_offset, Span { offset: offset as usize, length: length as usize })
}

#[inline(always)]
fn answer_styled_syn<I: Ip>(ctx: *mut xdp_md, ip_offset: u32, span: Span) -> u32 {
    let policy = policy(ctx);
    // Linux before 6.8 verifies global functions even if nothing calls them. This check keeps that short.
    if !policy.features.has_style() {
        return Verdict::Malformed as u32;
    }
    let span = Span { offset: span.offset & MAX_OFFSET, ..span };
    let segment = Segment::<I>::new(ip_offset as usize & MAX_OFFSET, span);
    segment.answer_styled_syn(&mut XdpFrame::new(XdpContext::new(ctx), policy.config), &policy) as u32
}

/// Calls [`Segment::answer_later`] over IPv4. Returns the verdict as a number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answer_ipv4(ctx: *mut xdp_md, ip_offset: u32, offset: u32, length: u32, isn_base: u32) -> u32 {
    answer::<Ipv4>(ctx, ip_offset, Span { offset: offset as usize, length: length as usize }, isn_base)
}

/// Calls [`Segment::answer_later`] over IPv6. Returns the verdict as a number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answer_ipv6(ctx: *mut xdp_md, ip_offset: u32, offset: u32, length: u32, isn_base: u32) -> u32 {
    answer::<Ipv6>(ctx, ip_offset, Span { offset: offset as usize, length: length as usize }, isn_base)
}

/// The result of [`owner_ipv4`] and [`owner_ipv6`] if the segment does not belong to the host.
const NO_VERDICT: u32 = u32::MAX;

/// Returns the verdict with this number, or `None` if there is none.
#[inline(always)]
fn verdict(number: u32) -> Option<Verdict> {
    Verdict::try_read_from_bytes(&number.to_ne_bytes()).ok()
}

#[inline(always)]
fn answer<I: Ip>(ctx: *mut xdp_md, ip_offset: u32, span: Span, isn_base: u32) -> u32 {
    let policy = policy(ctx);
    let span = Span { offset: span.offset & MAX_OFFSET, ..span };
    let segment = Segment::<I>::new(ip_offset as usize & MAX_OFFSET, span);
    let mut frame = XdpFrame::new(XdpContext::new(ctx), policy.config);
    segment.answer_later(&mut frame, isn_base, &policy) as u32
}

/// Calls [`Segment::answer_request`] over IPv4. Returns the verdict in the lowest byte, and the fields to render
/// above it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answer_request_ipv4(
    ctx: *mut xdp_md,
    ip_offset: u32,
    offset: u32,
    length: u32,
    isn_base: u32,
) -> u64 {
    answer_request::<Ipv4>(ctx, ip_offset, Span { offset: offset as usize, length: length as usize }, isn_base)
}

/// Calls [`Segment::answer_request`] over IPv6. Returns the verdict in the lowest byte, and the fields to render
/// above it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answer_request_ipv6(
    ctx: *mut xdp_md,
    ip_offset: u32,
    offset: u32,
    length: u32,
    isn_base: u32,
) -> u64 {
    answer_request::<Ipv6>(ctx, ip_offset, Span { offset: offset as usize, length: length as usize }, isn_base)
}

#[inline(always)]
fn answer_request<I: Ip>(ctx: *mut xdp_md, ip_offset: u32, span: Span, isn_base: u32) -> u64 {
    let policy = policy(ctx);
    let segment =
        Segment::<I>::new(ip_offset as usize & MAX_OFFSET, masked_span(span.offset as u32, span.length as u32));
    let mut frame = XdpFrame::new(XdpContext::new(ctx), policy.config);
    let (verdict, fields) = segment.answer_request(&mut frame, isn_base, &policy);
    fields.0 << u8::BITS | verdict as u64
}

/// The result of [`write_payload`] and of the functions that render fields, if they succeed.
const WRITTEN: u32 = 1;

/// Calls [`Payload::write`] for a payload of `length` bytes at offset `start`. Returns [`WRITTEN`] or 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn write_payload(ctx: *mut xdp_md, start: u32, first_block: u32, length: u32) -> u32 {
    let mut frame = XdpFrame::new(XdpContext::new(ctx), &ProgramConfig::BUILT_IN);
    let payload = Payload { first_block, length: length as u16, ..Payload::EMPTY };
    let host = Kernel::new(ctx);
    let written = payload.write(&mut frame, start as usize & MAX_OFFSET, |index| host.block(index));
    if written.is_some() { WRITTEN } else { 0 }
}

/// Calls [`render::render_fields`] over IPv4. Returns [`WRITTEN`] or 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn render_fields_ipv4(ctx: *mut xdp_md, ip_offset: u32, fields: u64) -> u32 {
    render_fields::<Ipv4>(ctx, ip_offset, Fields(fields))
}

/// Calls [`render::render_fields`] over IPv6. Returns [`WRITTEN`] or 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn render_fields_ipv6(ctx: *mut xdp_md, ip_offset: u32, fields: u64) -> u32 {
    render_fields::<Ipv6>(ctx, ip_offset, Fields(fields))
}

#[inline(always)]
fn render_fields<I: Ip>(ctx: *mut xdp_md, ip_offset: u32, fields: Fields) -> u32 {
    // Linux before 6.8 verifies these functions even if no other code calls them.
    if !CONFIG.get().features.has_fields() {
        return 0;
    }
    let mut frame = XdpFrame::new(XdpContext::new(ctx), &ProgramConfig::BUILT_IN);
    let ip_offset = ip_offset as usize & MAX_OFFSET;
    let policy = policy(ctx);
    let rendered = render::render_fields::<I, _>(&mut frame, ip_offset, fields, |frame, field| {
        policy.host.render_field::<I, _>(frame, ip_offset, field, &policy)
    });
    if rendered.is_some() { WRITTEN } else { 0 }
}

/// Calls [`render::render_field`] over IPv4. Returns the sum, or [`NO_SUM`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn render_field_ipv4(ctx: *mut xdp_md, ip_offset: u32, offset: u32, kind: u32) -> u64 {
    render_field::<Ipv4>(ctx, ip_offset, offset, kind)
}

/// Calls [`render::render_field`] over IPv6. Returns the sum, or [`NO_SUM`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn render_field_ipv6(ctx: *mut xdp_md, ip_offset: u32, offset: u32, kind: u32) -> u64 {
    render_field::<Ipv6>(ctx, ip_offset, offset, kind)
}

#[inline(always)]
fn render_field<I: Ip>(ctx: *mut xdp_md, ip_offset: u32, offset: u32, kind: u32) -> u64 {
    // Linux before 6.8 verifies these functions even if no other code calls them.
    if !CONFIG.get().features.has_fields() {
        return NO_SUM;
    }
    let mut frame = XdpFrame::new(XdpContext::new(ctx), &ProgramConfig::BUILT_IN);
    let [ip_offset, offset] = [ip_offset, offset].map(|offset| offset as usize & MAX_OFFSET);
    let rendered = render::render_field::<I, _>(&mut frame, ip_offset, (offset, kind as u16), CONFIG.get());
    rendered.map_or(NO_SUM, |Sum(sum)| sum)
}

/// The result of [`skip_extensions`] for [`Verdict::NotTcp`].
const NOT_TCP: u64 = u64::MAX;
/// The result of [`skip_extensions`] for any other error.
const MALFORMED: u64 = u64::MAX - 1;

/// Calls [`ipv6::skip_extensions`]. Returns the offset in the lower 32 bits and the type of the next header above them,
/// or [`NOT_TCP`] or [`MALFORMED`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn skip_extensions(ctx: *mut xdp_md, next_header: u32, offset: u32) -> u64 {
    let mut frame = XdpFrame::new(XdpContext::new(ctx), &ProgramConfig::BUILT_IN);
    match ipv6::skip_extensions(&mut frame, next_header as u8, offset as usize & MAX_OFFSET) {
        Ok((next_header, offset)) => u64::from(next_header) << 32 | offset as u64,
        Err(Verdict::NotTcp) => NOT_TCP,
        Err(_) => MALFORMED,
    }
}

/// Calls [`SynOptions::parse`] and returns the options as a number.
///
/// `none` is [`SynOptions::NONE`] as a number. The verifier does not know the values of arguments.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn parse_options(ctx: *mut xdp_md, offset: u32, length: u32, none: u64) -> u64 {
    let mut frame = XdpFrame::new(XdpContext::new(ctx), &ProgramConfig::BUILT_IN);
    SynOptions::parse(&mut frame, masked_span(offset, length), SynOptions(none)).0
}

/// The result of [`sum`] for a span that exceeds the accessible part, and of the functions that render a field, if they
/// fail. All sums are smaller.
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
