//! The plan of the program on one interface: settings to load it with, and state that is updated while it runs.

use std::sync::Arc;
use std::time::SystemTime;

use tcp_bounce_wire::address::{Ipv4Address, Mac};
use tcp_bounce_wire::{
    Action, ActionByPort, ActionSet, BroadcastSet, Filters, InterfaceState, Isn, ProgramSettings, ReplySettings,
    ReplyStyle, SystemReplies, TelemetrySettings, VlanSet,
};
use zerocopy::FromZeros as _;

use super::{HostSnapshot, ResponderError, Scope, identity, scope, services};
use crate::config::{AttachMode, Config, Observe, Profile, SynAckConfig, System};
use crate::host::{Interface, Ipv6Settings, RunSecrets, TcpSettings, VlanStack, clock, ethtool, kernel};
use crate::xdp::loader::{self, ProgramInputs, ServiceTables};
use crate::xdp::{TcpBounceSkel, XdpError, client_tables, link};

/// The largest MTU, in bytes, that native mode usually supports without multi-buffer frames.
///
/// A frame must fit in one page of 4 KiB, next to the headroom and tailroom that the kernel reserves. The limit differs
/// between drivers. The value is that of ena (`ENA_XDP_MAX_MTU` of Linux).
const MTU_WITHOUT_FRAGMENTS: u32 = 3498;

/// The largest MTU, in bytes, that all drivers with receive buffers of 3 KiB or more support without multi-buffer
/// frames.
///
/// The value is that of igb, ice and i40e: 3072 bytes, less the Ethernet header, two VLAN tags and the checksum.
/// vmxnet3 supports 3494 on x86. Drivers with smaller buffers support only [`MTU_OF_ETHERNET`].
pub const MTU_OF_SMALL_BUFFERS: u32 = 3046;

/// The largest MTU, in bytes, that every driver with native mode supports without multi-buffer frames.
pub const MTU_OF_ETHERNET: u32 = 1500;

/// The only driver on which shortening multi-buffer frames was tested.
const TESTED_DRIVER: &str = "virtio_net";

/// The driver of TAP devices, which never needs multi-buffer support.
const TAP_DRIVER: &str = "tun";

/// The settings, state and filters of the program on one interface.
pub struct ProgramPlan {
    interface: Interface,
    /// The name of the driver, if it reports one.
    driver: Option<String>,
    config: Config,
    isn: Isn,
    telemetry: TelemetrySettings,
    scope: Scope,
    secrets: RunSecrets,
    replies: ReplySettings,
    state: InterfaceState,
    filters: Box<Filters>,
    actions: Box<ActionByPort>,
    /// The services of the profile or of `identify`, until the program is attached.
    services: Option<Arc<ServiceTables>>,
}

impl ProgramPlan {
    /// Plans the program for `interface`, from the configuration and the state of the host. `services` is the result of
    /// [`service_tables`].
    ///
    /// # Errors
    ///
    /// - [`ResponderError::TooManyPrefixes`] if the source prefixes or the scope do not fit in an address set.
    /// - [`ResponderError::OutOfMemory`] if the filters cannot be allocated, [`ResponderError::Config`] if the actions
    ///   cannot be allocated.
    /// - [`XdpError::ClientTables`] if the number of CPUs cannot be read.
    pub fn new(
        interface: Interface,
        config: &Config,
        isn: Isn,
        snapshot: &HostSnapshot,
        services: Option<Arc<ServiceTables>>,
    ) -> Result<Self, ResponderError> {
        let scope = Scope::of(&interface, &config.scope.destinations, snapshot);
        let Ok(mut filters) = Filters::new_box_zeroed() else { return Err(ResponderError::OutOfMemory) };
        scope::fill(&mut filters.sources, &config.scope.sources, "--src")?;
        let active = filters.active_destinations as usize;
        scope.fill(&mut filters.destinations[active])?;
        set_local_filters(&mut filters, &interface, snapshot);
        let secrets = RunSecrets::generate(isn);
        let replies = reply_settings(&interface, snapshot, secrets);
        let replies = replies
            .unwrap_or_else(|| TcpSettings::DEFAULT.reply_settings(interface.mtu, &Ipv6Settings::DEFAULT, secrets));
        let replies = configured_settings(config, replies);
        Ok(Self {
            state: interface_state(&interface, &replies, &scope, snapshot),
            secrets,
            replies,
            telemetry: telemetry_settings(config.observe)?,
            actions: config.post_handshake.table()?,
            services,
            config: config.clone(),
            driver: ethtool::driver(&interface.name).ok(),
            interface,
            isn,
            scope,
            filters,
        })
    }

