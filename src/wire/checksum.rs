//! The Internet checksum (RFC 1071).
//!
//! Words are taken from memory as they lie and results go back the same way, with no byte swapped: the sum is the
//! same in either byte order (RFC 1071, 2(B)). That is why checksum fields are `[u8; 2]`.

use core::ops::Add;

use crate::frame::{Frame, MAX_OFFSET};
use crate::ip::Span;
use crate::ipv6;
use crate::post_handshake::MOST_ECHOED;
use crate::tcp::Tcp;

/// A one's complement sum that is not folded yet, of at most 65,536 double words: four times the longest packet.
#[derive(Clone, Copy, Debug)]
pub struct Sum(pub u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// The sum of a part of `frame` that is no longer than two addresses and a segment with [`MOST_ECHOED`] bytes of data;
    /// `None` if it does not lie within the frame.
    #[inline(always)]
    pub fn of<F: Frame>(frame: &mut F, Span { offset, length }: Span) -> Option<Self> {
        const STEP: usize = 8;
        let mut sum = Self::ZERO;
        for index in 0..(2 * size_of::<ipv6::Address>() + Tcp::MAX_LENGTH + MOST_ECHOED as usize) / STEP {
            if (index + 1) * STEP > length {
                break;
            }
            let [a, b, c, d, e, f, g, h] = *frame.at::<[u8; STEP]>(offset + index * STEP)?;
            sum = sum.words([a, b, c, d]).words([e, f, g, h]);
        }
        // The mask is for the verifier.
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
