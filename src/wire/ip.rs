//! The common interface of IPv4 and IPv6 headers.

use core::fmt::Debug;

use crate::address::{IpAddress, Ipv4Address, Ipv6Address};
use crate::checksum::Sum;
use crate::frame::{Frame, Span, View};
use crate::verdict::Verdict;

/// TCP in the field `protocol` or `next_header`.
pub const PROTOCOL_TCP: u8 = 6;

/// An IP header without options or extension headers.
pub trait Ip: View + Copy + Debug {
    /// The ethertype of this version.
    const ETHERTYPE: u16;

    /// An address of this version.
    type Address: IpAddress;

    /// Finds the TCP segment of the packet whose header is at `offset`, after any options or extension headers.
    ///
    /// # Errors
    ///
    /// `Malformed` for contradictory lengths or a truncated packet, `NotTcp` or `Fragment` for a packet without a whole
    /// TCP segment.
    fn locate_tcp<F: Frame>(frame: &mut F, offset: usize) -> Result<Span, Verdict>;

    /// Returns whether this header belongs to a whole packet of `length` bytes of TCP, without options or extension
    /// headers.
    fn is_plain(&self, length: u16) -> bool;

    /// Returns the source address.
    fn source(&self) -> Self::Address;

    /// Returns the destination address.
    fn destination(&self) -> Self::Address;

    /// Returns the argument for this version.
    fn choose<T>(v4: T, v6: T) -> T;

    /// Returns the address of this version.
    fn choose_address<'a>(v4: &'a Ipv4Address, v6: &'a Ipv6Address) -> &'a Self::Address;

    /// Returns the [`SipHash13`](crate::siphash::SipHash13) of a connection: its addresses, then `ports`, which are
    /// source and destination port, all as in a segment from the client.
    fn hash(key: [u64; 2], source: Self::Address, destination: Self::Address, ports: [u8; 4]) -> u64;

    /// Returns the sum of an address for a checksum.
    fn sum(address: Self::Address) -> Sum;

    /// Returns the header of a reply with `length` bytes of TCP and a time to live or hop limit of `ttl`.
    fn reply(source: Self::Address, destination: Self::Address, length: u16, ttl: u8) -> Self;
}
