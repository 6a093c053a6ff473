//! The tables of client activity in the XDP program, by port and by client address.
//!
//! A table is an array map that is mapped into this process, so reading it takes no system calls. Each table has
//! several stripes, so that CPUs can count without sharing memory. The value of an entry is the sum over all stripes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd as _};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use memmap2::{MmapOptions, MmapRaw};
use tcp_bounce_wire::address::AddressBits;
use tcp_bounce_wire::{Bucket, ClientCounters, ClientCounts, TelemetrySettings};

use super::TcpBounceSkel;

/// The number of TCP ports, and of entries in each stripe of a [`PortTable`].
const PORTS: usize = 1 << u16::BITS;

/// The maximum number of stripes in a table. Both tables of a program together need 1.5 MiB of memory for each stripe.
const MAX_STRIPES: usize = 16;

/// Returns the number of stripes for the CPUs of this machine, a power of two, and whether CPUs share stripes.
///
/// # Errors
///
/// The error of reading `/sys/devices/system/cpu/possible`; `InvalidData` if the file contains no list of CPUs.
pub fn stripes() -> io::Result<(u32, bool)> {
    let possible = match fs::read_to_string("/sys/devices/system/cpu/possible") {
        // There is no `/sys`, for example in a chroot.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((MAX_STRIPES as u32, true)),
        result => result?,
    };
    // The list has ranges, such as `0-1,4-5`. A CPU selects its stripe by its number, so the highest number matters.
    let last = possible.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<usize>().ok());
    let cpus = last.ok_or(io::ErrorKind::InvalidData)?.saturating_add(1).next_power_of_two();
    Ok((cpus.min(MAX_STRIPES) as u32, cpus > MAX_STRIPES))
}

/// The 64-bit words of a map, in memory that this process shares with the kernel.
#[derive(Debug)]
struct SharedWords(MmapRaw);

impl SharedWords {
    /// Maps the first `length` bytes of `map` for reading.
    ///
    /// # Errors
    ///
    /// The error of `mmap(2)`.
    fn new(map: impl AsFd, length: usize) -> io::Result<Self> {
        MmapOptions::new().len(length).map_raw_read_only(map.as_fd().as_raw_fd()).map(Self)
    }

    /// Returns the number of words.
    fn len(&self) -> usize {
        self.0.len() / size_of::<AtomicU64>()
    }

    /// Returns the current value of the word at `index`.
    fn get(&self, index: usize) -> u64 {
        assert!(index < self.len());
        // SAFETY: The word lies within the mapping, which lives as long as `self` and is aligned to a page. The XDP
        // program writes whole words, so an atomic load never sees a partial write.
        unsafe { (*self.0.as_ptr().cast::<AtomicU64>().add(index)).load(Relaxed) }
    }

    /// Reads the [`ClientCounters`] that begin at the word `index`.
    fn counts(&self, index: usize) -> ClientCounts {
        ClientCounts { syns: self.get(index), completed: self.get(index + 1) }
    }
}

/// The table of client activity by port, of one loaded program.
#[derive(Debug)]
pub struct PortTable(SharedWords);

impl PortTable {
    /// Maps the table of `program`, which was loaded with this number of `stripes`.
    ///
    /// # Errors
    ///
    /// The error of `mmap(2)`.
    pub fn new(program: &TcpBounceSkel, stripes: u32) -> io::Result<Self> {
        SharedWords::new(&program.maps.PORTS, stripes as usize * PORTS * size_of::<ClientCounters>()).map(Self)
    }

    /// Returns the counts of `port`, summed over all stripes.
    pub fn get(&self, port: u16) -> ClientCounts {
        const WORDS: usize = size_of::<ClientCounters>() / size_of::<u64>();
        let entries = (usize::from(port)..self.0.len() / WORDS).step_by(PORTS);
        entries.map(|entry| self.0.counts(entry * WORDS)).sum()
    }
}

/// The numbers of SYNs to excluded ports, of one loaded program.
#[derive(Debug)]
pub struct ExcludedSyns(SharedWords);

impl ExcludedSyns {
    /// Maps the numbers of `program`.
    ///
    /// # Errors
    ///
    /// The error of `mmap(2)`.
    pub fn new(program: &TcpBounceSkel) -> io::Result<Self> {
        SharedWords::new(&program.maps.EXCLUDED_SYNS, PORTS * size_of::<u64>()).map(Self)
    }

