//! The Internet checksum (RFC 1071).
//!
//! Words are taken from memory as they lie and results go back the same way, with no byte swapped: the sum is the
//! same in either byte order (RFC 1071, 2(B)). That is why checksum fields are `[u8; 2]`.

use core::ops::Add;

/// A one's complement sum that is not folded yet, of at most 65,536 double words: four times the longest packet.
#[derive(Clone, Copy, Debug)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// Adds a 16-bit word.
    #[inline(always)]
    pub const fn word(self, word: [u8; 2]) -> Self {
        Self(self.0.wrapping_add(u16::from_ne_bytes(word) as u64))
    }

    /// Adds two 16-bit words.
    #[inline(always)]
    pub const fn words(self, words: [u8; 4]) -> Self {
        Self(self.0.wrapping_add(u32::from_ne_bytes(words) as u64))
    }

    /// The sum in 16 bits, with the carries added back in.
    #[inline(always)]
    pub const fn fold(self) -> u16 {
        // The sum is less than 2^48: three 16-bit digits. This multiplication adds them all up in the topmost digit, and
        // to that, what it carries out of the one below: as much as there is to be added back.
        (self.0.wrapping_mul(0x0001_0001_0001_0001) >> 48) as u16
    }

    /// The checksum: the complement of the folded sum.
    #[inline(always)]
    pub const fn checksum(self) -> [u8; 2] {
        (!self.fold()).to_ne_bytes()
    }
}

impl Add for Sum {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}
