//! The settings of the XDP program, which are fixed before it is loaded.

use zerocopy::byteorder::network_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::action::{Action, ActionSet};
use crate::clock::Clock;
use crate::identity::token_hash;
use crate::isn::Isn;
use crate::reply_style::{Identification, ReplyStyle};
use crate::siphash::SipHash13;

/// Settings that stay constant while the program is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramSettings {
    /// The source of the SYN-ACKs' initial sequence numbers.
    pub isn: Isn,
    /// The jiffies in a second (`CONFIG_HZ`), for the clock of timestamps.
    pub hz: u32,
    /// The post-handshake actions in use. With more than one, [`ActionByPort`](crate::ActionByPort) selects the action
    /// of each port. Without [`Isn::Keyed`], [`Action::Ignore`] replaces all actions that require it.
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
    /// Whether payloads of services have [`Fields`](crate::Fields). Each service then has an entry for IPv4 and one for
    /// IPv6.
    pub has_fields: bool,
    /// The client tables and events to collect.
    pub telemetry: TelemetrySettings,
    /// The style of the replies. [`ReplySettings::style`](crate::ReplySettings::style) must be the same.
    pub style: ReplyStyle,
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
        has_fields: false,
        telemetry: TelemetrySettings { ports: false, sources: false, events: 0, stripes: 1, shared: false, data: 0 },
        style: ReplyStyle::LINUX,
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
    /// The number of payload bytes in a `data` event, at most [`DataEvent::MAX_DATA`](crate::DataEvent::MAX_DATA). 0
    /// disables these events. They need `events`.
    pub data: u32,
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
    /// The hash of [tokens](crate::identity::token), before the first block.
    pub(crate) token_hash: SipHash13,
    pub(crate) isn: U32,
    /// The clock of timestamps.
    pub clock: Clock,
    /// The enabled features.
    pub features: Features,
    pub(crate) actions: ActionSet,
    reserved: u8,
    attach_mode: u16,
    events: u32,
    stripes: u32,
    data: u32,
    unused: u32,
}

impl ProgramConfig {
    /// The configuration in the object file, used if a loader other than tcp-bounce loads it.
    ///
    /// The program then answers SYNs to all ports and addresses, drops the later segments of these connections, and
    /// passes all other frames.
    pub const BUILT_IN: Self = Self::new(ProgramSettings::DEFAULT);

    /// Returns the configuration for `settings`.
    pub const fn new(settings: ProgramSettings) -> Self {
        let (isn, keyed, key) = match settings.isn {
            Isn::Fixed(isn) => (isn, false, [0; 16]),
            Isn::Keyed(key) => (0, true, key),
        };
        let actions = if keyed { settings.actions } else { settings.actions.without_key() };
        Self {
            keyed_hash: SipHash13::new(key),
            token_hash: token_hash(key),
            isn: U32::new(isn),
            clock: Clock::new(settings.hz),
            features: Features::new(&settings, keyed, !actions.is_single()),
            actions,
            reserved: 0,
            attach_mode: settings.attach_mode,
            events: settings.telemetry.events,
            stripes: settings.telemetry.stripes,
            data: settings.telemetry.data,
            unused: 0,
        }
    }

    /// Returns whether any port has a [`Service`](crate::Service).
    #[inline(always)]
    pub const fn has_services(&self) -> bool {
        self.actions.contains(Action::Serve)
    }

    /// Returns the telemetry settings.
    #[inline(always)]
    pub const fn telemetry(&self) -> TelemetrySettings {
        let Self { features, events, stripes, data, .. } = *self;
        TelemetrySettings {
            ports: features.counts_ports(),
            sources: features.has(Features::COUNTS_SOURCES),
            events,
            stripes,
            shared: features.has(Features::SHARES_STRIPES),
            data,
        }
    }
}

/// The enabled features of the program, as a set of bits.
///
/// The packet logic reads the set once for each packet.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Features(u32);

impl Features {
    const KEYED: u32 = 1;
    const CHECKS_MAC: u32 = 1 << 1;
    const FILTERS_DESTINATIONS: u32 = 1 << 2;
    const FILTERS_SOURCES: u32 = 1 << 3;
    const FILTERS_VLANS: u32 = 1 << 4;
    const TAKES_OVER: u32 = 1 << 5;
    const ACTIONS_VARY: u32 = 1 << 6;
    const FRAGS: u32 = 1 << 7;
    const COUNTS_PORTS: u32 = 1 << 8;
    const COUNTS_SOURCES: u32 = 1 << 9;
    const HAS_EVENTS: u32 = 1 << 10;
    const SHARES_STRIPES: u32 = 1 << 11;
    const REPORTS_DATA: u32 = 1 << 12;
    const HAS_STYLE: u32 = 1 << 16;
    const RISING_IDENTIFICATION: u32 = 1 << 17;
    const RANDOM_IDENTIFICATION: u32 = 1 << 18;
    const MAY_FRAGMENT: u32 = 1 << 19;
    const HAS_FIELDS: u32 = 1 << 20;

