//! Network interfaces.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, Prop};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::HostError;
use crate::host::netlink;

/// A network interface of the calling thread's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Whether it is one end of a veth pair.
    pub is_veth: bool,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Whether it is up.
    pub is_up: bool,
    /// The longest packet that it carries, in bytes.
    pub mtu: u32,
    /// What kind of virtual interface it is, like "bridge".
    pub kind: Option<String>,
    /// The index of the bridge or bond whose port it is.
    pub master: Option<u32>,
    /// The index of the interface that it sits on, as a VLAN device does. (Or of the other end of a veth pair.)
    pub lower: Option<u32>,
    layer: LinkLayerType,
    altnames: Vec<String>,
}

impl Interface {
    /// Finds the interfaces with these names, in this order: each of them, once, and fit for tcp-bounce.
    pub fn find(names: &[String]) -> Result<Vec<Self>, HostError> {
        let found = Self::named(names)?;
        found.iter().try_for_each(Self::check_fit)?;
        Ok(found)
    }

    /// Finds the interfaces with these names, in this order: each of them, once.
    pub fn named(names: &[String]) -> Result<Vec<Self>, HostError> {
        let all = Self::all().map_err(HostError::ListInterfaces)?;
        let mut found: Vec<Self> = Vec::new();
        for name in names {
            let Some(interface) = all.iter().find(|interface| interface.is_called(name)) else {
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

    /// Checks that tcp-bounce understands its packets.
    pub fn check_fit(&self) -> Result<(), HostError> {
        match self.layer {
            LinkLayerType::Ether => Ok(()),
            LinkLayerType::Loopback => Err(HostError::Loopback { name: self.name.clone() }),
            _ => Err(HostError::NotEthernet { name: self.name.clone() }),
        }
    }

    /// All interfaces of the namespace.
    pub fn all() -> io::Result<Vec<Self>> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let messages = netlink::dump(NETLINK_ROUTE, request)?;
        let links = messages.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        });
        Ok(links.map(Self::from).collect())
    }

    /// Its addresses and those of its VLANs, of `all` the interfaces and `addresses` there are.
    pub fn addresses(&self, all: &[Self], addresses: &[(u32, IpAddr)]) -> BTreeSet<IpAddr> {
        let mut indices = vec![self.index];
        let mut next = 0;
        // A VLAN may have VLANs.
        while let Some(&lower) = indices.get(next) {
            let is_new = |upper: &&Self| upper.is_vlan_of(lower) && !indices.contains(&upper.index);
            let uppers: Vec<u32> = all.iter().filter(is_new).map(|upper| upper.index).collect();
            indices.extend(uppers);
            next += 1;
        }
        addresses.iter().filter(|(index, _)| indices.contains(index)).map(|&(_, address)| address).collect()
    }

    /// Those of `all` that are upper devices of it, as the kernel calls them: they sit on it, or it is their port.
    pub fn above<'a>(&self, all: &'a [Self]) -> impl Iterator<Item = &'a Self> {
        // A tunnel or a pair of interfaces names another as its own in the same way, and is not above it.
        const KINDS: [&str; 6] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"];
        let (index, master) = (self.index, self.master);
        let sits_on_it = move |other: &Self| {
            other.lower == Some(index) && other.kind.as_deref().is_some_and(|kind| KINDS.contains(&kind))
        };
        all.iter().filter(move |other| master == Some(other.index) || sits_on_it(other))
    }

    /// Whether it is the loopback interface.
    pub fn is_loopback(&self) -> bool {
        self.layer == LinkLayerType::Loopback
    }

    /// Whether it is a VLAN device on the interface with this index.
    pub fn is_vlan_of(&self, index: u32) -> bool {
        self.lower == Some(index) && self.kind.as_deref() == Some("vlan")
    }

    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.altnames.iter().any(|altname| altname == name)
    }
}

impl From<LinkMessage> for Interface {
    fn from(link: LinkMessage) -> Self {
        let mut interface = Self {
            name: String::new(),
            index: link.header.index,
            is_veth: false,
            is_up: link.header.flags.contains(LinkFlags::Up),
            mac: [0; 6],
            mtu: 0,
            kind: None,
            master: None,
            lower: None,
            layer: link.header.link_layer_type,
            altnames: Vec::new(),
        };
        let mut lower_is_elsewhere = false;
        for attribute in link.attributes {
            match attribute {
                LinkAttribute::IfName(name) => interface.name = name,
                LinkAttribute::Mtu(mtu) => interface.mtu = mtu,
                LinkAttribute::Address(address) => interface.mac = address.try_into().unwrap_or_default(),
                LinkAttribute::Controller(index) => interface.master = Some(index),
                LinkAttribute::Link(index) => interface.lower = Some(index),
                LinkAttribute::LinkNetNsId(_) => lower_is_elsewhere = true,
                LinkAttribute::LinkInfo(infos) => {
                    interface.is_veth = infos.contains(&LinkInfo::Kind(InfoKind::Veth));
                    interface.kind = infos.iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind.to_string()),
                        _ => None,
                    });
                }
                LinkAttribute::PropList(props) => {
                    interface.altnames.extend(props.into_iter().filter_map(|prop| match prop {
                        Prop::AltIfName(name) => Some(name),
                        _ => None,
                    }));
                }
                _ => {}
            }
        }
        // The index is one of the other namespace.
        interface.lower = interface.lower.filter(|_| !lower_is_elsewhere);
        interface
    }
}

/// All addresses of this host, each with the index of its interface.
pub fn addresses() -> io::Result<Vec<(u32, IpAddr)>> {
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let messages = netlink::dump(NETLINK_ROUTE, request)?;
    Ok(messages
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(message) => Some((message.header.index, own_address(message)?)),
            _ => None,
        })
        .collect())
}

/// The address at this end: on a point-to-point link, `Address` is that of the other.
fn own_address(message: AddressMessage) -> Option<IpAddr> {
    let (mut local, mut address) = (None, None);
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(found) => local = Some(found),
            AddressAttribute::Address(found) => address = Some(found),
            _ => {}
        }
    }
    local.or(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not every kernel has VLANs, so this is what one that has them tells.
    #[test]
    fn a_vlan_device_sits_on_its_interface_and_has_addresses_for_it() {
        let link = |index, attributes: Vec<LinkAttribute>| {
            let mut link = LinkMessage::default();
            (link.header.index, link.attributes) = (index, attributes);
            Interface::from(link)
        };
        let vlan_on = |lower| {
            let kind = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan)]);
            vec![LinkAttribute::Link(lower), kind]
        };
        let macvlan = vec![LinkAttribute::Link(1), LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan)])];
        // 2 is a VLAN of 1, and 3 of 2; 4 is in another namespace, whose 1 is another; 5 is no VLAN.
        let elsewhere = [vlan_on(1), vec![LinkAttribute::LinkNetNsId(0)]].concat();
        let all = [link(1, vec![]), link(2, vlan_on(1)), link(3, vlan_on(2)), link(4, elsewhere), link(5, macvlan)];
        let vlans = |index: u32| all.iter().filter(move |other| other.is_vlan_of(index)).map(|vlan| vlan.index);
        assert_eq!(vlans(1).collect::<Vec<_>>(), [2]);
        assert_eq!(vlans(2).collect::<Vec<_>>(), [3]);

        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        let addresses = [1, 2, 3, 4, 5].map(|index| (index, address(index as u8)));
        assert_eq!(all[0].addresses(&all, &addresses), [1, 2, 3].map(address).into());
        assert_eq!(all[1].addresses(&all, &addresses), [2, 3].map(address).into());
    }
}
