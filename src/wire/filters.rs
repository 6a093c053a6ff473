//! The filters by address and port, which user space keeps up to date.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::AddressBits;
use crate::address_set::AddressSet;
use crate::broadcast_set::BroadcastSet;
use crate::config::Features;
use crate::port_set::PortSet;
use crate::verdict::Verdict;
use crate::vlan_set::VlanSet;

/// The source addresses, destination addresses and excluded ports that decide which segments tcp-bounce answers.
///
/// The type is `Copy`, so that the clone of a box needs no space on the stack. The sets of the fast path come first,
/// where an instruction of the XDP program can address them directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Filters {
    /// The broadcast addresses of the interface's subnets, which are no client addresses.
    pub broadcasts: BroadcastSet,
    /// The destination ports whose TCP segments are passed to the host, whether or not the host has a socket.
    pub excluded_ports: PortSet,
    /// The client addresses that get answers, if
    /// [`ProgramSettings::filters_sources`](crate::ProgramSettings::filters_sources) is set.
    pub sources: AddressSet,
    /// The destination addresses for which tcp-bounce answers besides the primary addresses, if
    /// [`ProgramSettings::filters_destinations`](crate::ProgramSettings::filters_destinations) is set. One of the two
    /// sets is active. User space writes the other set and then makes it active.
    pub destinations: [AddressSet; 2],
    /// The index of the active set in `destinations`.
    pub active_destinations: u64,
    /// The VLAN tags with which frames are answered, if
    /// [`ProgramSettings::filters_vlans`](crate::ProgramSettings::filters_vlans) is set.
    pub vlans: VlanSet,
}

impl Filters {
    /// Returns filters with empty sets.
    pub const fn new() -> Self {
        Self {
            sources: AddressSet::new(),
            destinations: [AddressSet::new(), AddressSet::new()],
            active_destinations: 0,
            excluded_ports: PortSet::new(),
            vlans: VlanSet::new(),
            broadcasts: BroadcastSet::new(),
        }
    }

    /// Returns the active set of destinations.
    #[inline(always)]
    pub fn destinations(&self) -> &AddressSet {
        &self.destinations[self.active_destinations as usize & 1]
    }

    /// Checks that the source of a segment is in its set, if sources are filtered. If `checks_destination`, also checks
    /// that the destination is in the active set.
    ///
    /// # Errors
    ///
    /// `OtherDestination` or `OtherSource`, for the first address that is not in its set.
    #[inline(always)]
    pub fn check_scope(
        &self,
        source: AddressBits,
        destination: AddressBits,
        checks_destination: bool,
        features: Features,
    ) -> Result<(), Verdict> {
        if checks_destination && !self.destinations().contains(destination) {
            Err(Verdict::OtherDestination)
        } else if features.filters_sources() && !self.sources.contains(source) {
            Err(Verdict::OtherSource)
        } else {
            Ok(())
        }
    }
}

impl Default for Filters {
    fn default() -> Self {
        Self::new()
    }
}
