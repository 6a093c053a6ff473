//! The common interface of IPv4 and IPv6 headers.

use core::fmt::Debug;

use crate::address::{IpAddress, Ipv4Address, Ipv6Address};
use crate::checksum::Sum;
use crate::frame::{Frame, Span, View};
use crate::siphash::SipHash13;
use crate::verdict::Verdict;

/// The protocol number of TCP, in the IPv4 field `protocol` and the IPv6 field `next_header`.
pub const PROTOCOL_TCP: u8 = 6;

/// The value of the ECN field in a packet that a router marked because of congestion.
pub const CONGESTION: u8 = 3;

/// The fixed part of an IP header, without options or extension headers.
pub trait Ip: View + Copy + Debug {
    /// The ethertype of this IP version.
    const ETHERTYPE: u16;

    /// Whether headers of this IP version have a flow label.
    const HAS_FLOW_LABEL: bool;

    /// The address type of this IP version.
    type Address: IpAddress;

    /// Returns the span of the TCP segment in the packet whose IP header is at `offset`, after any options or extension
    /// headers. For a first fragment, returns the span of its part of the segment.
    ///
    /// `skip_extensions` is [`skip_extensions`](crate::ipv6::skip_extensions), or calls it.
    ///
    /// # Errors
    ///
    /// `Malformed` if the version is wrong, lengths contradict each other, or the packet is truncated. `NotTcp` if the
    /// payload is not TCP, or if the extension headers are not supported. `Fragment` if the packet is a fragment other
    /// than the first, or if extension headers precede an IPv6 fragment header.
    fn locate_tcp<F: Frame>(
        frame: &mut F,
        offset: usize,
        skip_extensions: impl FnOnce(&mut F, u8, usize) -> Result<(u8, usize), Verdict>,
    ) -> Result<Span, Verdict>;

    /// Returns the span of the TCP segment in a plain frame: without VLAN tags, IP options or extension headers, and
    /// not a fragment. Returns `None` for any other frame.
    ///
    /// The caller has to check the length of the span. It may exceed the frame, and it wraps if the header claims a
    /// length shorter than itself. The function compares several fields at once, to take few instructions.
    fn locate_plain<F: Frame>(frame: &mut F) -> Option<Span>;

    /// Returns whether the packet is a fragment, as far as this header shows: an IPv6 fragment header must directly
    /// follow it.
    fn is_fragment(&self) -> bool;

    /// Returns the source address.
    fn source(&self) -> Self::Address;

    /// Returns the destination address.
    fn destination(&self) -> Self::Address;

    /// Returns the ECN field (RFC 3168, 5): 0 if the sender does not support ECN, [`CONGESTION`] if a router marked the
    /// packet.
    fn ecn(&self) -> u8;

    /// Returns the flow label. Zero over IPv4.
    fn flow_label(&self) -> u32;

    /// Returns `v4` for IPv4 and `v6` for IPv6.
    fn choose<T>(v4: T, v6: T) -> T;

    /// Returns `v4` for IPv4 and `v6` for IPv6, as an address of this IP version.
    fn choose_address<'a>(v4: &'a Ipv4Address, v6: &'a Ipv6Address) -> &'a Self::Address;

    /// Returns the hash of a connection's addresses and ports. `hash` is the hash before the first block.
    ///
    /// Source and destination are as in a segment from the client. `ports` are the source and destination port in
    /// network byte order.
    fn hash(hash: SipHash13, source: Self::Address, destination: Self::Address, ports: [u8; 4]) -> u64;

    /// Returns the sum of an address, for a checksum.
    fn sum(address: Self::Address) -> Sum;

    /// Returns the header of a reply from `source` to `destination`. `length` is the length of the TCP segment, in
    /// bytes. `ttl` is the time to live or hop limit, in hops. IPv4 ignores `flow_label`.
    fn reply(source: Self::Address, destination: Self::Address, length: u16, ttl: u8, flow_label: u32) -> Self;

    /// Gives a header of [`Self::reply`] an identification, and removes the DF flag unless `dont_fragment` is set. IPv6
    /// headers have neither.
    fn set_identification(&mut self, identification: u16, dont_fragment: bool);
}

/// Returns those bits of `bytes` that are set in `mask`, as one word.
#[inline(always)]
pub(crate) const fn masked(bytes: [u8; 4], mask: [u8; 4]) -> u32 {
    u32::from_ne_bytes(bytes) & u32::from_ne_bytes(mask)
}
