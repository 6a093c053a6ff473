//! What cannot happen.

/// Every `no_std` program must have one. None is ever reached: a panic path that the compiler does not remove
/// leaves a symbol behind for which libbpf refuses the program.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
