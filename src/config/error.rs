//! Errors of the configuration.

use std::io;
use std::path::PathBuf;

use crate::diagnosis;

/// An invalid setting, a contradiction between settings, or a failure to prepare the key or the action table.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No interface is named.
    #[error("no interface is named")]
    NoInterfaces,
    /// A field of the SYN-ACK has a value that TCP or IP does not allow.
    #[error("the TTL and the MSS must be above 0, and the window scale at most 14")]
    OutOfRange,
    /// The excluded ports leave no port to answer on.
    #[error("--exclude-ports names every port that there is to answer on: none is left")]
    NoPortsLeft,
    /// Two different actions are chosen for one port, or for all ports that no action names.
    #[error("--on-connect gives {} two modes: {} and {}", port_or_rest(*port), actions[0], actions[1])]
    ConflictingActions {
        /// The port, or `None` for all ports that no action names.
        port: Option<u16>,
        /// The names of both actions, as the user writes them.
        actions: [&'static str; 2],
    },
    /// The ISN is fixed, but an action follows the client's sequence numbers. Only a keyed ISN proves that the client
    /// saw the SYN-ACK.
    #[error("--on-connect {action} needs --isn keyed: only who has seen the SYN-ACK may be answered so")]
    NeedsKey {
        /// The name of the action, as the user writes it.
        action: &'static str,
    },
    /// A key file is configured, but the ISN is fixed.
    #[error("--key-file is only for --isn keyed")]
    UnusedKey,
    /// The key file cannot be read.
    #[error("cannot read the key in {}", path.display())]
    ReadKey {
        /// The path of the key file.
        path: PathBuf,
        /// The error of `open(2)` or `read(2)`, or `InvalidData` if the content is not UTF-8.
        source: io::Error,
    },
    /// The content of the key file is not a key of 32 hexadecimal digits.
    #[error("{} is no key: it must have 32 hexadecimal digits", path.display())]
    InvalidKey {
        /// The path of the key file.
        path: PathBuf,
    },
    /// `getrandom(2)` failed.
    #[error("the system gives no random numbers for a key")]
    NoRandomness(#[source] getrandom::Error),
    /// The action table of 64 KiB cannot be allocated.
    #[error("there is not enough memory")]
    OutOfMemory,
}

impl ConfigError {
    /// Returns the hint for the user, if the error has one.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoPortsLeft => "leave at least one port out of the lists",
            Self::ConflictingActions { .. } => {
                "name each port once; the mode without ports is for all that are not named"
            }
            Self::NeedsKey { .. } => "leave --isn out, or make it keyed",
            Self::UnusedKey => "add --isn keyed",
            Self::ReadKey { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "let who runs it read the file; a service takes it with LoadCredential="
            }
            Self::ReadKey { .. } | Self::InvalidKey { .. } => "make one with `openssl rand -hex 16`",
            Self::OutOfMemory => diagnosis::MEMORY_HINT,
            Self::NoInterfaces | Self::OutOfRange | Self::NoRandomness(_) => return None,
        };
        Some(hint.to_owned())
    }
}

fn port_or_rest(port: Option<u16>) -> String {
    port.map_or("all other ports".into(), |port| format!("port {port}"))
}
