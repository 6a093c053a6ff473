//! TCP (RFC 9293).

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
    /// Sequence number of the first byte (of the SYN, if there is one).
    pub sequence_number: U32,
    /// The next sequence number expected, if ACK is set.
    pub acknowledgment_number: U32,
    /// Header length in 32-bit words (4 bits, 5 to 15) and reserved bits.
    pub data_offset: u8,
    /// The control bits.
    pub flags: u8,
    /// Receive window, unscaled in a segment with SYN.
    pub window: U16,
    /// Checksum of pseudo-header, header and payload, in the order of memory (see [`crate::checksum`]).
    pub checksum: [u8; 2],
    /// Urgent pointer.
    pub urgent_pointer: U16,
}

impl Tcp {
    /// The greatest length of header and options, in bytes.
    pub const MAX_LENGTH: usize = 60;
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push: nothing more is to be waited for before the data is handed on.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment number counts.
    pub const ACK: u8 = 0x10;

    /// The length of header and options in bytes: 0 to 60, of which less than 20 is malformed.
    #[inline(always)]
    pub const fn header_length(&self) -> usize {
        (self.data_offset >> 4) as usize * 4
    }

    /// Whether a segment with these flags opens a connection: SYN, and none of ACK, RST and FIN. (ECE, CWR, URG and PSH do
    /// not matter.)
    #[inline(always)]
    pub const fn is_syn(flags: u8) -> bool {
        flags & (Self::SYN | Self::ACK | Self::RST | Self::FIN) == Self::SYN
    }

    /// Whether this is a SYN with a header of this length in bytes.
    #[inline(always)]
    pub const fn is_plain_syn(&self, header_length: usize) -> bool {
        const MASK: u16 = u16::from_le_bytes([0xf0, Tcp::SYN | Tcp::ACK | Tcp::RST | Tcp::FIN]);
        let expected = u16::from_le_bytes([(header_length as u8 / 4) << 4, Self::SYN]);
        u16::from_le_bytes([self.data_offset, self.flags]) & MASK == expected
    }

    /// Whether a segment with these flags could belong to a connection that is open: ACK, and no SYN.
    #[inline(always)]
    pub const fn is_ack(flags: u8) -> bool {
        flags & (Self::SYN | Self::ACK) == Self::ACK
    }
}

/// The sequence number after `number`: they wrap (RFC 9293, 3.4).
#[inline(always)]
pub const fn next(number: U32) -> U32 {
    U32::new(number.get().wrapping_add(1))
}
