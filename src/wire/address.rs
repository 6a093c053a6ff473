//! MAC, IPv4 and IPv6 addresses, and the numbers by which IP addresses are compared.

use core::fmt::Debug;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::Sum;
use crate::text::{Ipv4Endpoint, Ipv4Text, Ipv6Endpoint, Ipv6Text};

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Returns whether both addresses are equal.
    ///
    /// The function compares a 32-bit word and a 16-bit word. For `==`, the compiler would assemble the addresses byte
    /// by byte.
    #[inline(always)]
    pub const fn is(&self, other: &Self) -> bool {
        let ([a, b, c, d, e, f], [u, v, w, x, y, z]) = (&self.0, &other.0);
        let first = u32::from_ne_bytes([*a, *b, *c, *d]) ^ u32::from_ne_bytes([*u, *v, *w, *x]);
        let last = u16::from_ne_bytes([*e, *f]) ^ u16::from_ne_bytes([*y, *z]);
        first | last as u32 == 0
    }

    /// Returns whether this is a multicast or broadcast address. Such an address has the I/G bit set, the first bit on
    /// the wire.
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

/// An IP address in the layout of an IP header.
pub trait IpAddress: Copy + Debug + Eq {
    /// The address as machine words in memory order. The compiler copies a word in one piece, but an array byte by
    /// byte.
    type Words: Copy + Debug;

    /// The text of an address, in fixed width.
    type Text: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned;

    /// The text of an address and a port.
    type Endpoint: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned;

    /// The unspecified address, which no host uses: `0.0.0.0` or `::`.
    const UNSPECIFIED: Self;

    /// Returns whether the address can belong to a single host on a network. Loopback addresses cannot.
    fn is_unicast(self) -> bool;

    /// Returns the address as machine words.
    fn words(self) -> Self::Words;

    /// Returns the address as a 128-bit number, for comparisons across both IP versions.
    fn bits(self) -> AddressBits;

    /// Writes the text of the address with these words, and returns its sum for a checksum.
    fn write(words: Self::Words, text: &mut Self::Text) -> Sum;

    /// Writes the text of an endpoint with an address of these words, and returns its sum.
    fn write_endpoint(words: Self::Words, port: u16, text: &mut Self::Endpoint) -> Sum;

    /// Returns the IPv4 address, or `None` for an IPv6 address.
    fn to_v4(self) -> Option<Ipv4Address>;
}

/// An IPv4 address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv4Address(pub [u8; 4]);

impl IpAddress for Ipv4Address {
    type Words = u32;
    type Text = Ipv4Text;
    type Endpoint = Ipv4Endpoint;

    const UNSPECIFIED: Self = Self([0; 4]);

    /// Returns whether the address is outside 0/8 ("this network"), 127/8 (loopback) and 224/4 (multicast), and is not
    /// 255.255.255.255 (broadcast). See RFC 1122, 3.2.1.3.
    ///
    /// Linux treats the reserved addresses of 240/4 as unicast.
    #[inline(always)]
    fn is_unicast(self) -> bool {
        let first = u32::from(self.0[0]);
        // One comparison checks both bounds, because 0 - 1 wraps to the largest number.
        first != 127 && (first.wrapping_sub(1) < 223 || (first >= 240 && self.words() != u32::MAX))
    }

    #[inline(always)]
    fn words(self) -> u32 {
        u32::from_ne_bytes(self.0)
    }

    #[inline(always)]
    fn bits(self) -> AddressBits {
        AddressBits { high: 0, low: 0xffff << 32 | u32::from_be_bytes(self.0) as u64 }
    }

    #[inline(always)]
    fn write(word: u32, text: &mut Ipv4Text) -> Sum {
        text.set(word.to_ne_bytes())
    }

    #[inline(always)]
    fn write_endpoint(word: u32, port: u16, text: &mut Ipv4Endpoint) -> Sum {
        text.set(word.to_ne_bytes(), port)
    }

    #[inline(always)]
    fn to_v4(self) -> Option<Ipv4Address> {
        Some(self)
    }
}

/// An IPv6 address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv6Address(pub [u8; 16]);

impl IpAddress for Ipv6Address {
    type Words = [u64; 2];
    type Text = Ipv6Text;
    type Endpoint = Ipv6Endpoint;

    const UNSPECIFIED: Self = Self([0; 16]);

    /// Returns whether the address is outside `ff00::/8` (multicast) and `::ffff:0:0/96` (IPv4-mapped), and is neither
    /// `::` (unspecified) nor `::1` (loopback). See RFC 4291.
    #[inline(always)]
    fn is_unicast(self) -> bool {
        let AddressBits { high, low } = self.bits();
        high >> 56 != 0xff && (high != 0 || (low > 1 && low >> 32 != 0xffff))
    }

    #[inline(always)]
    fn words(self) -> [u64; 2] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.0;
        [u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes([i, j, k, l, m, n, o, p])]
    }

    #[inline(always)]
    fn bits(self) -> AddressBits {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.0;
        AddressBits {
            high: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            low: u64::from_be_bytes([i, j, k, l, m, n, o, p]),
        }
    }

    #[inline(always)]
    fn write([high, low]: [u64; 2], text: &mut Ipv6Text) -> Sum {
        text.set(u64::from_be(high), u64::from_be(low))
    }

    #[inline(always)]
    fn write_endpoint([high, low]: [u64; 2], port: u16, text: &mut Ipv6Endpoint) -> Sum {
        text.set(u64::from_be(high), u64::from_be(low), port)
    }

    #[inline(always)]
    fn to_v4(self) -> Option<Ipv4Address> {
        None
    }
}

/// An IPv6 address as a 128-bit number. IPv4 addresses are represented as IPv4-mapped IPv6 addresses (RFC 4291,
/// 2.5.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AddressBits {
    /// The upper 64 bits.
    pub high: u64,
    /// The lower 64 bits.
    pub low: u64,
}

impl AddressBits {
    /// Returns whether this address is `other` or precedes it. The derived `<=` takes more instructions.
    #[inline(always)]
    pub const fn is_at_most(self, other: Self) -> bool {
        self.high < other.high || (self.high == other.high && self.low <= other.low)
    }

    /// Returns the address as one number.
    pub const fn number(self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
    }
}
