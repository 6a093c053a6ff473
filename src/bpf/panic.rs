//! The panic handler, which is never reached.

/// Loops forever. A `no_std` program requires a handler.
///
/// A panic that the compiler cannot rule out leaves a call to an undefined symbol, and libbpf refuses the program.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
