//! The probe: connects to the ports of hosts as an unprivileged client, and reports the state of each port.
//!
//! [`run`] is the subcommand. The scanner does all input and output on the network. The other parts are pure: the
//! states, the retries, the rate and the reports.

mod attempt;
mod command;
mod error;
mod far;
mod far_file;
mod icmp;
mod identity;
mod limits;
mod pace;
mod quote;
mod report;
mod results;
mod rounds;
mod scanner;
mod schedule;
mod state;
mod target;

use std::path::PathBuf;
use std::time::Duration;

pub use command::run;
pub use error::ProbeError;
pub use identity::TokenCheck;
pub use report::Format;
pub use target::Family;

/// The settings of `tcp-bounce probe`.
#[derive(Clone, Debug)]
pub struct ProbeConfig {
    /// The names or addresses of the hosts.
    pub hosts: Vec<String>,
    /// The IP version to use.
    pub family: Family,
    /// The settings of the scan.
    pub scan: ScanSettings,
    /// The format of the report.
    pub format: Format,
    /// The file of the policy to compare the results with.
    pub policy: Option<PathBuf>,
    /// The file of the port report on the far side.
    pub far: Option<PathBuf>,
    /// The file with the key of the far side, to check its tokens.
    pub key_file: Option<PathBuf>,
}

/// The settings of a scan.
#[derive(Clone, Debug)]
pub struct ScanSettings {
    /// The ports to probe, in ascending order.
    pub ports: Vec<u16>,
    /// The maximum number of connection attempts per second, to all hosts together.
    pub rate: u32,
    /// The time to wait for a handshake, and after it for data.
    pub timeout: Duration,
    /// The number of further attempts at a port without an answer. `None` lets the loss on the path decide.
    pub retries: Option<u32>,
    /// The check of the tokens in the answers of tcp-bounce.
    pub tokens: TokenCheck,
}

impl ScanSettings {
    /// The default of [`Self::rate`]. All ports take less than 20 seconds, with two retries.
    pub const RATE: u32 = 20_000;
    /// The default of [`Self::timeout`].
    pub const TIMEOUT: Duration = Duration::from_secs(1);

    /// Returns the default settings for `ports`, which are in ascending order.
    pub fn new(ports: Vec<u16>) -> Self {
        Self { ports, rate: Self::RATE, timeout: Self::TIMEOUT, retries: None, tokens: TokenCheck::default() }
    }
}
