//! Output of a run: messages, the printer thread and the full-screen view.

mod error;
pub mod message;
mod numbers;
pub mod printer;
pub mod profile_list;
mod progress;
pub mod tui;
mod verdicts;

pub use error::UiError;
pub use message::Message;
pub use printer::Printer;
pub use tui::Tui;
