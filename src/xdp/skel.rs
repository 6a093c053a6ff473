//! The libbpf-rs skeleton of the XDP program, which `scripts/object.rs` generates. Other modules use the types of
//! `tcp_bounce_wire` in place of the generated types of the globals.

#![allow(missing_docs, reason = "generated")]

use tcp_bounce_wire::{ActionByPort, Counters, Filters, InterfaceState, ProgramConfig};

mod generated {
    #![allow(clippy::all, clippy::too_many_lines, clippy::undocumented_unsafe_blocks, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/tcp_bounce.skel.rs"));
}

pub use generated::{OpenTcpBounceSkel, TcpBounceSkel, TcpBounceSkelBuilder};

/// The BPF object file, for other loaders such as `xdp-loader`.
pub const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tcp_bounce.bpf.o"));

// Each global of the program has its own section. User space reads and writes the section as a type of
// `tcp_bounce_wire`, so the sizes must match.
const _: () = {
    use generated::types;
    assert!(size_of::<types::rodata>() == size_of::<ProgramConfig>());
    assert!(size_of::<types::rodata_actions>() == size_of::<ActionByPort>());
    assert!(size_of::<types::data>() == size_of::<InterfaceState>());
    assert!(size_of::<types::bss>() == size_of::<Filters>());
    assert!(size_of::<types::Counters>() == size_of::<Counters>());
};
