//! Global variables that user space and the XDP programs share.

use core::cell::UnsafeCell;

/// A global variable in a map that user space can access.
///
/// The cell keeps the compiler from assuming that the variable still has its initial value.
#[repr(transparent)]
pub struct Global<T>(UnsafeCell<T>);

// SAFETY: The program reads plain numbers, and any number is valid. A number may be half old and half new while user
// space writes it. User space never writes the active set of destinations. Only benchmark programs write variables, all
// of which contain a `Cell`. These programs run on one CPU.
unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    #[inline(always)]
    pub fn get(&'static self) -> &'static T {
        // SAFETY: The program holds the map that contains this memory, and no mutable reference to the memory exists.
        unsafe { &*self.0.get() }
    }
}
