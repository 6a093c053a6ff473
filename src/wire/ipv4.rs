//! IPv4 (RFC 791).

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::address_set::AddressBits;
use crate::checksum::Sum;
use crate::config::{Advertised, InterfaceState};
use crate::ethernet::ETHERTYPE_IPV4;
use crate::frame::Frame;
use crate::ip::{Ip, PROTOCOL_TCP, Span};
use crate::isn::SipHash13;
use crate::verdict::Verdict;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Address(pub [u8; 4]);

impl Address {
    /// The address that no host has.
    pub const UNSPECIFIED: Self = Self([0; 4]);
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

impl Ip for Ipv4 {
    const ETHERTYPE: u16 = ETHERTYPE_IPV4;
    type Address = Address;
    type Words = u32;

    #[inline(always)]
    fn segment<F: Frame>(frame: &mut F, offset: usize) -> Option<Result<Span, Verdict>> {
        let ipv4 = frame.at::<Self>(offset)?;
        if !ipv4.is_version_4() {
            return None;
        }
        let (protocol, is_fragment) = (ipv4.protocol, ipv4.is_fragment());
        let (total_length, header_length) = (ipv4.total_length.get() as usize, ipv4.header_length());
        if total_length < header_length || !frame.holds(offset + total_length) {
            return None;
        }
        Some(if protocol != PROTOCOL_TCP {
            Err(Verdict::NotTcp)
        } else if is_fragment {
            Err(Verdict::Fragment)
        } else {
            Ok(Span { offset: offset + header_length, length: total_length - header_length })
        })
    }

    #[inline(always)]
    fn is_plain(&self, length: u16) -> bool {
        self.version_ihl == Self::VERSION_4_IHL_5
            && self.protocol == PROTOCOL_TCP
            && !self.is_fragment()
            && self.total_length.get() == size_of::<Self>() as u16 + length
    }

    #[inline(always)]
    fn source(&self) -> Address {
        self.source_address
    }

    #[inline(always)]
    fn destination(&self) -> Address {
        self.destination_address
    }

    /// Not in 0/8 ("this network") or 127/8 (loopback), nor in 224/4 and above (multicast, reserved, broadcast). See
    /// RFC 1122, 3.2.1.3.
    #[inline(always)]
    fn is_unicast(address: Address) -> bool {
        let first = u32::from(address.0[0]);
        // One comparison for both ends: 0 wraps.
        first.wrapping_sub(1) < 223 && first != 127
    }

    #[inline(always)]
    fn words(Address(bytes): Address) -> u32 {
        u32::from_ne_bytes(bytes)
    }

    #[inline(always)]
    fn number(address: Address) -> AddressBits {
        AddressBits { high: 0, low: 0xffff << 32 | u32::from_be_bytes(address.0) as u64 }
    }

    #[inline(always)]
    fn is_primary(destination: Address, interface: &InterfaceState) -> bool {
        destination == interface.primary_v4 && destination != Address::UNSPECIFIED
    }

    #[inline(always)]
    fn advertised(interface: &InterfaceState) -> &Advertised {
        &interface.v4
    }

    #[inline(always)]
    fn hash(key: [u64; 2], Address([a, b, c, d]): Address, Address([e, f, g, h]): Address, ports: [u8; 4]) -> u64 {
        SipHash13::new(key).block([a, b, c, d, e, f, g, h]).finish(ports, 12)
    }

    #[inline(always)]
    fn sum(address: Address) -> Sum {
        Sum::ZERO.words(address.0)
    }

    /// As Linux sends it: DF, and no identification.
    #[inline(always)]
    fn reply(source: Address, destination: Address, length: u16, ttl: u8) -> Self {
        let total_length = size_of::<Self>() as u16 + length;
        let header_checksum = (Self::sum(source) + Self::sum(destination))
            .word([Self::VERSION_4_IHL_5, 0])
            .word(total_length.to_be_bytes())
            .word(DONT_FRAGMENT.to_be_bytes())
            .word([ttl, PROTOCOL_TCP])
            .checksum();
        Self {
            version_ihl: Self::VERSION_4_IHL_5,
            type_of_service: 0,
            total_length: U16::new(total_length),
            identification: U16::new(0),
            flags_fragment_offset: U16::new(DONT_FRAGMENT),
            time_to_live: ttl,
            protocol: PROTOCOL_TCP,
            header_checksum,
            source_address: source,
            destination_address: destination,
        }
    }
}
