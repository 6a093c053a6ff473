//! The IP addresses of the host, with their subnets and broadcast addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use netlink_packet_core::{Emitable as _, parse_ip};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressHeader, AddressMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::libc;

use super::HostError;
use crate::host::netlink;

/// An IP address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostAddress {
    /// The index of the interface.
    pub interface: u32,
    /// The address of the host.
    pub address: IpAddr,
    /// The subnet of the address. On a point-to-point link, it is the subnet of the other end.
    pub subnet: IpNet,
    /// The configured broadcast address, which may lie outside the subnet.
    pub broadcast: Option<Ipv4Addr>,
}

impl HostAddress {
    /// Lists all IP addresses in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`HostError::ListAddresses`] if the netlink dump fails.
    pub fn list() -> Result<Vec<Self>, HostError> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let addresses = netlink::dump(NETLINK_ROUTE, request).map_err(HostError::ListAddresses)?;
        Ok(addresses.iter().filter_map(|address| Self::parse(&address.0)).collect())
    }

    /// Parses an `RTM_NEWADDR` message (`rtnetlink(7)`). Returns `None` if the message is truncated, or if the address
    /// or the prefix length is missing or invalid.
    fn parse(message: &[u8]) -> Option<Self> {
        let header = AddressHeader::parse(message).ok()?;
        let attributes: BTreeMap<u16, &[u8]> = netlink::attributes(message.get(header.buffer_len()..)?).collect();
        let address = |kind| parse_ip(attributes.get(&kind)?).ok();
        // On a point-to-point link, IFA_ADDRESS is the address of the other end.
        let (local, other) = (address(libc::IFA_LOCAL), address(libc::IFA_ADDRESS));
        let (address_of_host, address_in_subnet) = (local.or(other)?, other.or(local)?);
        let broadcast = match address(libc::IFA_BROADCAST) {
            Some(IpAddr::V4(broadcast)) => Some(broadcast),
            _ => None,
        };
        Some(Self {
            interface: header.index,
            address: address_of_host,
            subnet: IpNet::new(address_in_subnet, header.prefix_len).ok()?.trunc(),
            broadcast,
        })
    }

    /// Returns the addresses that the kernel treats as broadcast addresses because of this address: the configured one,
    /// and the last address of the subnet. An IPv6 address has none.
    ///
    /// The rules follow `fib_add_ifaddr` of Linux. A subnet with a prefix length of 31 or 32 has no broadcast address
    /// (RFC 3021). 255.255.255.255 belongs to no subnet, and is omitted.
    pub fn broadcasts(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let last_of_subnet = |subnet: Ipv4Net| {
            let has_broadcast = subnet.prefix_len() < 31 && subnet.network().octets()[0] != 0;
            has_broadcast.then(|| subnet.broadcast())
        };
        let last = match self.subnet {
            IpNet::V4(subnet) => last_of_subnet(subnet),
            IpNet::V6(_) => None,
        };
        let configured = self.broadcast.filter(|broadcast| !broadcast.is_broadcast() && Some(*broadcast) != last);
        last.into_iter().chain(configured)
    }
}

