//! Reads per-CPU maps.
//!
//! libbpf gets the number of CPUs from `/sys`, which may be missing in a chroot. This code counts the values that the
//! kernel writes.

use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use libbpf_rs::{MapCore, libbpf_sys};

/// The largest number of CPUs that a kernel can support (`CONFIG_NR_CPUS`).
const MAX_CPUS: usize = 8192;

/// A number that no counter reaches. The kernel did not write values that contain it.
const UNWRITTEN: u64 = u64::MAX;

/// The number of possible CPUs, or [`MAX_CPUS`] before the first lookup.
static CPUS: AtomicUsize = AtomicUsize::new(MAX_CPUS);

/// Returns the first `N` 64-bit numbers of the entry with key 0 in the per-CPU `map`, each summed over all CPUs.
///
/// # Errors
///
/// The error of `BPF_MAP_LOOKUP_ELEM`; `InvalidData` if the entry is shorter than `N` numbers.
pub fn sum<const N: usize>(map: &impl MapCore) -> libbpf_rs::Result<[u64; N]> {
    let length = (map.value_size() as usize).div_ceil(size_of::<u64>());
    if length < N {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the map entry is too short").into());
    }
    let mut values = vec![UNWRITTEN; CPUS.load(Relaxed) * length];
    let (map, key) = (map.as_fd().as_raw_fd(), 0u32);
    // SAFETY: The kernel reads the key, and writes a value for each possible CPU, padded to 8 bytes. `values` has room
    // for all of them.
    let status = unsafe { libbpf_sys::bpf_map_lookup_elem(map, (&raw const key).cast(), values.as_mut_ptr().cast()) };
    if status < 0 {
        return Err(io::Error::from_raw_os_error(-status).into());
    }
    let (mut sums, mut cpus) = ([0u64; N], 0);
    for value in values.chunks_exact(length).take_while(|value| !value[..N].contains(&UNWRITTEN)) {
        for (sum, number) in sums.iter_mut().zip(value) {
            *sum = sum.wrapping_add(*number);
        }
        cpus += 1;
    }
    CPUS.store(cpus, Relaxed);
    Ok(sums)
}
