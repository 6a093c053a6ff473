//! What the service manager is told, where there is one (`sd_notify(3)`).

use libsystemd::daemon::{NotifyState, notify};
use libsystemd::errors::SdError;

use crate::bouncer::Bouncer;

/// All is attached.
pub fn ready(bouncers: &[Bouncer]) -> Result<(), SdError> {
    let answers: Vec<_> = bouncers.iter().map(|it| format!("{} ({} mode)", it.interface().name, it.mode())).collect();
    let status = format!("Answering on {}", answers.join(", "));
    notify(false, &[NotifyState::Ready, NotifyState::Status(status)]).map(drop)
}

/// The end is near. If it is not heard, nothing is lost.
pub fn stopping() {
    let _ = notify(false, &[NotifyState::Stopping]);
}
