//! A snapshot of the host: the state that responders follow.

use super::Exclusions;
use crate::config::ScopeConfig;
use crate::host::{HostAddress, HostError, Interface, TcpSettings};

/// The interfaces, addresses, excluded ports and TCP settings of the host at one point in time.
#[derive(Debug)]
pub struct HostSnapshot {
    /// All interfaces of the network namespace.
    pub interfaces: Vec<Interface>,
    /// All IP addresses of the network namespace.
    pub addresses: Vec<HostAddress>,
    /// The excluded ports, including those of local listeners.
    pub exclusions: Exclusions,
    /// The sysctls that shape replies. `None` if they cannot be read.
    pub tcp_settings: Option<TcpSettings>,
}

impl HostSnapshot {
    /// Reads the current state of the host. The excluded ports depend on `scope`.
    ///
    /// # Errors
    ///
    /// The error of the netlink dump that failed.
    pub fn read(scope: &ScopeConfig) -> Result<Self, HostError> {
        Ok(Self {
            interfaces: Interface::list()?,
            addresses: HostAddress::list()?,
            exclusions: Exclusions::read(scope)?,
            tcp_settings: TcpSettings::read().ok(),
        })
    }
}
