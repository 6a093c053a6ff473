//! Output to the user: messages, the printer thread and the full-screen view.

mod error;
mod journal;
pub mod message;
mod numbers;
pub mod output;
pub mod printer;
pub mod profile_list;
mod progress;
mod status_line;
pub mod tui;

pub use error::UiError;
pub use message::Message;
pub use printer::Printer;
pub use tui::Tui;
