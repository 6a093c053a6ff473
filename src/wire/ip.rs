//! What IPv4 and IPv6 have in common.

use core::fmt::Debug;

use crate::address_set::AddressBits;
use crate::checksum::Sum;
use crate::config::{Advertised, InterfaceState};
use crate::frame::{Frame, View};
use crate::verdict::Verdict;

/// An IP header without options or extension headers.
pub trait Ip: View + Copy + Debug {
    /// The ethertype that announces it.
    const ETHERTYPE: u16;

    /// An address.
    type Address: View + Copy + Eq;

    /// An address in words of the machine, as they lie in memory: unlike bytes, they are moved as such.
    type Words: Copy + Debug;

    /// Where in `frame`, in which there is such a header at `offset`, the TCP segment is: behind all options or
    /// extension headers; or the verdict if there is none. `None`: something does not fit in.
    fn segment<F: Frame>(frame: &mut F, offset: usize) -> Option<Result<Span, Verdict>>;

    /// Whether this is a whole packet with nothing between this header and `length` bytes of TCP.
    fn is_plain(&self, length: u16) -> bool;

    /// Where it came from.
    fn source(&self) -> Self::Address;

    /// Where it goes to.
    fn destination(&self) -> Self::Address;

    /// Whether one host on a network can have this address.
    fn is_unicast(address: Self::Address) -> bool;

    /// The address in words.
    fn words(address: Self::Address) -> Self::Words;

    /// The address as a number.
    fn number(address: Self::Address) -> AddressBits;

    /// Whether this is the address that is most often asked for, if it is known that it is answered for.
    fn is_primary(destination: Self::Address, interface: &InterfaceState) -> bool;

    /// What is announced over it.
    fn advertised(interface: &InterfaceState) -> &Advertised;

    /// The [`SipHash13`](crate::isn::SipHash13) of the ends of a connection: the addresses, and source and destination port, all
    /// as they lie in the client's segments.
    fn hash(key: [u64; 2], source: Self::Address, destination: Self::Address, ports: [u8; 4]) -> u64;

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
