//! Network interfaces.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{Emitable as _, parse_string, parse_u32};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkFlags, LinkHeader, LinkLayerType, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::libc;
use tcp_bounce_wire::ethernet::VlanTag;

use super::{HostAddress, HostError, vlan};
use crate::host::netlink;

/// The kind of a VLAN device.
const VLAN: &str = "vlan";

/// A network interface of the calling thread's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The primary name, as `ip link` shows it.
    pub name: String,
    /// The interface index (`if_nametoindex(3)`).
    pub index: u32,
    /// The MAC address. Zero if the interface has no address of six bytes.
    pub mac: [u8; 6],
    /// Whether the interface is administratively up (`IFF_UP`).
    pub is_up: bool,
    /// The MTU, in bytes: the length of the longest packet without the Ethernet header. Zero if the kernel does
    /// not report it.
    pub mtu: u32,
    /// The kind of a virtual interface, such as "bridge" (`IFLA_INFO_KIND`). `None` for a physical interface and for
    /// loopback.
    pub kind: Option<String>,
    /// The index of the bridge, bond or other master device that has this interface as a port (`IFLA_MASTER`).
    pub master: Option<u32>,
    /// The index of the interface below a virtual interface such as a VLAN device, or of the other end of a veth pair
    /// (`IFLA_LINK`).
    ///
    /// `None` if there is no such interface, or if it is in another network namespace.
    pub lower: Option<u32>,
    /// The VLAN tag of a VLAN device, which the frames of the interface below have. `None` for other interfaces.
    pub vlan: Option<VlanTag>,
    layer: LinkLayerType,
    altnames: Vec<String>,
}

