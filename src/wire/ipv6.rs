//! IPv6 headers and extension headers (RFC 8200).

use core::mem::offset_of;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::address::{IpAddress as _, Ipv4Address, Ipv6Address};
use crate::checksum::Sum;
use crate::ethernet::{ETHERTYPE_IPV6, Ethernet};
use crate::flow_label::FLOW_LABEL_MASK;
use crate::frame::{Frame, Span};
use crate::ip::{Ip, PROTOCOL_TCP, masked};
use crate::siphash::SipHash13;
use crate::verdict::Verdict;

/// The `next_header` value of hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// The `next_header` value of a routing header.
pub const ROUTING: u8 = 43;
/// The `next_header` value of a fragment header.
pub const FRAGMENT: u8 = 44;
/// The `next_header` value of destination options.
pub const DESTINATION_OPTIONS: u8 = 60;

/// The largest number of extension headers in a supported packet.
///
/// Of the supported types, RFC 8200, 4.1 allows hop-by-hop and routing once, and destination options twice.
const MAX_EXTENSIONS: usize = 4;

/// The fixed IPv6 header, without extension headers.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv6 {
    /// Version (4 bits, 6), traffic class (8 bits), flow label (20 bits).
    pub version_class_flow: [u8; 4],
    /// Length of extension headers and payload, in bytes.
    pub payload_length: U16,
    /// Type of the next header, or of the payload.
    pub next_header: u8,
    /// Hop limit, in hops.
    pub hop_limit: u8,
    /// Source address.
    pub source_address: Ipv6Address,
    /// Destination address.
    pub destination_address: Ipv6Address,
}

/// The first four bytes of an extension header for hop-by-hop options, destination options or routing.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Extension {
    /// Type of the next header, or of the payload.
    pub next_header: u8,
    /// Length of this header in units of 8 bytes, not counting the first 8 bytes.
    pub length: u8,
    /// In a routing header: the routing type.
    pub routing_type: u8,
    /// In a routing header: the number of nodes that the packet still has to visit.
    pub segments_left: u8,
}

/// A fragment header (RFC 8200, 4.5).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FragmentHeader {
    /// Type of the next header, or of the payload.
    pub next_header: u8,
    /// Unused.
    pub reserved: u8,
    /// Fragment offset (13 bits, in units of 8 bytes), two unused bits, and the M flag (more fragments).
    pub offset_flags: U16,
    /// Identification, for the reassembly of fragments.
    pub identification: [u8; 4],
}

impl FragmentHeader {
    /// The fragment offset in `offset_flags`.
    const OFFSET: u16 = 0xfff8;
}

impl Ipv6 {
    /// The value of `version_class_flow` with version 6, traffic class 0 and flow label 0, in host byte order.
    pub const VERSION_6: u32 = 0x6000_0000;

    #[inline(always)]
    const fn is_version_6(&self) -> bool {
        self.version_class_flow[0] >> 4 == 6
    }
}

impl Ip for Ipv6 {
    const ETHERTYPE: u16 = ETHERTYPE_IPV6;
    const HAS_FLOW_LABEL: bool = true;
    type Address = Ipv6Address;

    #[inline(always)]
    fn locate_tcp<F: Frame>(
        frame: &mut F,
        offset: usize,
        skip_extensions: impl FnOnce(&mut F, u8, usize) -> Result<(u8, usize), Verdict>,
    ) -> Result<Span, Verdict> {
        let ipv6 = frame.at::<Self>(offset).ok_or(Verdict::Malformed)?;
        if !ipv6.is_version_6() {
            return Err(Verdict::Malformed);
        }
        let start = offset + size_of::<Self>();
        let (end, next_header) = (start + ipv6.payload_length.get() as usize, ipv6.next_header);
        if !frame.holds(end) {
            return Err(Verdict::Malformed);
        }
        let (next_header, offset) = match next_header {
            PROTOCOL_TCP => (PROTOCOL_TCP, start),
            FRAGMENT => {
                let fragment = frame.at::<FragmentHeader>(start).ok_or(Verdict::Malformed)?;
                let is_first = fragment.offset_flags.get() & FragmentHeader::OFFSET == 0;
                let is_readable = is_first && fragment.next_header == PROTOCOL_TCP;
                (if is_readable { PROTOCOL_TCP } else { FRAGMENT }, start + size_of::<FragmentHeader>())
            }
            _ => skip_extensions(frame, next_header, start)?,
        };
        match next_header {
            PROTOCOL_TCP if offset > end => Err(Verdict::Malformed),
            PROTOCOL_TCP => Ok(Span { offset, length: end - offset }),
            FRAGMENT => Err(Verdict::Fragment),
            _ => Err(Verdict::NotTcp),
        }
    }

