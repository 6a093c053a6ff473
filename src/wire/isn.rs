//! The initial sequence number of the SYN-ACK.

/// Where the initial sequence number comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isn {
    /// It is always this.
    Fixed(u32),
    /// The lower half of [`SipHash13`] of addresses and ports under this key (RFC 6528): nobody who does not see the
    /// SYN-ACK can know it.
    ///
    /// It depends on nothing that changes while the connection lasts, so every segment tells whether it belongs to a
    /// SYN-ACK of ours. The client's own ISN is not in it for that reason: later segments do not tell it.
    Keyed([u8; 16]),
}

/// SipHash-1-3 (Aumasson and Bernstein, 2012), block by block.
///
/// The crates that have it take bytes one by one into a buffer, which the verifier does not follow. The tests compare
/// it with one of them.
#[derive(Clone, Copy, Debug)]
pub struct SipHash13([u64; 4]);

impl SipHash13 {
    /// Begins a hash under `key`: its two halves, read as little-endian numbers.
    #[inline(always)]
    pub const fn new([first, second]: [u64; 2]) -> Self {
        Self([
            first ^ 0x736f_6d65_7073_6575,
            second ^ 0x646f_7261_6e64_6f6d,
            first ^ 0x6c79_6765_6e65_7261,
            second ^ 0x7465_6462_7974_6573,
        ])
    }

    /// Takes in eight bytes.
    #[inline(always)]
    pub const fn block(mut self, bytes: [u8; 8]) -> Self {
        let block = u64::from_le_bytes(bytes);
        self.0[3] ^= block;
        self = self.round();
        self.0[0] ^= block;
        self
    }

    /// Takes in the last four bytes, of `length` in all, and gives the hash.
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
