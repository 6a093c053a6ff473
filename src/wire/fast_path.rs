//! The SYN that Linux sends, recognised at one glance: it is the one that load generators and most clients send.
//!
//! It is read as one piece, with one bounds check, in a frame without tags. Whatever is not exactly as it should be
//! goes the long way, by which this one would get the same answer.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ethernet::Ethernet;
use crate::frame::Frame;
use crate::ip::Ip;
use crate::respond::Policy;
use crate::tcp::Tcp;
use crate::tcp_options::{LinuxOptions, SynOptions};

/// A SYN of Linux's.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Syn<I: Unaligned> {
    ethernet: Ethernet,
    ip: I,
    tcp: Tcp,
    options: LinuxOptions,
}

/// The length of its TCP header and options, and it has no more.
pub const TCP_LENGTH: usize = size_of::<Tcp>() + size_of::<LinuxOptions>();

/// What `frame` offers, if it is a SYN of Linux's that is for us beyond doubt.
#[inline(always)]
pub fn offer<I: Ip, F: Frame, H>(frame: &mut F, rules: &Policy<H>) -> Option<SynOptions> {
    let Policy { config, interface, filters, .. } = rules;
    if frame.len() != size_of::<Syn<I>>() || config.filters_sources != 0 || config.actions.any_follows_client() {
        return None;
    }
    let Syn { ethernet, ip, tcp, options } = frame.at::<Syn<I>>(0)?;
    let (source, destination) = (ip.source(), ip.destination());
    let is_for_us = ethernet.ethertype.get() == I::ETHERTYPE
        && ip.is_plain(TCP_LENGTH as u16)
        && tcp.is_plain_syn(TCP_LENGTH)
        && ethernet.destination.is(&interface.mac)
        && !ethernet.source.is_group()
        && I::is_primary(destination, interface)
        && I::is_unicast(source)
        && source != destination
        && !filters.excluded_ports.contains(tcp.destination_port.get());
    if is_for_us { options.offer() } else { None }
}
