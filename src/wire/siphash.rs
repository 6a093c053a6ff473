//! SipHash-1-3 (Aumasson and Bernstein, 2012) for inputs of whole 8-byte blocks and a last block of 4 bytes.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The state of a SipHash-1-3 computation.
///
/// Existing SipHash crates buffer their input byte by byte, in loops that the verifier rejects. The tests compare this
/// implementation with such a crate.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct SipHash13([u64; 4]);

impl SipHash13 {
    /// Starts a hash under a key.
    pub const fn new(key: [u8; 16]) -> Self {
        let key = u128::from_le_bytes(key);
        let (first, second) = (key as u64, (key >> 64) as u64);
        Self([
            first ^ 0x736f_6d65_7073_6575,
            second ^ 0x646f_7261_6e64_6f6d,
            first ^ 0x6c79_6765_6e65_7261,
            second ^ 0x7465_6462_7974_6573,
        ])
    }

    /// Adds a block of eight bytes.
    #[inline(always)]
    pub const fn block(mut self, bytes: [u8; 8]) -> Self {
        let block = u64::from_le_bytes(bytes);
        self.0[3] ^= block;
        self = self.round();
        self.0[0] ^= block;
        self
    }

    /// Adds the last four bytes of the input and returns the hash. `length` is the length of the whole input in bytes.
    #[inline(always)]
    pub const fn finish(self, [a, b, c, d]: [u8; 4], length: u8) -> u64 {
        let mut state = self.block([a, b, c, d, 0, 0, 0, length]);
        state.0[2] ^= 0xff;
        let [a, b, c, d] = state.round().round().round().0;
        a ^ b ^ c ^ d
    }

    #[inline(always)]
    const fn round(self) -> Self {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        c = c.wrapping_add(d);
        b = b.rotate_left(13) ^ a;
        d = d.rotate_left(16) ^ c;
        a = a.rotate_left(32);
        c = c.wrapping_add(b);
        a = a.wrapping_add(d);
        b = b.rotate_left(17) ^ c;
        d = d.rotate_left(21) ^ a;
        c = c.rotate_left(32);
        Self([a, b, c, d])
    }
}
