//! The rules of a policy that can decide, given the possible clients and the possible addresses of the host.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::Policy;

/// The rules of a policy that can decide for some clients and some addresses of the host.
///
/// A rule cannot decide if no client or no address is in its prefixes, or if earlier rules match all of them.
pub struct PossibleRules<'a> {
    policy: &'a Policy,
    /// Pairs of a client and an address. Each pair that a rule can tell from the others has an example here.
    pairs: Vec<(IpAddr, IpAddr)>,
    /// The rules that list the port of the last call of [`Self::at`].
    listing: Vec<usize>,
    /// The rules that can decide among them.
    deciding: BTreeSet<usize>,
}

impl<'a> PossibleRules<'a> {
    /// Limits the clients to `sources`, and the addresses of the host to `destinations`. An empty list stands for all.
    ///
    /// If no client can reach any address, because their IP versions differ, there is no limit.
    pub fn new(policy: &'a Policy, sources: &[IpNet], destinations: &[IpNet]) -> Self {
        let pairs = Some(pairs(policy, sources, destinations)).filter(|pairs| !pairs.is_empty());
        let pairs = pairs.unwrap_or_else(|| self::pairs(policy, &[], &[]));
        Self { policy, pairs, listing: Vec::new(), deciding: BTreeSet::new() }
    }

    /// Returns the indices of the rules that can decide at `port`.
    ///
    /// Calls with adjacent ports are fast, because most of them have the rules of the previous port.
    pub fn at(&mut self, port: u16) -> &BTreeSet<usize> {
        let rules = || self.policy.rules.iter().enumerate();
        let listing: Vec<usize> = rules().filter(|(_, rule)| rule.has_port(port)).map(|(index, _)| index).collect();
        if listing != self.listing {
            let rule = |pair: &(IpAddr, IpAddr)| self.policy.deciding_rule(Some(pair.0), pair.1, port);
            self.deciding = self.pairs.iter().map(rule).collect();
            self.listing = listing;
        }
        &self.deciding
    }
}

/// Returns a pair of a client and an address for each pair that a rule can tell from the others.
fn pairs(policy: &Policy, sources: &[IpNet], destinations: &[IpNet]) -> Vec<(IpAddr, IpAddr)> {
    let sources = examples(policy.rules.iter().filter_map(|rule| rule.from.as_ref()), sources);
    let destinations = examples(policy.rules.iter().filter_map(|rule| rule.to.as_ref()), destinations);
    let pairs = sources.iter().flat_map(|source| destinations.iter().map(|destination| (*source, *destination)));
    pairs.filter(|(source, destination)| source.is_ipv4() == destination.is_ipv4()).collect()
}

/// Returns addresses within `limits`. Each part into which the prefixes divide all addresses has at least one of them.
fn examples<'a>(lists: impl Iterator<Item = &'a Vec<IpNet>>, limits: &'a [IpNet]) -> BTreeSet<IpAddr> {
    // The lowest address of each part begins a prefix, follows one, or is the lowest of all addresses.
    let lowest = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let bounds = lists.flatten().chain(limits).flat_map(|prefix| [Some(prefix.network()), next(prefix.broadcast())]);
    let is_within = |address: &IpAddr| limits.is_empty() || limits.iter().any(|limit| limit.contains(address));
    lowest.into_iter().chain(bounds.flatten()).filter(is_within).collect()
}

