//! The host, read only: interfaces, addresses, listeners and other sockets, NIC features, kernel features.

mod error;
pub mod ethtool;
pub mod interface;
pub mod kernel;
pub mod listeners;
mod netlink;
pub mod sockets;

pub use error::HostError;
pub use interface::Interface;
