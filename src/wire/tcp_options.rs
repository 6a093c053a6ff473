//! TCP options: kinds and layouts.

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// End of the option list (RFC 9293, 3.1).
pub const END: u8 = 0;
/// No operation: one byte of padding (RFC 9293, 3.1).
pub const NOP: u8 = 1;
/// Maximum segment size (RFC 9293, 3.7.1).
pub const MSS: u8 = 2;
/// Window scale (RFC 7323, 2.2).
pub const WINDOW_SCALE: u8 = 3;
/// SACK permitted (RFC 2018, 2).
pub const SACK_PERMITTED: u8 = 4;
/// Timestamps (RFC 7323, 3.2).
pub const TIMESTAMPS: u8 = 8;
/// MD5 signature (RFC 2385).
pub const MD5: u8 = 19;
/// TCP authentication option (RFC 5925).
pub const AUTHENTICATION: u8 = 29;

/// The first word of [`TimestampsOption`] after SACK permitted.
pub const SACK_AND_TIMESTAMPS: [u8; 4] = [SACK_PERMITTED, 2, TIMESTAMPS, 10];
/// The first word of [`TimestampsOption`] without SACK permitted.
pub const LONE_TIMESTAMPS: [u8; 4] = [NOP, NOP, TIMESTAMPS, 10];
/// SACK permitted without timestamps.
pub const LONE_SACK: [u8; 4] = [NOP, NOP, SACK_PERMITTED, 2];

/// A maximum segment size option.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct MssOption {
    /// [`MSS`].
    pub kind: u8,
    /// 4.
    pub length: u8,
    /// The largest payload that the sender of this option accepts, in bytes.
    pub mss: U16,
}

impl MssOption {
    /// Returns the option that advertises `mss`.
    #[inline(always)]
    pub const fn new(mss: U16) -> Self {
        Self { kind: MSS, length: 4, mss }
    }
}

/// A timestamps option in Linux's layout: after SACK permitted, or after two NOPs.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TimestampsOption {
    /// Two bytes of another option, kind and length: [`SACK_AND_TIMESTAMPS`] or [`LONE_TIMESTAMPS`].
    pub head: [u8; 4],
    /// TSval.
    pub value: U32,
    /// TSecr.
    pub echo_reply: U32,
}
