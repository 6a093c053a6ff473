//! Output streams, and the messages of all commands: errors, and the status line on a terminal.

mod error_message;
mod journal;
mod status_line;
mod stream;

pub use error_message::ErrorMessage;
pub use journal::Priority;
pub use status_line::StatusLine;
pub use stream::{Entry, Output, print_errors, print_text};

/// The schema version of the JSON output and of the port report. It is incremented when a field changes its meaning.
pub const SCHEMA_VERSION: u32 = 2;
