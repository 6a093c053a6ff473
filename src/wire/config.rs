//! The settings of the XDP program, which are fixed before it is loaded.

use zerocopy::byteorder::network_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::action::{Action, ActionByPort, ActionSet};
use crate::clock::Clock;
use crate::isn::Isn;
use crate::siphash::SipHash13;

/// Settings that stay constant while the program is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramSettings {
    /// The source of the SYN-ACKs' initial sequence numbers.
    pub isn: Isn,
    /// The jiffies in a second (`CONFIG_HZ`), for the clock of timestamps.
    pub hz: u32,
    /// The post-handshake actions in use. With more than one, [`ActionByPort`](crate::ActionByPort) selects the action
    /// of each port. Without [`Isn::Keyed`], [`Action::Ignore`] replaces all actions that follow the client.
    pub actions: ActionSet,
    /// Whether TCP segments other than SYNs are dropped if they pass the filters and belong to no connection that
    /// tcp-bounce accepted. If false, the host receives them.
    pub takeover: bool,
    /// Whether frames to foreign MAC addresses are passed to the host instead of being answered.
    pub checks_mac: bool,
    /// Whether tcp-bounce answers only for the primary addresses and
    /// [`Filters::destinations`](crate::Filters::destinations).
    pub filters_destinations: bool,
    /// Whether tcp-bounce answers only clients in [`Filters::sources`](crate::Filters::sources).
    pub filters_sources: bool,
    /// Whether tcp-bounce answers frames with VLAN tags only if [`Filters::vlans`](crate::Filters::vlans) contains the
    /// tags.
    pub filters_vlans: bool,
    /// The client tables and events to collect.
    pub telemetry: TelemetrySettings,
    /// Whether multi-buffer frames are supported. The program must then be loaded with `BPF_F_XDP_HAS_FRAGS`.
    pub frags: bool,
    /// The attach mode, one of `XDP_FLAGS_*_MODE` in `linux/if_link.h`. The program ignores it. Tools can read it when
    /// they inspect the loaded program.
    pub attach_mode: u16,
}

impl ProgramSettings {
    /// The default settings. The ISN reads "tcpb" in a hex dump.
    pub const DEFAULT: Self = Self {
        isn: Isn::Fixed(0x7463_7062),
        hz: 250,
        actions: ActionSet::only(Action::Ignore),
        takeover: false,
        checks_mac: false,
        filters_destinations: false,
        filters_sources: false,
        filters_vlans: false,
        telemetry: TelemetrySettings { ports: false, sources: false, events: 0, stripes: 1, shared: false },
        frags: false,
        attach_mode: 0,
    };
}

/// The telemetry that the program collects besides its counters. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Whether clients are counted by port, and SYNs to excluded ports, too.
    pub ports: bool,
    /// Whether clients are counted by source address.
    pub sources: bool,
    /// The sampling interval of events: one event in this many is delivered. 0 disables events.
    pub events: u32,
    /// The number of stripes in each client table, a power of two. A CPU counts in the stripe whose index is the CPU
    /// number modulo this value. User space adds up the stripes.
    pub stripes: u32,
    /// Whether several CPUs share a stripe. Its counters are then incremented atomically.
    pub shared: bool,
}

/// [`ProgramSettings`] in the layout of the program's read-only memory.
///
/// The memory is frozen before the program is verified, so that the verifier removes the code of disabled features. The
/// ISN is in network byte order, as in a packet.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ProgramConfig {
    /// The hash of [`Isn::Keyed`] with its key, before the first block.
    pub(crate) keyed_hash: SipHash13,
    pub(crate) isn: U32,
    /// The clock of timestamps.
    pub clock: Clock,
    keyed: u8,
    pub(crate) actions: ActionSet,
    /// 1 if the action depends on the port.
    actions_vary: u8,
    takeover: u8,
    checks_mac: u8,
    filters_destinations: u8,
    filters_sources: u8,
    filters_vlans: u8,
    frags: u8,
    /// The enabled telemetry, as a set of bits.
    telemetry: u8,
    attach_mode: u16,
    /// 1 if several CPUs share a stripe of the client tables.
    shared: u8,
    reserved: [u8; 3],
    events: u32,
    stripes: u32,
}

