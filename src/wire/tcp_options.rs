//! TCP options: kinds and layouts.

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The option kind of the end of the option list (RFC 9293, 3.1).
pub const END: u8 = 0;
/// The option kind of no operation, one byte of padding (RFC 9293, 3.1).
pub const NOP: u8 = 1;
/// The option kind of the maximum segment size (RFC 9293, 3.7.1).
pub const MSS: u8 = 2;
/// The option kind of window scale (RFC 7323, 2.2).
pub const WINDOW_SCALE: u8 = 3;
/// The option kind of SACK permitted (RFC 2018, 2).
pub const SACK_PERMITTED: u8 = 4;
/// The option kind of timestamps (RFC 7323, 3.2).
pub const TIMESTAMPS: u8 = 8;
/// The option kind of the MD5 signature (RFC 2385).
pub const MD5: u8 = 19;
/// The option kind of the TCP authentication option (RFC 5925).
pub const AUTHENTICATION: u8 = 29;

/// The first word of [`TimestampsOption`] in a segment with the SACK permitted option.
pub const SACK_AND_TIMESTAMPS: [u8; 4] = [SACK_PERMITTED, 2, TIMESTAMPS, 10];
/// The first word of [`TimestampsOption`] in a segment without the SACK permitted option.
pub const LONE_TIMESTAMPS: [u8; 4] = [NOP, NOP, TIMESTAMPS, 10];
/// The word with the SACK permitted option, in a segment without timestamps.
pub const LONE_SACK: [u8; 4] = [NOP, NOP, SACK_PERMITTED, 2];

/// The word with the SACK permitted option at the end of the options.
pub const LAST_SACK: [u8; 4] = [SACK_PERMITTED, 2, END, END];

/// A maximum segment size option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct MssOption {
    /// Option kind: [`MSS`].
    pub kind: u8,
    /// Length of the option in bytes: 4.
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

    /// Returns the bytes of the option.
    #[inline(always)]
    pub fn to_bytes(self) -> [u8; 4] {
        zerocopy::transmute!(self)
    }
}

/// A timestamps option and the two bytes before it, in Linux's layout.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TimestampsOption {
    /// SACK permitted or two NOPs, then kind and length of the timestamps option: [`SACK_AND_TIMESTAMPS`] or
    /// [`LONE_TIMESTAMPS`].
    pub head: [u8; 4],
    /// TSval: the current value of the sender's timestamp clock.
    pub value: U32,
    /// TSecr: the latest TSval that the sender received from the other side.
    pub echo_reply: U32,
}
