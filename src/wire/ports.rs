//! A set of TCP ports.

use zerocopy::{Immutable, IntoBytes};

/// A bit for each of the 65,536 ports.
#[derive(Clone, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub struct Ports([u64; 1024]);

impl Ports {
    /// The empty set.
    pub const fn new() -> Self {
        Self([0; 1024])
    }

    /// Whether `port` is in the set.
    #[inline(always)]
    pub fn contains(&self, port: u16) -> bool {
        self.0[port as usize / 64] & (1 << (port % 64)) != 0
    }

    /// Adds `port`.
    pub fn insert(&mut self, port: u16) {
        self.0[port as usize / 64] |= 1 << (port % 64);
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self::new()
    }
}
