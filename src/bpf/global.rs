//! Globals that user space writes.

use core::cell::UnsafeCell;

/// A global that user space writes and the program reads. The cell keeps the compiler from taking the value that it
/// was built with for the one that it has.
#[repr(transparent)]
pub struct Global<T>(UnsafeCell<T>);

// SAFETY: The program only reads it. What user space writes while the program runs is a set of bits, each of
// which is good on its own.
unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    #[inline(always)]
    pub fn get(&self) -> &T {
        // SAFETY: No reference to it is ever mutable.
        unsafe { &*self.0.get() }
    }
}
