//! The Internet checksum (RFC 1071).
//!
//! Words are read and written in memory order, without swapping bytes: the one's complement sum does not depend on the
//! byte order (RFC 1071, 2(B)). Checksum fields are therefore `[u8; 2]`.

use core::ops::Add;

use crate::frame::{Frame, MAX_OFFSET, Span};

/// A one's complement sum, not yet folded to 16 bits. It can hold the sum of 65,536 32-bit words (256 KiB).
#[derive(Clone, Copy, Debug)]
pub struct Sum(pub u64);

impl Sum {
    /// The empty sum.
    pub const ZERO: Self = Self(0);

    /// The length of the longest span that [`Sum::of`] supports, in bytes.
    pub const MAX_LENGTH: usize = 1552;

    /// Returns the sum of a span of at most [`Sum::MAX_LENGTH`] bytes, or `None` if the span exceeds the accessible
    /// part of `frame`.
    #[inline(always)]
    pub fn of<F: Frame>(frame: &mut F, Span { offset, length }: Span) -> Option<Self> {
        const STEP: usize = 8;
        let mut sum = Self::ZERO;
        for index in 0..Self::MAX_LENGTH / STEP {
            if (index + 1) * STEP > length {
                break;
            }
            let [a, b, c, d, e, f, g, h] = *frame.at::<[u8; STEP]>(offset + index * STEP)?;
            sum = sum.words([a, b, c, d]).words([e, f, g, h]);
        }
        // The mask gives the verifier an upper bound for the offset.
        let mut rest = (offset + length / STEP * STEP) & MAX_OFFSET;
        if length & 4 != 0 {
            sum = sum.words(*frame.at(rest)?);
            rest += 4;
        }
        if length & 2 != 0 {
            sum = sum.word(*frame.at(rest)?);
            rest += 2;
        }
        if length & 1 != 0 {
            sum = sum.word([*frame.at(rest)?, 0]);
        }
        Some(sum)
    }

    /// Returns the sum of `bytes`. A zero follows an odd number of bytes.
    #[inline(always)]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<2>();
        let sum = words.iter().fold(Self::ZERO, |sum, &word| sum.word(word));
        rest.first().map_or(sum, |&last| sum.word([last, 0]))
    }

    /// Adds a 16-bit word in memory order.
    #[inline(always)]
    pub const fn word(self, word: [u8; 2]) -> Self {
        Self(self.0.wrapping_add(u16::from_ne_bytes(word) as u64))
    }

    /// Adds two 16-bit words in memory order.
    #[inline(always)]
    pub const fn words(self, words: [u8; 4]) -> Self {
        Self(self.0.wrapping_add(u32::from_ne_bytes(words) as u64))
    }

    /// Returns the sum of the bytes if they start one byte later (RFC 1071, 2(B)).
    #[inline(always)]
    pub const fn swapped(self) -> Self {
        Self(self.fold().swap_bytes() as u64)
    }

    /// Folds the sum into 16 bits by adding all carries back.
    #[inline(always)]
    pub const fn fold(self) -> u16 {
        // The sum is below 2^48 and has three digits of 16 bits. The multiplication adds all three in the topmost
        // digit. The digit below holds the same sum, so its carry into the topmost digit is the carry to add back.
        (self.0.wrapping_mul(0x0001_0001_0001_0001) >> 48) as u16
    }

    /// Returns the checksum in memory order: the complement of the folded sum.
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
