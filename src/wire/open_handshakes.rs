//! The table of open handshakes, by which the last ACK of a handshake is recognised if it carries data.
//!
//! A client may send its last ACK with its first data (`TCP_QUICKACK`, `TCP_DEFER_ACCEPT`). This segment looks like
//! data after the last ACK. The table only serves to count such handshakes, if telemetry is enabled. No reply depends on
//! it.

use core::cell::Cell;

/// The number of entries, as a power of two.
const BITS: u32 = 15;

/// The handshakes whose SYN was answered most recently.
///
/// Each entry has the tag of one connection, or 0. A newer handshake replaces an older one with the same index. The
/// older one is then not counted if its last ACK carries data. All CPUs write the table, an entry at a time.
#[derive(Debug)]
#[repr(C)]
pub struct OpenHandshakes([Cell<u16>; 1 << BITS]);

impl OpenHandshakes {
    /// Returns an empty table.
    pub const fn new() -> Self {
        Self([const { Cell::new(0) }; 1 << BITS])
    }

    /// Adds the handshake of the connection with this id.
    #[inline(always)]
    pub fn open(&self, id: u64) {
        let (index, tag) = place(id);
        self.0[index].set(tag);
    }

    /// Removes the handshake of the connection with this id. Returns whether the table contained it.
    #[inline(always)]
    pub fn complete(&self, id: u64) -> bool {
        let (index, tag) = place(id);
        let is_open = self.0[index].get() == tag;
        if is_open {
            self.0[index].set(0);
        }
        is_open
    }
}

impl Default for OpenHandshakes {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the index of a connection's entry, and the connection's tag, which is not 0.
#[inline(always)]
const fn place(id: u64) -> (usize, u16) {
    // The upper bits of the product depend on all bits of the factor.
    let product = (id ^ id >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((product >> (u64::BITS - BITS)) as usize, (product >> 32) as u16 | 1)
}
