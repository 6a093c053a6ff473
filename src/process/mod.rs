//! The tcp-bounce process: its privileges, its signal handlers and its service manager.

mod error;
pub mod privileges;
pub mod service;
pub mod signals;

pub use error::ProcessError;
pub use service::ServiceManager;
pub use signals::SignalHandlers;