    /// Returns the interface as it was when the program was planned.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Returns the configured mode. `None` selects the mode automatically.
    pub fn configured_mode(&self) -> Option<AttachMode> {
        self.config.attach_mode
    }

    /// Returns the destination addresses that are answered.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Returns the settings of the client tables and of the events.
    pub fn telemetry(&self) -> TelemetrySettings {
        self.telemetry
    }

    /// Returns whether the program supports multi-buffer frames in `mode`, as a list of choices in the order in which
    /// they are tried.
    pub fn fragments(&self, mode: AttachMode) -> &'static [bool] {
        fragments(mode, self.interface.mtu, self.driver.as_deref())
    }

    /// Returns the inputs for loading the program in `mode`, with or without support for multi-buffer frames.
    pub fn inputs(&self, mode: AttachMode, fragments: bool) -> ProgramInputs<'_> {
        let settings = self.settings(mode, fragments);
        ProgramInputs {
            settings,
            interface: &self.state,
            filters: &self.filters,
            actions: &self.actions,
            services: self.services.as_deref(),
        }
    }

    /// Frees the services, which can take hundreds of megabytes. The program must be attached.
    pub fn free_services(&mut self) {
        self.services = None;
    }

    /// Updates the loaded `program` to the state of the host. Returns whether the scope changed.
    ///
    /// # Errors
    ///
    /// - [`XdpError::Maps`] if the kernel denies writing to the maps.
    /// - [`ResponderError::TooManyPrefixes`] if the new scope does not fit in an address set.
    pub fn update(
        &mut self,
        interface: &Interface,
        snapshot: &HostSnapshot,
        program: &TcpBounceSkel,
    ) -> Result<bool, ResponderError> {
        let scope = Scope::of(interface, &self.config.scope.destinations, snapshot);
        // Settings that cannot be read keep their last known values.
        let replies = reply_settings(interface, snapshot, self.secrets);
        self.replies = replies.map_or(self.replies, |replies| configured_settings(&self.config, replies));
        let state = interface_state(interface, &self.replies, &scope, snapshot);
        if state != self.state {
            self.state = state;
            loader::set_interface_state(program, &self.state).map_err(XdpError::Maps)?;
        }
        let has_new_scope = scope != self.scope;
        if has_new_scope {
            // The program reads the active set while the inactive set is written. A map update has no defined write
            // order, so a second update activates the new set.
            let inactive = 1 - (self.filters.active_destinations & 1);
            scope.fill(&mut self.filters.destinations[inactive as usize])?;
            loader::set_filters(program, &self.filters).map_err(XdpError::Maps)?;
            self.filters.active_destinations = inactive;
            self.scope = scope;
        }
        if set_local_filters(&mut self.filters, interface, snapshot) || has_new_scope {
            loader::set_filters(program, &self.filters).map_err(XdpError::Maps)?;
        }
        Ok(has_new_scope)
    }

    /// Returns the settings that the program is loaded with in `mode`. They are constant while the program runs.
    fn settings(&self, mode: AttachMode, frags: bool) -> ProgramSettings {
        let Config { scope, post_handshake, profile, .. } = &self.config;
        ProgramSettings {
            isn: self.isn,
            hz: clock::hz(),
            actions: if profile.is_some() { ActionSet::only(Action::Serve) } else { post_handshake.actions() },
            takeover: scope.takeover,
            checks_mac: true,
            filters_destinations: self.scope != Scope::Any,
            filters_sources: !scope.sources.is_empty(),
            // With explicit destinations, tcp-bounce may answer for hosts in other VLANs.
            filters_vlans: matches!(self.scope, Scope::Own(_) | Scope::Local(_)),
            has_fields: self.services.as_ref().is_some_and(|services| services.has_fields),
            telemetry: self.telemetry,
            style: self.replies.style,
            frags,
            attach_mode: link::flags(mode) as u16,
        }
    }
}

