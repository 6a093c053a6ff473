//! The scope: the destination addresses that an interface answers for.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Serialize, Serializer};
use tcp_bounce_wire::AddressSet;
use tcp_bounce_wire::address::{IpAddress as _, Ipv4Address, Ipv6Address};
use tcp_bounce_wire::address_set::MAX_RANGES;

use super::{HostSnapshot, ResponderError};
use crate::config::DestinationChoice;
use crate::config::prefixes::ranges;
use crate::host::Interface;

/// The destination addresses that an interface answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every address.
    Any,
    /// The addresses in these prefixes.
    Prefixes(Vec<IpNet>),
    /// The addresses of the interface and of its VLAN devices.
    Own(BTreeSet<IpAddr>),
    /// The addresses of all interfaces of the host, except loopback addresses.
    Local(BTreeSet<IpAddr>),
}

impl Scope {
    /// Returns the scope of `interface` for the user's `choice`, with the addresses of `snapshot`.
    pub fn of(interface: &Interface, choice: &DestinationChoice, snapshot: &HostSnapshot) -> Self {
        match choice {
            DestinationChoice::Any => Self::Any,
            DestinationChoice::Prefixes(prefixes) => Self::Prefixes(prefixes.clone()),
            DestinationChoice::Own => Self::Own(interface.addresses(&snapshot.interfaces, &snapshot.addresses)),
            DestinationChoice::Local => {
                let all = snapshot.addresses.iter().map(|address| address.address);
                Self::Local(all.filter(|address| !address.is_loopback()).collect())
            }
        }
    }

    /// Returns whether the scope contains no address, because the interface or the host has none.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Own(addresses) | Self::Local(addresses) if addresses.is_empty())
    }

    /// Returns whether `address` is in the scope.
    pub fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Prefixes(prefixes) => prefixes.iter().any(|prefix| prefix.contains(&address)),
            Self::Own(addresses) | Self::Local(addresses) => addresses.contains(&address),
        }
    }

    /// Returns the prefixes of the addresses in the scope.
    pub fn prefixes(&self) -> Vec<IpNet> {
        match self {
            Self::Any => vec![Ipv4Net::default().into(), Ipv6Net::default().into()],
            Self::Prefixes(prefixes) => prefixes.clone(),
            Self::Own(addresses) | Self::Local(addresses) => to_prefixes(addresses),
        }
    }

    /// Returns the primary IPv4 address and the primary IPv6 address.
    ///
    /// A primary address is the lowest unicast address of its family that is in `own` and in the scope. The unspecified
    /// address stands for no primary address. The program compares a destination with the primary address before it
    /// searches the address set.
    pub fn primary_addresses(&self, own: &BTreeSet<IpAddr>) -> (Ipv4Address, Ipv6Address) {
        let in_scope = || own.iter().filter(|address| self.contains(**address));
        let v4 = in_scope().find_map(|address| match address {
            IpAddr::V4(address) => Some(Ipv4Address(address.octets())).filter(|address| address.is_unicast()),
            IpAddr::V6(_) => None,
        });
        let v6 = in_scope().find_map(|address| match address {
            IpAddr::V6(address) => Some(Ipv6Address(address.octets())).filter(|address| address.is_unicast()),
            IpAddr::V4(_) => None,
        });
        (v4.unwrap_or_default(), v6.unwrap_or_default())
    }

    /// Writes the scope to an address set of the program. [`Scope::Any`] leaves the set unchanged.
    ///
    /// # Errors
    ///
    /// [`ResponderError::TooManyPrefixes`] if the scope has more ranges than the set holds.
    pub fn fill(&self, set: &mut AddressSet) -> Result<(), ResponderError> {
        match self {
            Self::Any => Ok(()),
            Self::Prefixes(prefixes) => fill(set, prefixes, "--dst"),
            Self::Own(addresses) => fill(set, &to_prefixes(addresses), "the interface"),
            Self::Local(addresses) => fill(set, &to_prefixes(addresses), "the host"),
        }
    }
}

fn to_prefixes(addresses: &BTreeSet<IpAddr>) -> Vec<IpNet> {
    addresses.iter().copied().map(IpNet::from).collect()
}

/// Writes `prefixes` to an address set of the program. The error names `origin`: the option, interface or host.
///
/// # Errors
///
/// [`ResponderError::TooManyPrefixes`] if there are more ranges than the set holds.
pub fn fill(set: &mut AddressSet, prefixes: &[IpNet], origin: &'static str) -> Result<(), ResponderError> {
    let ranges = ranges(prefixes);
    set.fill(&ranges).ok_or(ResponderError::TooManyPrefixes { origin, count: ranges.len(), most: MAX_RANGES })
}

impl Serialize for Scope {
    /// Writes a list of addresses or prefixes, or `["any"]`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.collect_seq(["any"]),
            Self::Prefixes(prefixes) => serializer.collect_seq(prefixes.iter().map(IpNet::to_string)),
            Self::Own(addresses) | Self::Local(addresses) => serializer.collect_seq(addresses),
        }
    }
}

impl Display for Scope {
    /// Writes the first addresses or prefixes, `any`, or `none`.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let list = match self {
            Self::Any => return f.write_str("any"),
            Self::Prefixes(prefixes) => join_first(prefixes),
            Self::Own(_) | Self::Local(_) if self.is_empty() => return f.write_str("none"),
            Self::Own(addresses) | Self::Local(addresses) => join_first(addresses),
        };
        f.write_str(&list)
    }
}

/// Joins the first four items with commas, and appends how many more there are.
pub fn join_first<'a, T: Display + 'a>(items: impl IntoIterator<Item = &'a T, IntoIter: ExactSizeIterator>) -> String {
    const SHOWN: usize = 4;
    let items = items.into_iter();
    let more = items.len().saturating_sub(SHOWN);
    let shown: Vec<String> = items.take(SHOWN).map(T::to_string).collect();
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}
