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

use core::arch::asm;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::XdpContext;
use frame::XdpFrame;
use global::Global;
use kernel::Kernel;
use tcp_bounce_wire::{
    ActionByPort, Block, Counters, Filters, InterfaceState, OpenHandshakes, Policy, ProgramConfig, Service,
    ServiceByPort, XdpAction, respond,
};

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

/// The handshakes that wait for their last ACK.
#[btf_map]
static OPEN_HANDSHAKES: Array<OpenHandshakes, 1> = Array::new();

/// The services of a profile. User space creates this map and the next two only with a profile, and sets their sizes.
#[btf_map]
static SERVICES: Array<Service, 1> = Array::new();

/// The index of each port's service.
#[btf_map]
static SERVICE_BY_PORT: Array<ServiceByPort, 1> = Array::new();

/// The payloads of the services.
#[btf_map]
static BLOCKS: Array<Block, 1> = Array::new();

/// The entry point of the XDP program.
///
/// It has no macro of aya: the compiler orders functions of macros after all others, but this program comes first.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub extern "C" fn tcp_bounce(ctx: *mut xdp_md) -> u32 {
    // Looked up early, so that the CPU handles the packet while it waits for the result.
    let counters = COUNTERS.get_ptr_mut(0);
    let policy = policy(ctx);
    let verdict = respond(&mut XdpFrame::new(XdpContext::new(ctx), policy.config), &policy);
    if let Some(counters) = counters {
        let mut index = verdict as u64;
        // Hides from the compiler that the index is a verdict. Otherwise the compiler omits the check of the bound in
        // `count`, and the verifier knows no bound for a verdict that a global function returned.
        // SAFETY: The assembly has no effect.
        unsafe { asm!("{0} = {0}", inout(reg) index, options(pure, nomem, nostack, preserves_flags)) };
        // SAFETY: The counters belong to this CPU, which handles one packet at a time.
        unsafe { (*counters).count(index as usize) };
    }
    match verdict.action() {
        XdpAction::Pass => XDP_PASS,
        XdpAction::Drop => XDP_DROP,
        XdpAction::Tx => XDP_TX,
    }
}

// xdp-loader attaches the first program of the object, so the second program comes after the entry point.
mod sockets;

/// Returns the settings, interface state, filters and host for the verdict on the packet in `ctx`.
#[inline(always)]
fn policy(ctx: *mut xdp_md) -> Policy<'static, Kernel> {
    Policy::new(CONFIG.get(), INTERFACE.get(), FILTERS.get(), ACTIONS_BY_PORT.get(), Kernel::new(ctx))
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
