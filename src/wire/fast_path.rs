//! The fast path: recognises the SYNs of common clients with one bounds check, and applies the filters of `respond`.
//!
//! Any other SYN takes the slow path, which gives the same answers.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::address::IpAddress as _;
use crate::ethernet::Ethernet;
use crate::frame::{Frame, Span};
use crate::host::Host;
use crate::ip::Ip;
use crate::policy::Policy;
use crate::segment::Segment;
use crate::syn_options::{OptionLayout, SynOptions};
use crate::tcp::Tcp;

/// The frame of a SYN without VLAN tags, whose options have the fixed layout `O`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct PlainSyn<I: Unaligned, O: Unaligned> {
    ethernet: Ethernet,
    ip: I,
    tcp: Tcp,
    options: O,
}

/// Returns the segment and its options if the frame is a SYN whose options have the layout `O`, and if it passes all
/// filters.
///
/// The frame must be addressed to the MAC address and a primary IP address of the interface, and the host must have no
/// sockets on the port. With a source filter, or if SYN-ACKs do not accept all options, the function returns `None` for
/// all frames. It also returns `None` if the port's action follows the client.
#[inline(always)]
pub fn match_syn<I: Ip, O: OptionLayout, F: Frame, H: Host>(
    frame: &mut F,
    policy: &Policy<H>,
) -> Option<(Segment<I>, SynOptions)> {
    let Policy { config, interface, filters, actions_by_port, host } = policy;
    if frame.len() != size_of::<PlainSyn<I, O>>() || config.filters_sources() {
        return None;
    }
    let tcp_length = size_of::<Tcp>() + size_of::<O>();
    let PlainSyn { ethernet, ip, tcp, options } = frame.at::<PlainSyn<I, O>>(0)?;
    let (source, destination, port) = (ip.source(), ip.destination(), tcp.destination_port.get());
    let is_for_us = ethernet.ethertype.get() == I::ETHERTYPE
        && ip.is_plain(tcp_length as u16)
        && tcp.is_plain_syn(tcp_length)
        && ethernet.destination.is(&interface.mac)
        && !ethernet.source.is_group()
        && interface.is_primary::<I>(destination)
        && source.is_unicast()
        && source != destination
        && !filters.broadcasts.may_contain(source)
        && interface.accepted_options.is_all()
        && !filters.excluded_ports.contains(port)
        && (config.takes_over() || !host.may_have_socket(port))
        && !config.actions.of_port(actions_by_port, port).any_follows_client();
    let ip_offset = size_of::<Ethernet>();
    let span = Span { offset: ip_offset + size_of::<I>(), length: tcp_length };
    if is_for_us { Some((Segment::new(ip_offset, span), options.parse()?)) } else { None }
}
