//! The XDP program of tcp-bounce: calls [`respond`] for each frame, counts the verdict, and returns its XDP action.

#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod frame;
mod global;
mod kernel;
mod panic;
mod ring;
mod telemetry;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use frame::XdpFrame;
use global::Global;
use kernel::Kernel;
use tcp_bounce_wire::{ActionByPort, Counters, Filters, InterfaceState, Policy, ProgramConfig, XdpAction, respond};

#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata")]
static CONFIG: Global<ProgramConfig> = Global::new(ProgramConfig::BUILT_IN);

#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata.actions")]
static ACTIONS_BY_PORT: Global<ActionByPort> = Global::new(ActionByPort::new());

#[unsafe(no_mangle)]
#[unsafe(link_section = ".data")]
static INTERFACE: Global<InterfaceState> = Global::new(InterfaceState::BUILT_IN);

#[unsafe(no_mangle)]
static FILTERS: Global<Filters> = Global::new(Filters::new());

#[btf_map]
static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

/// The entry point. It is inlined into the function that the macro generates, which saves a call.
#[xdp]
#[inline(always)]
pub fn tcp_bounce(ctx: XdpContext) -> u32 {
    let policy = policy(ctx.ctx);
    let verdict = respond(&mut XdpFrame::new(ctx, policy.config), &policy);
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: The counters belong to this CPU, which handles one packet at a time.
        unsafe { (*counters).count(verdict) };
    }
    match verdict.action() {
        XdpAction::Pass => XDP_PASS,
        XdpAction::Drop => XDP_DROP,
        XdpAction::Tx => XDP_TX,
    }
}

/// Returns the settings, interface state, filters and host for the verdict on the packet in `ctx`.
#[inline(always)]
fn policy(ctx: *mut xdp_md) -> Policy<'static, Kernel> {
    Policy {
        config: CONFIG.get(),
        interface: INTERFACE.get(),
        filters: FILTERS.get(),
        actions_by_port: ACTIONS_BY_PORT.get(),
        host: Kernel::new(ctx),
    }
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
