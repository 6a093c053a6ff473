//! Reads per-CPU maps.

use std::io;

use libbpf_rs::{MapCore, MapFlags};

/// Returns the first `N` 64-bit numbers of the entry with key 0 in the per-CPU `map`, each summed over all CPUs.
///
/// # Errors
///
/// The error of `BPF_MAP_LOOKUP_ELEM`; `InvalidData` if the entry is shorter than `N` numbers.
pub fn sum<const N: usize>(map: &impl MapCore) -> libbpf_rs::Result<[u64; N]> {
    let mut sums = [0u64; N];
    for value in map.lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY)?.unwrap_or_default() {
        let mut numbers = [0u64; N];
        plain::copy_from_bytes(&mut numbers[..], &value)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the map entry is too short"))?;
        for (sum, number) in sums.iter_mut().zip(numbers) {
            *sum = sum.wrapping_add(number);
        }
    }
    Ok(sums)
}
