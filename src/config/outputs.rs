//! The outputs of the command: text or JSON lines, the port report, metrics and the full-screen view.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::{ConfigError, Policy, PortSelection, ValueError};

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
    /// Compares the port report with this policy at the end.
    pub policy: Option<Policy>,
    /// Serves Prometheus metrics on this address.
    pub metrics: Option<MetricsAddress>,
}

impl OutputOptions {
    /// Checks that the port report can have its format, and that the policy is compared with at least one of `ports`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::JunitWithoutPolicy`] if the report is JUnit XML and there is no policy;
    /// [`ConfigError::NothingToCompare`] if there is a policy and `ports` has at most port 0.
    pub fn validate(&self, ports: &PortSelection) -> Result<(), ConfigError> {
        let is_junit = self.report.as_ref().is_some_and(|report| report.format == ReportFormat::Junit);
        match self.policy.is_some() {
            false if is_junit => Err(ConfigError::JunitWithoutPolicy),
            true if !(1..=u16::MAX).any(|port| ports.contains(port)) => Err(ConfigError::NothingToCompare),
            _ => Ok(()),
        }
    }
}

/// The path of the port report. Its extension selects the format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportFile {
    path: PathBuf,
    format: ReportFormat,
    interval: Duration,
}

/// The format of the port report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// One JSON object (`.json`).
    Json,
    /// One line of comma-separated values for each port (`.csv`).
    Csv,
    /// JUnit XML: the comparison with a policy (`.xml`).
    Junit,
}

impl ReportFile {
    /// The default time after which the report is written again during a run.
    const INTERVAL: Duration = Duration::from_secs(60);

    /// Returns this file with another interval between two reports of a run. Tests do not wait for a minute.
    pub fn every(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// Returns the time after which the report is written again during a run.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Returns the path as the user wrote it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory of the file.
    pub fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Returns the format that the extension selects.
    pub fn format(&self) -> ReportFormat {
        self.format
    }
}

impl FromStr for ReportFile {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let path = PathBuf::from(text);
        if text.ends_with('/') {
            return Err(ValueError::new("this is the name of a directory"));
        }
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => ReportFormat::Json,
            Some("csv") => ReportFormat::Csv,
            Some("xml") => ReportFormat::Junit,
            _ => {
                return Err(ValueError::new(
                    "the file name must end with .json, .csv or .xml, which selects the format",
                ));
            }
        };
        Ok(Self { path, format, interval: Self::INTERVAL })
    }
}

/// The address and port of the metrics server.
///
/// `9464` is port 9464 of 127.0.0.1. `:9464` is port 9464 of every address, IPv4 and IPv6 (`[::]:9464`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsAddress(pub SocketAddr);

impl FromStr for MetricsAddress {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (address, port): (IpAddr, _) = match text.strip_prefix(':') {
            Some(port) => (Ipv6Addr::UNSPECIFIED.into(), port),
            None => (Ipv4Addr::LOCALHOST.into(), text),
        };
        // `u16::from_str` also accepts a plus sign.
        let port = port.parse::<u16>().ok().filter(|_| !port.starts_with('+'));
        let address = port.map(|port| SocketAddr::new(address, port)).or_else(|| text.parse().ok());
        address.filter(|address| address.port() != 0).map(Self).ok_or_else(|| {
            ValueError::new("not ADDR:PORT, :PORT or PORT")
                .with_examples("use an IP address and a port, such as 192.0.2.1:9464, [::1]:9464, :9464 or 9464")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_on_loopback_and_with_a_colon_on_every_address() {
        for (text, address) in [
            ("9464", "127.0.0.1:9464"),
            (":9464", "[::]:9464"),
            ("192.0.2.1:9464", "192.0.2.1:9464"),
            ("[::1]:9464", "[::1]:9464"),
            ("[::]:1", "[::]:1"),
        ] {
            assert_eq!(text.parse(), Ok(MetricsAddress(address.parse().unwrap())), "{text}");
        }
        for text in [
            "",
            "localhost:9464",
            "192.0.2.1",
            "::1:9464",
            "65536",
            "-1",
            "0",
            "+9464",
            ":+9464",
            ":",
            ":0",
            "::9464",
            "9464/metrics",
        ] {
            assert!(text.parse::<MetricsAddress>().is_err(), "{text}");
        }
    }
}
