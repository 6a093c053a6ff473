//! Support for the tests of the packet logic, which the tests of the loaded program and the fuzzer use, too.
//!
//! [`request`] builds frames, [`setup`] runs the packet logic over them, and [`assertions`] checks the result. Parsing
//! and rules are independent of the crate: [`segment`] uses etherparse, and [`syn_options`] has a parser of its own.

#![allow(dead_code, reason = "each test crate uses its own part of this")]
#![allow(clippy::module_inception, reason = "another test crate includes this under the name of a file")]
#![allow(unused_imports, reason = "each test crate uses its own part of this")]

pub mod assertions;
pub mod generator;
pub mod request;
pub mod segment;
pub mod setup;
pub mod syn_options;

pub use assertions::*;
pub use request::*;
pub use segment::*;
pub use setup::*;
pub use syn_options::*;
