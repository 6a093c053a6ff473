//! Fuzzes the packet logic: any packet with any setup. The invariants are those of `src/wire/tests/common`.

#![no_main]

#[path = "../../src/wire/tests/common/mod.rs"]
mod common;
#[path = "../../src/wire/tests/common/input.rs"]
mod input;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| input::run(bytes));
