//! The error of the crate, which joins the errors of its layers.

use crate::config::ConfigError;
use crate::diagnosis;
use crate::host::HostError;
use crate::process::ProcessError;
use crate::responder::ResponderError;
use crate::telemetry::TelemetryError;
use crate::ui::{Message, UiError};
use crate::xdp::XdpError;

/// The reason why tcp-bounce did not start, or stopped. When it is returned, nothing is attached.
///
/// [`Error::with_causes`] describes the error in one line, and [`Error::hint`] returns the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Signal handlers, threads or privileges cannot be set up.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The kernel or an interface is unfit, or the host cannot be read.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The XDP program cannot be loaded, or its maps cannot be read.
    #[error(transparent)]
    Xdp(#[from] XdpError),
    /// The program cannot be attached, or is attached no longer.
    #[error(transparent)]
    Responder(#[from] ResponderError),
    /// The report or the metrics cannot be published.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The terminal or standard output cannot be used.
    #[error(transparent)]
    Ui(#[from] UiError),
}

impl Error {
    /// Returns the remedy, if there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.hint(),
            Self::Process(error) => error.hint(),
            Self::Host(error) => error.hint(),
            Self::Xdp(error) => error.hint(),
            Self::Responder(error) => error.hint(),
            Self::Telemetry(error) => error.hint(),
            Self::Ui(error) => error.hint(),
        }
    }

    /// Returns the messages of libbpf, if loading the program failed.
    pub fn libbpf_messages(&self) -> &[String] {
        match self {
            Self::Xdp(error) => error.libbpf_messages(),
            Self::Responder(error) => error.libbpf_messages(),
            _ => &[],
        }
    }

    /// Returns the error and its causes in one line.
    pub fn with_causes(&self) -> String {
        diagnosis::with_causes(self)
    }
}

impl From<&Error> for Message {
    fn from(error: &Error) -> Self {
        Self::Error { message: error.with_causes(), hint: error.hint(), libbpf: error.libbpf_messages().to_vec() }
    }
}