    #[inline(always)]
    fn locate_plain<F: Frame>(frame: &mut F) -> Option<Span> {
        const ETHERTYPE: [u8; 2] = ETHERTYPE_IPV6.to_be_bytes();
        let Self { payload_length, next_header, .. } = *frame.at::<Self>(size_of::<Ethernet>())?;
        let type_and_version = frame.at::<[u8; 4]>(offset_of!(Ethernet, ethertype))?;
        let is_plain = masked(*type_and_version, [0xff, 0xff, 0xf0, 0])
            == u32::from_ne_bytes([ETHERTYPE[0], ETHERTYPE[1], 0x60, 0]);
        let span = Span { offset: size_of::<Ethernet>() + size_of::<Self>(), length: payload_length.get() as usize };
        (is_plain && next_header == PROTOCOL_TCP).then_some(span)
    }

    #[inline(always)]
    fn is_fragment(&self) -> bool {
        self.next_header == FRAGMENT
    }

    #[inline(always)]
    fn source(&self) -> Ipv6Address {
        self.source_address
    }

    #[inline(always)]
    fn destination(&self) -> Ipv6Address {
        self.destination_address
    }

    #[inline(always)]
    fn ecn(&self) -> u8 {
        self.version_class_flow[1] >> 4 & 3
    }

    #[inline(always)]
    fn flow_label(&self) -> u32 {
        u32::from_be_bytes(self.version_class_flow) & FLOW_LABEL_MASK
    }

    #[inline(always)]
    fn choose<T>(_v4: T, v6: T) -> T {
        v6
    }

    #[inline(always)]
    fn choose_address<'a>(_v4: &'a Ipv4Address, v6: &'a Ipv6Address) -> &'a Ipv6Address {
        v6
    }

    #[inline(always)]
    fn hash(hash: SipHash13, source: Ipv6Address, destination: Ipv6Address, ports: [u8; 4]) -> u64 {
        let (source, destination) = (source.bits(), destination.bits());
        let hash = hash.block(source.high.to_be_bytes()).block(source.low.to_be_bytes());
        let hash = hash.block(destination.high.to_be_bytes()).block(destination.low.to_be_bytes());
        hash.finish(ports, 36)
    }

    #[inline(always)]
    fn sum(address: Ipv6Address) -> Sum {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.0;
        Sum::ZERO.words([a, b, c, d]).words([e, f, g, h]).words([i, j, k, l]).words([m, n, o, p])
    }

    #[inline(always)]
    fn reply(source: Ipv6Address, destination: Ipv6Address, length: u16, ttl: u8, flow_label: u32) -> Self {
        Self {
            version_class_flow: (Self::VERSION_6 | flow_label).to_be_bytes(),
            payload_length: U16::new(length),
            next_header: PROTOCOL_TCP,
            hop_limit: ttl,
            source_address: source,
            destination_address: destination,
        }
    }

    #[inline(always)]
    fn set_identification(&mut self, _identification: u16, _dont_fragment: bool) {}
}

/// Skips up to four extension headers, from `offset` on. Returns the type and the offset of the header that follows.
///
/// # Errors
///
/// `NotTcp` if a routing header lists nodes that the packet still has to visit. `Malformed` if an extension header is
/// truncated.
#[inline(always)]
pub fn skip_extensions<F: Frame>(
    frame: &mut F,
    mut next_header: u8,
    mut offset: usize,
) -> Result<(u8, usize), Verdict> {
    for index in 0..MAX_EXTENSIONS {
        // Hop-by-hop options must be the first extension header (RFC 8200, 4.1).
        let is_extension = match next_header {
            HOP_BY_HOP => index == 0,
            ROUTING | DESTINATION_OPTIONS => true,
            _ => false,
        };
        if !is_extension {
            break;
        }
        let extension = frame.at::<Extension>(offset).ok_or(Verdict::Malformed)?;
        if next_header == ROUTING && extension.segments_left != 0 {
            return Err(Verdict::NotTcp);
        }
        next_header = extension.next_header;
        offset += (extension.length as usize + 1) * 8;
    }
    Ok((next_header, offset))
}
