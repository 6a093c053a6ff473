//! The facts about an interface, which are read without changing it.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use serde::Serialize;

use super::table;
use crate::host::Interface;
use crate::host::ethtool::{self, Channels, Feature};
use crate::host::kernel;
use crate::responder::HostSnapshot;
use crate::xdp::{AttachedProgram, XdpError, attached};

/// The facts about an interface. The field names are part of the JSON output.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    /// The name of the interface.
    pub name: String,
    /// The kind of virtual interface, such as "bridge", as in `ip -details link`.
    pub kind: Option<String>,
    /// The name of the driver, as in `ethtool -i`.
    pub driver: Option<String>,
    /// Whether the interface is up.
    pub up: bool,
    /// The MTU, in bytes.
    pub mtu: u32,
    /// The addresses of the interface, without the addresses of its VLAN devices.
    pub addresses: Vec<IpAddr>,
    /// The addresses of `lo` and of dummy interfaces, such as virtual IP addresses, without loopback and link-local
    /// addresses.
    #[serde(skip)]
    pub host_addresses: Vec<IpAddr>,
    /// The numbers of queues, as in `ethtool -l`. `None` if the driver does not report them.
    pub queues: Option<Channels>,
    /// The offloads that change packets before XDP sees them.
    pub offloads: Offloads,
    /// The XDP features of the driver. `None` if the kernel is older than Linux 6.3 and does not report them.
    pub xdp: Option<XdpFeatures>,
    /// The master device that the interface is a port of, such as a bridge, bond or VRF.
    pub master: Option<Neighbour>,
    /// The names of the VLAN devices on the interface.
    pub vlans: Vec<String>,
    /// The names of the interfaces below whose GRO merges segments before this interface receives them. Only a virtual
    /// interface, such as a bridge, bond or VLAN device, has interfaces below.
    pub gro_below: Vec<String>,
    /// The XDP program that is attached to the interface.
    pub program: Option<AttachedProgram>,
    /// The upper devices with an XDP program. If there are any, the kernel refuses a program on this interface.
    pub programs_above: Vec<Above>,
}

/// The XDP features of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct XdpFeatures {
    /// Whether the driver supports native mode (`NETDEV_XDP_ACT_BASIC`).
    pub native: bool,
    /// Whether native mode supports multi-buffer frames (`NETDEV_XDP_ACT_RX_SG`), which may exceed a page.
    pub fragments: bool,
    /// Whether the NIC can run XDP programs (`NETDEV_XDP_ACT_HW_OFFLOAD`).
    pub offload: bool,
}

/// The offloads of a NIC that change packets before XDP sees them. An offload is `None` if it cannot be queried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Offloads {
    /// Large receive offload (`rx-lro`): merges TCP segments irreversibly.
    pub lro: Option<Feature>,
    /// Hardware GRO (`rx-gro-hw`): merges TCP segments reversibly.
    pub gro_hw: Option<Feature>,
    /// VLAN offload (`rx-vlan-hw-parse`): removes the VLAN tag from the frame.
    pub rx_vlan: Option<Feature>,
}

/// The master device of an interface, such as a bridge, bond or VRF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Neighbour {
    /// The name of the master device.
    pub name: String,
    /// The kind of virtual interface, such as "bridge".
    pub kind: Option<String>,
    /// The names of the interfaces below the master device whose GRO merges segments.
    #[serde(skip)]
    pub gro_below: Vec<String>,
}

/// An upper device with an XDP program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Above {
    /// The name of the upper device.
    pub name: String,
    /// The program that is attached to the upper device.
    pub program: AttachedProgram,
}

impl Facts {
    /// Reads the facts about `interface`. Addresses and related interfaces come from `snapshot`.
    ///
    /// # Errors
    ///
    /// [`XdpError::Query`] if the kernel does not report attached programs.
    pub fn read(interface: &Interface, snapshot: &HostSnapshot) -> Result<Self, XdpError> {
        let HostSnapshot { interfaces: all, addresses, .. } = snapshot;
        let name = interface.name.clone();
        let own =
            addresses.iter().filter(|address| address.interface == interface.index).map(|address| address.address);
        let above: Vec<_> = interface.above(all).collect();
        let is_vlan = |other: &&&Interface| other.is_vlan_of(interface.index);
        let mut programs_above = Vec::new();
        for other in &above {
            let program = AttachedProgram::find(other)?;
            programs_above.extend(program.map(|program| Above { name: other.name.clone(), program }));
        }
        Ok(Self {
            kind: interface.kind.clone(),
            driver: ethtool::driver(&name).ok().filter(|driver| !driver.is_empty()),
            up: interface.is_up,
            mtu: interface.mtu,
            addresses: own.collect(),
            host_addresses: host_addresses(snapshot),
            queues: ethtool::channels(&name).ok(),
            offloads: Offloads::read(&name),
            xdp: XdpFeatures::read(interface)?,
            master: all.iter().find(|other| interface.master == Some(other.index)).map(|it| Neighbour::read(it, all)),
            vlans: above.iter().filter(is_vlan).map(|other| other.name.clone()).collect(),
            gro_below: gro_below(interface, all),
            program: AttachedProgram::find(interface)?,
            programs_above,
            name,
        })
    }
}

