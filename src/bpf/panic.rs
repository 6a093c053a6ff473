//! The panic handler, which no loaded program reaches.

/// Loops forever. The compiler requires a panic handler in `no_std` programs.
///
/// If the compiler cannot rule out a panic, the object contains a call to an undefined symbol, and libbpf rejects it.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
