//! Findings about the tracking of the host's sockets.

use super::finding::{Finding, Severity};
use crate::xdp::{SocketTracker, TrackingError};

/// Returns a warning if the kernel will not record the host's sockets during a run.
///
/// The check attaches the program that records them, for a moment. It affects no packet. If the kernel refuses even the
/// table, it refuses the XDP program, too, which is an error of its own.
pub fn predict() -> Option<Finding> {
    SocketTracker::start().ok()?.error().map(warning)
}

/// Converts the reason why the kernel does not record the host's sockets to a warning with its hint.
pub fn warning(error: &TrackingError) -> Finding {
    let hint = Some(error.hint().to_owned());
    Finding { severity: Severity::Warning, ..Finding::from_error("sockets_not_tracked", error, hint) }
}
