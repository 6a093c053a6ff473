//! The build script. It makes the XDP program for the feature `responder`, and nothing without it.

#[cfg(feature = "responder")]
#[path = "scripts/object.rs"]
mod object;
#[cfg(not(feature = "responder"))]
mod object {
    pub fn main() {
        println!("cargo::rerun-if-changed=build.rs");
    }
}

fn main() {
    object::main();
}
