//! Global variables that user space writes.

use core::cell::UnsafeCell;

/// A global variable that user space writes and the program reads.
///
/// The cell keeps the compiler from assuming the initial value.
#[repr(transparent)]
pub struct Global<T>(UnsafeCell<T>);

// SAFETY: The program reads plain numbers, any of which is a valid value. If user space writes at the same time, a
// number may be half old and half new for a moment. Sets of destinations are not active while they are written. The
// cells of the benchmark belong to it, and it runs on one CPU.
unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    #[inline(always)]
    pub fn get(&'static self) -> &'static T {
        // SAFETY: The program holds the map with this memory, and no mutable reference to it exists.
        unsafe { &*self.0.get() }
    }
}