#[cfg(test)]
impl HostAddress {
    /// Returns an address for the tests, in a subnet of its own.
    pub fn fake(interface: u32, address: &str) -> Self {
        let address = address.parse().unwrap();
        Self { interface, address, subnet: IpNet::from(address), broadcast: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netlink::fake::attribute;

    const IPV4: u8 = libc::AF_INET as u8;
    const IPV6: u8 = libc::AF_INET6 as u8;

    /// Returns an `RTM_NEWADDR` message for interface 5: struct ifaddrmsg and `attributes`.
    fn message(family: u8, prefix_length: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
        // Family, prefix length, flags and scope, in one byte each, and the interface index.
        [&[family, prefix_length, 0, 0], &5u32.to_ne_bytes()[..], &attributes.concat()].concat()
    }

    /// Returns the address of an IPv4 message with a prefix length and broadcast addresses.
    fn parse(address: [u8; 4], prefix_length: u8, broadcast: Option<[u8; 4]>) -> HostAddress {
        let mut attributes = vec![attribute(libc::IFA_ADDRESS, &address)];
        attributes.extend(broadcast.map(|broadcast| attribute(libc::IFA_BROADCAST, &broadcast)));
        HostAddress::parse(&message(IPV4, prefix_length, &attributes)).unwrap()
    }

    #[test]
    fn reads_the_address_of_this_end() {
        let (local, other) = ([192, 0, 2, 1], [198, 51, 100, 2]);
        let peer = attribute(libc::IFA_ADDRESS, &other);
        let odd = attribute(libc::IFA_CACHEINFO, &[1]);
        let both = message(IPV4, 24, &[peer.clone(), odd, attribute(libc::IFA_LOCAL, &local)]);
        let expected = HostAddress {
            interface: 5,
            address: local.into(),
            subnet: "198.51.100.0/24".parse().unwrap(),
            broadcast: None,
        };
        assert_eq!(HostAddress::parse(&both), Some(expected));
        let one = HostAddress::parse(&message(IPV4, 24, &[peer])).unwrap();
        assert_eq!(one, HostAddress { address: other.into(), ..expected });
    }

    #[test]
    fn reads_ipv6_addresses() {
        let address: IpAddr = "2001:db8::1".parse().unwrap();
        let IpAddr::V6(octets) = address else { panic!("{address}") };
        let parsed = HostAddress::parse(&message(IPV6, 64, &[attribute(libc::IFA_ADDRESS, &octets.octets())])).unwrap();
        assert_eq!((parsed.address, parsed.subnet), (address, "2001:db8::/64".parse().unwrap()));
        assert_eq!(parsed.broadcasts().count(), 0);
    }

    #[test]
    fn skips_addresses_that_are_missing_or_invalid() {
        let address = |length: &[u8]| attribute(libc::IFA_ADDRESS, length);
        for message in [
            message(IPV4, 24, &[]),
            message(IPV4, 24, &[address(&[1, 2, 3])]),
            message(IPV4, 33, &[address(&[192, 0, 2, 1])]),
            message(IPV4, 24, &[address(&[192, 0, 2, 1])])[..7].to_vec(),
        ] {
            assert_eq!(HostAddress::parse(&message), None, "{message:?}");
        }
    }

    #[test]
    fn broadcast_addresses_are_those_of_the_kernel() {
        let broadcasts =
            |address, length, broadcast| parse(address, length, broadcast).broadcasts().collect::<Vec<_>>();
        let address = [192, 0, 2, 1];
        for (length, broadcast, expected) in [
            (24, None, vec![[192, 0, 2, 255]]),
            (24, Some([192, 0, 2, 255]), vec![[192, 0, 2, 255]]),
            (24, Some([192, 0, 2, 0]), vec![[192, 0, 2, 255], [192, 0, 2, 0]]),
            (24, Some([255; 4]), vec![[192, 0, 2, 255]]),
            (30, None, vec![[192, 0, 2, 3]]),
            (31, None, vec![]),
            (32, None, vec![]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(Ipv4Addr::from).collect();
            assert_eq!(broadcasts(address, length, broadcast), expected, "{length} {broadcast:?}");
        }
        assert_eq!(broadcasts([0, 1, 2, 3], 8, None), [] as [Ipv4Addr; 0]);
    }

    #[test]
    fn a_point_to_point_link_has_the_broadcast_address_of_the_other_end() {
        let attributes =
            [attribute(libc::IFA_ADDRESS, &[198, 51, 100, 2]), attribute(libc::IFA_LOCAL, &[192, 0, 2, 1])];
        let parsed = HostAddress::parse(&message(IPV4, 24, &attributes)).unwrap();
        assert_eq!(parsed.broadcasts().collect::<Vec<_>>(), [Ipv4Addr::new(198, 51, 100, 255)]);
    }
}
