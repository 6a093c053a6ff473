//! The text of addresses and ports in fixed width, which the program writes into payloads.
//!
//! Each function writes its text into the packet and returns the text's sum for a checksum. The text is not kept
//! elsewhere, because the stack of an XDP program is small.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::Sum;

/// Eight spaces.
const SPACES: u64 = u64::from_ne_bytes([b' '; 8]);

/// A port in decimal digits. Spaces follow a port of fewer than five digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct PortText([u8; 5]);

/// An IPv4 address in dotted decimal notation. Spaces follow an address of fewer than 15 characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv4Text {
    start: [u8; 8],
    end: [u8; 7],
}

/// An IPv4 address, a colon, a port and a copy of the byte before the address. Spaces follow a shorter text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv4Endpoint {
    /// The byte before the address, which stays as it is.
    mark: u8,
    text: [[u8; 8]; 2],
    end: [u8; 6],
}

/// An IPv6 address in brackets, a colon, a port and a copy of the byte before the brackets. Spaces follow a shorter
/// port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv6Endpoint {
    /// The byte before the brackets, which stays as it is.
    mark: u8,
    open: u8,
    address: Ipv6Text,
    close: [u8; 2],
    port: [u8; 6],
}

/// A number of 64 bits in hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct TokenText([[u8; 4]; 4]);

/// An IPv6 address in full form: eight groups of four digits, with colons between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv6Text {
    groups: [Group; 7],
    last: [u8; 4],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Group {
    digits: [u8; 4],
    colon: u8,
}

impl PortText {
    /// Writes the text of a port, and returns its sum.
    #[inline(always)]
    pub const fn set(&mut self, port: u16) -> Sum {
        let [a, b, c, d, e, ..] = Characters([SPACES]).after(port_text(port, b' ')).0[0].to_le_bytes();
        self.0 = [a, b, c, d, e];
        Sum::ZERO.words([a, b, c, d]).word([e, 0])
    }
}

/// Returns the character of a decimal digit.
#[inline(always)]
const fn digit(value: u64) -> u64 {
    b'0' as u64 + value
}

/// Returns 1 if `value` is below `limit`, or else 0.
///
/// A comparison would become a jump, and the verifier of Linux 5.10 would follow each combination of the jumps.
#[inline(always)]
const fn is_below(value: u64, limit: u64) -> u32 {
    (value.wrapping_sub(limit) >> 63) as u32
}

impl Ipv4Text {
    /// Writes the text of an address, and returns its sum.
    #[inline(always)]
    pub const fn set(&mut self, [a, b, c, d]: [u8; 4]) -> Sum {
        let Characters([start, end]) = Characters([SPACES; 2]).after_address([a, b, c, d], b' ');
        self.start = start.to_le_bytes();
        let [a, b, c, d, e, f, g, _] = end.to_le_bytes();
        self.end = [a, b, c, d, e, f, g];
        sum(self.start).words([a, b, c, d]).word([e, f]).word([g, 0])
    }
}

impl Ipv4Endpoint {
    /// Writes the text, and returns its sum.
    #[inline(always)]
    pub fn set(&mut self, address: [u8; 4], port: u16) -> Sum {
        let text = Characters([SPACES; 3]).after(port_text(port, self.mark)).after_address(address, b':');
        let Characters([start, middle, end]) = text;
        self.text = [start.to_le_bytes(), middle.to_le_bytes()];
        let [a, b, c, d, e, f, ..] = end.to_le_bytes();
        self.end = [a, b, c, d, e, f];
        // The text starts at an odd offset.
        (sum(self.text[0]) + sum(self.text[1])).words([a, b, c, d]).word([e, f]).swapped()
    }
}

impl Ipv6Endpoint {
    /// Writes the text, given the upper and lower 64 bits of the address. Returns its sum.
    #[inline(always)]
    pub fn set(&mut self, high: u64, low: u64, port: u16) -> Sum {
        (self.open, self.close) = (b'[', *b"]:");
        let [a, b, c, d, e, f, ..] = Characters([SPACES]).after(port_text(port, self.mark)).0[0].to_le_bytes();
        self.port = [a, b, c, d, e, f];
        // The address is the only part that starts at an even offset.
        let other = Sum::ZERO.word([self.open, 0]).word(self.close).words([a, b, c, d]).word([e, f]);
        self.address.set(high, low) + other.swapped()
    }
}

