//! Errors of setting up the process: privileges, signal handlers and threads.

use std::io;

use super::privileges::PrivilegeError;
use crate::diagnosis;

/// The process cannot drop its privileges, install signal handlers or start threads.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A privilege cannot be dropped.
    #[error("cannot drop privileges")]
    Privileges(#[source] PrivilegeError),
    /// A signal handler cannot be installed.
    #[error("cannot install the signal handlers")]
    Signals(#[source] io::Error),
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// A signal ended a run with a policy while the programs were being attached.
    #[error("stopped before the start, so no port was compared with the policy")]
    Stopped,
}

impl ProcessError {
    /// Returns the hint for the user, if the error has one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Stopped => Some("stop it only after it has printed `answering on`".to_owned()),
            _ => diagnosis::memory_hint(self),
        }
    }
}