impl Interface {
    /// Lists all interfaces in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`HostError::ListInterfaces`] if the netlink dump fails.
    pub fn list() -> Result<Vec<Self>, HostError> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let links = netlink::dump(NETLINK_ROUTE, request).map_err(HostError::ListInterfaces)?;
        Ok(links.iter().filter_map(|link| Self::parse(&link.0)).collect())
    }

    /// Returns whether the network namespace of the calling thread has an interface with this index.
    ///
    /// # Errors
    ///
    /// The error of [`Interface::list`].
    pub fn exists(index: u32) -> Result<bool, HostError> {
        Ok(Self::list()?.iter().any(|interface| interface.index == index))
    }

    /// Finds the interfaces with `names`, in the given order. Alternative names are accepted.
    ///
    /// # Errors
    ///
    /// [`HostError::NoSuchInterface`], [`HostError::NamedTwice`], or the error of [`Interface::list`].
    pub fn find_by_name(names: &[String]) -> Result<Vec<Self>, HostError> {
        let all = Self::list()?;
        let mut found: Vec<Self> = Vec::new();
        for name in names {
            let Some(interface) = all.iter().find(|interface| interface.has_name(name)) else {
                let names = all.into_iter().map(|interface| interface.name).collect();
                return Err(HostError::NoSuchInterface { name: name.clone(), names });
            };
            if found.contains(interface) {
                return Err(HostError::NamedTwice { name: interface.name.clone() });
            }
            found.push(interface.clone());
        }
        Ok(found)
    }

    /// Finds the interfaces with `names`, in the given order, and checks that tcp-bounce supports each of them.
    ///
    /// # Errors
    ///
    /// The errors of [`Interface::find_by_name`] and of [`Interface::check_supported`].
    pub fn find(names: &[String]) -> Result<Vec<Self>, HostError> {
        let found = Self::find_by_name(names)?;
        found.iter().try_for_each(Self::check_supported)?;
        Ok(found)
    }

    /// Checks that tcp-bounce supports the interface: its frames have Ethernet headers and come from other hosts.
    ///
    /// # Errors
    ///
    /// [`HostError::Loopback`] or [`HostError::NotEthernet`].
    pub fn check_supported(&self) -> Result<(), HostError> {
        match self.layer {
            LinkLayerType::Ether => Ok(()),
            LinkLayerType::Loopback => Err(HostError::Loopback { name: self.name.clone() }),
            _ => Err(HostError::NotEthernet { name: self.name.clone() }),
        }
    }

    /// Parses an `RTM_NEWLINK` message (`rtnetlink(7)`). Returns `None` if the message is truncated, or if the name is
    /// missing or invalid.
    ///
    /// Other invalid attributes are skipped, so that an unusual driver does not hide its interface.
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        let header = LinkHeader::parse(message).ok()?;
        let attributes: BTreeMap<u16, &[u8]> = netlink::attributes(message.get(header.buffer_len()..)?).collect();
        let number = |kind| parse_u32(attributes.get(&kind)?).ok();
        let nested = |kind| netlink::attributes(attributes.get(&kind).copied().unwrap_or_default());
        let info: BTreeMap<u16, &[u8]> = nested(libc::IFLA_LINKINFO).collect();
        let kind = info.get(&libc::IFLA_INFO_KIND).and_then(|kind| parse_string(kind).ok());
        let is_vlan = kind.as_deref() == Some(VLAN);
        let lower_is_elsewhere = attributes.contains_key(&libc::IFLA_LINK_NETNSID);
        Some(Self {
            name: parse_string(attributes.get(&libc::IFLA_IFNAME)?).ok()?,
            index: header.index,
            mac: attributes.get(&libc::IFLA_ADDRESS).and_then(|&mac| mac.try_into().ok()).unwrap_or_default(),
            is_up: header.flags.contains(LinkFlags::Up),
            mtu: number(libc::IFLA_MTU).unwrap_or_default(),
            kind,
            master: number(libc::IFLA_MASTER),
            lower: number(libc::IFLA_LINK).filter(|_| !lower_is_elsewhere),
            vlan: info.get(&libc::IFLA_INFO_DATA).filter(|_| is_vlan).and_then(|data| vlan::parse_tag(data)),
            layer: header.link_layer_type,
            altnames: strings(nested(libc::IFLA_PROP_LIST), libc::IFLA_ALT_IFNAME).collect(),
        })
    }

    /// Returns the IP addresses of the interface and of the VLAN devices on it.
    ///
    /// `all` contains all interfaces of the namespace, and `addresses` all addresses.
    pub fn addresses(&self, all: &[Self], addresses: &[HostAddress]) -> BTreeSet<IpAddr> {
        self.host_addresses(all, addresses).map(|address| address.address).collect()
    }

    /// Returns the IPv4 broadcast addresses of the subnets of the interface and of the VLAN devices on it.
    ///
    /// `all` contains all interfaces of the namespace, and `addresses` all addresses.
    pub fn broadcasts(&self, all: &[Self], addresses: &[HostAddress]) -> BTreeSet<Ipv4Addr> {
        self.host_addresses(all, addresses).flat_map(HostAddress::broadcasts).collect()
    }

    /// Selects the addresses of the interface and of the VLAN devices on it.
    fn host_addresses<'a>(
        &self,
        all: &[Self],
        addresses: &'a [HostAddress],
    ) -> impl Iterator<Item = &'a HostAddress> + use<'a> {
        let mut indices = vec![self.index];
        let mut next = 0;
        // A VLAN device may itself have VLAN devices (QinQ).
        while let Some(&lower) = indices.get(next) {
            let is_new = |upper: &&Self| upper.is_vlan_of(lower) && !indices.contains(&upper.index);
            let uppers: Vec<u32> = all.iter().filter(is_new).map(|upper| upper.index).collect();
            indices.extend(uppers);
            next += 1;
        }
        addresses.iter().filter(move |address| indices.contains(&address.interface))
    }

    /// Returns the upper devices of the interface: its bridge or bond, and the VLAN and similar devices on it.
    ///
    /// `all` contains all interfaces of the namespace.
    pub fn above<'a>(&self, all: &'a [Self]) -> impl Iterator<Item = &'a Self> {
        let (index, master) = (self.index, self.master);
        all.iter().filter(move |other| master == Some(other.index) || other.is_upper_device_of(index))
    }

    /// Returns whether this is a VLAN or similar device directly on the interface with `index`.
    fn is_upper_device_of(&self, index: u32) -> bool {
        // Tunnels and veth pairs also set `lower`, but they are not upper devices.
        const KINDS: [&str; 6] = [VLAN, "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"];
        self.lower == Some(index) && self.kind.as_deref().is_some_and(|kind| KINDS.contains(&kind))
    }

    /// Returns whether this is the loopback interface.
    pub fn is_loopback(&self) -> bool {
        self.layer == LinkLayerType::Loopback
    }

    /// Returns whether this is one end of a veth pair.
    pub fn is_veth(&self) -> bool {
        self.kind.as_deref() == Some("veth")
    }

    /// Returns whether this is a VLAN device directly on the interface with `index`.
    pub fn is_vlan_of(&self, index: u32) -> bool {
        self.lower == Some(index) && self.kind.as_deref() == Some(VLAN)
    }

    fn has_name(&self, name: &str) -> bool {
        self.name == name || self.altnames.iter().any(|altname| altname == name)
    }
}

