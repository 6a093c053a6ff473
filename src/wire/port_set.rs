//! Sets of TCP ports.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A set of TCP ports, with one byte for each of the 65,536 ports.
///
/// A bit would take more instructions to test. A byte's index is the port in network byte order, read as a native
/// number. The XDP program therefore swaps no bytes. User space runs on the same machine, so both sides use the same
/// index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PortSet([u8; 65536]);

impl PortSet {
    /// Returns the empty set.
    pub const fn new() -> Self {
        Self([0; 65536])
    }

    /// Returns whether the set contains `port`.
    #[inline(always)]
    pub fn contains(&self, port: u16) -> bool {
        self.0[port.to_be() as usize] != 0
    }

    /// Adds `port`.
    pub fn insert(&mut self, port: u16) {
        self.0[port.to_be() as usize] = 1;
    }
}

impl Default for PortSet {
    fn default() -> Self {
        Self::new()
    }
}
