//! The counters of the program.

use std::io;

use libbpf_rs::{MapCore as _, MapFlags};
use serde::Serializer;
use tcp_bounce_wire::{Counters, Verdict};

use super::TcpBounceSkel;

/// What the program has counted so far, on all CPUs.
pub fn read(program: &TcpBounceSkel) -> libbpf_rs::Result<Counters> {
    let key = 0u32.to_ne_bytes();
    let cpus = program.maps.COUNTERS.lookup_percpu(&key, MapFlags::ANY)?.unwrap_or_default();
    let mut sum = Counters::default();
    for cpu in cpus {
        let mut counters = [0u64; Verdict::ALL.len()];
        plain::copy_from_bytes(&mut counters[..], &cpu)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the counters are too short"))?;
        sum = sum + Counters::from(counters);
    }
    Ok(sum)
}

/// Writes counters with the names of their verdicts.
pub fn by_name<S: Serializer>(counters: &Counters, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(Verdict::ALL.map(|verdict| (verdict.name(), counters[verdict])))
}
