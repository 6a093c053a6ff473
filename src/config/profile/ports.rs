//! The assignment of ports to the services of a profile.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{PortPattern, PortSelection, port_pattern};

use super::{Profile, ServicePorts};

impl Profile {
    /// Returns the service of each port, as an index of [`Profile::services`]. All other ports have no service.
    ///
    /// `key` selects the ports of `random:` and `share:`: the same key always selects the same ports. No service lists
    /// such a port, and no two services get the same port.
    pub fn ports(&self, key: &[u8; 16]) -> BTreeMap<u16, usize> {
        let mut ports = BTreeMap::new();
        for (index, pattern) in self.patterns() {
            ports.extend(pattern.listed().0.iter().map(|&port| (port, index)));
        }
        let listed: BTreeSet<u16> = ports.keys().copied().collect();
        let mut left = port_pattern::ranking(key).into_iter().filter(|port| !listed.contains(port));
        for (index, pattern) in self.patterns() {
            ports.extend(left.by_ref().take(pattern.selected() as usize).map(|port| (port, index)));
        }
        if let Some(index) = self.services.iter().position(|service| service.ports == ServicePorts::Others) {
            (0..=u16::MAX).for_each(|port| _ = ports.entry(port).or_insert(index));
        }
        ports
    }

    /// Returns the ports in the syntax of `--ports`, or "all" if a service has all other ports.
    pub fn port_summary(&self) -> String {
        let patterns: Vec<PortPattern> = self.patterns().map(|(_, pattern)| pattern.clone()).collect();
        let has_others = patterns.len() < self.services.len();
        if has_others { "all".to_owned() } else { PortPattern::union(&patterns).to_string() }
    }

    /// Returns whether a service may have a port in `selection`. Only the key decides it for a service whose ports it
    /// selects.
    pub fn may_serve(&self, selection: &PortSelection) -> bool {
        self.services.iter().any(|service| match &service.ports {
            ServicePorts::Others => true,
            ServicePorts::Pattern(pattern) => {
                pattern.selected() > 0 || pattern.listed().0.iter().any(|&port| selection.contains(port))
            }
        })
    }

    /// Returns the pattern of each service that has one, with the index of the service.
    fn patterns(&self) -> impl Iterator<Item = (usize, &PortPattern)> {
        self.services.iter().enumerate().filter_map(|(index, service)| match &service.ports {
            ServicePorts::Pattern(pattern) => Some((index, pattern)),
            ServicePorts::Others => None,
        })
    }
}

#[cfg(test)]
mod tests;
