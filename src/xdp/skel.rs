//! The libbpf-rs skeleton of the XDP program. No other file sees generated types.

#![allow(missing_docs, reason = "generated")]

use tcp_bounce_wire::{ActionByPort, Counters, Filters, InterfaceState, ProgramConfig};

mod generated {
    #![allow(clippy::all, clippy::too_many_lines, clippy::undocumented_unsafe_blocks, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/tcp_bounce.skel.rs"));
}

pub use generated::{OpenTcpBounceSkel, TcpBounceSkel, TcpBounceSkelBuilder};

/// The object file, as other loaders take it.
pub const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tcp_bounce.bpf.o"));

// Each global of the program has a section of its own, which is read and written as the shared type.
const _: () = {
    use generated::types;
    assert!(size_of::<types::rodata>() == size_of::<ProgramConfig>());
    assert!(size_of::<types::rodata_then>() == size_of::<ActionByPort>());
    assert!(size_of::<types::data>() == size_of::<InterfaceState>());
    assert!(size_of::<types::bss>() == size_of::<Filters>());
    assert!(size_of::<types::Counters>() == size_of::<Counters>());
};
