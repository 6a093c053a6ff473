//! The XDP program of tcp-bounce: hands each frame to [`bounce`], counts the verdict, and carries it out.

#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod frame;
mod global;
mod panic;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use frame::XdpFrame;
use global::Global;
use tcp_bounce_wire::{Action, Config, Counters, Ports, bounce};

#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata")]
static CONFIG: Global<Config> = Global::new(Config::BUILT_IN);

/// The ports that are not ours.
#[unsafe(no_mangle)]
static SPARED: Global<Ports> = Global::new(Ports::new());

#[btf_map]
static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

#[xdp]
pub fn tcp_bounce(ctx: XdpContext) -> u32 {
    let verdict = bounce(&mut XdpFrame::new(ctx), CONFIG.get(), SPARED.get());
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

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
