//! IPv4 headers (RFC 791).

use core::mem::offset_of;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::address::{Ipv4Address, Ipv6Address};
use crate::checksum::Sum;
use crate::ethernet::{ETHERTYPE_IPV4, Ethernet};
use crate::frame::{Frame, Span};
use crate::ip::{Ip, PROTOCOL_TCP, masked};
use crate::siphash::SipHash13;
use crate::verdict::Verdict;

/// The DF flag (don't fragment) in `flags_fragment_offset`.
pub const DONT_FRAGMENT: u16 = 0x4000;
/// The MF flag (more fragments) and the fragment offset in `flags_fragment_offset`. All these bits are zero in a packet
/// that is not a fragment.
pub const FRAGMENT: u16 = 0x3fff;
/// The fragment offset in `flags_fragment_offset`. All these bits are zero in a first fragment.
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// The fixed part of an IPv4 header, without options.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv4 {
    /// Version (4 bits, 4) and header length in 32-bit words (4 bits, 5 to 15).
    pub version_ihl: u8,
    /// Type of service: DSCP and ECN.
    pub type_of_service: u8,
    /// Length of header, options and payload in bytes.
    pub total_length: U16,
    /// Identification, for the reassembly of fragments.
    pub identification: U16,
    /// Flags (3 bits) and fragment offset (13 bits, in units of 8 bytes).
    pub flags_fragment_offset: U16,
    /// Time to live, in hops.
    pub time_to_live: u8,
    /// Protocol number of the payload.
    pub protocol: u8,
    /// Checksum of the header, in memory order (see [`crate::checksum`]).
    pub header_checksum: [u8; 2],
    /// Source address.
    pub source_address: Ipv4Address,
    /// Destination address.
    pub destination_address: Ipv4Address,
}

impl Ipv4 {
    /// The value of `version_ihl` in a header without options: version 4, five 32-bit words.
    pub const VERSION_4_IHL_5: u8 = 0x45;

    /// Returns whether the version is 4 and the header length is at least five 32-bit words.
    #[inline(always)]
    pub const fn is_version_4(&self) -> bool {
        matches!(self.version_ihl, 0x45..=0x4f)
    }

    /// Returns the length of header and options in bytes, 0 to 60. A length below 20 is malformed.
    #[inline(always)]
    pub const fn header_length(&self) -> usize {
        (self.version_ihl & 0x0f) as usize * 4
    }
}

impl Ip for Ipv4 {
    const ETHERTYPE: u16 = ETHERTYPE_IPV4;
    const HAS_FLOW_LABEL: bool = false;
    type Address = Ipv4Address;

    #[inline(always)]
    fn locate_tcp<F: Frame>(
        frame: &mut F,
        offset: usize,
        _skip_extensions: impl FnOnce(&mut F, u8, usize) -> Result<(u8, usize), Verdict>,
    ) -> Result<Span, Verdict> {
        let ipv4 = frame.at::<Self>(offset).ok_or(Verdict::Malformed)?;
        if !ipv4.is_version_4() {
            return Err(Verdict::Malformed);
        }
        let (protocol, fragment_offset) = (ipv4.protocol, ipv4.flags_fragment_offset.get() & FRAGMENT_OFFSET);
        let (total_length, header_length) = (ipv4.total_length.get() as usize, ipv4.header_length());
        if total_length < header_length || !frame.holds(offset + total_length) {
            return Err(Verdict::Malformed);
        }
        if protocol != PROTOCOL_TCP {
            Err(Verdict::NotTcp)
        } else if fragment_offset != 0 {
            Err(Verdict::Fragment)
        } else {
            Ok(Span { offset: offset + header_length, length: total_length - header_length })
        }
    }

    #[inline(always)]
    fn locate_plain<F: Frame>(frame: &mut F) -> Option<Span> {
        const OFFSET: usize = size_of::<Ethernet>();
        const ETHERTYPE: [u8; 2] = ETHERTYPE_IPV4.to_be_bytes();
        const FRAGMENT_MASK: [u8; 2] = FRAGMENT.to_be_bytes();
        let total_length = frame.at::<Self>(OFFSET)?.total_length.get() as usize;
        let type_and_version = frame.at::<[u8; 4]>(offset_of!(Ethernet, ethertype))?;
        let is_plain = masked(*type_and_version, [0xff, 0xff, 0xff, 0])
            == u32::from_ne_bytes([ETHERTYPE[0], ETHERTYPE[1], Self::VERSION_4_IHL_5, 0]);
        let fragment_and_protocol = frame.at::<[u8; 4]>(OFFSET + offset_of!(Self, flags_fragment_offset))?;
        let is_whole_tcp = masked(*fragment_and_protocol, [FRAGMENT_MASK[0], FRAGMENT_MASK[1], 0, 0xff])
            == u32::from_ne_bytes([0, 0, 0, PROTOCOL_TCP]);
        let length = total_length.wrapping_sub(size_of::<Self>());
        (is_plain && is_whole_tcp).then_some(Span { offset: OFFSET + size_of::<Self>(), length })
    }

    #[inline(always)]
    fn is_fragment(&self) -> bool {
        self.flags_fragment_offset.get() & FRAGMENT != 0
    }

    #[inline(always)]
    fn source(&self) -> Ipv4Address {
        self.source_address
    }

    #[inline(always)]
    fn destination(&self) -> Ipv4Address {
        self.destination_address
    }

    #[inline(always)]
    fn ecn(&self) -> u8 {
        self.type_of_service & 3
    }

    #[inline(always)]
    fn flow_label(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn choose<T>(v4: T, _v6: T) -> T {
        v4
    }

    #[inline(always)]
    fn choose_address<'a>(v4: &'a Ipv4Address, _v6: &'a Ipv6Address) -> &'a Ipv4Address {
        v4
    }

    #[inline(always)]
    fn hash(hash: SipHash13, source: Ipv4Address, destination: Ipv4Address, ports: [u8; 4]) -> u64 {
        // Computed as words. The compiler would assemble an array byte by byte.
        let [source, destination] = [source, destination].map(|address| u64::from(u32::from_le_bytes(address.0)));
        hash.block((source | destination << 32).to_le_bytes()).finish(ports, 12)
    }

    #[inline(always)]
    fn sum(address: Ipv4Address) -> Sum {
        Sum::ZERO.words(address.0)
    }

    /// Returns the header as Linux sends it for a SYN-ACK: with DF set, and with identification 0.
    #[inline(always)]
    fn reply(source: Ipv4Address, destination: Ipv4Address, length: u16, ttl: u8, _flow_label: u32) -> Self {
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

    #[inline(always)]
    fn set_identification(&mut self, identification: u16, dont_fragment: bool) {
        let flags = if dont_fragment { DONT_FRAGMENT } else { 0 };
        // The checksum is updated by the changed words (RFC 1624). The old identification is 0.
        let sum = Sum::ZERO
            .word(self.header_checksum.map(|byte| !byte))
            .word((!DONT_FRAGMENT).to_be_bytes())
            .word(flags.to_be_bytes())
            .word(identification.to_be_bytes());
        self.header_checksum = sum.checksum();
        self.identification.set(identification);
        self.flags_fragment_offset.set(flags);
    }
}
