//! What the XDP program is told: settings once, before it runs; what may change while it runs, from time to time.

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::action::{Action, ActionSet};
use crate::address_set::AddressSet;
use crate::ethernet::Mac;
use crate::event::TelemetrySettings;
use crate::isn::Isn;
use crate::port_set::PortSet;
use crate::post_handshake::ECHO_WINDOW;
use crate::{ipv4, ipv6};

/// What the user may choose, as far as it does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramSettings {
    /// Initial sequence number of a SYN-ACK.
    pub isn: Isn,
    /// Time to live or hop limit of a SYN-ACK, in hops.
    pub ttl: u8,
    /// Window scale that a SYN-ACK announces, if the SYN does.
    pub window_scale: u8,
    /// What becomes of connections after the handshake: the modes in use, with [`crate::action::ActionByPort`] if there is more than
    /// one. Without [`Isn::Keyed`], those that follow the client are taken for [`Action::Ignore`].
    pub actions: ActionSet,
    /// Whether TCP that is not ours is dropped instead of passed to the host.
    pub takeover: bool,
    /// Whether only what is sent to the MAC address in [`InterfaceState`] is for us.
    pub checks_mac: bool,
    /// Whether only the addresses of [`Filters::destinations`] are answered for.
    pub filters_destinations: bool,
    /// Whether only the addresses of [`Filters::sources`] are answered.
    pub filters_sources: bool,
    /// What is told besides the counters.
    pub telemetry: TelemetrySettings,
    /// Whether a frame may have parts that the program has no direct access to: it was loaded for that.
    pub frags: bool,
    /// The mode that the program is attached in, as `XDP_FLAGS_*_MODE` of `linux/if_link.h`. For whoever inspects
    /// the loaded program: it does the same in each.
    pub attach_mode: u16,
}

impl ProgramSettings {
    /// The ISN reads "tcpb" in a hex dump; the rest is Linux's.
    pub const DEFAULT: Self = Self {
        isn: Isn::Fixed(0x7463_7062),
        ttl: 64,
        window_scale: 7,
        actions: ActionSet::only(Action::Ignore),
        takeover: false,
        checks_mac: false,
        filters_destinations: false,
        filters_sources: false,
        telemetry: TelemetrySettings { ports: false, sources: false, events: 0, stripes: 1, shared: false },
        frags: false,
        attach_mode: 0,
    };
}

/// The settings as the XDP program reads them: in read-only memory, frozen before it is verified, so that the
/// verifier removes what is off. What goes into a packet is in network byte order.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ProgramConfig {
    /// The key of [`Isn::Keyed`], in two numbers.
    pub key: [u64; 2],
    pub(crate) isn: U32,
    pub(crate) keyed: u8,
    pub(crate) ttl: u8,
    pub(crate) window_scale: u8,
    pub(crate) actions: ActionSet,
    pub(crate) takeover: u8,
    pub(crate) checks_mac: u8,
    pub(crate) filters_destinations: u8,
    pub(crate) filters_sources: u8,
    frags: u8,
    telemetry: u8,
    attach_mode: u16,
    events: u32,
    stripes: u32,
}

impl ProgramConfig {
    /// What the object does when something other than tcp-bounce loads it: it answers on every port, for every
    /// address, and takes nothing else from the host.
    pub const BUILT_IN: Self = Self::new(ProgramSettings::DEFAULT);

    /// The settings for the XDP program.
    pub const fn new(settings: ProgramSettings) -> Self {
        let (isn, keyed, key) = match settings.isn {
            Isn::Fixed(isn) => (isn, false, 0),
            Isn::Keyed(key) => (0, true, u128::from_le_bytes(key)),
        };
        Self {
            key: [key as u64, (key >> 64) as u64],
            isn: U32::new(isn),
            keyed: keyed as u8,
            ttl: settings.ttl,
            window_scale: settings.window_scale,
            actions: if keyed { settings.actions } else { settings.actions.without_followers() },
            takeover: settings.takeover as u8,
            checks_mac: settings.checks_mac as u8,
            filters_destinations: settings.filters_destinations as u8,
            filters_sources: settings.filters_sources as u8,
            frags: settings.frags as u8,
            telemetry: Self::telemetry_bits(settings.telemetry),
            attach_mode: settings.attach_mode,
            events: settings.telemetry.events,
            stripes: settings.telemetry.stripes,
        }
    }

    const SHARED: u8 = 1 << 3;

    const fn telemetry_bits(telemetry: TelemetrySettings) -> u8 {
        telemetry.ports as u8
            | (telemetry.sources as u8) << 1
            | ((telemetry.events != 0) as u8) << 2
            | if telemetry.shared { Self::SHARED } else { 0 }
    }

