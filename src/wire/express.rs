//! The SYN that Linux sends, recognised at one glance: it is the one that load generators and most clients send.
//!
//! It is read as one piece, with one bounds check, in a frame without tags. Whatever is not exactly as it should be
//! goes the long way, by which this one would get the same answer.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bounce::Rules;
use crate::ethernet::Ethernet;
use crate::frame::Frame;
use crate::ip::Ip;
use crate::options::{LinuxOptions, Offer};
use crate::tcp::Tcp;

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
pub fn offer<I: Ip, F: Frame, W>(frame: &mut F, rules: &Rules<W>) -> Option<Offer> {
    let Rules { config, link, filters, .. } = rules;
    if frame.len() != size_of::<Syn<I>>() || config.filter_from != 0 || config.then.follow_client() {
        return None;
    }
    let Syn { ethernet, ip, tcp, options } = frame.at::<Syn<I>>(0)?;
    let (source, destination) = (ip.source(), ip.destination());
    let is_for_us = ethernet.ethertype.get() == I::ETHERTYPE
        && ip.is_plain(TCP_LENGTH as u16)
        && tcp.is_plain_syn(TCP_LENGTH)
        && ethernet.destination.is(&link.mac)
        && !ethernet.source.is_group()
        && I::is_usual(destination, link)
        && I::is_unicast(source)
        && source != destination
        && !filters.spared.contains(tcp.destination_port.get());
    if is_for_us { options.offer() } else { None }
}