    /// Returns the features that `settings` enable.
    const fn new(settings: &ProgramSettings, is_keyed: bool, actions_vary: bool) -> Self {
        let (telemetry, style) = (settings.telemetry, settings.style);
        Self(0)
            .with(Self::KEYED, is_keyed)
            .with(Self::CHECKS_MAC, settings.checks_mac)
            .with(Self::FILTERS_DESTINATIONS, settings.filters_destinations)
            .with(Self::FILTERS_SOURCES, settings.filters_sources)
            .with(Self::FILTERS_VLANS, settings.filters_vlans)
            .with(Self::TAKES_OVER, settings.takeover)
            .with(Self::ACTIONS_VARY, actions_vary)
            .with(Self::FRAGS, settings.frags)
            .with(Self::COUNTS_PORTS, telemetry.ports)
            .with(Self::COUNTS_SOURCES, telemetry.sources)
            .with(Self::HAS_EVENTS, telemetry.events != 0)
            .with(Self::SHARES_STRIPES, telemetry.shared)
            .with(Self::REPORTS_DATA, telemetry.data != 0)
            .with(Self::HAS_STYLE, !style.is_linux())
            .with(Self::RISING_IDENTIFICATION, matches!(style.identification, Identification::Rising))
            .with(Self::RANDOM_IDENTIFICATION, matches!(style.identification, Identification::Random))
            .with(Self::MAY_FRAGMENT, !style.dont_fragment)
            .with(Self::HAS_FIELDS, settings.has_fields)
    }

    const fn with(self, feature: u32, is_enabled: bool) -> Self {
        Self(self.0 | if is_enabled { feature } else { 0 })
    }

    /// Returns whether any of these features is enabled.
    #[inline(always)]
    const fn has(self, features: u32) -> bool {
        self.0 & features != 0
    }

    /// Returns whether ISNs are keyed hashes ([`Isn::Keyed`]).
    #[inline(always)]
    pub const fn is_keyed(self) -> bool {
        self.has(Self::KEYED)
    }

    /// Returns whether frames to foreign MAC addresses are passed to the host.
    #[inline(always)]
    pub const fn checks_mac(self) -> bool {
        self.has(Self::CHECKS_MAC)
    }

    /// Returns whether tcp-bounce answers only for the primary addresses and the filter's destinations.
    #[inline(always)]
    pub const fn filters_destinations(self) -> bool {
        self.has(Self::FILTERS_DESTINATIONS)
    }

    /// Returns whether tcp-bounce answers only the filter's sources.
    #[inline(always)]
    pub const fn filters_sources(self) -> bool {
        self.has(Self::FILTERS_SOURCES)
    }

    /// Returns whether tcp-bounce answers only frames with VLAN tags of the filter.
    #[inline(always)]
    pub const fn filters_vlans(self) -> bool {
        self.has(Self::FILTERS_VLANS)
    }

    /// Returns whether takeover is enabled (see [`ProgramSettings::takeover`]).
    #[inline(always)]
    pub const fn takes_over(self) -> bool {
        self.has(Self::TAKES_OVER)
    }

    /// Returns whether the post-handshake action depends on the port.
    #[inline(always)]
    pub const fn actions_vary(self) -> bool {
        self.has(Self::ACTIONS_VARY)
    }

    /// Returns whether any telemetry is enabled.
    #[inline(always)]
    pub const fn has_telemetry(self) -> bool {
        self.has(Self::COUNTS_PORTS | Self::COUNTS_SOURCES | Self::HAS_EVENTS)
    }

    /// Returns whether the first data of clients is reported.
    #[inline(always)]
    pub const fn reports_data(self) -> bool {
        self.has(Self::REPORTS_DATA)
    }

    /// Returns whether SYNs are counted by port.
    #[inline(always)]
    pub const fn counts_ports(self) -> bool {
        self.has(Self::COUNTS_PORTS)
    }

    /// Returns whether replies have another style than Linux's.
    #[inline(always)]
    pub const fn has_style(self) -> bool {
        self.has(Self::HAS_STYLE)
    }

    /// Returns whether IPv4 identifications rise ([`Identification::Rising`]).
    #[inline(always)]
    pub const fn has_rising_identification(self) -> bool {
        self.has(Self::RISING_IDENTIFICATION)
    }

    /// Returns whether IPv4 identifications are random ([`Identification::Random`]).
    #[inline(always)]
    pub const fn has_random_identification(self) -> bool {
        self.has(Self::RANDOM_IDENTIFICATION)
    }

    /// Returns whether IPv4 headers lack the DF flag.
    #[inline(always)]
    pub const fn may_fragment(self) -> bool {
        self.has(Self::MAY_FRAGMENT)
    }

    /// Returns whether payloads of services have fields (see [`ProgramSettings::has_fields`]).
    #[inline(always)]
    pub const fn has_fields(self) -> bool {
        self.has(Self::HAS_FIELDS)
    }

    /// Returns whether multi-buffer frames are supported.
    #[inline(always)]
    pub const fn has_frags(self) -> bool {
        self.has(Self::FRAGS)
    }
}