impl ProgramConfig {
    /// The configuration in the object file, used if a loader other than tcp-bounce loads it.
    ///
    /// The program then answers SYNs to all ports and addresses, drops the later segments of these connections, and
    /// passes all other frames.
    pub const BUILT_IN: Self = Self::new(ProgramSettings::DEFAULT);

    const PORTS: u8 = 1;
    const SOURCES: u8 = 1 << 1;
    const EVENTS: u8 = 1 << 2;

    /// Returns the configuration for `settings`.
    pub const fn new(settings: ProgramSettings) -> Self {
        let (isn, keyed, key) = match settings.isn {
            Isn::Fixed(isn) => (isn, false, 0),
            Isn::Keyed(key) => (0, true, u128::from_le_bytes(key)),
        };
        let actions = if keyed { settings.actions } else { settings.actions.without_following_client() };
        Self {
            keyed_hash: SipHash13::new([key as u64, (key >> 64) as u64]),
            isn: U32::new(isn),
            clock: Clock::new(settings.hz),
            keyed: keyed as u8,
            actions,
            actions_vary: !actions.is_single() as u8,
            takeover: settings.takeover as u8,
            checks_mac: settings.checks_mac as u8,
            filters_destinations: settings.filters_destinations as u8,
            filters_sources: settings.filters_sources as u8,
            filters_vlans: settings.filters_vlans as u8,
            frags: settings.frags as u8,
            telemetry: Self::telemetry_bits(settings.telemetry),
            attach_mode: settings.attach_mode,
            shared: settings.telemetry.shared as u8,
            reserved: [0; 3],
            events: settings.telemetry.events,
            stripes: settings.telemetry.stripes,
        }
    }

    const fn telemetry_bits(telemetry: TelemetrySettings) -> u8 {
        let ports = if telemetry.ports { Self::PORTS } else { 0 };
        let sources = if telemetry.sources { Self::SOURCES } else { 0 };
        let events = if telemetry.events != 0 { Self::EVENTS } else { 0 };
        ports | sources | events
    }

    /// Returns whether ISNs are keyed hashes ([`Isn::Keyed`]).
    #[inline(always)]
    pub const fn is_keyed(&self) -> bool {
        self.keyed != 0
    }

    /// Returns whether frames to foreign MAC addresses are passed to the host.
    #[inline(always)]
    pub const fn checks_mac(&self) -> bool {
        self.checks_mac != 0
    }

    /// Returns whether tcp-bounce answers only for the primary addresses and the filter's destinations.
    #[inline(always)]
    pub const fn filters_destinations(&self) -> bool {
        self.filters_destinations != 0
    }

    /// Returns whether tcp-bounce answers only the filter's sources.
    #[inline(always)]
    pub const fn filters_sources(&self) -> bool {
        self.filters_sources != 0
    }

    /// Returns whether tcp-bounce answers only frames with VLAN tags of the filter.
    #[inline(always)]
    pub const fn filters_vlans(&self) -> bool {
        self.filters_vlans != 0
    }

    /// Returns whether takeover is enabled (see [`ProgramSettings::takeover`]).
    #[inline(always)]
    pub const fn takes_over(&self) -> bool {
        self.takeover != 0
    }

    /// Returns the action of `port`, as a set of at most one action.
    #[inline(always)]
    pub fn action_of(&self, port: u16, by_port: &ActionByPort) -> ActionSet {
        if self.actions_vary == 0 { self.actions } else { self.actions.of_port(by_port, port) }
    }

    /// Returns whether any telemetry is enabled.
    #[inline(always)]
    pub const fn has_telemetry(&self) -> bool {
        self.telemetry != 0
    }

    /// Returns whether SYNs are counted by port.
    #[inline(always)]
    pub const fn counts_ports(&self) -> bool {
        self.telemetry & Self::PORTS != 0
    }

    /// Returns the telemetry settings.
    #[inline(always)]
    pub const fn telemetry(&self) -> TelemetrySettings {
        TelemetrySettings {
            ports: self.counts_ports(),
            sources: self.telemetry & Self::SOURCES != 0,
            events: self.events,
            stripes: self.stripes,
            shared: self.shared != 0,
        }
    }

    /// Returns whether multi-buffer frames are supported.
    #[inline(always)]
    pub const fn has_frags(&self) -> bool {
        self.frags != 0
    }
}