    /// Whether anything is told besides the counters.
    #[inline(always)]
    pub const fn observes(&self) -> bool {
        // How the tables are made says nothing of whether there are some.
        self.telemetry & !Self::SHARED != 0
    }

    /// What is told besides the counters.
    #[inline(always)]
    pub const fn telemetry(&self) -> TelemetrySettings {
        let bits = self.telemetry;
        let (ports, sources, shared) = (bits & 1 != 0, bits & 2 != 0, bits & Self::SHARED != 0);
        TelemetrySettings { ports, sources, events: self.events, stripes: self.stripes, shared }
    }

    /// Whether a frame may have parts that the program has no direct access to.
    #[inline(always)]
    pub const fn has_frags(&self) -> bool {
        self.frags != 0
    }
}

/// What follows the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InterfaceState {
    /// Its MAC address.
    pub mac: Mac,
    /// What is announced over IPv4.
    pub v4: Advertised,
    /// What is announced over IPv6.
    pub v6: Advertised,
    /// Of the addresses that are answered for the one that is asked for most, if there is one; else unspecified.
    pub primary_v4: ipv4::Address,
    /// Likewise.
    pub primary_v6: ipv6::Address,
}

impl InterfaceState {
    /// That of an Ethernet with an MTU of 1500.
    pub const BUILT_IN: Self = Self::new(Mac([0; 6]), 1500, None, None);

    /// That of an interface with this MTU in bytes, unless the user has chosen an MSS or a window.
    pub const fn new(mac: Mac, mtu: u32, mss: Option<u16>, window: Option<u16>) -> Self {
        // The headers, and the least that Linux announces (ip_rt_min_advmss, ip6_rt_min_advmss).
        Self {
            mac,
            v4: Advertised::new(mtu, 40, 256, mss, window),
            v6: Advertised::new(mtu, 60, 1220, mss, window),
            primary_v4: ipv4::Address::UNSPECIFIED,
            primary_v6: ipv6::Address::UNSPECIFIED,
        }
    }
}

/// What a SYN-ACK announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Advertised {
    /// Maximum segment size, in bytes.
    pub mss: U16,
    /// Receive window without timestamps, in bytes.
    pub window: U16,
    /// Receive window with timestamps, which take 12 bytes of each segment.
    pub window_with_timestamps: U16,
}

impl Advertised {
    /// That of [`Action::Echo`], over IPv4 and IPv6.
    pub(crate) const ECHO: Self = {
        let window = U16::new(ECHO_WINDOW);
        Self { mss: window, window, window_with_timestamps: window }
    };

    /// The same without room for data.
    pub(crate) const fn closed(self) -> Self {
        let window = U16::new(0);
        Self { window, window_with_timestamps: window, ..self }
    }

    const fn new(mtu: u32, headers: u32, least: u32, mss: Option<u16>, window: Option<u16>) -> Self {
        let mss = match mss {
            Some(mss) => mss,
            None => {
                let mss = mtu.saturating_sub(headers);
                let mss = if mss < least { least } else { mss };
                if mss > u16::MAX as u32 { u16::MAX } else { mss as u16 }
            }
        };
        let (without, with) = match window {
            Some(window) => (window, window),
            None => (whole_segments(mss), whole_segments(mss.saturating_sub(12))),
        };
        Self { mss: U16::new(mss), window: U16::new(without), window_with_timestamps: U16::new(with) }
    }
}

/// As many whole segments as are in 64 KiB, in bytes: what `tcp_select_initial_window` of Linux makes of a receive
/// buffer of 128 KiB.
const fn whole_segments(mss: u16) -> u16 {
    const SPACE: u32 = 65_536;
    let window = if mss == 0 { SPACE } else { SPACE - SPACE % mss as u32 };
    if window > u16::MAX as u32 { u16::MAX } else { window as u16 }
}

/// What is answered, and what is left alone.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Filters {
    /// Where connections may come from.
    pub sources: AddressSet,
    /// The addresses that are answered for: two sets, of which one is in use while the other may be written.
    pub destinations: [AddressSet; 2],
    /// Which of the two is in use.
    pub active_destinations: u64,
    /// The ports that are not ours.
    pub excluded_ports: PortSet,
}

impl Filters {
    /// Nothing is spared; no address is in any set.
    pub const fn new() -> Self {
        Self {
            sources: AddressSet::new(),
            destinations: [AddressSet::new(), AddressSet::new()],
            active_destinations: 0,
            excluded_ports: PortSet::new(),
        }
    }

    /// The addresses that are answered for.
    #[inline(always)]
    pub fn destinations(&self) -> &AddressSet {
        &self.destinations[self.active_destinations as usize & 1]
    }
}

impl Default for Filters {
    fn default() -> Self {
        Self::new()
    }
}
