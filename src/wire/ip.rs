//! What IPv4 and IPv6 have in common.

use crate::addresses::Number;
use crate::checksum::Sum;
use crate::config::{Announced, Link};
use crate::frame::{Frame, View};
use crate::isn::SipHash13;
use crate::verdict::Verdict;

/// An IP header without options or extension headers.
pub trait Ip: View + Copy {
    /// The ethertype that announces it.
    const ETHERTYPE: u16;

    /// An address.
    type Address: View + Copy + Eq;

    /// Whether what follows this header, and nothing between, may be TCP.
    fn is_plain(&self) -> bool;

    /// Where in `frame`, in which this header is at `offset`, the TCP segment is: behind all options or extension
    /// headers; or the verdict if there is none.
    ///
    /// # Errors
    ///
    /// Malformed, a fragment, or something other than TCP.
    fn segment<F: Frame>(&self, frame: &mut F, offset: usize) -> Result<Span, Verdict>;

    /// Where it came from.
    fn source(&self) -> Self::Address;

    /// Where it goes to.
    fn destination(&self) -> Self::Address;

    /// Whether one host on a network can have this address.
    fn is_unicast(address: Self::Address) -> bool;

    /// The address as a number.
    fn number(address: Self::Address) -> Number;

    /// The hash of two addresses and of both ports, as they lie in the packet.
    fn hash(hash: SipHash13, source: Self::Address, destination: Self::Address, ports: [u8; 4]) -> u64;

    /// What is announced over it.
    fn announced(link: &Link) -> &Announced;

    /// The sum of an address.
    fn sum(address: Self::Address) -> Sum;

    /// The header of a reply that carries `length` bytes of TCP, with a time to live or hop limit of `ttl` hops.
    fn reply(source: Self::Address, destination: Self::Address, length: u16, ttl: u8) -> Self;
}

/// A part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it begins, in bytes from the beginning of the frame.
    pub offset: usize,
    /// Its length in bytes.
    pub length: usize,
}

/// TCP in the field `protocol` or `next_header`.
pub const PROTOCOL_TCP: u8 = 6;