/// Returns the address after this one. `None` after the highest address.
fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(Ipv4Addr::from_bits(address.to_bits().checked_add(1)?).into()),
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits().checked_add(1)?).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the lines of the rules that can decide at port 80. 0 stands for the default.
    fn possible(policy: &str, sources: &[&str], destinations: &[&str]) -> Vec<usize> {
        let policy = Policy::parse(policy, "test").unwrap();
        let parse = |prefixes: &[&str]| prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect::<Vec<IpNet>>();
        let mut rules = PossibleRules::new(&policy, &parse(sources), &parse(destinations));
        // The rules of another port must not be taken for those of port 80.
        rules.at(79);
        rules.at(80).iter().map(|&rule| policy.line(rule).unwrap_or(0)).collect()
    }

    const HERE: &[&str] = &["192.0.2.1/32", "2001:db8::1/128"];

    #[test]
    fn rules_for_other_ports_clients_and_addresses_are_left_out() {
        for (rule, sources, is_possible) in [
            ("ports = 80", &[] as &[_], true),
            ("ports = 81", &[], false),
            ("from = \"10.0.0.0/8\"", &[], true),
            ("from = \"10.0.0.0/8\"", &["10.1.0.0/16"], true),
            ("from = \"10.1.0.0/16\"", &["10.0.0.0/8"], true),
            ("from = \"10.0.0.0/8\"", &["11.0.0.0/8"], false),
            ("from = \"10.0.0.0/8\"", &["2001:db8::/32"], false),
            ("to = \"192.0.2.1\"", &[], true),
            ("to = \"192.0.2.0/24\"", &[], true),
            ("to = \"192.0.2.2\"", &[], false),
            ("to = \"192.0.2.1\"", &["2001:db8::/32"], false),
            ("to = \"2001:db8::1\"\nfrom = \"10.0.0.0/8\"", &[], false),
            ("to = \"192.0.2.1\"\nfrom = \"10.0.0.0/8\"", &[], true),
        ] {
            let lines = possible(&format!("[[rule]]\nopen = true\n{rule}\n"), sources, HERE);
            assert_eq!(lines.contains(&1), is_possible, "{rule} {sources:?} {lines:?}");
        }
    }

    #[test]
    fn clients_that_reach_no_address_leave_out_no_rule() {
        let rules = "[[rule]]\nopen = true\nports = 80\nfrom = \"10.0.0.0/8\"\n";
        assert_eq!(possible(rules, &["10.0.0.0/8"], &["fe80::1/128"]), [1, 0]);
    }

    #[test]
    fn rules_that_earlier_ones_cover_are_left_out() {
        let rule = |keys: &str| format!("[[rule]]\nopen = true\n{keys}\n");
        for (earlier, later, sources, lines) in [
            ("ports = 80", "ports = \"79-81\"", &[] as &[_], &[1usize] as &[usize]),
            ("from = \"10.0.0.0/8\"", "ports = 80", &[], &[1, 4]),
            ("from = \"10.0.0.0/8\"", "ports = 80", &["10.1.0.0/16"], &[1]),
            ("from = \"10.0.0.0/8\"", "from = \"10.1.0.0/16\"", &[], &[0, 1]),
            // Two halves cover the whole.
            ("from = \"10.0.0.0/9,10.128.0.0/9\"", "from = \"10.0.0.0/8\"", &[], &[0, 1]),
            ("from = \"10.0.0.0/9\"", "from = \"10.0.0.0/8\"", &[], &[0, 1, 4]),
            ("from = \"0.0.0.0/0\"", "ports = 80", &[], &[1, 4]),
            ("from = \"0.0.0.0/0,::/0\"", "ports = 80", &[], &[1]),
            ("from = \"255.255.255.0/24\"", "from = \"255.255.255.128/25\"", &[], &[0, 1]),
            ("to = \"192.0.2.1,2001:db8::1\"", "ports = 80", &[], &[1]),
            ("to = \"192.0.2.1\"", "ports = 80", &[], &[1, 4]),
        ] {
            let found: BTreeSet<usize> = possible(&(rule(earlier) + &rule(later)), sources, HERE).into_iter().collect();
            assert_eq!(found, lines.iter().copied().collect(), "{earlier}; {later}; {sources:?}");
        }
    }

    #[test]
    fn without_limits_every_rule_can_decide() {
        let policy = "[[rule]]\nto = \"198.51.100.1\"\nopen = true\n[[rule]]\nto = \"2001:db8::9\"\nopen = true\n";
        assert_eq!(possible(policy, &[], &[]), [1, 4, 0]);
    }
}