/// Returns the addresses of `lo` and of dummy interfaces, without loopback and link-local addresses.
fn host_addresses(snapshot: &HostSnapshot) -> Vec<IpAddr> {
    let holds_them = |other: &&Interface| other.is_loopback() || other.kind.as_deref() == Some("dummy");
    let holders: Vec<u32> = snapshot.interfaces.iter().filter(holds_them).map(|other| other.index).collect();
    let is_link_local = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let addresses = snapshot.addresses.iter().filter(|address| holders.contains(&address.interface));
    addresses
        .map(|address| address.address)
        .filter(|address| !address.is_loopback() && !is_link_local(address))
        .collect()
}

/// Returns the names of the interfaces below `interface` that have GRO on. `all` contains all interfaces.
fn gro_below(interface: &Interface, all: &[Interface]) -> Vec<String> {
    let has_gro = |name: &String| {
        let features = ethtool::features(name).unwrap_or_default();
        features.get("rx-gro").is_some_and(|gro| gro.on)
    };
    interface.receivers_below(all).into_iter().map(|below| below.name.clone()).filter(has_gro).collect()
}

impl Neighbour {
    fn read(interface: &Interface, all: &[Interface]) -> Self {
        Self { name: interface.name.clone(), kind: interface.kind.clone(), gro_below: gro_below(interface, all) }
    }
}

impl Offloads {
    /// Reads the offloads of the interface `name` (`ethtool -k`). They are `None` if the driver does not report them.
    fn read(name: &str) -> Self {
        let features = ethtool::features(name).unwrap_or_default();
        let feature = |name| features.get(name).copied();
        Self { lro: feature("rx-lro"), gro_hw: feature("rx-gro-hw"), rx_vlan: feature("rx-vlan-hw-parse") }
    }

    /// Returns the name and the state of each offload that the driver reports, such as `rx-gro-hw off (fixed)`.
    fn states(&self) -> Vec<String> {
        let features = [("lro", self.lro), ("rx-gro-hw", self.gro_hw), ("rx-vlan-hw-parse", self.rx_vlan)];
        features.into_iter().filter_map(|(name, feature)| Some(format!("{name} {}", feature?))).collect()
    }
}

impl XdpFeatures {
    // Bits of `enum netdev_xdp_act` in `linux/netdev.h`.
    const BASIC: u64 = 1;
    const HW_OFFLOAD: u64 = 16;
    const RX_SG: u64 = 32;

    fn read(interface: &Interface) -> Result<Option<Self>, XdpError> {
        if kernel::is_older_than(kernel::DRIVER_FEATURES) {
            return Ok(None);
        }
        let flags = attached::query(interface)?.feature_flags;
        let has = |flag| flags & flag != 0;
        Ok(Some(Self { native: has(Self::BASIC), fragments: has(Self::RX_SG), offload: has(Self::HW_OFFLOAD) }))
    }
}

impl Display for Facts {
    /// Writes the facts as a table, one row each. Omits empty values, the name and kind of the interface, and the
    /// programs on upper devices.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let mut row = |label, items: Vec<String>| table::write_row(f, label, &items);
        let state = if self.up { "up" } else { "down" };
        row("driver", self.driver.iter().cloned().collect())?;
        row("state", vec![state.to_owned(), format!("MTU {}", self.mtu)])?;
        row("addresses", self.addresses.iter().map(IpAddr::to_string).collect())?;
        row("queues", self.queues.iter().map(Channels::to_string).filter(|queues| !queues.is_empty()).collect())?;
        row("offloads", self.offloads.states())?;
        row("native XDP", vec![self.xdp.map_or("not reported before Linux 6.3".into(), |xdp| xdp.to_string())])?;
        row("port of", self.master.iter().map(Neighbour::to_string).collect())?;
        row("VLANs", self.vlans.clone())?;
        row("GRO below", self.gro_below.clone())?;
        row("occupied by", self.program.iter().map(AttachedProgram::to_string).collect())
    }
}

impl Display for Neighbour {
    /// Writes the kind and the name, such as `bridge br0`.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        self.kind.iter().try_for_each(|kind| write!(f, "{kind} "))?;
        f.write_str(&self.name)
    }
}

impl Display for XdpFeatures {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(match self {
            Self { native: true, fragments: true, .. } => "yes, with multi-buffer frames",
            Self { native: true, fragments: false, .. } => "yes, without multi-buffer frames",
            Self { native: false, .. } => "no",
        })?;
        if self.offload { f.write_str("; hw mode: yes") } else { Ok(()) }
    }
}
