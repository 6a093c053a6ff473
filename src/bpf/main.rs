//! The XDP program of tcp-bounce: hands each frame to [`bounce`], counts the verdict, and carries it out.

#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod frame;
mod global;
mod panic;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::helpers::bpf_jiffies64;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use frame::XdpFrame;
use global::Global;
use tcp_bounce_wire::addresses::Number;
use tcp_bounce_wire::{Action, Config, Counters, Filters, Link, Rules, World, bounce};

#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata")]
static CONFIG: Global<Config> = Global::new(Config::BUILT_IN);

#[unsafe(no_mangle)]
#[unsafe(link_section = ".data")]
static LINK: Global<Link> = Global::new(Link::BUILT_IN);

#[unsafe(no_mangle)]
static FILTERS: Global<Filters> = Global::new(Filters::new());

#[btf_map]
static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

#[xdp]
pub fn tcp_bounce(ctx: XdpContext) -> u32 {
    let config = CONFIG.get();
    let rules = Rules { config, link: LINK.get(), filters: FILTERS.get(), world: Kernel };
    let verdict = bounce(&mut XdpFrame::new(ctx, config), &rules);
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: They are this CPU's, on which no other packet is handled meanwhile.
        unsafe { (*counters).count(verdict) };
    }
    match verdict.action() {
        Action::Pass => XDP_PASS,
        Action::Drop => XDP_DROP,
        Action::Tx => XDP_TX,
    }
}

struct Kernel;

impl World for Kernel {
    /// Jiffies: they run at the kernel's HZ, 100 to 1000 Hz, and cost next to nothing.
    #[inline(always)]
    fn now(&self) -> u32 {
        // SAFETY: The helper takes nothing.
        unsafe { bpf_jiffies64() as u32 }
    }

    #[inline(always)]
    fn serves(&self, Number { high, low }: Number) -> bool {
        serves(high, low) != 0
    }
}

/// A global function of the program: the verifier goes over such a one once, for any arguments, and not on each way to it.
/// The other sets are looked into in place: where there are none, the verifier sees it, and to start takes no longer.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn serves(high: u64, low: u64) -> u32 {
    FILTERS.get().to().contains(Number { high, low }) as u32
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
