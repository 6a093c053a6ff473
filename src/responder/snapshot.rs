//! A snapshot of the host: the state that responders follow.

use std::net::IpAddr;

use super::Exclusions;
use crate::config::ScopeConfig;
use crate::host::{HostError, Interface, interface};

/// Interfaces, addresses and excluded ports of the host at one moment.
#[derive(Debug)]
pub struct HostSnapshot {
    /// All interfaces of the network namespace.
    pub interfaces: Vec<Interface>,
    /// All addresses, each with the index of its interface.
    pub addresses: Vec<(u32, IpAddr)>,
    /// The excluded ports.
    pub exclusions: Exclusions,
}

impl HostSnapshot {
    /// Reads the present state of the host. `scope` decides about excluded ports.
    ///
    /// # Errors
    ///
    /// The error of the netlink dump that failed.
    pub fn read(scope: &ScopeConfig) -> Result<Self, HostError> {
        Ok(Self {
            interfaces: Interface::list()?,
            addresses: interface::addresses()?,
            exclusions: Exclusions::read(scope)?,
        })
    }
}
