//! Whom tcp-bounce answers, and for whom.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Serialize, Serializer};
use tcp_bounce_wire::address_set::MAX_RANGES;
use tcp_bounce_wire::ip::Ip as _;
use tcp_bounce_wire::ipv4::{self, Ipv4};
use tcp_bounce_wire::ipv6::{self, Ipv6};
use tcp_bounce_wire::{AddressSet, Filters};
use zerocopy::FromZeros as _;

use crate::cli::{Cli, To};
use crate::error::Error;
use crate::interface::Interface;
use crate::prefixes::ranges;
use crate::spared::Spared;
use crate::surroundings::Surroundings;
use crate::then::Plan;

/// For whom an interface answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destinations {
    /// For every address.
    Any,
    /// For the addresses with these prefixes.
    Prefixes(Vec<IpNet>),
    /// For these addresses, which are its own.
    Own(BTreeSet<IpAddr>),
}

impl Destinations {
    /// Those of `interface` as it is now.
    pub fn now(cli: &Cli, interface: &Interface, surroundings: &Surroundings) -> Self {
        let prefixes: Option<Vec<IpNet>> = cli.to.iter().map(prefix).collect();
        match prefixes {
            None => Self::Any,
            Some(prefixes) if !prefixes.is_empty() => Self::Prefixes(prefixes),
            Some(_) if cli.takeover => Self::Any,
            Some(_) => Self::Own(interface.addresses(&surroundings.interfaces, &surroundings.addresses)),
        }
    }

    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Prefixes(prefixes) => prefixes.iter().any(|prefix| prefix.contains(&address)),
            Self::Own(addresses) => addresses.contains(&address),
        }
    }

    /// The first of each family that is also among `own`, the interface's own addresses: those that are asked for most.
    pub fn usual(&self, own: &BTreeSet<IpAddr>) -> (ipv4::Address, ipv6::Address) {
        let served = || own.iter().filter(|address| self.contains(**address));
        let v4 = served().find_map(|address| match address {
            IpAddr::V4(address) => Some(ipv4::Address(address.octets())).filter(|&it| Ipv4::is_unicast(it)),
            IpAddr::V6(_) => None,
        });
        let v6 = served().find_map(|address| match address {
            IpAddr::V6(address) => Some(ipv6::Address(address.octets())).filter(|&it| Ipv6::is_unicast(it)),
            IpAddr::V4(_) => None,
        });
        (v4.unwrap_or_default(), v6.unwrap_or_default())
    }

    /// Writes them to a set.
    fn fill(&self, set: &mut AddressSet) -> Result<(), Error> {
        match self {
            Self::Any => Ok(()),
            Self::Prefixes(prefixes) => fill(set, prefixes, "--to"),
            Self::Own(addresses) => {
                fill(set, &addresses.iter().copied().map(IpNet::from).collect::<Vec<_>>(), "the interface")
            }
        }
    }
}

impl Serialize for Destinations {
    /// As a list.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.collect_seq(["any"]),
            Self::Prefixes(prefixes) => serializer.collect_seq(prefixes.iter().map(IpNet::to_string)),
            Self::Own(addresses) => serializer.collect_seq(addresses),
        }
    }
}

impl Display for Destinations {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let list = match self {
            Self::Any => return f.write_str("any address"),
            Self::Prefixes(prefixes) => join(prefixes),
            Self::Own(addresses) if addresses.is_empty() => return f.write_str("no address, as it has none"),
            Self::Own(addresses) => join(addresses),
        };
        f.write_str(&list)
    }
}

/// What is answered.
#[derive(Clone, Debug, Serialize)]
pub struct Answering {
    /// Which ports are not.
    spared: Spared,
    /// The prefixes of the clients that are answered; if there are none, all are.
    from: Vec<String>,
    /// What becomes of connections, like `echo:7`; the last is without ports, for all others.
    then: Plan,
    #[serde(skip)]
    sentence: String,
}

impl Answering {
    /// What `cli` asks for, with these ports spared.
    pub fn new(cli: &Cli, plan: &Plan, spared: Spared) -> Self {
        let from = cli.from.iter().map(IpNet::to_string).collect();
        let sentence = sentence(cli, plan, &spared);
        Self { spared, from, then: plan.clone(), sentence }
    }

    /// Which ports are not.
    pub fn spared(&self) -> &Spared {
        &self.spared
    }
}

impl Display for Answering {
    /// A sentence: ports, clients, what becomes of their connections, and of other TCP.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

fn sentence(cli: &Cli, plan: &Plan, spared: &Spared) -> String {
    let mut sentence = spared.to_string();
    if !cli.from.is_empty() {
        sentence += &format!(", to clients in {}", join(&cli.from));
    }
    if plan.says_something() {
        sentence += &format!("; then {plan}");
        if let Some(parts) = plan.without_effect(&spared.ports()) {
            sentence += &format!(" (but not {parts}: not answered)");
        }
    }
    let following = plan.following();
    if cli.isn.is_none() && !following.is_empty() {
        sentence += &format!("; sequence numbers are keyed, for {}", following.join(" and "));
    }
    if cli.takeover {
        let is_any = cli.to.iter().all(|to| prefix(to).is_none());
        let leaves_some = !is_any || [&cli.ports, &cli.except].iter().any(|lists| !lists.is_empty());
        sentence += match leaves_some || !cli.from.is_empty() {
            true => "; other TCP is dropped, but for what is left to the host (--takeover)",
            false => "; all other TCP is dropped (--takeover)",
        };
    }
    sentence
}

/// The first few, and how many more there are.
fn join<'a, T: Display + 'a>(items: impl IntoIterator<Item = &'a T, IntoIter: ExactSizeIterator>) -> String {
    const SHOWN: usize = 4;
    let items = items.into_iter();
    let more = items.len().saturating_sub(SHOWN);
    let shown: Vec<String> = items.take(SHOWN).map(T::to_string).collect();
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

fn prefix(to: &To) -> Option<IpNet> {
    match to {
        To::Any => None,
        To::Prefix(prefix) => Some(*prefix),
    }
}

/// The filters before the program runs.
pub fn filters(cli: &Cli, destinations: &Destinations, surroundings: &Surroundings) -> Result<Box<Filters>, Error> {
    // Too large for the stack.
    let Ok(mut filters) = Filters::new_box_zeroed() else { return Err(Error::OutOfMemory) };
    fill(&mut filters.sources, &cli.from, "--from")?;
    filters.excluded_ports = surroundings.spared.ports();
    let index = filters.active_destinations as usize;
    destinations.fill(&mut filters.destinations[index])?;
    Ok(filters)
}

/// Puts other destinations into the set that is not in use, and returns its index. The next time must not be before all
/// packets are through that are on their way now.
pub fn prepare(filters: &mut Filters, destinations: &Destinations) -> Result<u64, Error> {
    let index = 1 - (filters.active_destinations & 1);
    destinations.fill(&mut filters.destinations[index as usize])?;
    Ok(index)
}

fn fill(set: &mut AddressSet, prefixes: &[IpNet], source: &'static str) -> Result<(), Error> {
    let ranges = ranges(prefixes);
    set.fill(&ranges).ok_or(Error::TooManyPrefixes { source_of_them: source, count: ranges.len(), most: MAX_RANGES })
}