/// Returns the services of the profile or of `identify`, if there are any. The programs of all interfaces share them.
///
/// # Errors
///
/// The error of [`services::tables`] or [`identity::tables`].
pub fn service_tables(config: &Config, isn: Isn) -> Result<Option<Arc<ServiceTables>>, ResponderError> {
    match (&config.profile, isn) {
        (Some(profile), Isn::Keyed(key)) => Ok(Some(Arc::new(services::tables(profile, &key, SystemTime::now())?))),
        (None, Isn::Keyed(_)) if config.post_handshake.identifies() => {
            Ok(Some(Arc::new(identity::tables(&config.post_handshake)?)))
        }
        _ => Ok(None),
    }
}

/// Returns the settings of the client tables and of the events. The number of CPUs determines the stripes.
fn telemetry_settings(observe: Observe) -> Result<TelemetrySettings, XdpError> {
    let (stripes, shared) = client_tables::stripes().map_err(XdpError::ClientTables)?;
    let Observe { ports, sources, events, data } = observe;
    Ok(TelemetrySettings { ports, sources, events, stripes, shared, data })
}

/// Sets the filters that depend on the state of the host: excluded ports, VLAN tags and broadcast addresses. Returns
/// whether any of them changed.
///
/// If the interface has more broadcast addresses than the set holds, the highest are omitted.
fn set_local_filters(filters: &mut Filters, interface: &Interface, snapshot: &HostSnapshot) -> bool {
    let excluded_ports = snapshot.filtered_ports(interface.index);
    let mut vlans = VlanSet::new();
    for VlanStack { outer, inner } in interface.vlan_stacks(&snapshot.interfaces) {
        vlans.insert(outer);
        inner.into_iter().for_each(|inner| vlans.insert_inner(inner));
    }
    let mut broadcasts = BroadcastSet::new();
    for broadcast in interface.broadcasts(&snapshot.interfaces, &snapshot.addresses) {
        let _ = broadcasts.insert(Ipv4Address(broadcast.octets()));
    }
    let has_changed =
        (&excluded_ports, &vlans, &broadcasts) != (&filters.excluded_ports, &filters.vlans, &filters.broadcasts);
    (filters.excluded_ports, filters.vlans, filters.broadcasts) = (excluded_ports, vlans, broadcasts);
    has_changed
}

/// Returns the kernel's settings for replies on `interface`, or `None` if they cannot be read.
fn reply_settings(interface: &Interface, snapshot: &HostSnapshot, secrets: RunSecrets) -> Option<ReplySettings> {
    let (tcp, ipv6) = (snapshot.tcp_settings.as_ref()?, Ipv6Settings::read(&interface.name).ok()?);
    Some(tcp.reply_settings(interface.mtu, &ipv6, secrets))
}

/// Returns the settings of replies, given those of the host's kernel: the system of the profile replaces them, and the
/// options of the user replace both.
fn configured_settings(config: &Config, kernel: ReplySettings) -> ReplySettings {
    let system = config.profile.as_ref().map_or(System::Host, Profile::system);
    let settings = imitating(system, kernel);
    let &SynAckConfig { ttl, window, window_scale, mss, .. } = &config.syn_ack;
    ReplySettings {
        ttl: ttl.unwrap_or(settings.ttl),
        hop_limit: ttl.unwrap_or(settings.hop_limit),
        window_scale: window_scale.unwrap_or(settings.window_scale),
        window: window.or(settings.window),
        style: ReplyStyle {
            scaled_window: settings.style.scaled_window.filter(|_| window.is_none()),
            ..settings.style
        },
        mss: mss.or(settings.mss),
        ..settings
    }
}

