//! Fuzzes the packet logic with arbitrary packets and setups, and checks the invariants in `src/wire/tests/common`.

#![no_main]

#[path = "../../src/wire/tests/common/mod.rs"]
mod common;
#[path = "../../src/wire/tests/common/input.rs"]
mod input;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| input::run(bytes));
