//! Counters of frames by verdict, the value of the XDP program's per-CPU map.

use core::iter::Sum;
use core::ops::{Add, Index};

use crate::verdict::{Verdict, XdpAction};

/// The number of frames for each verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters([u64; Verdict::ALL.len()]);

impl Counters {
    /// Increments the counter of the verdict with the number `index`. Other numbers have no effect.
    #[inline(always)]
    pub fn count(&mut self, index: usize) {
        if let Some(counter) = self.0.get_mut(index) {
            *counter = counter.wrapping_add(1);
        }
    }

    /// Returns the number of completed handshakes, for all post-handshake actions except echo.
    ///
    /// Echo cannot tell the last ACK of a handshake from later segments. It counts both as [`Verdict::Later`] or
    /// [`Verdict::Replied`]. A last ACK whose frame has no room for the banner is [`Verdict::NoRoomForPayload`].
    pub fn completed(&self) -> u64 {
        self[Verdict::Completed]
            + self[Verdict::Reset]
            + self[Verdict::Closed]
            + self[Verdict::Greeted]
            + self[Verdict::Accepted]
    }

    /// Returns the number of frames with this XDP action, for all verdicts.
    pub fn total(&self, action: XdpAction) -> u64 {
        Verdict::ALL.into_iter().filter(|verdict| verdict.action() == action).map(|verdict| self[verdict]).sum()
    }
}

impl From<[u64; Verdict::ALL.len()]> for Counters {
    /// Converts counters in the order of [`Verdict::ALL`].
    fn from(counters: [u64; Verdict::ALL.len()]) -> Self {
        Self(counters)
    }
}

impl Index<Verdict> for Counters {
    type Output = u64;

    fn index(&self, verdict: Verdict) -> &u64 {
        &self.0[verdict as usize]
    }
}

impl Add for Counters {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = sum.wrapping_add(more);
        }
        self
    }
}

impl Sum for Counters {
    fn sum<I: Iterator<Item = Self>>(counters: I) -> Self {
        counters.fold(Self::default(), Self::add)
    }
}