impl TokenText {
    /// Writes the text of a number, and returns the sum.
    #[inline(always)]
    pub fn set(&mut self, number: u64) -> Sum {
        let Self([a, b, c, d]) = self;
        *a = hexadecimal(number >> 48);
        *b = hexadecimal(number >> 32);
        *c = hexadecimal(number >> 16);
        *d = hexadecimal(number);
        Sum::ZERO.words(*a).words(*b).words(*c).words(*d)
    }
}

/// Eight characters in each word. The first character is in the lowest byte of the first word.
#[derive(Clone, Copy)]
struct Characters<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Characters<WORDS> {
    /// Returns these characters after a text of two to seven characters, given with its length in bits. The last
    /// characters drop out.
    #[inline(always)]
    const fn after(self, (text, bits): (u64, u32)) -> Self {
        let Self(mut words) = self;
        let mut index = WORDS;
        while index > 1 {
            index -= 1;
            words[index] = words[index] << bits | words[index - 1] >> (64 - bits);
        }
        words[0] = words[0] << bits | text;
        Self(words)
    }

    /// Returns these characters after an IPv4 address and one more character.
    #[inline(always)]
    const fn after_address(self, [a, b, c, d]: [u8; 4], end: u8) -> Self {
        self.after(octet_text(d, end)).after(octet_text(c, b'.')).after(octet_text(b, b'.')).after(octet_text(a, b'.'))
    }
}

/// Returns `octet` in decimal digits and one more character, with the first character in the lowest byte, and their
/// length in bits.
#[inline(always)]
const fn octet_text(octet: u8, end: u8) -> (u64, u32) {
    let octet = octet as u64;
    let word = digit(octet / 100) | digit(octet / 10 % 10) << 8 | digit(octet % 10) << 16 | (end as u64) << 24;
    let leading_zeros = is_below(octet, 100) + is_below(octet, 10);
    (word >> (8 * leading_zeros), 32 - 8 * leading_zeros)
}

/// Returns `port` in decimal digits and one more character, with the first character in the lowest byte, and their
/// length in bits.
#[inline(always)]
const fn port_text(port: u16, end: u8) -> (u64, u32) {
    let port = port as u64;
    let [a, b, c, d, e] = [port / 10_000, port / 1000 % 10, port / 100 % 10, port / 10 % 10, port % 10];
    let word = digit(a) | digit(b) << 8 | digit(c) << 16 | digit(d) << 24 | digit(e) << 32 | (end as u64) << 40;
    let leading_zeros = is_below(port, 10_000) + is_below(port, 1000) + is_below(port, 100) + is_below(port, 10);
    (word >> (8 * leading_zeros), 48 - 8 * leading_zeros)
}

/// Returns the sum of eight characters.
#[inline(always)]
const fn sum([a, b, c, d, e, f, g, h]: [u8; 8]) -> Sum {
    Sum::ZERO.words([a, b, c, d]).words([e, f, g, h])
}

impl Ipv6Text {
    /// Writes the text of the address with these upper and lower 64 bits, and returns its sum.
    #[inline(always)]
    pub fn set(&mut self, high: u64, low: u64) -> Sum {
        let Self { groups: [a, b, c, d, e, f, g], last } = self;
        let (a, b) = (a.set(high >> 48), b.set(high >> 32));
        let (c, d) = (c.set(high >> 16), d.set(high));
        let (e, f) = (e.set(low >> 48), f.set(low >> 32));
        let g = g.set(low >> 16);
        *last = hexadecimal(low);
        // A group has five bytes, so every second one starts at an odd offset.
        (a + c + e + g) + (b + d + f).words(*last).swapped()
    }
}

impl Group {
    #[inline(always)]
    const fn set(&mut self, bits: u64) -> Sum {
        self.digits = hexadecimal(bits);
        self.colon = b':';
        Sum::ZERO.words(self.digits).word([b':', 0])
    }
}

/// Returns the lower 16 bits of `bits` as four hexadecimal digits.
#[inline(always)]
const fn hexadecimal(bits: u64) -> [u8; 4] {
    /// The difference between the letter `a` and the character after the digit 9.
    const TO_LETTER: u32 = (b'a' - b'9' - 1) as u32;
    let bits = bits as u32;
    let nibbles = bits >> 12 & 0xf | bits & 0x0f00 | (bits & 0x00f0) << 12 | (bits & 0xf) << 24;
    // A byte is 1 if its nibble is above 9.
    let letters = (nibbles + 0x0606_0606) >> 4 & 0x0101_0101;
    (nibbles + u32::from_ne_bytes([b'0'; 4]) + letters * TO_LETTER).to_le_bytes()
}
