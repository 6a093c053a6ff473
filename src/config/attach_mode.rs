//! The ways to attach an XDP program to an interface.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

/// Where in the receive path the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachMode {
    /// In the driver, before the packet becomes an `sk_buff`.
    Native,
    /// In the kernel's generic path. Works with every driver, but slower.
    Skb,
    /// In the NIC.
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
