//! The fast path: recognises the SYN of a Linux client with one bounds check, and applies the filters of `respond`.
//!
//! Any other SYN takes the slow path, which gives the same answers.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::address::IpAddress as _;
use crate::ethernet::Ethernet;
use crate::frame::{Frame, Span};
use crate::ip::Ip;
use crate::policy::Policy;
use crate::segment::Segment;
use crate::syn_options::{LinuxOptions, SynOptions};
use crate::tcp::Tcp;

/// The frame of a Linux client's SYN, without VLAN tags.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LinuxSyn<I: Unaligned> {
    ethernet: Ethernet,
    ip: I,
    tcp: Tcp,
    options: LinuxOptions,
}

/// The length of the SYN's TCP header and options in bytes.
const TCP_LENGTH: usize = size_of::<Tcp>() + size_of::<LinuxOptions>();

/// Returns the segment and its options if the frame is the SYN of a Linux client and passes all filters.
///
/// The frame must be addressed to the MAC address and a primary IP address of the interface. With a source filter, with
/// an action that follows the client, or if SYN-ACKs do not accept all options, the function returns `None` for all
/// frames.
#[inline(always)]
pub fn match_linux_syn<I: Ip, F: Frame, H>(frame: &mut F, policy: &Policy<H>) -> Option<(Segment<I>, SynOptions)> {
    let Policy { config, interface, filters, .. } = policy;
    if frame.len() != size_of::<LinuxSyn<I>>() || config.filters_sources() || config.actions.any_follows_client() {
        return None;
    }
    let LinuxSyn { ethernet, ip, tcp, options } = frame.at::<LinuxSyn<I>>(0)?;
    let (source, destination) = (ip.source(), ip.destination());
    let is_for_us = ethernet.ethertype.get() == I::ETHERTYPE
        && ip.is_plain(TCP_LENGTH as u16)
        && tcp.is_plain_syn(TCP_LENGTH)
        && ethernet.destination.is(&interface.mac)
        && !ethernet.source.is_group()
        && interface.is_primary::<I>(destination)
        && source.is_unicast()
        && source != destination
        && interface.accepted_options.is_all()
        && !filters.excluded_ports.contains(tcp.destination_port.get());
    let ip_offset = size_of::<Ethernet>();
    let span = Span { offset: ip_offset + size_of::<I>(), length: TCP_LENGTH };
    if is_for_us { Some((Segment::new(ip_offset, span), options.parse()?)) } else { None }
}