/// Returns the strings of all attributes with type `kind`. Strings that are not UTF-8 are skipped.
fn strings<'a>(attributes: impl Iterator<Item = (u16, &'a [u8])>, kind: u16) -> impl Iterator<Item = String> {
    attributes.filter(move |&(found, _)| found == kind).filter_map(|(_, value)| parse_string(value).ok())
}

#[cfg(test)]
impl Interface {
    /// Returns an interface for the tests of higher layers.
    pub fn fake(index: u32, layer: LinkLayerType, master: Option<u32>) -> Self {
        Self {
            name: format!("fake{index}"),
            index,
            mac: [2, 0, 0, 0, 0, index as u8],
            is_up: true,
            mtu: 1500,
            kind: None,
            master,
            lower: None,
            vlan: None,
            layer,
            altnames: Vec::new(),
        }
    }
}

#[cfg(test)]
pub mod fake {
    //! Netlink messages for the tests of this layer.

    use nix::libc;

    use crate::host::netlink::fake::attribute;

    /// Returns an `RTM_NEWLINK` message for an Ethernet interface that is up: struct ifinfomsg and `attributes`.
    pub fn link(index: u32, attributes: &[Vec<u8>]) -> Vec<u8> {
        let up = 1u32.to_ne_bytes();
        let layer = [[0; 2], libc::ARPHRD_ETHER.to_ne_bytes()].concat();
        [&layer[..], &index.to_ne_bytes(), &up, &[0; 4], &attributes.concat()].concat()
    }

    pub fn name(name: &str) -> Vec<u8> {
        attribute(libc::IFLA_IFNAME, format!("{name}\0").as_bytes())
    }

    pub fn kind(kind: &str) -> Vec<u8> {
        attribute(libc::IFLA_LINKINFO, &attribute(libc::IFLA_INFO_KIND, format!("{kind}\0").as_bytes()))
    }

