//! Network interfaces.

use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage, Prop};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;
use nix::net::if_::if_indextoname;

use crate::error::Error;
use crate::netlink;

/// A network interface of the calling thread's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Whether it is one end of a veth pair.
    pub is_veth: bool,
    layer: LinkLayerType,
    altnames: Vec<String>,
}

impl Interface {
    /// Finds the interfaces with these names, in this order: each of them, once, and fit for tcp-bounce.
    pub fn find(names: &[String]) -> Result<Vec<Self>, Error> {
        let all = Self::all().map_err(Error::ListInterfaces)?;
        let mut found: Vec<Self> = Vec::new();
        for name in names {
            let Some(interface) = all.iter().find(|interface| interface.is_called(name)) else {
                let names = all.into_iter().map(|interface| interface.name).collect();
                return Err(Error::NoSuchInterface { name: name.clone(), names });
            };
            match interface.layer {
                LinkLayerType::Ether => {}
                LinkLayerType::Loopback => return Err(Error::Loopback { name: name.clone() }),
                _ => return Err(Error::NotEthernet { name: name.clone() }),
            }
            if found.contains(interface) {
                return Err(Error::NamedTwice { name: interface.name.clone() });
            }
            found.push(interface.clone());
        }
        Ok(found)
    }

    /// Whether it is still in this network namespace, under whatever name.
    pub fn exists(&self) -> bool {
        match if_indextoname(self.index) {
            // Where there is none, nix mostly gives no error but an empty name.
            Ok(name) => !name.is_empty(),
            Err(errno) => !matches!(errno, Errno::ENXIO | Errno::ENODEV),
        }
    }

    fn all() -> io::Result<Vec<Self>> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let messages = netlink::dump(NETLINK_ROUTE, request)?;
        let links = messages.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        });
        Ok(links.map(Self::from).collect())
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
            layer: link.header.link_layer_type,
            altnames: Vec::new(),
        };
        for attribute in link.attributes {
            match attribute {
                LinkAttribute::IfName(name) => interface.name = name,
                LinkAttribute::LinkInfo(infos) => interface.is_veth = infos.contains(&LinkInfo::Kind(InfoKind::Veth)),
                LinkAttribute::PropList(props) => {
                    interface.altnames.extend(props.into_iter().filter_map(|prop| match prop {
                        Prop::AltIfName(name) => Some(name),
                        _ => None,
                    }));
                }
                _ => {}
            }
        }
        interface
    }
}
