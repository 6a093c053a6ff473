//! The host environment, which this module reads and never changes: interfaces, addresses, sockets, sysctls, NICs and
//! the kernel.

pub mod address;
pub mod clock;
mod error;
pub mod ethtool;
pub mod interface;
pub mod kernel;
pub mod listeners;
mod netlink;
pub mod sockets;
mod stacked;
pub mod tcp_settings;
pub mod vlan;

pub use address::HostAddress;
pub use error::HostError;
pub use interface::Interface;
pub use tcp_settings::{Ipv6Settings, RunSecrets, TcpSettings};
pub use vlan::VlanStack;
