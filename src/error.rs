//! The error type of the crate, which combines the errors of its layers.

use crate::config::ConfigError;
use crate::diagnosis;
use crate::host::HostError;
use crate::output::ErrorMessage;
use crate::process::ProcessError;
use crate::responder::ResponderError;
use crate::telemetry::TelemetryError;
use crate::ui::UiError;
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

    /// Returns whether the error is a mistake in the configuration, for which the command exits with status 2.
    ///
    /// Examples are contradictory options and an invalid key file. A retry with the same configuration fails again. All
    /// other errors are failures, with status 1: they depend on the host, which may change.
    pub fn is_usage_error(&self) -> bool {
        match self {
            Self::Config(error) | Self::Responder(ResponderError::Config(error)) => error.is_usage_error(),
            Self::Host(error) | Self::Responder(ResponderError::Host(error)) => {
                matches!(error, HostError::NamedTwice { .. } | HostError::Loopback { .. })
            }
            Self::Telemetry(error) => error.is_usage_error(),
            Self::Ui(error) => matches!(error, UiError::NoTerminal),
            Self::Process(_) | Self::Xdp(_) | Self::Responder(_) => false,
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

impl From<&Error> for ErrorMessage {
    fn from(error: &Error) -> Self {
        Self { libbpf: error.libbpf_messages().to_vec(), ..Self::new(error, error.hint()) }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use nix::libc;

    use super::*;

    #[test]
    fn only_mistakes_in_the_configuration_are_usage_errors() {
        let key_file = || ConfigError::InvalidKey { path: "key".into() };
        let read_key = |errno| ConfigError::ReadKey { path: "key".into(), source: io::Error::from_raw_os_error(errno) };
        let metrics =
            |kind| TelemetryError::Metrics { address: ([127, 0, 0, 1], 9464).into(), source: io::Error::from(kind) };
        let usage: [Error; 11] = [
            ConfigError::NoPortsLeft.into(),
            ConfigError::UnusedKey.into(),
            key_file().into(),
            ResponderError::from(key_file()).into(),
            HostError::NamedTwice { name: "eth1".into() }.into(),
            TelemetryError::ReportNotRegular { path: "folder.csv".into() }.into(),
            UiError::NoTerminal.into(),
            read_key(libc::ENOENT).into(),
            read_key(libc::EACCES).into(),
            HostError::Loopback { name: "lo".into() }.into(),
            metrics(io::ErrorKind::PermissionDenied).into(),
        ];
        for error in usage {
            assert!(error.is_usage_error(), "{error:?}");
        }
        let failures: [Error; 9] = [
            read_key(libc::EIO).into(),
            read_key(libc::EMFILE).into(),
            ConfigError::OutOfMemory.into(),
            HostError::NoSuchInterface { name: "eth9".into(), names: vec![] }.into(),
            HostError::MissingCapabilities { missing: vec![] }.into(),
            ResponderError::OutOfMemory.into(),
            metrics(io::ErrorKind::AddrInUse).into(),
            metrics(io::ErrorKind::AddrNotAvailable).into(),
            UiError::Write(io::Error::from(io::ErrorKind::StorageFull)).into(),
        ];
        for error in failures {
            assert!(!error.is_usage_error(), "{error:?}");
        }
    }
}
