//! Passes the directory of this package to the build scripts of dependents, as `DEP_TCP_BOUNCE_WIRE_FOLDER`.
//!
//! The build script of tcp-bounce compiles the package a second time, for the kernel.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::metadata=folder={}", env!("CARGO_MANIFEST_DIR"));
}
