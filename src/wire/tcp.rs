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
    /// Sequence number of the first byte of data, or of the SYN.
    pub sequence_number: U32,
    /// The next sequence number that the sender expects. Valid if the ACK flag is set.
    pub acknowledgment_number: U32,
    /// Header length in 32-bit words (upper 4 bits, 5 to 15), and reserved bits.
    pub data_offset: u8,
    /// Flags, such as [`Tcp::SYN`]. RFC 9293 calls them control bits.
    pub flags: u8,
    /// Receive window: in bytes in a SYN or SYN-ACK, in units of the negotiated window scale in later segments.
    pub window: U16,
    /// Checksum of pseudo-header, TCP header and payload, in memory order (see [`crate::checksum`]).
    pub checksum: [u8; 2],
    /// Offset of the end of urgent data from the sequence number. Valid if the URG flag is set.
    pub urgent_pointer: U16,
}

impl Tcp {
    /// The largest length of header and options, in bytes.
    pub const MAX_LENGTH: usize = 60;
    /// FIN: the sender sends no more data.
    pub const FIN: u8 = 0x01;
    /// SYN: synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// RST: reset the connection.
    pub const RST: u8 = 0x04;
    /// PSH: deliver the data to the application without waiting for more.
    pub const PSH: u8 = 0x08;
    /// ACK: the acknowledgment number is valid.
    pub const ACK: u8 = 0x10;
    /// ECE: with SYN, the sender supports ECN; later, it received a congestion mark (RFC 3168).
    pub const ECE: u8 = 0x40;
    /// CWR: the sender reduced its congestion window (RFC 3168).
    pub const CWR: u8 = 0x80;

    /// Returns the length of header and options in bytes, 0 to 60. A length below 20 is malformed.
    #[inline(always)]
    pub const fn header_length(&self) -> usize {
        (self.data_offset >> 4) as usize * 4
    }

    /// Returns the source and destination port in network byte order.
    #[inline(always)]
    pub fn ports(&self) -> [u8; 4] {
        ports(self.source_port, self.destination_port)
    }

    /// Returns whether a segment with these flags opens a connection: SYN is set, and ACK, RST and FIN are clear. Other
    /// flags are ignored.
    #[inline(always)]
    pub const fn is_syn(flags: u8) -> bool {
        flags & (Self::SYN | Self::ACK | Self::RST | Self::FIN) == Self::SYN
    }

    /// Returns whether a listener drops a segment with these flags without a reply: ACK and RST are clear, and the
    /// segment is not a SYN (`tcp_rcv_state_process` of Linux).
    #[inline(always)]
    pub const fn is_without_ack(flags: u8) -> bool {
        flags & (Self::ACK | Self::RST) == 0 && !Self::is_syn(flags)
    }

    /// Returns whether a segment is a SYN that does not request ECN, and whose header has `header_length` bytes.
    ///
    /// `offset_and_flags` holds the data offset and the flags, as a little-endian word. One comparison checks both.
    #[inline(always)]
    pub const fn is_plain_syn(offset_and_flags: u16, header_length: usize) -> bool {
        const MASK: u16 = u16::from_le_bytes([0xf0, Tcp::SYN | Tcp::ACK | Tcp::RST | Tcp::FIN | Tcp::ECE | Tcp::CWR]);
        offset_and_flags & MASK == u16::from_le_bytes([(header_length as u8 / 4) << 4, Self::SYN])
    }

    /// Returns whether a segment of `length` bytes is an ACK without SYN, FIN, RST and data.
    ///
    /// `offset_and_flags` holds the data offset and the flags, as a little-endian word.
    #[inline(always)]
    pub const fn is_bare_ack(offset_and_flags: u16, length: usize) -> bool {
        const MASK: u16 = u16::from_le_bytes([0, Tcp::SYN | Tcp::ACK | Tcp::RST | Tcp::FIN]);
        let header_length = (offset_and_flags as usize & 0xf0) / 4;
        offset_and_flags & MASK == u16::from_le_bytes([0, Self::ACK])
            && header_length >= size_of::<Self>()
            && header_length == length
    }

    /// Returns 1 if this SYN requests ECN in a way that Linux accepts (`tcp_ecn_create_request`), or else 0. `ecn` is
    /// the ECN field of the IP header.
    ///
    /// RFC 3168 forbids an ECN mark on a SYN. Linux then suspects a broken router, unless a reserved bit announces a
    /// newer version of ECN. The function has no branches, because each branch doubles the paths that the verifier
    /// follows.
    #[inline(always)]
    pub const fn requests_ecn(&self, ecn: u8) -> u8 {
        let has_both_flags = self.flags >> 6 & self.flags >> 7;
        let is_unmarked = !(ecn | ecn >> 1);
        let has_reserved_bits = ((self.data_offset & 0x0f) + 0x0f) >> 4;
        has_both_flags & (is_unmarked | has_reserved_bits) & 1
    }

    /// Returns whether a segment with these flags can belong to an established connection: ACK is set, and SYN is
    /// clear.
    #[inline(always)]
    pub const fn is_ack(flags: u8) -> bool {
        flags & (Self::SYN | Self::ACK) == Self::ACK
    }
}

/// Returns a source and a destination port as bytes in network byte order.
#[inline(always)]
pub const fn ports(source: U16, destination: U16) -> [u8; 4] {
    let ([a, b], [c, d]) = (source.to_bytes(), destination.to_bytes());
    [a, b, c, d]
}

/// Returns the sequence number after `number`. Sequence numbers wrap (RFC 9293, 3.4).
#[inline(always)]
pub const fn next(number: U32) -> U32 {
    U32::new(number.get().wrapping_add(1))
}