/// Returns the settings of replies that look like those of `system`, given the settings of the host's kernel.
fn imitating(system: System, kernel: ReplySettings) -> ReplySettings {
    let replies = match system {
        System::Host => return kernel,
        System::Linux => return kernel.with_defaults_of_linux(),
        System::WindowsServer2016 => SystemReplies::WINDOWS_SERVER_2016,
        System::Windows10 => SystemReplies::WINDOWS_10,
        System::FreeBsd => SystemReplies::FREEBSD,
        System::MacOs => SystemReplies::MACOS,
        System::OpenBsd => SystemReplies::OPENBSD,
        System::CiscoIos => SystemReplies::CISCO_IOS,
        System::Lwip => SystemReplies::LWIP,
    };
    replies.settings(kernel)
}

/// Returns the interface state for the program: MAC address, primary addresses, values of replies.
fn interface_state(
    interface: &Interface,
    replies: &ReplySettings,
    scope: &Scope,
    snapshot: &HostSnapshot,
) -> InterfaceState {
    let own = interface.addresses(&snapshot.interfaces, &snapshot.addresses);
    let (v4, v6) = scope.primary_addresses(&own);
    InterfaceState::new(Mac(interface.mac), replies).with_primary_addresses(v4, v6)
}

/// Returns whether the program supports multi-buffer frames in `mode`, as a list of choices in the order in which they
/// are tried. `mtu` is the MTU of the interface in bytes, and `driver` the name of its driver.
///
/// A reply that is shorter than its multi-buffer frame frees pages through `bpf_xdp_adjust_tail`. On veth, and in skb
/// mode on any interface, the kernel frees pages of a page pool as ordinary pages. Linux 6.18 warns
/// (`page_pool/helpers.h`), and the memory is used twice. Other drivers have code of their own for these pages, which
/// was tested only with [`TESTED_DRIVER`].
///
/// A program without multi-buffer support receives each frame in one buffer, and the driver limits the MTU to match.
/// Between [`MTU_OF_ETHERNET`] and [`MTU_WITHOUT_FRAGMENTS`], some drivers refuse such a program. Native mode with a
/// larger MTU requires multi-buffer support.
///
/// Linux hands each long packet of a TAP device to the program as in skb mode, even in native mode. It accepts a
/// program without multi-buffer support at any MTU, and then copies the packet into one buffer.
pub fn fragments(mode: AttachMode, mtu: u32, driver: Option<&str>) -> &'static [bool] {
    if mode != AttachMode::Native || !kernel::has_frags() || supports_any_mtu(driver) {
        return &[false];
    }
    if is_tested_with_fragments(driver) || mtu > MTU_WITHOUT_FRAGMENTS {
        &[true]
    } else if mtu > MTU_OF_ETHERNET {
        &[false, true]
    } else {
        &[false]
    }
}

/// Returns whether shortening multi-buffer frames was tested with the `driver`.
pub fn is_tested_with_fragments(driver: Option<&str>) -> bool {
    driver == Some(TESTED_DRIVER)
}

/// Returns whether the `driver` supports any MTU in native mode, without multi-buffer frames.
pub fn supports_any_mtu(driver: Option<&str>) -> bool {
    driver == Some(TAP_DRIVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supports_fragments_only_where_they_are_tested_or_required() {
        if !kernel::has_frags() {
            return;
        }
        let native = |mtu, driver| fragments(AttachMode::Native, mtu, Some(driver));
        for (mtu, others) in [(1500, &[false] as &[_]), (1501, &[false, true]), (3498, &[false, true]), (3499, &[true])]
        {
            for driver in ["veth", "ice", "mlx5_core"] {
                assert_eq!(native(mtu, driver), others, "{driver} {mtu}");
            }
            assert_eq!(native(mtu, "virtio_net"), [true], "{mtu}");
            assert_eq!(native(mtu, "tun"), [false], "{mtu}");
            assert_eq!(fragments(AttachMode::Native, mtu, None), others, "{mtu}");
            for mode in [AttachMode::Skb, AttachMode::Hw] {
                assert_eq!(fragments(mode, mtu, Some("virtio_net")), [false], "{mode} {mtu}");
            }
        }
    }
}
