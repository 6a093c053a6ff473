//! IPv4 (RFC 791).

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// TCP in the field `protocol`.
pub const PROTOCOL_TCP: u8 = 6;
/// DF, the second bit of the field that it shares with the fragment offset.
pub const DONT_FRAGMENT: u16 = 0x4000;
/// MF and the fragment offset: all zero in a datagram that is not a fragment.
pub const FRAGMENT: u16 = 0x3fff;

/// An IPv4 header without options.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv4 {
    /// Version (4 bits, 4) and header length in 32-bit words (4 bits, 5 to 15).
    pub version_ihl: u8,
    /// Type of service: DSCP and ECN today.
    pub type_of_service: u8,
    /// Length of header and payload in bytes.
    pub total_length: U16,
    /// Identification, for reassembly.
    pub identification: U16,
    /// Flags (3 bits) and fragment offset (13 bits, in units of 8 bytes).
    pub flags_fragment_offset: U16,
    /// Time to live, in hops.
    pub time_to_live: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Checksum of the header, in the order of memory (see [`crate::checksum`]).
    pub header_checksum: [u8; 2],
    /// Source address.
    pub source_address: Address,
    /// Destination address.
    pub destination_address: Address,
}

/// An IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Address(pub [u8; 4]);

impl Address {
    /// Whether one host on a network can have this address: not in 0/8 ("this network") or 127/8 (loopback), nor in
    /// 224/4 and above (multicast, reserved, broadcast). See RFC 1122, 3.2.1.3.
    #[inline(always)]
    pub const fn is_unicast(self) -> bool {
        let first = self.0[0];
        // One comparison for both ends: 0 wraps.
        first.wrapping_sub(1) < 223 && first != 127
    }
}

impl Ipv4 {
    /// `version_ihl` of a header without options.
    pub const VERSION_4_IHL_5: u8 = 0x45;

    /// Whether this is IPv4 with a header of a possible length: version 4, and at least five words.
    #[inline(always)]
    pub const fn is_version_4(&self) -> bool {
        matches!(self.version_ihl, 0x45..=0x4f)
    }

    /// The length of header and options in bytes: 0 to 60, of which less than 20 is malformed.
    #[inline(always)]
    pub const fn header_length(&self) -> usize {
        (self.version_ihl & 0x0f) as usize * 4
    }

    /// Whether this is a fragment, first or later: what follows is not a whole segment.
    #[inline(always)]
    pub fn is_fragment(&self) -> bool {
        self.flags_fragment_offset.get() & FRAGMENT != 0
    }
}
