//! The ways to attach an XDP program to an interface.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

/// The place in the receive path where the XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachMode {
    /// The driver, before the packet becomes an `sk_buff`.
    Native,
    /// The generic path of the network stack. Works with every driver, but is slower.
    Skb,
    /// The NIC (hardware offload).
    Hw,
}

impl Display for AttachMode {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Skb => "skb",
            Self::Hw => "hw",
        })
    }
}
