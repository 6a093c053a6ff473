//! The inputs of a verdict besides the packet.

use crate::action::ActionByPort;
use crate::config::ProgramConfig;
use crate::filters::Filters;
use crate::interface::InterfaceState;

/// The configuration, the current state and the host, for one packet.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a, H> {
    /// Settings that do not change.
    pub config: &'a ProgramConfig,
    /// The state of the interface.
    pub interface: &'a InterfaceState,
    /// Addresses and ports.
    pub filters: &'a Filters,
    /// The post-handshake action of each port, if more than one is in use.
    pub actions_by_port: &'a ActionByPort,
    /// The host on which the packet logic runs.
    pub host: H,
}
