//! The XDP program of tcp-bounce: hands each frame to [`respond`], counts the verdict, and carries it out.

#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod frame;
mod global;
mod note;
mod panic;
mod ring;

use core::marker::PhantomData;
use core::ptr;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::bindings::{BPF_F_CURRENT_NETNS, BPF_TCP_LISTEN, xdp_md};
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::helpers::{bpf_jiffies64, bpf_sk_release, bpf_skc_lookup_tcp};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use frame::XdpFrame;
use global::Global;
use tcp_bounce_wire::address_set::AddressBits;
use tcp_bounce_wire::frame::{Frame, MAX_OFFSET};
use tcp_bounce_wire::ip::{Ip, Span};
use tcp_bounce_wire::ipv4::Ipv4;
use tcp_bounce_wire::ipv6::Ipv6;
use tcp_bounce_wire::segment::{FourTuple, Segment};
use tcp_bounce_wire::{
    ActionByPort, Counters, EventKind, Filters, Host, InterfaceState, Policy, ProgramConfig, Verdict, XdpAction,
    respond,
};
use zerocopy::TryFromBytes as _;

#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata")]
static CONFIG: Global<ProgramConfig> = Global::new(ProgramConfig::BUILT_IN);

#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata.then")]
static ACTIONS_BY_PORT: Global<ActionByPort> = Global::new(ActionByPort::new());

#[unsafe(no_mangle)]
#[unsafe(link_section = ".data")]
static INTERFACE: Global<InterfaceState> = Global::new(InterfaceState::BUILT_IN);

#[unsafe(no_mangle)]
static FILTERS: Global<Filters> = Global::new(Filters::new());

#[btf_map]
static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

#[xdp]
// Into the entry point that the macro makes: one call less.
#[inline(always)]
pub fn tcp_bounce(ctx: XdpContext) -> u32 {
    let rules = rules(ctx.ctx);
    let verdict = respond(&mut XdpFrame::new(ctx, rules.config), &rules);
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: They are this CPU's, on which no other packet is handled meanwhile.
        unsafe { (*counters).count(verdict) };
    }
    match verdict.action() {
        XdpAction::Pass => XDP_PASS,
        XdpAction::Drop => XDP_DROP,
        XdpAction::Tx => XDP_TX,
    }
}

#[inline(always)]
fn rules(ctx: *mut xdp_md) -> Policy<'static, Kernel> {
    let host = Kernel(ctx);
    Policy {
        config: CONFIG.get(),
        interface: INTERFACE.get(),
        filters: FILTERS.get(),
        actions_by_port: ACTIONS_BY_PORT.get(),
        host,
    }
}

struct Kernel(*mut xdp_md);

impl Host for Kernel {
    /// Jiffies: they run at the kernel's HZ, 100 to 1000 Hz, and cost next to nothing.
    #[inline(always)]
    fn now(&self) -> u32 {
        // SAFETY: The helper takes nothing.
        unsafe { bpf_jiffies64() as u32 }
    }

    #[inline(always)]
    fn serves(&self, AddressBits { high, low }: AddressBits) -> bool {
        serves(high, low) != 0
    }

    /// The socket of an established connection or of one that is being opened, and what is left of one that was closed;
    /// but not a listener.
    #[inline(always)]
    fn is_connected<I: Ip>(&self, ends: &FourTuple<I>) -> bool {
        let (tuple, length) = (ptr::from_ref(ends).cast_mut().cast(), FourTuple::<I>::LENGTH as u32);
        // SAFETY: It is laid out as `struct bpf_sock_tuple`, of which its length tells the family, and is not written to.
        let sock = unsafe { bpf_skc_lookup_tcp(self.0.cast(), tuple, length, BPF_F_CURRENT_NETNS as u64, 0) };
        // SAFETY: It is null or a socket, which is held until it is released.
        unsafe {
            let Some(state) = sock.as_ref().map(|sock| sock.state) else { return false };
            bpf_sk_release(sock.cast());
            state != BPF_TCP_LISTEN
        }
    }

    #[inline(always)]
    fn follow<I: Ip, F: Frame>(
        &self,
        _frame: &mut F,
        Segment { ip_offset, span, .. }: Segment<I>,
        isn: u32,
        _rules: &Policy<Self>,
    ) -> Option<Verdict> {
        let follow = if I::ETHERTYPE == Ipv4::ETHERTYPE { follow_ipv4 } else { follow_ipv6 };
        let verdict = follow(self.0, ip_offset as u32, span.offset as u32, span.length as u32, isn);
        Verdict::try_read_from_bytes(&verdict.to_ne_bytes()).ok()
    }

    #[inline(always)]
    fn note<I: Ip>(&self, Segment { ip_offset, span, .. }: Segment<I>, is_reply: bool, kind: EventKind) {
        let note = if I::ETHERTYPE == Ipv4::ETHERTYPE { note::note_ipv4 } else { note::note_ipv6 };
        note(self.0, ip_offset as u32, span.offset as u32, is_reply.into(), kind as u32);
    }
}

/// [`Segment::follow_up`] as a global function: the index of the verdict, or [`NO_VERDICT`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn follow_ipv4(ctx: *mut xdp_md, ip_offset: u32, offset: u32, length: u32, isn: u32) -> u32 {
    follow::<Ipv4>(ctx, ip_offset, offset, length, isn)
}

/// The same over IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn follow_ipv6(ctx: *mut xdp_md, ip_offset: u32, offset: u32, length: u32, isn: u32) -> u32 {
    follow::<Ipv6>(ctx, ip_offset, offset, length, isn)
}

const NO_VERDICT: u32 = u32::MAX;

#[inline(always)]
fn follow<I: Ip>(ctx: *mut xdp_md, ip_offset: u32, offset: u32, length: u32, isn: u32) -> u32 {
    let rules = rules(ctx);
    let [ip_offset, offset] = [ip_offset, offset].map(|offset| offset as usize & MAX_OFFSET);
    let segment = Segment::<I> { ip_offset, span: Span { offset, length: length as usize }, ip: PhantomData };
    let mut frame = XdpFrame::new(XdpContext::new(ctx), rules.config);
    segment.follow_up(&mut frame, isn, &rules).map_or(NO_VERDICT, |verdict| verdict as u32)
}

/// A global function of the program: the verifier goes over such a one once, for any arguments, and not on each way to it.
/// The other sets are looked into in place: where there are none, the verifier sees it, and to start takes no longer.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn serves(high: u64, low: u64) -> u32 {
    FILTERS.get().destinations().contains(AddressBits { high, low }) as u32
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
