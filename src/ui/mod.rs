//! Output to the user: messages, their formats, the printer thread and the full-screen view.

mod error;
pub mod format;
pub mod message;
pub mod printer;
pub mod tui;

pub use error::UiError;
pub use message::Message;
pub use printer::Printer;
pub use tui::Tui;
