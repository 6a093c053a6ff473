//! The excluded ports: local listeners, `--exclude-ports`, and every port outside `--ports`.
//!
//! The XDP program passes segments to these ports to the host. For listeners, it looks up the socket, which is exact: a
//! listener has the port only on its own addresses. The list of listeners is for the user.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;
use tcp_bounce_wire::PortSet;

use crate::config::{PortList, ScopeConfig};

/// The excluded ports, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exclusions {
    /// The ports of local listeners and of listeners in a grace time, limited to `only`. Empty under takeover.
    listeners: PortList,
    /// The ports that the user excluded with `--exclude-ports`, limited to `only`.
    #[serde(rename = "configured")]
    excluded: PortList,
    /// The ports that the user selected with `--ports`. All others are excluded. `None` selects every port.
    #[serde(skip)]
    only: Option<PortList>,
}

impl Exclusions {
    /// Combines the configuration with the ports of local listeners.
    pub fn new(scope: &ScopeConfig, listeners: BTreeSet<u16>) -> Self {
        let mut exclusions = Self {
            listeners: PortList(listeners),
            excluded: scope.ports.excluded().clone(),
            only: scope.ports.only().cloned(),
        };
        if let Some(only) = &exclusions.only {
            // Ports outside `only` are excluded already, so the other lists do not repeat them.
            exclusions.listeners.0.retain(|port| only.0.contains(port));
            exclusions.excluded.0.retain(|port| only.0.contains(port));
        }
        exclusions
    }

    /// Returns the ports that have a listener in `earlier`, but not in `self`.
    pub fn vanished_listeners<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = u16> + 'a {
        earlier.listeners.0.difference(&self.listeners.0).copied()
    }

    /// Adds ports to those of the listeners.
    pub fn add_listeners(&mut self, ports: impl IntoIterator<Item = u16>) {
        self.listeners.0.extend(ports);
    }

    /// Returns the ports that the user selected with `--ports`. `None` selects every port.
    pub fn selected(&self) -> Option<&PortList> {
        self.only.as_ref()
    }

    /// Returns whether every port is excluded.
    pub fn leave_no_port(&self) -> bool {
        let excluded = self.to_set();
        (0..=u16::MAX).all(|port| excluded.contains(port))
    }

    /// Returns the ports of local listeners.
    pub fn listeners(&self) -> &PortList {
        &self.listeners
    }

    /// Writes the reasons why no port is answered.
    fn fmt_no_port(&self, f: &mut Formatter) -> fmt::Result {
        let Self { listeners, excluded, .. } = self;
        let listener = if listeners.0.len() == 1 { "has a local listener" } else { "have local listeners" };
        f.write_str("no TCP port")?;
        if !listeners.0.is_empty() {
            write!(f, ": {listeners} {listener}")?;
        }
        if !excluded.0.is_empty() {
            write!(f, "{} --exclude-ports lists {excluded}", if listeners.0.is_empty() { ":" } else { ", and" })?;
        }
        Ok(())
    }

    /// Returns all excluded ports.
    pub fn to_set(&self) -> PortSet {
        let mut set = self.configured();
        self.listeners.0.iter().for_each(|&port| set.insert(port));
        set
    }

    /// Returns the ports that `--exclude-ports` or `--ports` excludes.
    pub fn configured(&self) -> PortSet {
        let mut set = PortSet::new();
        self.excluded.0.iter().for_each(|&port| set.insert(port));
        if let Some(only) = &self.only {
            (0..=u16::MAX).filter(|port| !only.0.contains(port)).for_each(|port| set.insert(port));
        }
        set
    }
}

impl Display for Exclusions {
    /// Writes the answered ports and their exceptions, such as `all TCP ports except 22 (local listener)`.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        if self.leave_no_port() {
            return self.fmt_no_port(f);
        }
        match &self.only {
            None => f.write_str("all TCP ports")?,
            Some(only) if only.0.len() == 1 => write!(f, "TCP port {only}")?,
            Some(only) => write!(f, "TCP ports {only}")?,
        }
        let listener = if self.listeners.0.len() == 1 { "local listener" } else { "local listeners" };
        let lists = [(&self.listeners, listener), (&self.excluded, "--exclude-ports")];
        let lists = lists.into_iter().filter(|(list, _)| !list.0.is_empty());
        for (index, (list, reason)) in lists.enumerate() {
            write!(f, "{} {list} ({reason})", if index == 0 { " except" } else { " and" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_answered_ports_and_the_reasons_for_exceptions() {
        for (listeners, excluded, only, text) in [
            ("", "", None, "all TCP ports"),
            ("22", "", None, "all TCP ports except 22 (local listener)"),
            ("22,80", "", None, "all TCP ports except 22,80 (local listeners)"),
            ("22", "8000-8999", None, "all TCP ports except 22 (local listener) and 8000-8999 (--exclude-ports)"),
            ("", "", Some("80,443"), "TCP ports 80,443"),
            ("", "", Some("80"), "TCP port 80"),
            ("80", "", Some("80"), "no TCP port: 80 has a local listener"),
            ("80,443", "", Some("80,443"), "no TCP port: 80,443 have local listeners"),
            ("80", "443", Some("80,443"), "no TCP port: 80 has a local listener, and --exclude-ports lists 443"),
            ("443", "", Some("80,443"), "TCP ports 80,443 except 443 (local listener)"),
        ] {
            let list = |text: &str| if text.is_empty() { PortList::default() } else { text.parse().unwrap() };
            let exclusions = Exclusions { listeners: list(listeners), excluded: list(excluded), only: only.map(list) };
            assert_eq!(exclusions.to_string(), text);
        }
    }
}
