//! Test support for the packet logic, shared with the tests of the loaded program and the fuzzer.
//!
//! [`request`] builds frames, [`setup`] runs the packet logic on them, and [`assertions`] checks the results. Parsing
//! and expected results are independent of the crate: [`segment`] uses etherparse, and [`syn_options`] has its own
//! parser.

#![allow(dead_code, reason = "each test crate uses its own part of this")]
#![allow(clippy::module_inception, reason = "another test crate includes this under the name of a file")]
#![allow(unused_imports, reason = "each test crate uses its own part of this")]

pub mod assertions;
pub mod generator;
pub mod payload;
pub mod request;
pub mod segment;
pub mod setup;
pub mod syn_options;

pub use assertions::*;
pub use payload::*;
pub use request::*;
pub use segment::*;
pub use setup::*;
pub use syn_options::*;
