//! The configurable header fields of the SYN-ACK, which replace the values of the kernel.

use std::path::PathBuf;
use std::str::FromStr;

use tcp_bounce_wire::{Isn, ProgramSettings};

use super::{ValueError, parse_number};

/// The configurable header fields of SYN-ACKs.
///
/// On a port with the action echo, fixed values replace `window` and `mss`, and no window scale is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SynAckConfig {
    /// The source of the initial sequence number. `None` selects a fixed number, or a keyed hash if an action needs
    /// one.
    pub isn: Option<IsnChoice>,
    /// The file with the key of a keyed ISN: 32 hexadecimal digits. `None` selects a random key.
    pub key_file: Option<PathBuf>,
    /// The key of a keyed ISN, if it is known before the run starts. `None` selects the key in `key_file`.
    pub key: Option<[u8; 16]>,
    /// The time to live (IPv4) or hop limit (IPv6). `None` selects those of the kernel.
    pub ttl: Option<u8>,
    /// The advertised receive window, in bytes and unscaled. `None` selects the window of a listener of the kernel.
    pub window: Option<u16>,
    /// The advertised window scale, 0 to 14 (RFC 7323). A SYN-ACK has this option only if the SYN has it. `None`
    /// selects the window scale of a listener of the kernel.
    pub window_scale: Option<u8>,
    /// The advertised maximum segment size, in bytes. `None` derives it from the MTU.
    pub mss: Option<u16>,
}

/// The source of initial sequence numbers, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsnChoice {
    /// The same number for every connection.
    Fixed(u32),
    /// A keyed hash of the addresses and ports of the connection (RFC 6528).
    Keyed,
}

impl IsnChoice {
    /// The default if no action needs a keyed ISN.
    pub const DEFAULT: Self = match ProgramSettings::DEFAULT.isn {
        Isn::Fixed(isn) => Self::Fixed(isn),
        Isn::Keyed(_) => Self::Keyed,
    };
}

impl FromStr for IsnChoice {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text == "keyed" {
            return Ok(Self::Keyed);
        }
        let number = parse_number(text, &(0..=u32::MAX)).map(Self::Fixed);
        number.map_err(|error| ValueError::new(format!("{}, nor \"keyed\"", error.reason())))
    }
}
