//! The policy of `--expect`: the ports that must be open, and those that must not, by source and destination.

mod parse;
mod possible;

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;

pub use possible::PossibleRules;

use super::text_file::read_text;
use super::{ConfigError, PortList};

/// A list of rules. The first rule that matches a port decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    name: String,
    /// The rules of the file, and the default as a last rule that matches everything.
    rules: Vec<Rule>,
}

/// The expectation for some ports of some hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// The line of the rule in the file, counted from 1. `None` for the default.
    line: Option<usize>,
    /// The ports. `None` stands for all ports.
    ports: Option<PortList>,
    /// The prefixes of the client. `None` stands for all addresses.
    from: Option<Vec<IpNet>>,
    /// The prefixes of the host. `None` stands for all addresses.
    to: Option<Vec<IpNet>>,
    open: bool,
}

impl Policy {
    /// Reads a policy from a file.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ReadPolicy`] or [`ConfigError::Policy`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read_text(path).map_err(|source| ConfigError::ReadPolicy { path: path.to_owned(), source })?;
        let name = path.display().to_string();
        Self::parse(&text, &name).map_err(|source| ConfigError::Policy { policy: name, source })
    }

    /// Returns the path of the file, as the user wrote it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether `port` of `destination` must be open for `source`, the address of the client if it is known.
    pub fn expects_open(&self, source: Option<IpAddr>, destination: IpAddr, port: u16) -> bool {
        self.is_open(self.deciding_rule(source, destination, port))
    }

    /// Returns the index of the rule that decides whether `port` of `destination` must be open for `source`.
    pub fn deciding_rule(&self, source: Option<IpAddr>, destination: IpAddr, port: u16) -> usize {
        let matches = |rule: &Rule| rule.has_port(port) && rule.matches(source, destination);
        self.rules.iter().position(matches).unwrap_or(self.default_rule())
    }

    /// Returns whether the rule with this index says that its ports must be open.
    pub fn is_open(&self, rule: usize) -> bool {
        self.rules.get(rule).is_some_and(|rule| rule.open)
    }

    /// Returns the line of the rule with this index. `None` for the default.
    pub fn line(&self, rule: usize) -> Option<usize> {
        self.rules.get(rule)?.line
    }

    fn default_rule(&self) -> usize {
        self.rules.len().saturating_sub(1)
    }
}

impl Rule {
    fn has_port(&self, port: u16) -> bool {
        self.ports.as_ref().is_none_or(|ports| ports.0.contains(&port))
    }

    fn matches(&self, source: Option<IpAddr>, destination: IpAddr) -> bool {
        let contains = |prefixes: &Option<Vec<IpNet>>, address: Option<IpAddr>| match (prefixes, address) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(prefixes), Some(address)) => prefixes.iter().any(|prefix| prefix.contains(&address)),
        };
        contains(&self.from, source) && contains(&self.to, Some(destination))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(policy: &str, source: Option<&str>, destination: &str, ports: &[u16]) -> Vec<u16> {
        let policy = Policy::parse(policy, "test").unwrap();
        let source = source.map(|source| source.parse().unwrap());
        let is_open = |port: &&u16| policy.expects_open(source, destination.parse().unwrap(), **port);
        ports.iter().filter(is_open).copied().collect()
    }

    const POLICY: &str = r#"
        [[rule]]
        ports = "22,80-81"
        from = "203.0.113.0/24, 2001:db8:1::/48"
        to = "192.0.2.1,2001:db8::1"
        open = true

        [[rule]]
        ports = 443
        open = true

        [[rule]]
        to = "198.51.100.0/24"
        open = true
    "#;

    #[test]
    fn rules_select_by_port_source_and_destination() {
        let ports = [22, 80, 81, 82, 443];
        for (source, destination, open) in [
            (Some("203.0.113.7"), "192.0.2.1", &[22u16, 80, 81, 443] as &[u16]),
            (Some("203.0.114.7"), "192.0.2.1", &[443]),
            (Some("203.0.113.7"), "192.0.2.2", &[443]),
            (Some("2001:db8:1::7"), "2001:db8::1", &[22, 80, 81, 443]),
            (None, "192.0.2.1", &[443]),
            (None, "198.51.100.9", &ports),
        ] {
            assert_eq!(expected(POLICY, source, destination, &ports), open, "{source:?} {destination}");
        }
    }

    #[test]
    fn the_first_matching_rule_decides() {
        let policy =
            "default_open = true\n[[rule]]\nports = \"22\"\nopen = true\n[[rule]]\nports = \"20-25\"\nopen = false\n";
        assert_eq!(expected(policy, None, "192.0.2.1", &[19, 20, 22, 25, 26]), [19, 22, 26]);
        assert_eq!(expected("", None, "192.0.2.1", &[19, 20]), [0u16; 0]);
    }
}
