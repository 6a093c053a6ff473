//! Interfaces that are stacked: bridges, bonds, VLAN and similar devices above NICs.

use std::collections::BTreeSet;
use std::iter;

use tcp_bounce_wire::ethernet::VlanTag;

use super::Interface;
use super::vlan::VlanStack;

/// The largest number of devices above each other that the kernel allows (`MAX_NEST_DEV` of Linux).
const MAX_NESTING: usize = 8;

impl Interface {
    /// Returns the NICs and veth ends through which the interface receives packets, in the order of `all`: the ports of
    /// a bridge or bond, and the interface below a VLAN or similar device. Devices may be nested.
    ///
    /// `all` contains all interfaces of the namespace. The interface itself and other kinds of devices, such as
    /// tunnels, are not included.
    pub fn receivers_below<'a>(&self, all: &'a [Self]) -> Vec<&'a Self> {
        let mut indices = BTreeSet::from([self.index]);
        loop {
            let is_below = |other: &&Self| other.above(all).any(|upper| indices.contains(&upper.index));
            let below: Vec<u32> = all.iter().filter(is_below).map(|other| other.index).collect();
            let known = indices.len();
            indices.extend(below);
            if indices.len() == known {
                break;
            }
        }
        let is_nic = |other: &Self| other.kind.is_none() && !other.is_loopback();
        let receives = |other: &&Self| other.index != self.index && (is_nic(other) || other.is_veth());
        all.iter().filter(|other| indices.contains(&other.index)).filter(receives).collect()
    }

    /// Returns the VLAN tags of frames that the interface receives for VLAN devices of the host. A VLAN device on the
    /// bridge or bond above the interface is included.
    ///
    /// `all` contains all interfaces of the namespace. VLAN devices that need three tags are omitted, and so are VLAN
    /// devices in other network namespaces. No stack stands for frames whose only tag has the id 0, a mere priority:
    /// the kernel delivers them to the interface itself.
    pub fn vlan_stacks(&self, all: &[Self]) -> BTreeSet<VlanStack> {
        let mut stacks = BTreeSet::new();
        for (device, outer) in self.vlan_devices(all) {
            stacks.insert(VlanStack { outer, inner: None });
            let inner = device.vlan_devices(all).map(|(_, inner)| VlanStack { outer, inner: Some(inner) });
            stacks.extend(inner);
        }
        stacks
    }

    /// Returns the VLAN devices on the interface and on the master devices above it, each with its tag.
    fn vlan_devices<'a>(&'a self, all: &'a [Self]) -> impl Iterator<Item = (&'a Self, VlanTag)> {
        let master = |device: &&Self| {
            let index = device.master?;
            all.iter().find(|other| other.index == index)
        };
        let receivers = iter::successors(Some(self), master).take(MAX_NESTING);
        receivers.flat_map(|receiver| {
            let devices = all.iter().filter(|other| other.is_vlan_of(receiver.index));
            devices.filter_map(|device| Some((device, device.vlan?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;
    use crate::host::interface::fake::{kind, link, name, number};
    use crate::host::netlink::fake::attribute;
    use crate::host::vlan::fake::data;

    const C: u16 = 0x8100;
    const S: u16 = 0x88a8;

    /// Returns the interface with `index`, and with the attributes in `extra`.
    fn interface(index: u32, extra: &[Vec<u8>]) -> Interface {
        Interface::parse(&link(index, &[&[name("eth")], extra].concat())).unwrap()
    }

    /// Returns a VLAN device on the interface with the index `lower`, with the attributes in `extra`.
    fn vlan_with(index: u32, lower: u32, (protocol, id): (u16, u16), extra: &[Vec<u8>]) -> Interface {
        let info = [attribute(libc::IFLA_INFO_KIND, b"vlan\0"), attribute(libc::IFLA_INFO_DATA, &data(protocol, id))];
        let own = [number(libc::IFLA_LINK, lower), attribute(libc::IFLA_LINKINFO, &info.concat())];
        interface(index, &[&own, extra].concat())
    }

    fn vlan(index: u32, lower: u32, protocol: u16, id: u16) -> Interface {
        vlan_with(index, lower, (protocol, id), &[])
    }

    fn port(index: u32, master: u32) -> Interface {
        interface(index, &[number(libc::IFLA_MASTER, master)])
    }

    fn tag(protocol: u16, id: u16) -> VlanTag {
        VlanTag { protocol, id }
    }

    /// Asserts the stacks of the first interface of `all`, each written as its tags.
    #[track_caller]
    fn assert_stacks(all: &[Interface], expected: &[&[(u16, u16)]]) {
        let stack = |tags: &&[(u16, u16)]| {
            let mut tags = tags.iter().map(|&(protocol, id)| tag(protocol, id));
            VlanStack { outer: tags.next().unwrap(), inner: tags.next() }
        };
        assert_eq!(all[0].vlan_stacks(all), expected.iter().map(stack).collect());
    }

    #[test]
    fn reads_the_tag_of_a_vlan_device() {
        assert_eq!(vlan(2, 1, S, 7).vlan, Some(tag(S, 7)));
    }

    #[test]
    fn only_vlan_devices_have_a_tag() {
        // In the data of a macvlan, attribute 1 is the mode.
        let info = [attribute(libc::IFLA_INFO_KIND, b"macvlan\0"), attribute(libc::IFLA_INFO_DATA, &data(C, 5))];
        let macvlan = [number(libc::IFLA_LINK, 1), attribute(libc::IFLA_LINKINFO, &info.concat())];
        assert_eq!(interface(2, &macvlan).vlan, None);
        assert_eq!(interface(2, &[kind("vlan")]).vlan, None);
    }

    #[test]
    fn a_stack_has_one_or_two_tags() {
        let all = [
            interface(1, &[]),
            vlan(2, 1, C, 5),
            vlan(3, 1, S, 5),
            vlan(4, 3, C, 6),
            vlan(5, 4, C, 7),
            vlan(6, 9, C, 8),
        ];
        assert_stacks(&all, &[&[(C, 5)], &[(S, 5)], &[(S, 5), (C, 6)]]);
        assert_stacks(&all[1..], &[]);
        assert_stacks(&all[2..], &[&[(C, 6)], &[(C, 6), (C, 7)]]);
    }

    #[test]
    fn leaves_out_vlan_devices_on_other_namespaces() {
        let elsewhere = vlan_with(2, 1, (C, 5), &[number(libc::IFLA_LINK_NETNSID, 0)]);
        assert_stacks(&[interface(1, &[]), elsewhere], &[]);
    }

    #[test]
    fn includes_vlan_devices_on_masters() {
        // Interface 1 is a port of the bond 2, which is a port of the bridge 3. A VLAN device is a port of bridge 5.
        let port_of_bridge = vlan_with(6, 1, (C, 6), &[number(libc::IFLA_MASTER, 5)]);
        let all = [
            port(1, 2),
            port(2, 3),
            interface(3, &[]),
            vlan(4, 3, C, 5),
            interface(5, &[]),
            port_of_bridge,
            vlan(7, 5, C, 7),
        ];
        assert_stacks(&all, &[&[(C, 5)], &[(C, 6)], &[(C, 6), (C, 7)]]);
    }

    #[test]
    fn masters_in_a_circle_end() {
        // A dump that the kernel reports as consistent has no circle.
        assert_stacks(&[port(1, 2), port(2, 1), vlan(3, 2, C, 5)], &[&[(C, 5)]]);
    }

    #[test]
    fn finds_the_nics_below_nested_devices() {
        let on = |lower| number(libc::IFLA_LINK, lower);
        let port_of = |master| number(libc::IFLA_MASTER, master);
        // Bridge 1 has the ports 2 (a NIC), 3 (a bond of the NICs 4 and 5), 6 (a VLAN device on the NIC 7), 8 (veth)
        // and 9 (a tunnel on the NIC 10).
        let all = [
            interface(1, &[kind("bridge")]),
            interface(2, &[port_of(1)]),
            interface(3, &[kind("bond"), port_of(1)]),
            interface(4, &[port_of(3)]),
            interface(5, &[port_of(3)]),
            interface(6, &[kind("vlan"), on(7), port_of(1)]),
            interface(7, &[]),
            interface(8, &[kind("veth"), port_of(1)]),
            interface(9, &[kind("gretap"), on(10), port_of(1)]),
            interface(10, &[]),
            interface(11, &[kind("macvlan"), on(1)]),
        ];
        let below = |index: usize| all[index - 1].receivers_below(&all).iter().map(|it| it.index).collect::<Vec<_>>();
        assert_eq!(below(1), [2, 4, 5, 7, 8]);
        assert_eq!(below(3), [4, 5]);
        assert_eq!(below(6), [7]);
        assert_eq!(below(11), [2, 4, 5, 7, 8]);
        for receiver in [2, 7, 8, 10] {
            assert_eq!(below(receiver), [] as [u32; 0], "{receiver}");
        }
    }
}
