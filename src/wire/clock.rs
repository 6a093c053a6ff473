//! The clock of TCP timestamps, which ticks in milliseconds as Linux's does.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The fractional bits of [`Clock`].
const FRACTION_BITS: u32 = 20;

/// Converts jiffies to milliseconds: the milliseconds in a jiffy, as a fixed-point number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Clock(u32);

impl Clock {
    /// Returns the clock of a kernel that counts `hz` jiffies in a second (`CONFIG_HZ`).
    pub const fn new(hz: u32) -> Self {
        let hz = if hz == 0 { 1 } else { hz } as u64;
        Self((((1000 << FRACTION_BITS) + hz / 2) / hz) as u32)
    }

    /// Returns the lower 32 bits of the milliseconds in `jiffies`.
    #[inline(always)]
    pub const fn milliseconds(self, jiffies: u64) -> u32 {
        (jiffies.wrapping_mul(self.0 as u64) >> FRACTION_BITS) as u32
    }

    /// Returns [`Self::milliseconds`] when a kernel with `hz` jiffies in a second boots: 5 minutes before the counter
    /// exceeds 32 bits (`INITIAL_JIFFIES`).
    pub const fn at_boot(self, hz: u32) -> u32 {
        self.milliseconds((1 << 32) - 300 * hz as u64)
    }
}
