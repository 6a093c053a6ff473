//! Globals that user space writes.

use core::cell::UnsafeCell;

/// A global that user space writes and the program reads. The cell keeps the compiler from taking the value that it
/// was built with for the one that it has.
#[repr(transparent)]
pub struct Global<T>(UnsafeCell<T>);

// SAFETY: What user space writes while the program runs is read as plain numbers, any of which is a valid value. One that is
// torn, half of the old and half of the new, is wrong for a moment; a set of addresses is not in use meanwhile.
// (The cells of the benchmark are its own, and it runs on one CPU.)
unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    #[inline(always)]
    pub fn get(&'static self) -> &'static T {
        // SAFETY: It is memory of a map that the program holds, and no reference to it is ever mutable.
        unsafe { &*self.0.get() }
    }
}
