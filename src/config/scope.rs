//! The scope of a run: the destinations, sources and ports that are answered.

use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use super::prefixes::{self, parse_prefix};
use super::{ConfigError, PortSelection, ValueError};

/// The packets that are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeConfig {
    /// The destination addresses that are answered.
    pub destinations: DestinationChoice,
    /// The prefixes of the clients that are answered. An empty list selects every client.
    pub sources: Vec<IpNet>,
    /// The ports that are answered.
    pub ports: PortSelection,
    /// Answers SYNs to the ports of local listeners too. Drops all other TCP segments in the scope, unless they belong
    /// to a connection that tcp-bounce accepted.
    ///
    /// The host's established connections in the scope break, including SSH sessions.
    pub takeover: bool,
    /// The time for which the port of a closed listener stays excluded, so that the host refuses connections while a
    /// service restarts. Zero excludes only the ports of open listeners. Has no effect under takeover.
    pub listener_grace: Duration,
}

impl Default for ScopeConfig {
    fn default() -> Self {
        Self {
            destinations: DestinationChoice::default(),
            sources: Vec::new(),
            ports: PortSelection::default(),
            takeover: false,
            listener_grace: Self::DEFAULT_GRACE,
        }
    }
}

/// The destination addresses that are answered, as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DestinationChoice {
    /// The addresses of the interface and of its VLAN devices.
    #[default]
    Own,
    /// Every local address of the host, of all interfaces, except the loopback addresses 127.0.0.0/8 and ::1.
    ///
    /// The virtual IP addresses and anycast addresses on `lo` are included.
    Local,
    /// Every address.
    Any,
    /// The addresses within these prefixes.
    Prefixes(Vec<IpNet>),
}

/// A list of destinations, written as `192.0.2.1,2001:db8::/32`, `local` or `any`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationList(Vec<Destination>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Destination {
    Local,
    Any,
    Prefix(IpNet),
}

impl ScopeConfig {
    /// The default of [`Self::listener_grace`].
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

    /// Checks the prefixes of the destinations and sources.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::MappedPrefix`], [`ConfigError::NeverAnswered`] or [`ConfigError::TooManyPrefixes`] for one of
    ///   the two lists.
    /// - [`ConfigError::NoCommonVersion`] if no packet matches both lists.
    pub fn validate(&self) -> Result<(), ConfigError> {
        prefixes::validate("--src", &self.sources)?;
        let DestinationChoice::Prefixes(destinations) = &self.destinations else { return Ok(()) };
        prefixes::validate("--dst", destinations)?;
        match (only_version(destinations), only_version(&self.sources)) {
            (Some(destinations), Some(sources)) if destinations != sources => {
                Err(ConfigError::NoCommonVersion { destinations, sources })
            }
            _ => Ok(()),
        }
    }
}

/// Returns the IP version of all answered addresses in `prefixes`. Returns `None` if both versions or none occur.
fn only_version(prefixes: &[IpNet]) -> Option<&'static str> {
    let is_v4 = |prefix: &IpNet| matches!(prefix, IpNet::V4(_));
    let has_v4 = prefixes::answered(prefixes).any(is_v4);
    let has_v6 = prefixes::answered(prefixes).any(|prefix| !is_v4(prefix));
    match (has_v4, has_v6) {
        (true, false) => Some("IPv4"),
        (false, true) => Some("IPv6"),
        _ => None,
    }
}

impl DestinationChoice {
    /// Combines `lists`. If they contain `any`, every address is answered. Empty lists select [`Self::Own`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::LocalWithPrefixes`] if the lists contain `local` and a prefix, but not `any`.
    pub fn new(lists: &[DestinationList]) -> Result<Self, ConfigError> {
        let all = || lists.iter().flat_map(|list| &list.0);
        let prefix = |destination: &Destination| match destination {
            Destination::Prefix(prefix) => Some(*prefix),
            Destination::Local | Destination::Any => None,
        };
        let prefixes: Vec<IpNet> = all().filter_map(prefix).collect();
        let is_local = all().any(|destination| *destination == Destination::Local);
        if all().any(|destination| *destination == Destination::Any) {
            return Ok(Self::Any);
        }
        match (is_local, prefixes.is_empty()) {
            (true, true) => Ok(Self::Local),
            (true, false) => Err(ConfigError::LocalWithPrefixes),
            (false, true) => Ok(Self::Own),
            (false, false) => Ok(Self::Prefixes(prefixes)),
        }
    }
}

