//! The counters of the program, by verdict.

use serde::Serializer;
use tcp_bounce_wire::{Counters, Verdict};

use super::{TcpBounceSkel, per_cpu};

/// Reads the counters of `program`, summed over all CPUs.
///
/// # Errors
///
/// The kernel denies reading the map.
pub fn read(program: &TcpBounceSkel) -> libbpf_rs::Result<Counters> {
    per_cpu::sum(&program.maps.COUNTERS).map(Counters::from)
}

/// Serializes counters as a map from the names of the verdicts.
pub fn by_name<S: Serializer>(counters: &Counters, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(Verdict::ALL.map(|verdict| (verdict.name(), counters[verdict])))
}