    pub fn number(kind: u16, number: u32) -> Vec<u8> {
        attribute(kind, &number.to_ne_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::fake::{kind, link, name, number};
    use super::*;
    use crate::host::netlink::fake::attribute;

    #[test]
    fn only_used_indices_exist() {
        // The loopback interface is the first one of each network namespace.
        assert!(Interface::exists(1).unwrap());
        assert!(!Interface::exists(i32::MAX as u32).unwrap());
    }

    #[test]
    fn reads_an_interface() {
        let altnames = ["wan\0", "enp1s0\0"].map(|name| attribute(libc::IFLA_ALT_IFNAME, name.as_bytes())).concat();
        let attributes = [
            name("eth1"),
            attribute(libc::IFLA_ADDRESS, &[2, 0, 0, 0, 0, 1]),
            number(libc::IFLA_MTU, 1500),
            number(libc::IFLA_MASTER, 7),
            number(libc::IFLA_LINK, 3),
            kind("vlan"),
            attribute(libc::IFLA_PROP_LIST | 0x8000, &altnames),
        ];
        let expected = Interface {
            name: "eth1".into(),
            index: 4,
            mac: [2, 0, 0, 0, 0, 1],
            is_up: true,
            mtu: 1500,
            kind: Some("vlan".into()),
            master: Some(7),
            lower: Some(3),
            vlan: None,
            layer: LinkLayerType::Ether,
            altnames: vec!["wan".into(), "enp1s0".into()],
        };
        assert_eq!(Interface::parse(&link(4, &attributes)), Some(expected));
    }

    #[test]
    fn undecodable_attributes_hide_nothing_else() {
        let odd = [
            attribute(libc::IFLA_LINKINFO, &[9, 0, 1]),
            attribute(libc::IFLA_AF_SPEC, &[200, 0, 2, 0]),
            attribute(libc::IFLA_PROP_LIST, &attribute(libc::IFLA_ALT_IFNAME, b"\xff")),
            attribute(libc::IFLA_OPERSTATE, &[]),
            attribute(libc::IFLA_MASTER, &[1, 2]),
            attribute(libc::IFLA_ADDRESS, &[10, 0, 0, 1]),
        ];
        for odd in odd {
            let message = link(4, &[name("eth1"), odd.clone(), number(libc::IFLA_MTU, 1500)]);
            let interface = Interface::parse(&message).unwrap();
            assert_eq!((interface.name.as_str(), interface.index, interface.mtu), ("eth1", 4, 1500), "{odd:?}");
            assert_eq!((interface.kind, interface.master, interface.mac), (None, None, [0; 6]), "{odd:?}");
            assert!(interface.altnames.is_empty(), "{odd:?}");
        }
    }

    #[test]
    fn skips_interfaces_without_a_readable_name() {
        for attributes in [vec![number(libc::IFLA_MTU, 1500)], vec![attribute(libc::IFLA_IFNAME, b"\xff\0")]] {
            assert_eq!(Interface::parse(&link(4, &attributes)), None, "{attributes:?}");
        }
        assert_eq!(Interface::parse(&link(4, &[])[..15]), None);
    }

    // The messages are synthetic, because the kernel of the test machine may lack VLAN devices.
    #[test]
    fn interfaces_have_the_addresses_of_their_vlan_devices() {
        let interface = |index, attributes: &[Vec<u8>]| {
            Interface::parse(&link(index, &[&[name("eth")], attributes].concat())).unwrap()
        };
        let on = |lower| number(libc::IFLA_LINK, lower);
        let all = [
            interface(1, &[]),
            interface(2, &[on(1), kind("vlan")]),
            interface(3, &[on(2), kind("vlan")]),
            // A VLAN device on interface 1 of another network namespace.
            interface(4, &[on(1), kind("vlan"), number(libc::IFLA_LINK_NETNSID, 0)]),
            interface(5, &[on(1), kind("macvlan")]),
        ];
        let vlans = |index: u32| all.iter().filter(move |other| other.is_vlan_of(index)).map(|vlan| vlan.index);
        assert_eq!(vlans(1).collect::<Vec<_>>(), [2]);
        assert_eq!(vlans(2).collect::<Vec<_>>(), [3]);

        let address = |index: u8| IpAddr::from([192, 0, 2, index]);
        let broadcast = |index: u8| Ipv4Addr::new(192, 0, 2, 100 + index);
        let addresses = [1, 2, 3, 4, 5].map(|index| HostAddress {
            broadcast: Some(broadcast(index)),
            ..HostAddress::fake(index.into(), &address(index).to_string())
        });
        for (interface, expected) in [(&all[0], [1u8, 2, 3].as_slice()), (&all[1], &[2, 3])] {
            let expected = || expected.iter().copied();
            assert_eq!(interface.addresses(&all, &addresses), expected().map(address).collect());
            assert_eq!(interface.broadcasts(&all, &addresses), expected().map(broadcast).collect());
        }
    }
}
