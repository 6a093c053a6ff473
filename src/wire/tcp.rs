//! TCP headers (RFC 9293).

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A TCP header without options.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Tcp {
    /// Source port.
    pub source_port: U16,
    /// Destination port.
    pub destination_port: U16,
    /// Sequence number of the first byte, or of the SYN.
    pub sequence_number: U32,
    /// Next sequence number expected. Valid with ACK.
    pub acknowledgment_number: U32,
    /// Header length in 32-bit words (4 bits, 5 to 15), and reserved bits.
    pub data_offset: u8,
    /// Control bits.
    pub flags: u8,
    /// Receive window. Never scaled in a segment with SYN.
    pub window: U16,
    /// Checksum of pseudo-header, header and payload, in memory order (see [`crate::checksum`]).
    pub checksum: [u8; 2],
    /// Urgent pointer.
    pub urgent_pointer: U16,
}

impl Tcp {
    /// The largest length of header and options in bytes.
    pub const MAX_LENGTH: usize = 60;
    /// FIN: the sender has no more data.
    pub const FIN: u8 = 0x01;
    /// SYN: synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// RST: reset the connection.
    pub const RST: u8 = 0x04;
    /// PSH: deliver the data without waiting for more.
    pub const PSH: u8 = 0x08;
    /// ACK: the acknowledgment number is valid.
    pub const ACK: u8 = 0x10;

    /// Returns the length of header and options in bytes: 0 to 60. Less than 20 is malformed.
    #[inline(always)]
    pub const fn header_length(&self) -> usize {
        (self.data_offset >> 4) as usize * 4
    }

    /// Returns whether a segment with these flags opens a connection: SYN without ACK, RST and FIN. Other flags do not
    /// matter.
    #[inline(always)]
    pub const fn is_syn(flags: u8) -> bool {
        flags & (Self::SYN | Self::ACK | Self::RST | Self::FIN) == Self::SYN
    }

    /// Returns whether this is a SYN whose header is `header_length` bytes long, with one comparison.
    #[inline(always)]
    pub const fn is_plain_syn(&self, header_length: usize) -> bool {
        const MASK: u16 = u16::from_le_bytes([0xf0, Tcp::SYN | Tcp::ACK | Tcp::RST | Tcp::FIN]);
        let expected = u16::from_le_bytes([(header_length as u8 / 4) << 4, Self::SYN]);
        u16::from_le_bytes([self.data_offset, self.flags]) & MASK == expected
    }

    /// Returns whether a segment with these flags can belong to an established connection: ACK without SYN.
    #[inline(always)]
    pub const fn is_ack(flags: u8) -> bool {
        flags & (Self::SYN | Self::ACK) == Self::ACK
    }
}

/// Returns the sequence number after `number`. Sequence numbers wrap (RFC 9293, 3.4).
#[inline(always)]
pub const fn next(number: U32) -> U32 {
    U32::new(number.get().wrapping_add(1))
}
