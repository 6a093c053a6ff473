//! Files in TOML: reads their tables and values, and explains each mistake with its line, its cause and the remedy.

mod error;
mod keys;
mod reader;
mod source;
mod syntax;

pub use error::TomlError;
pub use keys::{Dialect, Key, Table};
pub use reader::{Reader, Value};
pub use syntax::{has_keys, parse};
