//! Everything besides the packet that a verdict depends on.

use crate::action::ActionByPort;
use crate::config::ProgramConfig;
use crate::filters::Filters;
use crate::interface::InterfaceState;

/// The settings, state, filters and host for the verdict on one packet.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a, H> {
    /// The settings that stay constant while the program is loaded.
    pub config: &'a ProgramConfig,
    /// The addresses and advertised values of the interface.
    pub interface: &'a InterfaceState,
    /// The addresses and ports for which tcp-bounce answers.
    pub filters: &'a Filters,
    /// The post-handshake action of each port. Ignored if `config` has only one action.
    pub actions_by_port: &'a ActionByPort,
    /// The host on which the packet logic runs.
    pub host: H,
}
