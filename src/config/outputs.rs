//! The outputs of the command: text or JSON lines, the port report, metrics and the full-screen view.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The outputs that the user selected on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputOptions {
    /// Prints JSON lines instead of text.
    pub json: bool,
    /// Prints only errors, events if they are enabled, and the number of dropped events if any were dropped.
    pub quiet: bool,
    /// Prints a line for each client event.
    pub events: bool,
    /// Lists the busiest ports and clients in the summary.
    pub top: bool,
    /// Shows the full-screen view.
    pub tui: bool,
    /// Writes the port report to this file.
    pub report: Option<ReportFile>,
    /// Serves Prometheus metrics on this address.
    pub metrics: Option<MetricsAddress>,
}

/// The path of the port report. The extension selects the format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportFile {
    path: PathBuf,
    format: ReportFormat,
}

/// The format of the port report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// One JSON object (`.json`).
    Json,
    /// One line of comma-separated values for each port (`.csv`).
    Csv,
}

impl ReportFile {
    /// Returns the path as the user wrote it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory that holds the file.
    pub fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Returns the format that the extension selects.
    pub fn format(&self) -> ReportFormat {
        self.format
    }
}

impl FromStr for ReportFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        if text.ends_with('/') {
            return Err("this is the name of a folder".to_owned());
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Ok(Self { path, format: ReportFormat::Json }),
            Some("csv") => Ok(Self { path, format: ReportFormat::Csv }),
            _ => Err("the name must end with .json or .csv, which tells what to write".to_owned()),
        }
    }
}

/// The address and port of the metrics server. A port without an address selects 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsAddress(pub SocketAddr);

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = text.strip_prefix(':').unwrap_or(text).parse::<u16>().ok().filter(|_| !text.contains('+'));
        let loopback = port.map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        let address = loopback.or_else(|| text.parse().ok()).filter(|address| address.port() != 0);
        address
            .map(Self)
            .ok_or_else(|| "not an address and a port, like 192.0.2.1:9464 or [::1]:9464, nor a port alone".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_the_loopback_interface() {
        for (text, address) in [
            ("9464", "127.0.0.1:9464"),
            (":9464", "127.0.0.1:9464"),
            ("192.0.2.1:9464", "192.0.2.1:9464"),
            ("[::1]:9464", "[::1]:9464"),
            ("[::]:1", "[::]:1"),
        ] {
            assert_eq!(text.parse(), Ok(MetricsAddress(address.parse().unwrap())), "{text}");
        }
        for text in ["", "localhost:9464", "192.0.2.1", "::1:9464", "65536", "-1", "0", "+9464", "9464/metrics"] {
            assert!(text.parse::<MetricsAddress>().is_err(), "{text}");
        }
    }
}