    /// Returns the number of SYNs to `port` while it was excluded.
    pub fn get(&self, port: u16) -> u64 {
        self.0.get(port.into())
    }
}

/// The table of client activity by client address, of one loaded program. It keeps the most active clients.
#[derive(Debug)]
pub struct SourceTable(SharedWords);

impl SourceTable {
    /// Maps the table of `program`, which was loaded with this number of `stripes`.
    ///
    /// # Errors
    ///
    /// The error of `mmap(2)`.
    pub fn new(program: &TcpBounceSkel, stripes: u32) -> io::Result<Self> {
        SharedWords::new(&program.maps.SOURCES, stripes as usize * Bucket::COUNT * size_of::<Bucket>()).map(Self)
    }

    /// Adds the counts of each client in the table to `sum`.
    ///
    /// Returns whether any bucket is full. If so, new clients may have replaced less active clients, and `sum` may be
    /// incomplete.
    pub fn add_to(&self, sum: &mut BTreeMap<IpAddr, ClientCounts>) -> bool {
        const BUCKET_WORDS: usize = size_of::<Bucket>() / size_of::<u64>();
        // A slot has two words of address and two words of counts.
        const SLOT_WORDS: usize = 4;
        let mut is_full = false;
        for bucket in (0..self.0.len()).step_by(BUCKET_WORDS) {
            let slots = (bucket..bucket + BUCKET_WORDS).step_by(SLOT_WORDS);
            let mut used = 0;
            for slot in slots.clone() {
                let source = AddressBits { high: self.0.get(slot), low: self.0.get(slot + 1) };
                let counts = self.0.counts(slot + 2);
                if counts.total() != 0 {
                    *sum.entry(address(source)).or_default() += counts;
                    used += 1;
                }
            }
            is_full |= used == slots.len();
        }
        is_full
    }
}

/// The tables of all loaded programs, summed on reading.
#[derive(Debug)]
pub struct ClientTables {
    ports: Vec<PortTable>,
    excluded_syns: Vec<ExcludedSyns>,
    sources: Vec<SourceTable>,
}

impl ClientTables {
    /// Maps the tables of `programs`, which were loaded with `settings`. Disabled tables are skipped.
    ///
    /// # Errors
    ///
    /// The error of `mmap(2)`.
    pub fn new<'a>(
        programs: impl Iterator<Item = &'a TcpBounceSkel<'static>> + Clone,
        settings: TelemetrySettings,
    ) -> io::Result<Self> {
        let TelemetrySettings { ports, sources, stripes, .. } = settings;
        let with_ports = programs.clone().filter(|_| ports);
        let with_sources = programs.filter(|_| sources);
        Ok(Self {
            excluded_syns: with_ports.clone().map(ExcludedSyns::new).collect::<Result<_, _>>()?,
            ports: with_ports.map(|program| PortTable::new(program, stripes)).collect::<Result<_, _>>()?,
            sources: with_sources.map(|program| SourceTable::new(program, stripes)).collect::<Result<_, _>>()?,
        })
    }

    /// Returns the counts of `port`, summed over all programs.
    pub fn port(&self, port: u16) -> ClientCounts {
        self.ports.iter().map(|table| table.get(port)).sum()
    }

    /// Returns the number of SYNs to `port` while it was excluded, summed over all programs.
    pub fn excluded_syns(&self, port: u16) -> u64 {
        self.excluded_syns.iter().map(|syns| syns.get(port)).sum()
    }

    /// Returns the counts of each client, summed over all programs, and whether clients may be missing.
    pub fn sources(&self) -> (BTreeMap<IpAddr, ClientCounts>, bool) {
        let mut sum = BTreeMap::new();
        let mut is_full = false;
        for table in &self.sources {
            is_full |= table.add_to(&mut sum);
        }
        (sum, is_full)
    }
}

/// Returns the IP address that the program stores as [`AddressBits`]. IPv4-mapped addresses are converted to IPv4.
pub fn address(AddressBits { high, low }: AddressBits) -> IpAddr {
    Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)).to_canonical()
}
