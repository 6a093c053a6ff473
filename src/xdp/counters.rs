//! The program's counters of packets, by verdict.

use serde::Serializer;
use tcp_bounce_wire::{Counters, Verdict};

use super::{TcpBounceSkel, per_cpu};

/// Reads the counters of `program`, summed over all CPUs.
///
/// # Errors
///
/// The error of `BPF_MAP_LOOKUP_ELEM`.
pub fn read(program: &TcpBounceSkel) -> libbpf_rs::Result<Counters> {
    per_cpu::sum(&program.maps.COUNTERS).map(Counters::from)
}

/// Serializes `counters` as a map from verdict names to numbers of packets.
pub fn by_name<S: Serializer>(counters: &Counters, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(Verdict::ALL.map(|verdict| (verdict.name(), counters[verdict])))
}
