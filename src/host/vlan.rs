//! The VLAN tags of VLAN devices.

use std::collections::BTreeMap;

use netlink_packet_core::{parse_u16, parse_u16_be};
use tcp_bounce_wire::ethernet::{ETHERTYPE_8021Q, VlanTag};

use crate::host::netlink;

// The attributes of a VLAN device in IFLA_INFO_DATA (`linux/if_link.h`).
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_PROTOCOL: u16 = 5;

/// The VLAN tags of a frame for a VLAN device: one tag, or two if the VLAN device is on another one (QinQ).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VlanStack {
    /// The outer tag, which is the first on the wire.
    pub outer: VlanTag,
    /// The inner tag, if there are two.
    pub inner: Option<VlanTag>,
}

/// Parses the content of the `IFLA_INFO_DATA` of a VLAN device. Returns `None` if the VLAN id is missing or
/// invalid.
pub(super) fn parse_tag(data: &[u8]) -> Option<VlanTag> {
    let attributes: BTreeMap<u16, &[u8]> = netlink::attributes(data).collect();
    // The kernel stores the protocol in network byte order, and the id in host byte order.
    let protocol = attributes.get(&IFLA_VLAN_PROTOCOL).and_then(|protocol| parse_u16_be(protocol).ok());
    let id = parse_u16(attributes.get(&IFLA_VLAN_ID)?).ok().filter(|&id| id < 4096)?;
    Some(VlanTag { protocol: protocol.unwrap_or(ETHERTYPE_8021Q), id })
}

#[cfg(test)]
pub mod fake {
    //! Netlink attributes of VLAN devices for the tests of this layer.

    use super::{IFLA_VLAN_ID, IFLA_VLAN_PROTOCOL};
    use crate::host::netlink::fake::attribute;

    /// Returns the content of `IFLA_INFO_DATA` for a VLAN device.
    pub fn data(protocol: u16, id: u16) -> Vec<u8> {
        let protocol = attribute(IFLA_VLAN_PROTOCOL, &protocol.to_be_bytes());
        [attribute(IFLA_VLAN_ID, &id.to_ne_bytes()), protocol].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::fake::data;
    use super::*;
    use crate::host::netlink::fake::attribute;

    const C: u16 = 0x8100;
    const S: u16 = 0x88a8;

    fn tag(protocol: u16, id: u16) -> VlanTag {
        VlanTag { protocol, id }
    }

    #[test]
    fn reads_the_data_of_a_vlan_device() {
        for (data, expected) in [
            (data(C, 5), Some(tag(C, 5))),
            (data(S, 4095), Some(tag(S, 4095))),
            // Linux before 3.10 supports one protocol, and does not report it.
            (attribute(IFLA_VLAN_ID, &5u16.to_ne_bytes()), Some(tag(C, 5))),
            (data(C, 4096), None),
            (attribute(IFLA_VLAN_ID, &[5]), None),
            (attribute(IFLA_VLAN_PROTOCOL, &C.to_be_bytes()), None),
            (vec![9, 0, 1], None),
        ] {
            assert_eq!(parse_tag(&data), expected, "{data:?}");
        }
    }
}
