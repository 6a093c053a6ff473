//! IPv6 (RFC 8200).

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::address_set::AddressBits;
use crate::checksum::Sum;
use crate::config::{Advertised, InterfaceState};
use crate::ethernet::ETHERTYPE_IPV6;
use crate::frame::Frame;
use crate::ip::{Ip, PROTOCOL_TCP, Span};
use crate::isn::SipHash13;
use crate::verdict::Verdict;

/// Hop-by-hop options, in the field `next_header`.
pub const HOP_BY_HOP: u8 = 0;
/// A routing header.
pub const ROUTING: u8 = 43;
/// A fragment header.
pub const FRAGMENT: u8 = 44;
/// Destination options.
pub const DESTINATION_OPTIONS: u8 = 60;

/// How many extension headers a segment may have. RFC 8200, 4.1 has at most four before the upper layer: hop-by-hop,
/// destination options twice, routing.
const MAX_EXTENSIONS: usize = 4;

/// An IPv6 header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv6 {
    /// Version (4 bits, 6), traffic class (8 bits), flow label (20 bits).
    pub version_class_flow: [u8; 4],
    /// Length of all that follows this header, in bytes.
    pub payload_length: U16,
    /// Type of what follows this header.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source_address: Address,
    /// Destination address.
    pub destination_address: Address,
}

/// How each extension header begins that does not end the walk.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Extension {
    /// Type of what follows it.
    pub next_header: u8,
    /// Its length in units of 8 bytes, the first 8 not counted.
    pub length: u8,
    /// In a routing header, its type.
    pub routing_type: u8,
    /// In a routing header, how many nodes are still to be visited.
    pub segments_left: u8,
}

/// An IPv6 address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Address(pub [u8; 16]);

impl Address {
    /// The address that no host has.
    pub const UNSPECIFIED: Self = Self([0; 16]);
}

impl Ipv6 {
    /// Version 6, traffic class and flow label 0.
    pub const VERSION_6: [u8; 4] = [0x60, 0, 0, 0];

    #[inline(always)]
    const fn is_version_6(&self) -> bool {
        self.version_class_flow[0] >> 4 == 6
    }
}

impl Ip for Ipv6 {
    const ETHERTYPE: u16 = ETHERTYPE_IPV6;
    type Address = Address;
    type Words = [u64; 2];

    #[inline(always)]
    fn segment<F: Frame>(frame: &mut F, offset: usize) -> Option<Result<Span, Verdict>> {
        let ipv6 = frame.at::<Self>(offset)?;
        if !ipv6.is_version_6() {
            return None;
        }
        let start = offset + size_of::<Self>();
        let (end, next_header) = (start + ipv6.payload_length.get() as usize, ipv6.next_header);
        if !frame.holds(end) {
            return None;
        }
        let (next_header, offset) = match next_header {
            PROTOCOL_TCP => (PROTOCOL_TCP, start),
            _ => match walk(frame, next_header, start)? {
                Ok(found) => found,
                Err(verdict) => return Some(Err(verdict)),
            },
        };
        match next_header {
            PROTOCOL_TCP if offset > end => None,
            PROTOCOL_TCP => Some(Ok(Span { offset, length: end - offset })),
            FRAGMENT => Some(Err(Verdict::Fragment)),
            _ => Some(Err(Verdict::NotTcp)),
        }
    }

    #[inline(always)]
    fn is_plain(&self, length: u16) -> bool {
        self.is_version_6() && self.next_header == PROTOCOL_TCP && self.payload_length.get() == length
    }

    #[inline(always)]
    fn source(&self) -> Address {
        self.source_address
    }

    #[inline(always)]
    fn destination(&self) -> Address {
        self.destination_address
    }

    /// Not in ff00::/8 (multicast), nor `::` (unspecified), `::1` (loopback), or an IPv4 address in disguise
    /// (::ffff:0:0/96). See RFC 4291.
    #[inline(always)]
    fn is_unicast(address: Address) -> bool {
        let AddressBits { high, low } = Self::number(address);
        high >> 56 != 0xff && (high != 0 || (low > 1 && low >> 32 != 0xffff))
    }

    #[inline(always)]
    fn words(Address(bytes): Address) -> [u64; 2] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        [u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes([i, j, k, l, m, n, o, p])]
    }

    #[inline(always)]
    fn number(Address(bytes): Address) -> AddressBits {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        AddressBits {
            high: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            low: u64::from_be_bytes([i, j, k, l, m, n, o, p]),
        }
    }

    #[inline(always)]
    fn is_primary(destination: Address, interface: &InterfaceState) -> bool {
        destination == interface.primary_v6 && destination != Address::UNSPECIFIED
    }

    #[inline(always)]
    fn advertised(interface: &InterfaceState) -> &Advertised {
        &interface.v6
    }

    #[inline(always)]
    fn hash(key: [u64; 2], source: Address, destination: Address, ports: [u8; 4]) -> u64 {
        let (source, destination) = (Self::number(source), Self::number(destination));
        let hash = SipHash13::new(key).block(source.high.to_be_bytes()).block(source.low.to_be_bytes());
        let hash = hash.block(destination.high.to_be_bytes()).block(destination.low.to_be_bytes());
        hash.finish(ports, 36)
    }

    #[inline(always)]
    fn sum(Address(bytes): Address) -> Sum {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Sum::ZERO.words([a, b, c, d]).words([e, f, g, h]).words([i, j, k, l]).words([m, n, o, p])
    }

    #[inline(always)]
    fn reply(source: Address, destination: Address, length: u16, ttl: u8) -> Self {
        Self {
            version_class_flow: Self::VERSION_6,
            payload_length: U16::new(length),
            next_header: PROTOCOL_TCP,
            hop_limit: ttl,
            source_address: source,
            destination_address: destination,
        }
    }
}

/// The type of the first header at or behind `offset` that is no extension header, and where it is.
#[inline(always)]
fn walk<F: Frame>(frame: &mut F, mut next_header: u8, mut offset: usize) -> Option<Result<(u8, usize), Verdict>> {
    for index in 0..MAX_EXTENSIONS {
        // Hop-by-hop options come first, or are a mistake (RFC 8200, section 4.1).
        let is_extension = match next_header {
            HOP_BY_HOP => index == 0,
            ROUTING | DESTINATION_OPTIONS => true,
            _ => false,
        };
        if !is_extension {
            break;
        }
        let extension = frame.at::<Extension>(offset)?;
        if next_header == ROUTING && extension.segments_left != 0 {
            // It is on its way to somebody else.
            return Some(Err(Verdict::NotTcp));
        }
        next_header = extension.next_header;
        offset += (extension.length as usize + 1) * 8;
    }
    Some(Ok((next_header, offset)))
}
