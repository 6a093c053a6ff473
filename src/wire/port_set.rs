//! Sets of TCP ports.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A set of TCP ports, with one bit for each of the 65,536 ports.
///
/// A bit's index is the port in network byte order, read as a native number. The XDP program therefore swaps no bytes.
/// User space runs on the same machine, so both sides use the same index.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PortSet([u8; 8192]);

impl PortSet {
    /// Returns the empty set.
    pub const fn new() -> Self {
        Self([0; 8192])
    }

    /// Returns whether the set contains `port`.
    #[inline(always)]
    pub fn contains(&self, port: u16) -> bool {
        let port = port.to_be();
        self.0[port as usize / 8] >> (port % 8) & 1 != 0
    }

    /// Adds `port`.
    pub fn insert(&mut self, port: u16) {
        let port = port.to_be();
        self.0[port as usize / 8] |= 1 << (port % 8);
    }
}

impl Default for PortSet {
    fn default() -> Self {
        Self::new()
    }
}
