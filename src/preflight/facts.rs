//! What there is to know about an interface, without touching it.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use serde::Serialize;

use crate::host::Interface;
use crate::host::ethtool::{self, Channels, Feature};
use crate::host::kernel;
use crate::responder::HostSnapshot;
use crate::xdp::{AttachedProgram, XdpError, attached};

/// An interface as it is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// What kind of virtual interface it is, like "bridge".
    pub kind: Option<String>,
    /// The name of its driver.
    pub driver: Option<String>,
    /// Whether it is up.
    pub up: bool,
    /// The longest packet that it carries, in bytes.
    pub mtu: u32,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its queues.
    pub queues: Option<Channels>,
    /// What its NIC does before XDP sees a packet.
    pub offloads: Offloads,
    /// What its driver announces of XDP. Linux before 6.3 does not tell.
    pub xdp: Option<XdpFeatures>,
    /// The bridge or bond whose port it is.
    pub master: Option<Neighbour>,
    /// The VLAN devices on it.
    pub vlans: Vec<String>,
    /// The XDP program that is attached to it.
    pub program: Option<AttachedProgram>,
    /// The interfaces on it that have an XDP program: the kernel then takes none below.
    pub programs_above: Vec<Above>,
}

/// What a driver supports of XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct XdpFeatures {
    /// Native mode.
    pub native: bool,
    /// Packets longer than a page, in native mode.
    pub fragments: bool,
    /// hw mode.
    pub offload: bool,
}

/// What a NIC may do to packets before XDP sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Offloads {
    /// Merges TCP segments, not reversibly.
    pub lro: Option<Feature>,
    /// Merges TCP segments, reversibly.
    pub gro_hw: Option<Feature>,
    /// Takes the VLAN tag off.
    pub rx_vlan: Option<Feature>,
}

/// Another interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Neighbour {
    pub name: String,
    pub kind: Option<String>,
}

/// An interface above that has an XDP program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Above {
    pub name: String,
    pub program: AttachedProgram,
}

impl Facts {
    /// Reads all about `interface`, which has these snapshot.
    pub fn read(interface: &Interface, snapshot: &HostSnapshot) -> Result<Self, XdpError> {
        let HostSnapshot { interfaces: all, addresses, .. } = snapshot;
        let name = interface.name.clone();
        let own = addresses.iter().filter(|(index, _)| *index == interface.index).map(|(_, address)| *address);
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
            queues: ethtool::channels(&name).ok(),
            offloads: Offloads::of(&name),
            xdp: XdpFeatures::of(interface)?,
            master: all.iter().find(|other| interface.master == Some(other.index)).map(Neighbour::from),
            vlans: above.iter().filter(is_vlan).map(|other| other.name.clone()).collect(),
            program: AttachedProgram::find(interface)?,
            programs_above,
            name,
        })
    }
}

fn join(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

impl From<&Interface> for Neighbour {
    fn from(interface: &Interface) -> Self {
        Self { name: interface.name.clone(), kind: interface.kind.clone() }
    }
}

impl Offloads {
    /// Drivers that tell nothing have none.
    fn of(name: &str) -> Self {
        let features = ethtool::features(name).unwrap_or_default();
        let feature = |name| features.get(name).copied();
        Self { lro: feature("rx-lro"), gro_hw: feature("rx-gro-hw"), rx_vlan: feature("rx-vlan-hw-parse") }
    }
}

impl XdpFeatures {
    // `enum netdev_xdp_act` of `linux/netdev.h`.
    const BASIC: u64 = 1;
    const HW_OFFLOAD: u64 = 16;
    const RX_SG: u64 = 32;

    fn of(interface: &Interface) -> Result<Option<Self>, XdpError> {
        if kernel::is_older_than(kernel::DRIVER_FEATURES) {
            return Ok(None);
        }
        let flags = attached::query(interface)?.feature_flags;
        let has = |flag| flags & flag != 0;
        Ok(Some(Self { native: has(Self::BASIC), fragments: has(Self::RX_SG), offload: has(Self::HW_OFFLOAD) }))
    }
}

impl Display for Facts {
    /// A table of all but the name.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let mut row = |label, value: String| {
            if value.is_empty() { Ok(()) } else { writeln!(f, "  {label:<11} {value}") }
        };
        let state = if self.up { "up" } else { "down" };
        row("driver", self.driver.clone().unwrap_or_default())?;
        row("state", format!("{state}, MTU {}", self.mtu))?;
        row("addresses", join(&self.addresses))?;
        row("queues", self.queues.map(|queues| queues.to_string()).unwrap_or_default())?;
        row("offloads", self.offloads.to_string())?;
        row("native XDP", self.xdp.map_or("unknown before Linux 6.3".into(), |xdp| xdp.to_string()))?;
        row("port of", self.master.as_ref().map(|master| master.name.clone()).unwrap_or_default())?;
        row("VLANs", self.vlans.join(", "))?;
        row("XDP program", self.program.as_ref().map(AttachedProgram::to_string).unwrap_or_default())
    }
}

impl Display for XdpFeatures {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(match self {
            Self { native: true, fragments: true, .. } => "yes, with fragments",
            Self { native: true, fragments: false, .. } => "yes, without fragments",
            Self { native: false, .. } => "no",
        })?;
        if self.offload { f.write_str("; offload") } else { Ok(()) }
    }
}

impl Display for Offloads {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let features = [("lro", self.lro), ("rx-gro-hw", self.gro_hw), ("rx-vlan-hw-parse", self.rx_vlan)];
        let known = features.into_iter().filter_map(|(name, feature)| Some((name, feature?)));
        for (index, (name, feature)) in known.enumerate() {
            write!(f, "{}{name} {feature}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
