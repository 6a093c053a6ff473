//! What clients did, by port and by source, as the programs count it where they are told to.

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

/// How many ports there are.
const PORTS: usize = 1 << u16::BITS;

/// The most stripes that tables have. Each takes 1.5 MiB.
const MOST_STRIPES: usize = 16;

/// How many stripes tables have on this machine, and whether CPUs share them.
pub fn stripes() -> io::Result<(u32, bool)> {
    // Like `0-3`, or `0-1,4-5`: the number of the last, which may be higher than there are CPUs.
    let possible = fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = possible.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<usize>().ok());
    let cpus = last.ok_or(io::ErrorKind::InvalidData)?.saturating_add(1).next_power_of_two();
    Ok((cpus.min(MOST_STRIPES) as u32, cpus > MOST_STRIPES))
}

/// The numbers of one of the program's maps, in the memory that it shares with the kernel.
#[derive(Debug)]
struct Words(MmapRaw);

impl Words {
    fn of(map: impl AsFd, bytes: usize) -> io::Result<Self> {
        MmapOptions::new().len(bytes).map_raw_read_only(map.as_fd().as_raw_fd()).map(Self)
    }

    fn len(&self) -> usize {
        self.0.len() / size_of::<AtomicU64>()
    }

    /// What it is at this moment.
    fn get(&self, index: usize) -> u64 {
        assert!(index < self.len());
        // SAFETY: It lies within the memory, which is mapped as long as `self` lives and begins where a page does. The
        // kernel writes to it meanwhile, word by word.
        unsafe { (*self.0.as_ptr().cast::<AtomicU64>().add(index)).load(Relaxed) }
    }

    fn count(&self, index: usize) -> ClientCounts {
        ClientCounts { syns: self.get(index), completed: self.get(index + 1) }
    }
}

/// The table by port of one program.
#[derive(Debug)]
pub struct PortTable(Words);

impl PortTable {
    /// That of a program that was told to have so many stripes.
    pub fn of(program: &TcpBounceSkel, stripes: u32) -> io::Result<Self> {
        Words::of(&program.maps.PORTS, stripes as usize * PORTS * size_of::<ClientCounters>()).map(Self)
    }

    /// What clients have done at `port`.
    pub fn get(&self, port: u16) -> ClientCounts {
        (usize::from(port)..self.0.len() / 2).step_by(PORTS).map(|place| self.0.count(place * 2)).sum()
    }
}

/// The table by source of one program.
#[derive(Debug)]
pub struct SourceTable(Words);

impl SourceTable {
    /// That of a program that was told to have so many stripes.
    pub fn of(program: &TcpBounceSkel, stripes: u32) -> io::Result<Self> {
        Words::of(&program.maps.SOURCES, stripes as usize * Bucket::COUNT * size_of::<Bucket>()).map(Self)
    }

    /// Adds what is remembered to `sum`, and returns whether some clients may have been forgotten: there is no place left
    /// somewhere.
    pub fn add_to(&self, sum: &mut BTreeMap<IpAddr, ClientCounts>) -> bool {
        const WORDS: usize = size_of::<Bucket>() / size_of::<u64>();
        let mut is_full = false;
        for bucket in (0..self.0.len()).step_by(WORDS) {
            let places = (bucket..bucket + WORDS).step_by(4);
            let mut used = 0;
            for place in places.clone() {
                let source = AddressBits { high: self.0.get(place), low: self.0.get(place + 1) };
                let count = self.0.count(place + 2);
                if count.total() != 0 {
                    *sum.entry(address(source)).or_default() += count;
                    used += 1;
                }
            }
            is_full |= used == places.len();
        }
        is_full
    }
}

/// The tables of all programs.
#[derive(Debug)]
pub struct ClientTables {
    ports: Vec<PortTable>,
    sources: Vec<SourceTable>,
}

impl ClientTables {
    /// Those that these programs were told to have.
    pub fn of<'a>(
        programs: impl Iterator<Item = &'a TcpBounceSkel<'static>> + Clone,
        told: TelemetrySettings,
    ) -> io::Result<Self> {
        let TelemetrySettings { ports, sources, stripes, .. } = told;
        let with_ports = programs.clone().filter(|_| ports);
        let with_sources = programs.filter(|_| sources);
        Ok(Self {
            ports: with_ports.map(|program| PortTable::of(program, stripes)).collect::<Result<_, _>>()?,
            sources: with_sources.map(|program| SourceTable::of(program, stripes)).collect::<Result<_, _>>()?,
        })
    }

    /// What clients have done at `port`.
    pub fn port(&self, port: u16) -> ClientCounts {
        self.ports.iter().map(|table| table.get(port)).sum()
    }

    /// What clients have done that are remembered, and whether some may have been forgotten.
    pub fn sources(&self) -> (BTreeMap<IpAddr, ClientCounts>, bool) {
        let mut sum = BTreeMap::new();
        // All of them, also if one is full.
        let is_full = self.sources.iter().fold(false, |is_full, table| table.add_to(&mut sum) | is_full);
        (sum, is_full)
    }
}

/// The address that has this number.
pub fn address(AddressBits { high, low }: AddressBits) -> IpAddr {
    Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)).to_canonical()
}

pub(crate) fn words<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let mut words = [0; N];
    plain::copy_from_bytes(&mut words[..], bytes).ok()?;
    Some(words)
}
