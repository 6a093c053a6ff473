//! A set of TCP ports.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A bit for each of the 65,536 ports. The index of a port's bit is its number as it lies in a packet, read without
/// swapping its bytes: both sides that use a set are on one machine.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PortSet([u64; 1024]);

impl PortSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self([0; 1024])
    }

    /// Whether `port` is in the set.
    #[inline(always)]
    pub fn contains(&self, port: u16) -> bool {
        let port = port.to_be();
        self.0[port as usize / 64] & (1 << (port % 64)) != 0
    }

    /// Adds `port`.
    pub fn insert(&mut self, port: u16) {
        let port = port.to_be();
        self.0[port as usize / 64] |= 1 << (port % 64);
    }
}

impl Default for PortSet {
    fn default() -> Self {
        Self::new()
    }
}
