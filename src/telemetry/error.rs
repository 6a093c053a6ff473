//! Errors of the port report and of the metrics server.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The port report cannot be written, or the metrics server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The metrics server cannot listen.
    #[error("cannot serve metrics on {address}")]
    Metrics {
        /// The address of `--metrics-listen`.
        address: SocketAddr,
        /// The error of `bind(2)` or `listen(2)`.
        source: io::Error,
    },
    /// The port report cannot be written.
    #[error("cannot write the report {}", path.display())]
    Report {
        /// The path of the report.
        path: PathBuf,
        /// The error of creating, writing, syncing or renaming the temporary file.
        source: io::Error,
    },
    /// The path of the port report names a directory, a symbolic link or a device.
    #[error("cannot write the report {}: not a regular file", path.display())]
    ReportNotRegular {
        /// The path of the report.
        path: PathBuf,
    },
    /// The port report was written to a temporary file, but that file cannot be renamed.
    #[error("cannot rename the report {} to {}", kept.display(), path.display())]
    ReportElsewhere {
        /// The path of the report.
        path: PathBuf,
        /// The temporary file that holds the report.
        kept: PathBuf,
        /// The error of `rename(2)`.
        source: io::Error,
    },
}

impl TelemetryError {
    /// Returns whether the configuration itself is wrong, so that a retry with this configuration fails too.
    pub fn is_usage_error(&self) -> bool {
        match self {
            // The port is below 1024, and the process has no capability for it. An address may appear later.
            Self::Metrics { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            Self::ReportNotRegular { .. } => true,
            Self::Report { .. } | Self::ReportElsewhere { .. } => false,
        }
    }

    /// Returns advice on how to resolve the error.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Metrics { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "choose a port above 1023, or grant CAP_NET_BIND_SERVICE"
            }
            Self::Metrics { address, source } if source.kind() == io::ErrorKind::AddrInUse => {
                let port = address.port();
                return Some(format!("choose another port, or stop the listener: `ss -tlnp sport = :{port}` shows it"));
            }
            Self::Metrics { source, .. } if source.kind() == io::ErrorKind::AddrNotAvailable => {
                "choose an address that `ip address` lists"
            }
            Self::Metrics { .. } => "choose an address of this host, and a port without a listener",
            Self::ReportNotRegular { .. } => "choose another file name",
            Self::Report { .. } => "choose a file in a directory that exists, is writable and has free space",
            Self::ReportElsewhere { kept, .. } => {
                return Some(format!("the report is complete in {}; move it to another place", kept.display()));
            }
        };
        Some(hint.to_owned())
    }
}