impl FromStr for DestinationList {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let destination = |item: &str| match item.trim() {
            "local" => Ok(Destination::Local),
            "any" => Ok(Destination::Any),
            item => parse_prefix(item).map(Destination::Prefix),
        };
        let list = text.split(',').map(destination).collect::<Result<_, _>>();
        list.map(Self).map_err(|error: ValueError| {
            error.with_examples("a list looks like 192.0.2.1,10.0.0.0/8,2001:db8::/32; or use local or any")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PrefixList;

    fn choose(lists: &[&str]) -> Result<DestinationChoice, ConfigError> {
        let lists: Vec<_> = lists.iter().map(|list| list.parse().unwrap()).collect();
        DestinationChoice::new(&lists)
    }

    #[test]
    fn any_covers_all_other_destinations() {
        for lists in [&["any"] as &[_], &["10.0.0.0/8", "any"], &["any,local"], &["local,any,10.0.0.0/8"]] {
            assert_eq!(choose(lists).unwrap(), DestinationChoice::Any, "{lists:?}");
        }
    }

    #[test]
    fn lists_add_up() {
        assert_eq!(choose(&[]).unwrap(), DestinationChoice::Own);
        assert_eq!(choose(&["local", "local"]).unwrap(), DestinationChoice::Local);
        let prefixes = ["192.0.2.1/32", "10.0.0.0/8", "2001:db8::/32"].map(|prefix| prefix.parse().unwrap());
        let choice = choose(&["192.0.2.1, 10.0.0.0/8", "2001:db8::/32"]).unwrap();
        assert_eq!(choice, DestinationChoice::Prefixes(prefixes.to_vec()));
    }

    #[test]
    fn prefixes_are_validated_without_the_command_line() {
        let mapped = || vec!["::ffff:10.0.0.0/104".parse().unwrap()];
        let many =
            || (0..=4096).map(|number| format!("10.{}.{}.0/25", number / 256, number % 256).parse().unwrap()).collect();
        let validate = |destinations, sources| {
            ScopeConfig { destinations, sources, ..ScopeConfig::default() }.validate().unwrap_err()
        };
        for (error, option) in [
            (validate(DestinationChoice::Prefixes(mapped()), vec![]), "--dst"),
            (validate(DestinationChoice::Any, mapped()), "--src"),
        ] {
            assert_eq!(
                error.to_string(),
                format!("{option} ::ffff:10.0.0.0/104 is an IPv4-mapped prefix, which no packet matches")
            );
        }
        for (error, option) in [
            (validate(DestinationChoice::Prefixes(many()), vec![]), "--dst"),
            (validate(DestinationChoice::Local, many()), "--src"),
        ] {
            assert_eq!(
                error.to_string(),
                format!("{option} lists 4097 separate prefixes, but at most 4096 are supported")
            );
        }
    }

    #[test]
    fn destinations_and_sources_need_a_common_version() {
        let list = |prefixes: &str| prefixes.parse::<PrefixList>().unwrap().0;
        let validate = |destinations, sources: &str| {
            ScopeConfig { destinations, sources: list(sources), ..ScopeConfig::default() }.validate().err()
        };
        for (destinations, sources, is_refused) in [
            ("192.0.2.0/24", "2001:db8::/32", true),
            ("2001:db8::/32", "0.0.0.0/0", true),
            ("192.0.2.0/24,ff02::1", "2001:db8::/32", true),
            ("192.0.2.0/24,2001:db8::1", "2001:db8::/32", false),
            ("192.0.2.0/24", "2001:db8::/32,192.0.2.2", false),
            ("192.0.2.0/24", "192.0.2.2", false),
        ] {
            let error = validate(DestinationChoice::Prefixes(list(destinations)), sources);
            assert_eq!(error.is_some(), is_refused, "{destinations} {sources} {error:?}");
            assert!(error.is_none_or(|error| matches!(error, ConfigError::NoCommonVersion { .. })));
        }
        for destinations in [DestinationChoice::Own, DestinationChoice::Local, DestinationChoice::Any] {
            assert!(validate(destinations, "2001:db8::/32").is_none());
        }
    }

    #[test]
    fn local_and_prefixes_exclude_each_other() {
        for lists in [&["local,10.0.0.0/8"] as &[_], &["10.0.0.0/8", "local"]] {
            assert!(matches!(choose(lists), Err(ConfigError::LocalWithPrefixes)), "{lists:?}");
        }
    }
}
