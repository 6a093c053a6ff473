//! Errors of the probe.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::config::ConfigError;

/// A mistake in the arguments of the probe, or a failure of this host.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The name of a host has no address.
    #[error("cannot resolve {host:?}")]
    Resolve {
        /// The name.
        host: String,
        /// The error of `getaddrinfo(3)`.
        source: io::Error,
    },
    /// The name of a host has no address of the selected IP version.
    #[error("{host:?} has no {version} address")]
    NoAddress {
        /// The name.
        host: String,
        /// The selected IP version: "IPv4" or "IPv6".
        version: &'static str,
    },
    /// No SYN can be sent to a host, so its ports would seem to be closed.
    #[error("there is no route to {host}, so its ports cannot be compared with the policy")]
    NoRoute {
        /// The name or address of the host.
        host: String,
    },
    /// The policy or the key cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port report belongs to one host, and there are several.
    #[error("--far requires exactly one host")]
    FarHosts,
    /// No new port report was written in time.
    #[error("no port report was written to {} after the probe", path.display())]
    NoFarReport {
        /// The path of the file.
        path: PathBuf,
    },
    /// A port report cannot be read.
    #[error("cannot read the port report {}", path.display())]
    ReadFarReport {
        /// The path of the file.
        path: PathBuf,
        /// The error of `open(2)` or `read(2)`, or `InvalidData` if the content is not UTF-8.
        source: io::Error,
    },
    /// A file is not a port report.
    #[error("{} is not a port report in JSON", path.display())]
    FarReport {
        /// The path of the file.
        path: PathBuf,
        /// The error of the parser.
        source: serde_json::Error,
    },
    /// Not even one connection can be opened at a time.
    #[error("cannot open a connection")]
    Socket(#[source] Errno),
    /// Writing to standard output failed.
    #[error("cannot write to standard output")]
    Write(#[source] io::Error),
    /// `epoll(7)` failed.
    #[error("cannot wait for connections")]
    Wait(#[source] Errno),
}

impl ProbeError {
    /// Returns advice on how to resolve the error, if there is any.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Resolve { .. } => "check the name, or use an address",
            Self::NoAddress { version, .. } => return Some(format!("remove --{}", version.to_lowercase())),
            Self::NoRoute { .. } => {
                "check the routes of this host; a link-local address needs its interface, as in fe80::1%eth0"
            }
            Self::FarHosts => "probe the hosts one by one",
            Self::NoFarReport { .. } => "stop the tcp-bounce on the far side, and copy its report to this file",
            Self::FarReport { .. } => "use the file of `tcp-bounce --report FILE.json`",
            Self::Socket(Errno::EADDRNOTAVAIL) => "widen net.ipv4.ip_local_port_range",
            Self::Socket(_) => "raise the limit of open files (`ulimit -Hn`), or free memory",
            Self::Config(error) => return error.hint(),
            Self::ReadFarReport { .. } | Self::Write(_) | Self::Wait(_) => return None,
        };
        Some(hint.to_owned())
    }

    /// Returns whether the arguments are wrong, so that a retry with these arguments fails too.
    pub fn is_usage_error(&self) -> bool {
        match self {
            Self::Config(error) => error.is_usage_error(),
            _ => matches!(self, Self::NoAddress { .. } | Self::FarHosts),
        }
    }
}
