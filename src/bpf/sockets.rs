//! The program that records the host's sockets in the table of local ports.

use core::arch::asm;

use aya_ebpf::bindings::bpf_raw_tracepoint_args;
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::programs::RawTracePointContext;
use tcp_bounce_wire::local_ports::{self, LocalPorts, StateChange};

use crate::global::Global;

/// The table of local ports. All XDP programs of a run share it.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.ports")]
pub static LOCAL_PORTS: Global<LocalPorts> = Global::new(LocalPorts::new());

/// The first fields of `struct sock_common` in `net/sock.h`, with only the used fields named.
///
/// On 64-bit machines, these fields have had the same offsets since Linux 3.13.
#[derive(Clone, Copy)]
#[repr(C)]
struct SockCommon {
    /// The remote IPv4 address.
    _remote_v4: [u8; 4],
    /// The local IPv4 address (`skc_rcv_saddr`).
    local_v4: [u8; 4],
    /// The hash and the remote port.
    _hash: [u16; 3],
    /// The local port in host byte order (`skc_num`).
    port: u16,
    /// Family, state and flags, device, list node, and protocol.
    _others: [u64; 4],
    /// The network namespace (`skc_net`).
    namespace: u64,
    /// The remote IPv6 address. From here on, the fields exist only on kernels with IPv6, but the socket is longer.
    _remote_v6: [u64; 2],
    /// The local IPv6 address (`skc_v6_rcv_saddr`), or the IPv4-mapped address of an IPv4 socket.
    local_v6: [u64; 2],
}

impl SockCommon {
    /// Returns whether the socket's local address is in 127.0.0.0/8, or is `::1`.
    ///
    /// The IPv6 address of a socket that never had one is `::` or IPv4-mapped.
    #[inline(always)]
    fn is_loopback(&self) -> bool {
        self.local_v4[0] == 127 || self.local_v6 == [0, 1u64.to_be()]
    }
}

/// Records each change of a TCP socket's state (`sock:inet_sock_set_state`).
///
/// The question mark in the section's name tells libbpf not to load the program by default, so that other loaders load
/// only the XDP program. xdp-loader loads the first program of the object. The compiler sorts programs by name, so this
/// one is behind `tcp_bounce`.
#[unsafe(no_mangle)]
#[unsafe(link_section = "?raw_tp/inet_sock_set_state")]
pub extern "C" fn track_socket(ctx: *mut bpf_raw_tracepoint_args) -> i32 {
    let ctx = RawTracePointContext::new(ctx.cast());
    let (socket, old_state, new_state): (*const SockCommon, i32, i32) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    // SAFETY: The helper checks the address, and any bytes are a valid `SockCommon`.
    if let Ok(socket) = unsafe { bpf_probe_read_kernel(socket) } {
        let SockCommon { port, namespace, .. } = socket;
        let (old_state, new_state, is_loopback) = (old_state as u32, new_state as u32, socket.is_loopback());
        let mut index = local_ports::index(port);
        // Hides from the compiler that the index has 16 bits. Otherwise the compiler omits the check of the bound, and
        // verifiers of older kernels, such as 6.1, know no bound for the result of a byte swap.
        // SAFETY: The assembly has no effect.
        unsafe { asm!("{0} = {0}", inout(reg) index, options(pure, nomem, nostack, preserves_flags)) };
        LOCAL_PORTS.get().record_at(index, StateChange { namespace, port, old_state, new_state, is_loopback });
    }
    0
}
