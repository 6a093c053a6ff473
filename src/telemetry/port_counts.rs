//! The counts of one port, for the port report.

use tcp_bounce_wire::ClientCounts;

/// The counts of one port.
#[derive(Clone, Copy, Debug, Default)]
pub struct PortCounts {
    /// The SYNs that tcp-bounce answered, and the completed handshakes.
    pub answered: ClientCounts,
    /// The SYNs that arrived while the port was excluded.
    pub excluded_syns: u64,
}
