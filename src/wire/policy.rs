//! The inputs of a verdict besides the packet: settings, interface state, filters, actions and the host.

use crate::action::{ActionByPort, ActionSet};
use crate::config::{Features, ProgramConfig};
use crate::filters::Filters;
use crate::interface::InterfaceState;

/// The settings, state, filters and host for the verdict on one packet.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a, H> {
    /// The settings that stay constant while the program is loaded.
    pub config: &'a ProgramConfig,
    /// The features of `config`, read once for the packet.
    pub features: Features,
    /// The post-handshake actions of `config`, read once for the packet.
    pub actions: ActionSet,
    /// The addresses and advertised values of the interface.
    pub interface: &'a InterfaceState,
    /// The addresses and ports for which tcp-bounce answers.
    pub filters: &'a Filters,
    /// The post-handshake action of each port. Ignored if `config` has only one action.
    pub actions_by_port: &'a ActionByPort,
    /// The host on which the packet logic runs.
    pub host: H,
}

impl<'a, H> Policy<'a, H> {
    /// Returns the policy for one packet.
    #[inline(always)]
    pub const fn new(
        config: &'a ProgramConfig,
        interface: &'a InterfaceState,
        filters: &'a Filters,
        actions_by_port: &'a ActionByPort,
        host: H,
    ) -> Self {
        Self { config, features: config.features, actions: config.actions, interface, filters, actions_by_port, host }
    }
}
