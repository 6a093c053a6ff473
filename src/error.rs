//! The error type of the crate, which combines the errors of its layers.

use crate::config::ConfigError;
use crate::diagnosis;
use crate::host::HostError;
use crate::process::ProcessError;
use crate::responder::ResponderError;
use crate::telemetry::TelemetryError;
use crate::ui::{Message, UiError};
use crate::xdp::XdpError;

/// The error that keeps tcp-bounce from starting, or that ends a run.
///
/// Nothing is attached after [`Run::start`](crate::Run::start) or [`Run::stop`](crate::Run::stop) has failed.
/// [`Error::with_causes`] describes the error in one line. [`Error::hint`] returns advice on how to resolve it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is invalid or contradicts another one, or the key cannot be read or generated.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Signal handlers, threads or privileges cannot be set up.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The kernel or an interface is not supported, a capability is missing, or the state of the host cannot be read.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The XDP program cannot be loaded, or its maps cannot be read.
    #[error(transparent)]
    Xdp(#[from] XdpError),
    /// The XDP program cannot be attached or updated, or is no longer attached.
    ///
    /// [`ResponderError`] also wraps the configuration, host and XDP errors that occur during these steps or in
    /// [`preflight()`](crate::preflight()).
    #[error(transparent)]
    Responder(#[from] ResponderError),
    /// The port report cannot be written, or the metrics server cannot listen.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The terminal or standard output cannot be used.
    #[error(transparent)]
    Ui(#[from] UiError),
}

impl Error {
    /// Returns advice on how to resolve the error, if there is any.
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

    /// Returns the messages of libbpf, if loading the program failed. Otherwise the slice is empty.
    pub fn libbpf_messages(&self) -> &[String] {
        match self {
            Self::Xdp(error) => error.libbpf_messages(),
            Self::Responder(error) => error.libbpf_messages(),
            _ => &[],
        }
    }

    /// Returns the messages of the error and of its causes in one line, separated by colons.
    pub fn with_causes(&self) -> String {
        diagnosis::with_causes(self)
    }
}

impl From<&Error> for Message {
    fn from(error: &Error) -> Self {
        Self::Error { message: error.with_causes(), hint: error.hint(), libbpf: error.libbpf_messages().to_vec() }
    }
}
