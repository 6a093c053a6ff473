//! The table of open handshakes. It serves to recognise the last ACK of a handshake if that ACK carries data, and the
//! first data of a connection.
//!
//! A client may send its last ACK with its first data (`TCP_QUICKACK` off, `TCP_DEFER_ACCEPT`). This segment looks like
//! data after the last ACK. The table only serves to report such handshakes and the first data, if telemetry is
//! enabled. No reply depends on it.

use core::cell::Cell;

/// The number of entries, as a power of two.
const BITS: u32 = 15;

/// The handshakes whose SYN was answered most recently.
///
/// Each entry has the tag of one connection, or 0. The tag is odd while the handshake is open, and even while the
/// client's first data is awaited. A newer handshake replaces an older one with the same index. The older one is then
/// not reported if its last ACK carries data, and neither is its first data. All CPUs write the table, an entry at a
/// time.
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

    /// Completes the handshake of the connection with this id. Returns whether the table contained it, open.
    #[inline(always)]
    pub fn complete(&self, id: u64) -> bool {
        let (index, tag) = place(id);
        let is_open = self.0[index].get() == tag;
        if is_open {
            self.0[index].set(tag - 1);
        }
        is_open
    }

    /// Removes the handshake of the connection with this id, open or completed. Returns whether the table contained it,
    /// so that the next data of the connection is its first.
    #[inline(always)]
    pub fn remove(&self, id: u64) -> bool {
        let (index, tag) = place(id);
        // A tag is at least 3, so an empty entry matches none.
        let is_first = self.0[index].get() | 1 == tag;
        if is_first {
            self.0[index].set(0);
        }
        is_first
    }
}

impl Default for OpenHandshakes {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the index of a connection's entry, and the connection's tag: an odd number of at least 3.
#[inline(always)]
const fn place(id: u64) -> (usize, u16) {
    // The upper bits of the product depend on all bits of the factor.
    let product = (id ^ id >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((product >> (u64::BITS - BITS)) as usize, (product >> 32) as u16 | 3)
}
