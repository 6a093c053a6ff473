//! The fast path: locates and filters the TCP segments in plain frames with few comparisons, and recognises the SYNs of
//! common clients.
//!
//! Any other frame takes the general path, which gives the same answers.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::address::IpAddress as _;
use crate::ethernet::Ethernet;
use crate::frame::{Frame, MAX_OFFSET, Span};
use crate::ip::Ip;
use crate::policy::Policy;
use crate::segment::Segment;
use crate::syn_options::{OptionLayout, SynOptions};
use crate::tcp::Tcp;

/// The headers of a frame without VLAN tags, IP options or extension headers.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct PlainHeaders<I: Unaligned> {
    ethernet: Ethernet,
    ip: I,
    tcp: Tcp,
}

/// Returns the TCP segment in a plain frame that passes all filters, with a length that the caller has to check.
/// Returns `None` for a frame that has to take the general path.
///
/// The frame must be addressed to the MAC address and a primary IP address of the interface, and the port must not be
/// excluded. The source must be unicast, and must not look like a broadcast address of the interface's subnets. With a
/// source filter, the function returns `None` for all frames.
#[inline(always)]
pub fn locate<I: Ip, F: Frame, H>(frame: &mut F, policy: &Policy<H>) -> Option<Segment<I>> {
    let Policy { features, interface, filters, .. } = policy;
    if features.filters_sources() {
        return None;
    }
    // One check of the length covers all headers.
    let PlainHeaders::<I> { ip, tcp, .. } = *frame.at(0)?;
    let start = *frame.at::<[u8; 8]>(0)?;
    let span = I::locate_plain(frame)?;
    let (source, destination) = (ip.source(), ip.destination());
    let is_for_us = interface.allows_fast_path::<I>(start, destination)
        && source.is_unicast()
        && source != destination
        && !filters.broadcasts.may_contain(source)
        && !filters.excluded_ports.contains(tcp.destination_port.get());
    is_for_us.then(|| Segment::new(size_of::<Ethernet>(), span))
}

/// Returns whether the accessible part of the frame holds a whole segment that [`locate`] returned.
#[inline(always)]
pub fn is_whole<I: Ip, F: Frame>(segment: &Segment<I>, frame: &mut F) -> bool {
    let Span { offset, length } = segment.span;
    length <= MAX_OFFSET && offset + length <= frame.len()
}

/// Returns the options of a SYN whose options have the layout `O`, and its segment with the length of this layout. The
/// SYN must not request ECN.
///
/// Returns `None` for any other segment, and for a frame that is longer than the packet.
#[inline(always)]
pub fn match_syn<I: Ip, O: OptionLayout, F: Frame>(
    segment: Segment<I>,
    frame: &mut F,
) -> Option<(Segment<I>, SynOptions)> {
    let length = size_of::<Tcp>() + size_of::<O>();
    let Segment { ip_offset, span, .. } = segment;
    if !Tcp::is_plain_syn(segment.offset_and_flags(frame)?, length)
        || span.length != length
        || frame.len() != span.offset + length
    {
        return None;
    }
    let options = frame.at::<O>(span.offset + size_of::<Tcp>())?.parse()?;
    Some((Segment::new(ip_offset, Span { length, ..span }), options))
}
